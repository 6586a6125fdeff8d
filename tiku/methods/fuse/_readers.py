"""Who reads what a normalisation gives, seen by running the model once: architectures need no table.

A norm can hand its scale to others only if linear layers alone read its output: a residual sum that
reads it too would see the scale missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Reading", "is_norm", "readings"]


@dataclass
class Reading:
    """What was seen of one norm: the linear layers that read its output, by name, and the operators
    that do so beside them."""

    layers: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)


def is_norm(part: nn.Module) -> bool:
    """Whether this is a layer norm or RMS norm with a scale of its own."""
    if isinstance(part, nn.LayerNorm):
        return part.weight is not None
    scale = getattr(part, "weight", None)
    own = len(list(part.parameters())) == 1 and isinstance(scale, Tensor) and scale.ndim == 1
    return own and type(part).__name__.endswith("RMSNorm")


def readings(
    module: nn.Module, inputs: Mapping[str, Tensor]
) -> tuple[dict[str, Reading], dict[str, set[str]]]:
    """Run the module once. By norm: who read it; by linear layer: the norms it read, "" for anything else."""
    watch = _Watch(module)
    hooks = [
        part.register_forward_hook(watch.output_of(name))
        for name, part in module.named_modules()
        if is_norm(part)
    ]
    try:
        with torch.no_grad(), watch:
            module(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return watch.norms, watch.layers


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator. Tensors are told apart by their memory, so that views count as what they show."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.norms = {name: Reading() for name, part in module.named_modules() if is_norm(part)}
        self.layers: dict[str, set[str]] = {}
        self._weights = {_place(part.weight): name for name, part in _linear_layers(module)}
        self._fixed = {_place(tensor) for tensor in (*module.parameters(), *module.buffers())}
        self._outputs: dict[int, str] = {}
        self._held: list[Tensor] = []  # kept, so that no later tensor gets their memory

    def output_of(self, name: str) -> Any:
        def hook(part: nn.Module, given: Any, made: Tensor) -> None:
            self._held.append(made)
            self._outputs[_place(made)] = name

        return hook

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not func.is_view:
            self._record(func, {_place(tensor) for tensor in read})
        return made

    def _record(self, func: Any, places: set[int]) -> None:
        norms = {self._outputs[place] for place in places if place in self._outputs}
        layers = {self._weights[place] for place in places if place in self._weights}
        if len(layers) == 1 and len(places - self._fixed) == 1:
            layer = layers.pop()
            self.layers.setdefault(layer, set()).update(norms or {""})
            for norm in norms:
                self.norms[norm].layers.add(layer)
            return
        for layer in layers:  # read in a way that is not a product with one input
            self.layers.setdefault(layer, set()).add("")
        for norm in norms:
            self.norms[norm].others.add(str(func))


def _linear_layers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    from transformers.pytorch_utils import Conv1D

    return ((name, part) for name, part in module.named_modules() if isinstance(part, nn.Linear | Conv1D))


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
