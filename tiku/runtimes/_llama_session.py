"""A GGUF file in llama.cpp: one context for all texts, each a numbered sequence in its key/value cache.

B batch, T tokens, V vocabulary. A cache names sequences; a copy of it shares their keys and values until
one of the two goes on. The context grows when the texts that are alive need more cells.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ArtefactError, CannotMeasure
from tiku.core.subject import Session
from tiku.runtimes._llama_library import Batch, library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CACHE_FORMATS", "LlamaSession"]

CACHE_FORMATS = {"fp32": "GGML_TYPE_F32", "fp16": "GGML_TYPE_F16"}
_AT_ONCE = 512  # tokens in a forward pass
_SEQUENCES = 256  # the most that llama.cpp has
_SMALLEST = 512  # cells of the first context


@dataclass(frozen=True)
class _Row:
    """Tokens of one sequence from a position on; logits are wanted after those from `wanted` on."""

    sequence: int
    start: int
    tokens: NDArray[np.int64]
    wanted: int


@dataclass(eq=False)
class _Cache:
    """Sequences that are `tokens` long. They are freed when nobody needs the cache."""

    session: LlamaSession
    sequences: list[int]
    tokens: int

    def __deepcopy__(self, memo: dict[int, Any]) -> _Cache:
        return self.session.copied(self)

    def __del__(self) -> None:
        self.session.free(self.sequences)


class LlamaSession(Session):
    """Runs a language model in llama.cpp on the CPU."""

    runtime = "llama-cpp"

    def __init__(self, path: Path, *, threads: int, cache_format: str) -> None:
        self._lib = library()
        self._threads, self._format = threads, cache_format
        self._alive: dict[int, int] = {}  # sequences and their lengths
        self._model = self._load(path)
        self._vocabulary = self._lib.llama_vocab_n_tokens(self._lib.llama_model_get_vocab(self._model))
        self._cells, self._context = _SMALLEST, self._new_context(_SMALLEST)
        self._batch = Batch(self._lib, _AT_ONCE)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Tokens that the mask hides are not computed: their logits are zero."""
        import numpy as np

        ids_BT = inputs["input_ids"]
        mask_BT = inputs.get("attention_mask", np.ones_like(ids_BT)).astype(bool)
        logits_BTV = np.zeros((*ids_BT.shape, self._vocabulary), dtype=np.float32)
        for number, (ids, seen) in enumerate(zip(ids_BT, mask_BT, strict=True)):
            if seen.any():
                (sequence,) = self._take(1)
                try:
                    logits_BTV[number, seen] = self._feed([_Row(sequence, 0, ids[seen], 0)])
                finally:
                    self.free([sequence])
        return logits_BTV

    def extend(
        self, tokens_BT: NDArray[np.int64], cache: Any = None, *, last_only: bool = False
    ) -> tuple[NDArray[np.float32], Any]:
        batch, count = tokens_BT.shape
        before = cache or _Cache(self, self._take(batch), 0)
        wanted = count - 1 if last_only else 0
        rows = [
            _Row(sequence, before.tokens, tokens, wanted)
            for sequence, tokens in zip(before.sequences, tokens_BT, strict=True)
        ]
        logits = self._feed(rows)
        before.tokens += count
        return logits.reshape(batch, count - wanted, self._vocabulary), before

    def crop(self, cache: Any, length: int) -> Any:
        if length > cache.tokens:
            raise ValueError(f"a cache of {cache.tokens} tokens cannot be cut to {length}")
        if length < cache.tokens:
            for sequence in cache.sequences:
                self._lib.llama_memory_seq_rm(self._memory(), sequence, length, -1)
                self._alive[sequence] = length
            cache.tokens = length
        return cache

    def copied(self, cache: _Cache) -> _Cache:
        """Another cache of the same texts."""
        made = _Cache(self, self._take(len(cache.sequences)), cache.tokens)
        self._room(cache.tokens * len(cache.sequences))  # both may have to move to a larger context
        for source, target in zip(cache.sequences, made.sequences, strict=True):
            self._lib.llama_memory_seq_cp(self._memory(), source, target, -1, -1)
            self._alive[target] = cache.tokens
        return made

    def free(self, sequences: Sequence[int]) -> None:
        """Give the sequences of a cache back."""
        if self._context is None:
            return
        for sequence in sequences:
            if self._alive.pop(sequence, 0):
                self._lib.llama_memory_seq_rm(self._memory(), sequence, -1, -1)

    def close(self) -> None:
        if self._context is not None:
            self._lib.llama_free(self._context)
            self._lib.llama_model_free(self._model)
            self._context = self._model = None

    def _load(self, path: Path) -> Any:
        settings = self._lib.llama_model_default_params()
        settings.n_gpu_layers = 0
        model = self._lib.llama_model_load_from_file(str(path).encode(), settings) if path.is_file() else None
        if not model:
            raise ArtefactError(
                "llama.cpp cannot open the model",
                got=path if path.is_file() else f"{path}, which is not there",
                allowed="a GGUF file of an architecture that the installed llama.cpp knows",
                next_step="build the artefact again, or install a newer llama-cpp-python",
            )
        return model

    def _new_context(self, cells: int) -> Any:
        settings = self._lib.llama_context_default_params()
        settings.n_ctx, settings.n_seq_max, settings.kv_unified = cells, _SEQUENCES, True
        settings.n_batch = settings.n_ubatch = _AT_ONCE
        settings.n_threads = settings.n_threads_batch = self._threads
        settings.type_k = settings.type_v = getattr(self._lib, CACHE_FORMATS[self._format])
        settings.flash_attn_type = self._lib.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it narrows keys to float16
        settings.offload_kqv = settings.op_offload = False
        settings.no_perf = True
        context = self._lib.llama_init_from_model(self._model, settings)
        if not context:
            raise CannotMeasure(
                "llama.cpp has no memory for the key/value cache",
                got=f"{cells} tokens",
                next_step="ask for shorter texts or fewer at once",
            )
        return context

    def _memory(self) -> Any:
        return self._lib.llama_get_memory(self._context)

    def _take(self, count: int) -> list[int]:
        """Numbers of new, empty sequences. Raises `CannotMeasure`."""
        spare = [number for number in range(_SEQUENCES) if number not in self._alive]
        if count > len(spare):
            raise CannotMeasure(
                "llama.cpp keeps no more texts at once",
                got=f"{count} beside {len(self._alive)} that are kept",
                allowed=f"{_SEQUENCES} in all",
                next_step="feed fewer rows at once",
            )
        taken = spare[:count]
        self._alive.update(dict.fromkeys(taken, 0))
        return taken

    def _room(self, more: int) -> None:
        """Make sure that so many tokens fit beside all that are kept: move to a larger context if not."""
        needed = sum(self._alive.values()) + more
        if needed <= self._cells:
            return
        cells = max(2 * self._cells, needed)
        larger = self._new_context(cells)
        for sequence in (number for number, length in self._alive.items() if length):
            size = self._lib.llama_state_seq_get_size(self._context, sequence)
            state = (ctypes.c_uint8 * size)()
            self._lib.llama_state_seq_get_data(self._context, state, size, sequence)
            self._lib.llama_state_seq_set_data(larger, state, size, sequence)
        self._lib.llama_free(self._context)
        self._cells, self._context = cells, larger

    def _feed(self, rows: Sequence[_Row]) -> NDArray[np.float32]:
        """The wanted logits, row after row, (N, V)."""
        import numpy as np

        self._room(sum(len(row.tokens) for row in rows))
        tokens = np.concatenate([row.tokens for row in rows])
        places = [np.arange(len(row.tokens)) for row in rows]
        positions = np.concatenate([row.start + place for row, place in zip(rows, places, strict=True)])
        sequences = np.repeat([row.sequence for row in rows], [len(row.tokens) for row in rows])
        wanted = np.concatenate([place >= row.wanted for row, place in zip(rows, places, strict=True)])
        found = []
        for start in range(0, len(tokens), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            self._batch.fill(tokens[part], positions[part], sequences[part], wanted[part])
            failed = self._lib.llama_decode(self._context, self._batch.struct)
            if failed:
                raise CannotMeasure(
                    "llama.cpp failed to compute a text", got=f"llama_decode gave {failed}",
                    next_step="open the artefact anew, and ask for shorter texts",
                )  # fmt: skip
            found.append(self._logits(int(wanted[part].sum())))
        for row in rows:
            self._alive[row.sequence] = row.start + len(row.tokens)
        return np.concatenate(found)

    def _logits(self, rows: int) -> NDArray[np.float32]:
        """A copy: the context reuses its buffer."""
        import numpy as np

        if not rows:
            return np.zeros((0, self._vocabulary), dtype=np.float32)
        first = ctypes.cast(self._lib.llama_get_logits(self._context), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(first, shape=(rows, self._vocabulary)).copy()
