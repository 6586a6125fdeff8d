"""The cache of a graph whose attention writes in place: buffers of NumPy that ONNX Runtime reads and writes
where they lie.

R rows, T new tokens, K positions whose logits are wanted, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiku.core.subject import Rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tiku.runtimes._onnx_language import OnnxLanguageSession

__all__ = ["InPlaceCache", "OnnxRows", "bind_cache"]

_STEP = 256  # tokens; buffers grow to a multiple of it


class InPlaceCache:
    """Texts of one length. Room grows by half of what there was, so that a long text is seldom copied."""

    def __init__(self, session: OnnxLanguageSession, rows: int, room: int = 0) -> None:
        self.tokens = 0
        self._session, self._rows, self._room = session, rows, 0
        self._buffers: list[NDArray[np.float32]] = []
        self._bound: Any = None
        self.make_room(room)

    def make_room(self, tokens: int) -> None:
        """Room for that many tokens in all."""
        import numpy as np

        if self._buffers and tokens <= self._room:
            return
        self._room = -(-max(tokens, self._room * 3 // 2) // _STEP) * _STEP
        before, self._buffers = self._buffers, self._session.buffers(self._rows, self._room)
        for old, new in zip(before, self._buffers, strict=False):
            np.copyto(new[:, :, : self.tokens], old[:, :, : self.tokens])
        self._bound = None

    def feed(self, tokens_RT: NDArray[np.int64], kept_K: NDArray[np.int64]) -> NDArray[np.float32]:
        """logits_RKV. The operator takes several tokens after a text for one row only."""
        import numpy as np

        rows, new = tokens_RT.shape
        self.make_room(self.tokens + new)
        if rows == 1 or new == 1 or not self.tokens:
            self._bound = self._bound or self._session.bound(self._buffers)
            logits = self._feed(self._bound, tokens_RT, kept_K)
        else:
            parts = (self._session.bound([b[r : r + 1] for b in self._buffers]) for r in range(rows))
            alone = [self._feed(part, tokens_RT[r : r + 1], kept_K) for r, part in enumerate(parts)]
            logits = np.concatenate(alone)
        self.tokens += new
        return logits

    def _feed(
        self, bound: Any, tokens_RT: NDArray[np.int64], kept_K: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        import numpy as np

        rows, new = tokens_RT.shape
        mask_RS = np.ones((rows, self.tokens + new), dtype=np.int64)
        places_RT = np.tile(np.arange(self.tokens, self.tokens + new), (rows, 1))
        return self._session.forward(bound, tokens_RT, mask_RS, places_RT, kept_K)

    def cut(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        self.tokens = length

    def __deepcopy__(self, memo: dict[int, Any]) -> InPlaceCache:
        import numpy as np

        other = InPlaceCache(self._session, self._rows, self._room)
        for old, new in zip(self._buffers, other._buffers, strict=True):
            np.copyto(new[:, :, : self.tokens], old[:, :, : self.tokens])
        other.tokens = self.tokens
        return other


class OnnxRows(Rows):
    """Rows of their own lengths in shared buffers. Living rows lie side by side at the front: who leaves is
    replaced by the last."""

    def __init__(self, session: OnnxLanguageSession, longest: Sequence[int]) -> None:
        self._session = session
        self._room = max(longest)
        self._buffers = session.buffers(len(longest), self._room)
        self._bound: dict[tuple[int, int], Any] = {}
        self._rows: list[int] = []  # numbers by place
        self._lengths: list[int] = []
        self._entered = self._filled = self._columns = 0

    def enter(self, tokens: Sequence[int]) -> tuple[int, NDArray[np.float32]]:
        import numpy as np

        place, length = len(self._rows), len(tokens)
        self._rows.append(self._entered)
        self._lengths.append(length)
        self._entered += 1
        ids_1T, whole = np.asarray([tokens], dtype=np.int64), np.ones((1, length), dtype=np.int64)
        logits = self._session.forward(
            self._at(place, place + 1), ids_1T, whole, np.arange(length)[None], np.array([length - 1])
        )
        return self._rows[-1], logits[0, 0]

    def step(self, tokens: Mapping[int, int]) -> NDArray[np.float32]:
        import numpy as np

        places = {row: place for place, row in enumerate(self._rows)}
        if set(tokens) != set(places):
            return np.stack([self._alone(places[row], token) for row, token in tokens.items()])
        lengths_R = np.asarray(self._lengths)
        columns = lengths_R.max() + 1
        mask_RS = (np.arange(columns) <= lengths_R[:, None]).astype(np.int64)
        ids_R1 = np.asarray([[tokens[row]] for row in self._rows], dtype=np.int64)
        self._filled, self._columns = self._filled + mask_RS.sum(), self._columns + mask_RS.size
        logits_R1V = self._session.forward(
            self._at(0, len(self._rows)), ids_R1, mask_RS, lengths_R[:, None], np.array([0])
        )
        self._lengths = [length + 1 for length in self._lengths]
        return logits_R1V[[places[row] for row in tokens], 0]

    def leave(self, row: int) -> None:
        place, last = self._rows.index(row), len(self._rows) - 1
        if place != last:
            length = self._lengths[last]
            for buffer in self._buffers:
                buffer[place, :, :length] = buffer[last, :, :length]
            self._rows[place], self._lengths[place] = self._rows[last], length
        self._rows.pop()
        self._lengths.pop()

    def report(self) -> dict[str, Any]:
        return {
            "cache_bytes": sum(buffer.nbytes for buffer in self._buffers),
            # what lies between the rows' ends and the longest row's, of all that was attended to
            "padded_share": 1 - float(self._filled / self._columns) if self._columns else 0.0,
        }

    def _alone(self, place: int, token: int) -> NDArray[np.float32]:
        import numpy as np

        length = self._lengths[place]
        self._lengths[place] += 1
        ones = np.ones((1, length + 1), dtype=np.int64)
        logits = self._session.forward(
            self._at(place, place + 1), np.array([[token]]), ones, np.array([[length]]), np.array([0])
        )
        alone: NDArray[np.float32] = logits[0, 0]
        return alone

    def _at(self, start: int, end: int) -> Any:
        if (start, end) not in self._bound:
            self._bound[start, end] = self._session.bound([buffer[start:end] for buffer in self._buffers])
        return self._bound[start, end]


def bind_cache(session: Any, past: Sequence[str], buffers: Sequence[NDArray[np.float32]]) -> Any:
    """An `IOBinding` whose cache inputs and outputs are the same memory."""
    from onnxruntime import OrtValue

    binding = session.io_binding()
    for name, buffer in zip(past, buffers, strict=True):
        value = OrtValue.ortvalue_from_numpy(buffer)  # on the CPU it lies where the array lies
        binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output(name.replace("past_key_values", "present"), value)
    return binding
