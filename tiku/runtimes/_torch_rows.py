"""Sequences of different lengths, extended together by one torch module.

Shape letters: R rows, T columns, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiku.core.errors import CannotMeasure
from tiku.core.subject import Rows
from tiku.decoding.paged import Appended, PagedPool

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["TorchRows", "refusal"]

_NEEDED = ("input_ids", "attention_mask", "position_ids", "past_key_values")
_BLOCK_TOKENS = 16

Forward = Callable[[Mapping[str, Any]], "NDArray[np.float32]"]  # logits of the last column, shape (R, V)


def refusal(module: Any) -> str | None:
    """Why this module cannot take rows of different lengths; None where it can."""
    accepted = inspect.signature(module.forward).parameters
    missing = [name for name in _NEEDED if name not in accepted]
    if missing:
        return f"its forward pass takes no {missing[0]}"
    config = module.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    if kinds or getattr(config, "sliding_window", None):
        return f"it has layers of {sorted(kinds)[0] if kinds else 'sliding_attention'}, not full attention"
    if getattr(module, "_is_stateful", False) or not getattr(config, "use_cache", False):
        return "it keeps no key/value cache"
    return None


class TorchRows(Rows):
    """Rows in a paged pool. A new row that begins like a living one shares its blocks."""

    def __init__(
        self, module: Any, forward: Forward, device: str, longest: Sequence[int], cache_format: str
    ) -> None:
        from tiku.runtimes._paged_cache import CACHE_FORMATS, PagedCache

        if (why := refusal(module)) is not None:
            raise CannotMeasure(
                f"this model cannot answer requests of different lengths at once: {why}",
                got=type(module).__name__,
                allowed="decoders with full attention in every layer",
                next_step="answer one request at a time",
            )
        blocks = sum(-(-length // _BLOCK_TOKENS) for length in longest)
        self.pool = PagedPool(max(1, blocks), _BLOCK_TOKENS)
        self.cache = PagedCache(self.pool.blocks * _BLOCK_TOKENS, CACHE_FORMATS[cache_format])
        self._forward, self._device = forward, device
        self._tokens: dict[int, list[int]] = {}
        self._columns = self._filled = self._shared = 0
        self._fullest = self.pool.usage()

    def enter(self, tokens: Sequence[int]) -> tuple[int, NDArray[np.float32]]:
        row, shared = self._begin(tokens)
        self._tokens[row] = list(tokens)
        self._shared += shared
        return row, self._feed([row], [list(tokens[shared:])])[0]

    def step(self, tokens: Mapping[int, int]) -> NDArray[np.float32]:
        for row, token in tokens.items():
            self._tokens[row].append(token)
        return self._feed(list(tokens), [[token] for token in tokens.values()])

    def leave(self, row: int) -> None:
        self.pool.close(row)
        del self._tokens[row]

    def report(self) -> dict[str, Any]:
        fullest, padded = self._fullest, self._columns
        return {
            "cache_bytes": self.cache.nbytes,
            "blocks": fullest.blocks,
            "most_used": fullest.used,
            "internal_fragmentation": fullest.internal,
            "external_fragmentation": fullest.external,
            "shared_prompt_tokens": self._shared,
            # what padding every row to the longest would have kept, against the tokens there were
            "padded_share": 1 - self._filled / padded if padded else 0.0,
        }

    def _begin(self, tokens: Sequence[int]) -> tuple[int, int]:
        """A row that holds what the new prompt shares with a living row, and how much that is.

        Less than a block is not worth the copy; one token at least must be fed, for its logits.
        """
        best, shared = None, _BLOCK_TOKENS - 1
        for row, held in self._tokens.items():
            alike = _shared(held, tokens[:-1])
            if alike > shared:
                best, shared = row, alike
        return (self.pool.open(), 0) if best is None else (self.pool.fork(best, shared), shared)

    def _feed(self, rows: Sequence[int], fed: Sequence[list[int]]) -> NDArray[np.float32]:
        """As many new tokens in each row."""
        import torch

        lengths = [self.pool.length(row) for row in rows]
        written = [self._append(row, len(new)) for row, new in zip(rows, fed, strict=True)]
        usage = self.pool.usage()
        if usage.used >= self._fullest.used:
            self._fullest = usage
        columns, new = max(lengths) + len(fed[0]), len(fed[0])
        self._columns += columns * len(rows)
        self._filled += sum(lengths) + new * len(rows)
        self.cache.passage = self._passage(rows, written, columns, new)
        at_RT = torch.arange(columns)[None] - (columns - new - torch.tensor(lengths))[:, None]
        inputs = {
            "input_ids": torch.tensor(list(fed)),
            "attention_mask": (at_RT >= 0).long(),
            "position_ids": at_RT[:, -new:].contiguous(),
        }
        there = {name: value.to(self._device) for name, value in inputs.items()}
        return self._forward({**there, "past_key_values": self.cache})

    def _append(self, row: int, tokens: int) -> Appended:
        import torch

        added = self.pool.append(row, tokens)
        if added.copy is not None:
            with torch.inference_mode():  # as the forward pass, whose tensors these are
                self.cache.copy(added.copy.source, added.copy.target, added.copy.tokens)
        return added

    def _passage(self, rows: Sequence[int], written: Sequence[Appended], columns: int, new: int) -> Any:
        import numpy as np
        import torch

        from tiku.runtimes._paged_cache import Passage

        write = torch.from_numpy(np.concatenate([added.slots for added in written])).to(self._device)
        if columns == new and len(rows) == 1:
            return Passage(0, write, None)
        read = np.empty((len(rows), columns), dtype=np.int64)
        for i, row in enumerate(rows):
            slots = self.pool.slots(row)
            read[i, : columns - slots.size] = slots[0]  # hidden by the mask, but never uninitialised
            read[i, columns - slots.size :] = slots
        return Passage(columns - new, write, torch.from_numpy(read).to(self._device))


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
