"""llama.cpp through llama-cpp-python's low-level functions: the library, and the batches it is fed."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Batch", "library"]


class Batch:
    """llama.cpp's batch over arrays of ours, so that it is filled at once."""

    def __init__(self, lib: Any, size: int) -> None:
        import numpy as np

        self._tokens, self._positions, self._sequences = np.zeros((3, size), dtype=np.int32)
        self._counts, self._wanted = np.ones(size, dtype=np.int32), np.zeros(size, dtype=np.int8)
        first = self._sequences.ctypes.data
        number = ctypes.POINTER(ctypes.c_int32)
        each = [ctypes.cast(first + 4 * place, number) for place in range(size)]
        self._pointers = (number * size)(*each)
        self.struct = lib.llama_batch(
            n_tokens=0,
            token=self._tokens.ctypes.data_as(number),
            pos=self._positions.ctypes.data_as(number),
            n_seq_id=self._counts.ctypes.data_as(number),
            seq_id=ctypes.cast(self._pointers, ctypes.POINTER(number)),
            logits=self._wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(
        self,
        tokens: NDArray[np.int64],
        positions: NDArray[np.int64],
        sequences: NDArray[np.int64],
        wanted: NDArray[np.bool_],
    ) -> None:
        """The tokens of the next forward pass."""
        count = self.struct.n_tokens = len(tokens)
        self._tokens[:count], self._positions[:count] = tokens, positions
        self._sequences[:count], self._wanted[:count] = sequences, wanted


@cache
def library() -> Any:
    """The low-level module. What it would write to the standard error stream is dropped: failures are seen
    by what its functions give."""
    from llama_cpp import llama_cpp

    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    llama_cpp.tiku_log_callback = silent  # must outlive every call
    llama_cpp.llama_backend_init()
    return llama_cpp
