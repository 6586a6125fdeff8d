"""Keys and values in buffers that are there before the tokens are.

Shape letters: B rows, H heads, T tokens, D head width.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from transformers.cache_utils import Cache, CacheLayerMixin

if TYPE_CHECKING:
    import torch

__all__ = ["StaticCache"]


class StaticCache(Cache):
    """Room for `room` tokens in each layer; each token is written once and never moved.

    The model reads the filled part only, as a view, so that attention does no work on empty slots (the class
    of this name in transformers attends to all of them under a mask, which a compiler wants). A text that
    outgrows its room gets twice as much, and is copied once.
    """

    def __init__(self, room: int) -> None:
        super().__init__(layer_class_to_replicate=partial(_Layer, room))  # type: ignore[arg-type]

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers, filled or not."""
        layers: Any = self.layers
        return sum(buffer.nbytes for layer in layers for buffer in layer.buffers)


class _Layer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    is_sliding = False
    is_croppable = True

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.buffers: list[torch.Tensor] = []  # keys_BHTD, values_BHTD
        self.filled, self.room = 0, room

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        self.buffers = [_empty(key_states, self.room), _empty(value_states, self.room)]
        self.is_initialized = True

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Write behind what is there; views of all that is filled."""
        new = key_states.shape[-2]
        while self.room < self.filled + new:
            self.room *= 2
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.buffers = [self._grown(buffer) for buffer in self.buffers]
        first, self.filled = self.filled, self.filled + new
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, first : self.filled] = states
        keys, values = (buffer[:, :, : self.filled] for buffer in self.buffers)
        return keys, values

    def _grown(self, buffer: torch.Tensor) -> torch.Tensor:
        if buffer.shape[-2] >= self.room:
            return buffer
        larger = _empty(buffer, self.room)
        larger[:, :, : self.filled] = buffer[:, :, : self.filled]
        return larger

    def crop(self, tokens_to_remove: int) -> None:
        self.filled -= abs(tokens_to_remove)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.filled + query_length, 0

    def get_seq_length(self) -> int:
        return self.filled

    def get_max_length(self) -> int:
        return -1

    def get_max_cache_shape(self) -> int:
        return -1


def _empty(like: torch.Tensor, room: int) -> torch.Tensor:
    return like.new_empty((*like.shape[:-2], room, like.shape[-1]))
