"""Where the inputs of layers can be scaled without changing what a model computes: the scale goes into the
norm or the linear layer that makes them, and its inverse into the weights that read them.

Shape letters: O outputs, I inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiku.core.subject import Subject
from tiku.methods.quantize._calibration import SharedInput, forward, watching
from tiku.methods.quantize._calibration_texts import CalibrationTexts, batches
from tiku.methods.quantize._targets import Layer, patterns

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Fold", "find_folds"]

_PROBE_TOKENS = 32
_TOLERANCE = 1e-4  # of the largest logit


@dataclass(frozen=True, eq=False)
class Fold:
    """`producer` makes the tensor that a group of layers reads. `offset` is what the producer adds to its
    weight before it multiplies: 1 in Gemma's norms."""

    name: str
    producer: Any
    layer: Layer | None  # the producer as a linear layer, None for a norm
    offset: float = 0.0

    def divide(self, module: Any, scale_I: Tensor) -> None:
        """Let the producer's outputs come divided by the scale. In place; the linear layer may have been
        quantised in between, which a factor per output leaves exact."""
        from tiku.layers.quantized_linear import QuantizedLinear

        producer = module.get_submodule(self.name)
        if isinstance(producer, QuantizedLinear):
            producer.weight_scale = producer.weight_scale / scale_I[:, None]
        elif self.layer is not None:
            self.layer.set_weight(self.layer.weight() / scale_I[:, None])
        else:
            producer.weight.data = (producer.weight.data + self.offset) / scale_I - self.offset
        bias = getattr(producer, "bias", None)
        if bias is not None:
            bias.data = bias.data / scale_I


def find_folds(subject: Subject, groups: Sequence[SharedInput], texts: CalibrationTexts) -> dict[str, Fold]:
    """The fold of each group that has one, by the name of the group's first layer.

    A norm is a candidate if the group reads its very output, a linear layer if it stands beside the group
    and is as wide as the group's input. A candidate counts if drawn scales in it, and their inverses in
    the group, leave the model's answers as they are: so residual connections and activation functions
    between the two rule themselves out. Layers of one kind are tried together.
    """
    probe = _probe(subject, texts)
    kinds: dict[str, list[tuple[SharedInput, Fold]]] = {}
    for group, fold in _candidates(subject, groups, probe):
        key = patterns([f"{fold.name}.{group.layers[0].name}"])[0]
        kinds.setdefault(key, []).append((group, fold))
    found: dict[str, Fold] = {}
    for members in kinds.values():
        for offset in (0.0, 1.0):
            tried = [(g, Fold(f.name, f.producer, f.layer, offset)) for g, f in members]
            if any(g.layers[0].name in found for g, _ in tried) or (offset and tried[0][1].layer):
                break
            if _exact(subject, tried, probe):
                found |= {group.layers[0].name: fold for group, fold in tried}
    return found


def _probe(subject: Subject, texts: CalibrationTexts) -> dict[str, Any]:
    short = [{key: value[:_PROBE_TOKENS] for key, value in e.items()} for e in texts.encodings[:2]]
    return next(batches(subject, CalibrationTexts(short)))


def _candidates(
    subject: Subject, groups: Sequence[SharedInput], probe: dict[str, Any]
) -> Iterator[tuple[SharedInput, Fold]]:
    """Norms by the identity of tensors, then linear layers beside the group, the last first."""
    module = subject.module
    firsts = {group.layers[0].name: group for group in groups}
    read: dict[str, Any] = {}
    made: list[tuple[str, Any, Any]] = []
    norms = [(n, m) for n, m in module.named_modules() if _is_norm(m)]
    hooks = [
        norm.register_forward_hook(lambda m, _, out, name=name: made.append((name, m, out)))
        for name, norm in norms
    ]
    try:
        with watching([g.layers[0] for g in groups], lambda layer, x: read.setdefault(layer.name, x)):
            forward(module, probe)
    finally:
        for hook in hooks:
            hook.remove()
    linears = [layer for group in groups for layer in group.layers]
    for name, x in read.items():
        group = firsts[name]
        yield from ((group, Fold(n, norm, None)) for n, norm, out in made if out is x)
        parent = name.rpartition(".")[0]
        for layer in reversed(linears):
            beside = layer.name.rpartition(".")[0] == parent and layer not in group.layers
            if beside and layer.weight().shape[0] == group.inputs:
                yield group, Fold(layer.name, layer.module, layer)


def _is_norm(module: Any) -> bool:
    weight = getattr(module, "weight", None)
    return "norm" in type(module).__name__.lower() and weight is not None and weight.ndim == 1


def _exact(subject: Subject, folds: Sequence[tuple[SharedInput, Fold]], probe: dict[str, Any]) -> bool:
    """Whether drawn scales between half and double change the answers by no more than rounding."""
    import torch

    module = subject.module
    before = forward(module, probe)
    draw = torch.Generator().manual_seed(0)
    with _restored(folds):
        for group, fold in folds:
            scale = torch.exp2(2 * torch.rand(group.inputs, generator=draw) - 1)
            fold.divide(module, scale)
            for layer in group.layers:
                layer.set_weight(layer.weight() * scale)
        after = forward(module, probe)
    return float((after - before).abs().max()) <= _TOLERANCE * max(1e-6, float(before.abs().max()))


@contextmanager
def _restored(folds: Sequence[tuple[SharedInput, Fold]]) -> Iterator[None]:
    """All weights as they were when the block ends."""
    touched = [fold.producer for _, fold in folds]
    touched += [layer.module for group, _ in folds for layer in group.layers]
    kept = [(p, p.data.clone()) for part in touched for p in part.parameters(recurse=False)]
    try:
        yield
    finally:
        for parameter, data in kept:
            parameter.data = data
