"""Linear layers that read the same input, multiplied as one: query, key and value; gate and up.

The files stay as they are: the module is rewritten after it was opened. Shape letters: B… leading axes,
I inputs, O outputs of one layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tiku.layers.quantized_linear import Codes, QuantizedLinear

__all__ = ["fold", "foldable"]

_ATTENTION = (
    ("q_proj", "k_proj", "v_proj"),  # Llama, Mistral, Qwen, Gemma, Phi, OPT, BART
    ("query", "key", "value"),  # BERT, RoBERTa, ELECTRA
    ("q_lin", "k_lin", "v_lin"),  # DistilBERT
    ("q", "k", "v"),  # T5
)
_GATED = (("gate_proj", "up_proj"), ("wi_0", "wi_1"))


def foldable(module: nn.Module, *, mlp: bool = True) -> list[tuple[str, tuple[str, ...]]]:
    """(block, names of its layers) of every group that can be computed as one product."""
    sets = (*_ATTENTION, *(_GATED if mlp else ()))
    return [
        (place, names)
        for place, block in module.named_modules()
        for names in sets
        if _alike([getattr(block, name, None) for name in names])
    ]


def fold(module: nn.Module, *, mlp: bool = True) -> int:
    """Rewrite the module in place; how many groups became one product. Exact up to the order of sums."""
    groups = foldable(module, mlp=mlp)
    for place, names in groups:
        block = module.get_submodule(place)
        together = Together([block.get_submodule(name) for name in names])
        for number, name in enumerate(names):
            setattr(block, name, _Part(together, number))
    return len(groups)


class Together(nn.Module):
    """One product in place of several. Whichever layer is asked first computes all; the others take
    their part when they are given the very same tensor.

    Layers that turn out to be given different inputs (cross-attention) are computed apart from then on.
    """

    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        self.sizes = [layer.out_features for layer in layers]
        self.joined = _joined(layers)
        self.apart = False
        self._input: Tensor | None = None
        self._parts: dict[int, Tensor] = {}

    def part(self, x: Tensor, number: int) -> Tensor:
        """(B…, O) of one layer."""
        if x is not self._input or number not in self._parts:
            self.apart = self.apart or bool(self._parts)
            self._input, self._parts = None, {}
            if self.apart:
                return self._alone(x, number)
            self._input, self._parts = x, dict(enumerate(self.joined(x).split(self.sizes, dim=-1)))
        made = self._parts.pop(number)
        if not self._parts:
            self._input = None
        return made

    def rows(self, number: int) -> slice:
        """Where the layer's outputs stand among all."""
        start = sum(self.sizes[:number])
        return slice(start, start + self.sizes[number])

    def _alone(self, x: Tensor, number: int) -> Tensor:
        rows, joined = self.rows(number), self.joined
        if not isinstance(joined, nn.Linear):
            return joined(x)[..., rows]  # type: ignore[no-any-return]
        return functional.linear(x, joined.weight[rows], None if joined.bias is None else joined.bias[rows])


class _Part(nn.Module):
    """Stands where the layer stood."""

    def __init__(self, together: Together, number: int) -> None:
        super().__init__()
        self.together, self.number = together, number
        self.in_features, self.out_features = together.joined.in_features, together.sizes[number]

    def forward(self, x: Tensor) -> Tensor:
        return self.together.part(x, self.number)

    @property
    def weight(self) -> Tensor:
        return self.together.joined.weight[self.together.rows(self.number)]


def _alike(layers: list[Any]) -> bool:
    """Whether the layers are of one kind, so that their rows can stand in one matrix."""
    first = layers[0]
    if type(first) not in (nn.Linear, QuantizedLinear) or any(
        type(layer) is not type(first) for layer in layers
    ):
        return False
    return len({_kind(layer) for layer in layers}) == 1


def _kind(layer: Any) -> tuple[Any, ...]:
    bias = layer.bias is not None
    if isinstance(layer, QuantizedLinear):
        return layer.in_features, bias, layer.bits, layer.group, layer.weight_zero_point is None
    return layer.in_features, bias, layer.weight.dtype, layer.weight.device


def _joined(layers: list[Any]) -> nn.Linear | QuantizedLinear:
    bias = None if layers[0].bias is None else torch.cat([layer.bias.detach() for layer in layers])
    if isinstance(layers[0], QuantizedLinear):
        return QuantizedLinear.of(_joined_codes([layer.codes() for layer in layers]), bias)
    weight = torch.cat([layer.weight.detach() for layer in layers])
    with torch.device("meta"):
        joined = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    joined.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        joined.bias = nn.Parameter(bias, requires_grad=False)
    return joined.eval()


def _joined_codes(each: list[Codes]) -> Codes:
    zeros = [codes.zero_OG for codes in each if codes.zero_OG is not None]
    return Codes(
        each[0].bits,
        each[0].group,
        torch.cat([codes.codes_OI for codes in each]),
        torch.cat([codes.scale_OG for codes in each]),
        torch.cat(zeros) if zeros else None,
    )
