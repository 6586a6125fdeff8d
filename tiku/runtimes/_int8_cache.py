"""Keys and values in 8 bits: whole numbers from -127 to 127, one scale per token and head.

Shape letters: B rows, H heads, T tokens, D head width; N any number of tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers.cache_utils import Cache, CacheLayerMixin

if TYPE_CHECKING:
    import torch

__all__ = ["Int8Cache", "narrowed", "widened"]


def narrowed(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes in int8 and scales in float32 (one for the last axis); a vector of zeros has scale 0."""
    import torch

    wide = values.float()
    scale = wide.abs().amax(dim=-1, keepdim=True) / 127
    return (wide / torch.where(scale > 0, scale, 1.0)).round().to(torch.int8), scale


def widened(codes: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The values again, each within half a scale of what it was."""
    return (codes * scale).to(dtype)


class Int8Cache(Cache):
    """One sequence (or several of equal length) for models with full attention in every layer."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=_Layer)

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        layers: Any = self.layers
        return sum(held.nbytes for layer in layers for pair in layer.pairs for held in pair)


class _Layer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    is_sliding = False
    is_croppable = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pairs: list[tuple[Any, Any]] = []  # (codes_BHTD, scale_BHT1) of the keys, then of the values

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        self.pairs = [narrowed(key_states[:, :, :0]), narrowed(value_states[:, :, :0])]
        self.is_initialized = True

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """What was stored before and now, widened: a token is read as it will be read ever after."""
        import torch

        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        new = [narrowed(key_states), narrowed(value_states)]
        self.pairs = [
            (torch.cat((codes, more), dim=-2), torch.cat((scale, scales), dim=-2))
            for (codes, scale), (more, scales) in zip(self.pairs, new, strict=True)
        ]
        keys, values = (widened(codes, scale, key_states.dtype) for codes, scale in self.pairs)
        return keys, values

    def crop(self, tokens_to_remove: int) -> None:
        keep = self.get_seq_length() - abs(tokens_to_remove)
        self.pairs = [(codes[..., :keep, :], scale[..., :keep, :]) for codes, scale in self.pairs]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        return int(self.pairs[0][0].shape[-2]) if self.pairs else 0

    def get_max_length(self) -> int:
        return -1

    def get_max_cache_shape(self) -> int:
        return -1
