"""Keys and values of all sequences in one array per layer; a paged pool says which slot is whose.

Shape letters: B rows, Q new tokens per row, T columns (past and new), H heads, D head width, S slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from transformers.cache_utils import Cache, CacheLayerMixin

from tiku.runtimes._int8_cache import narrowed, widened

if TYPE_CHECKING:
    import torch

__all__ = ["CACHE_FORMATS", "Int8Slots", "PagedCache", "Passage", "PlainSlots", "Slots"]


@dataclass
class Passage:
    """What one forward pass writes and reads, the same in every layer.

    `write_N` are the slots of the new tokens, row by row; `read_BT` those of every column: rows are
    padded on the left with a slot of their own, which the mask hides. None: nothing came before, so
    that the new keys and values are all there is.
    """

    past: int
    write_N: torch.Tensor
    read_BT: torch.Tensor | None


class Slots(Protocol):
    """Stores one vector per head and slot."""

    def write(self, slots_N: torch.Tensor, values_NHD: torch.Tensor) -> None: ...

    def read(self, slots_N: torch.Tensor) -> torch.Tensor:
        """values_NHD."""
        ...

    def as_stored(self, values: torch.Tensor) -> torch.Tensor:
        """The values as `read` would give them."""
        ...

    def copy(self, source: int, target: int, count: int) -> None: ...


class PlainSlots:
    """In the number format they come in."""

    def __init__(self, slots: int, like_NHD: torch.Tensor) -> None:
        self._held_SHD = like_NHD.new_zeros((slots, *like_NHD.shape[1:]))

    def write(self, slots_N: torch.Tensor, values_NHD: torch.Tensor) -> None:
        self._held_SHD[slots_N] = values_NHD

    def read(self, slots_N: torch.Tensor) -> torch.Tensor:
        return self._held_SHD.index_select(0, slots_N)

    def as_stored(self, values: torch.Tensor) -> torch.Tensor:
        return values

    def copy(self, source: int, target: int, count: int) -> None:
        self._held_SHD[target : target + count] = self._held_SHD[source : source + count]

    @property
    def nbytes(self) -> int:
        return int(self._held_SHD.nbytes)


class Int8Slots:
    """As whole numbers with one scale per token and head; read back in the format they came in."""

    def __init__(self, slots: int, like_NHD: torch.Tensor) -> None:
        import torch

        heads, width = like_NHD.shape[1:]
        self._dtype = like_NHD.dtype
        self._codes_SHD = like_NHD.new_zeros((slots, heads, width), dtype=torch.int8)
        self._scale_SH1 = like_NHD.new_zeros((slots, heads, 1), dtype=torch.float32)

    def write(self, slots_N: torch.Tensor, values_NHD: torch.Tensor) -> None:
        self._codes_SHD[slots_N], self._scale_SH1[slots_N] = narrowed(values_NHD)

    def read(self, slots_N: torch.Tensor) -> torch.Tensor:
        codes_NHD, scale_NH1 = (h.index_select(0, slots_N) for h in (self._codes_SHD, self._scale_SH1))
        return widened(codes_NHD, scale_NH1, self._dtype)

    def as_stored(self, values: torch.Tensor) -> torch.Tensor:
        return widened(*narrowed(values), self._dtype)

    def copy(self, source: int, target: int, count: int) -> None:
        for held in (self._codes_SHD, self._scale_SH1):
            held[target : target + count] = held[source : source + count]

    @property
    def nbytes(self) -> int:
        return int(self._codes_SHD.nbytes + self._scale_SH1.nbytes)


CACHE_FORMATS = {"fp32": PlainSlots, "static": PlainSlots, "int8": Int8Slots}  # a pool is laid out at once


class PagedCache(Cache):
    """A transformers cache whose layers keep their keys and values in slots.

    `passage` is set before each forward pass.
    """

    def __init__(self, slots: int, kind: Any) -> None:
        self.passage: Passage | None = None
        make: Any = lambda: _Layer(self, slots, kind)  # noqa: E731 - transformers calls it per layer
        super().__init__(layer_class_to_replicate=make)

    def copy(self, source: int, target: int, count: int) -> None:
        """The same slots in every layer."""
        for layer in self._own():
            layer.copy(source, target, count)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns before the new tokens, padding included."""
        return 0 if self.passage is None else self.passage.past

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    @property
    def nbytes(self) -> int:
        """Bytes of all slots, filled or not."""
        return sum(layer.nbytes for layer in self._own())

    def _own(self) -> list[_Layer]:
        layers: Any = self.layers
        return list(layers)


class _Layer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    is_sliding = False

    def __init__(self, cache: PagedCache, slots: int, kind: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cache, self._slots, self._kind = cache, slots, kind
        self._stored: tuple[Any, ...] = ()

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        self._stored = (
            self._kind(self._slots, _rows(key_states)),
            self._kind(self._slots, _rows(value_states)),
        )
        self.is_initialized = True

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """(B, H, Q, D) in, (B, H, T, D) out."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        now = self._cache.passage
        assert now is not None
        pairs = tuple(zip(self._stored, (key_states, value_states), strict=True))
        for held, new_BHQD in pairs:
            held.write(now.write_N, _rows(new_BHQD))
        if now.read_BT is None:
            return tuple(held.as_stored(new_BHQD) for held, new_BHQD in pairs)
        keys, values = (_gathered(held, now.read_BT) for held, _ in pairs)
        return keys, values

    def copy(self, source: int, target: int, count: int) -> None:
        for held in self._stored:
            held.copy(source, target, count)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._cache.get_mask_sizes(query_length)

    def get_seq_length(self) -> int:
        return self._cache.get_seq_length()

    def get_max_length(self) -> int:
        return self._slots

    def get_max_cache_shape(self) -> int:
        return self._slots

    @property
    def nbytes(self) -> int:
        return sum(held.nbytes for held in self._stored)


def _rows(states_BHQD: Any) -> Any:
    """values_NHD, N = B * Q."""
    batch, heads, tokens, width = states_BHQD.shape
    return states_BHQD.transpose(1, 2).reshape(batch * tokens, heads, width)


def _gathered(held: Slots, read_BT: torch.Tensor) -> Any:
    values_NHD = held.read(read_BT.reshape(-1))
    return values_NHD.view(*read_BT.shape, *values_NHD.shape[1:]).transpose(1, 2)
