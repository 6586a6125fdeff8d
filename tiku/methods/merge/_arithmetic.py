"""Arithmetic on named weights: {name: tensor}, computed in float32 and written back in their own format."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

__all__ = [
    "Weights",
    "combined",
    "disjoint_mean",
    "elected_signs",
    "mean",
    "minus",
    "slerp",
    "trimmed",
    "weights_of",
    "with_weights",
]

Weights = Mapping[str, Tensor]

_NEARLY_PARALLEL = 0.9995  # cosine; above it sin(angle) is too small to divide by, and the arc is straight


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and float buffers, without copying; of tied weights the first name stands for all."""
    everything = (*module.named_parameters(), *module.named_buffers())
    kept = module.state_dict()
    return {
        name: tensor.detach() for name, tensor in everything if name in kept and tensor.is_floating_point()
    }


def with_weights(module: nn.Module, weights: Weights) -> nn.Module:
    """A copy of the module that holds these weights; others stay its own."""
    made = copy.deepcopy(module)
    own = made.state_dict()
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(tensor)
    return made.eval()


def combined(function: Callable[..., Tensor], *each: Weights) -> dict[str, Tensor]:
    """`function` of the tensors of one name, for every name of the first."""
    with torch.no_grad():
        return {name: function(*(weights[name].float() for weights in each)) for name in each[0]}


def mean(each: Sequence[Weights]) -> dict[str, Tensor]:
    """The plain average. Tensors that are equal in all models stay as they are, bit for bit."""
    return combined(_mean, *each)


def minus(a: Weights, b: Weights) -> dict[str, Tensor]:
    """a - b: with b the common ancestor, the task vector of a."""
    return combined(lambda x, y: x - y, a, b)


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """On the arc from a (t = 0) to b (t = 1): sin((1-t)w)/sin(w) a + sin(tw)/sin(w) b, with w the angle
    between them as vectors (Shoemake 1985). A straight line where they are nearly parallel or zero."""
    lengths = float(a.double().norm() * b.double().norm())
    cosine = float((a.double() * b.double()).sum()) / lengths if lengths else 1.0
    if abs(cosine) > _NEARLY_PARALLEL:
        return a + t * (b - a)
    angle = math.acos(cosine)
    return (math.sin((1 - t) * angle) * a + math.sin(t * angle) * b) / math.sin(angle)


def trimmed(task: Weights, density: float) -> dict[str, Tensor]:
    """The largest share `density` of all values by size, over the whole task vector; the rest zero."""
    sizes = torch.cat([tensor.abs().flatten() for tensor in task.values()])
    kept = max(1, round(density * sizes.numel()))
    least = sizes.kthvalue(sizes.numel() - kept + 1).values
    return {name: torch.where(tensor.abs() >= least, tensor, 0.0) for name, tensor in task.items()}


def elected_signs(tasks_KX: Tensor) -> Tensor:
    """The sign with the larger total, value by value; K models."""
    return tasks_KX.sum(0).sign()


def disjoint_mean(*tasks: Tensor) -> Tensor:
    """Mean over the values that are not zero and have the elected sign; 0 where none has."""
    tasks_KX = torch.stack(tasks)
    agree = (tasks_KX.sign() == elected_signs(tasks_KX)) & (tasks_KX != 0)
    total, count = (tasks_KX * agree).sum(0), agree.sum(0).clamp(min=1)
    merged: Tensor = total / count
    return merged


def _mean(first: Tensor, *others: Tensor) -> Tensor:
    total = torch.zeros_like(first)
    for other in others:
        total += other - first
    return first + total / (1 + len(others))
