"""Which learning rate and which weight decay a parameter gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tiku.training.options import TrainOptions

if TYPE_CHECKING:
    import torch

__all__ = ["depths", "parameter_groups", "peak_rate", "rate_factor"]

_RATE_TIMES_WIDTH = 0.0768
_LARGEST_RATE = 1e-3


def depths(module: torch.nn.Module) -> dict[str, int]:
    """Trainable parameter name -> depth: 0 before the stack of layers, 1 … n in it, n + 1 after it.

    The stack is the longest `ModuleList`; "before" and "after" follow the order of registration. A
    module without one has depth 0 throughout.
    """
    prefix, size = _stack(module)
    names = [name for name, p in module.named_parameters() if p.requires_grad]
    found: dict[str, int] = {}
    passed = False
    for name in names:
        if prefix is not None and name.startswith(f"{prefix}."):
            passed = True
            found[name] = int(name[len(prefix) + 1 :].split(".")[0]) + 1
        else:
            found[name] = size + 1 if passed else 0
    return found


def _stack(module: torch.nn.Module) -> tuple[str | None, int]:
    from torch.nn import ModuleList

    lists = [(name, len(part)) for name, part in module.named_modules() if isinstance(part, ModuleList)]
    return max(lists, key=lambda entry: entry[1], default=(None, 0))


def peak_rate(module: torch.nn.Module, wanted: float | None) -> float:
    """The rate asked for, or 0.0768 over the hidden size, 0.001 at most.

    Adam's best rate falls with the width (Yang et al. 2022). The constant is ELECTRA's (Clark et al.
    2020: 3e-4 at 256, 1e-4 at 768). A module whose width is not known trains at 0.001.
    """
    if wanted is not None:
        return wanted
    config: Any = getattr(module, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    width = getattr(text, "hidden_size", None)
    return min(_LARGEST_RATE, _RATE_TIMES_WIDTH / width) if isinstance(width, int) else _LARGEST_RATE


def parameter_groups(module: torch.nn.Module, options: TrainOptions) -> list[dict[str, Any]]:
    """Groups for AdamW, with their peak rate as "peak".

    The rate falls by `layer_decay` per layer from the top (Howard & Ruder 2018; Clark et al. 2020).
    Vectors (biases, norms) are not decayed.
    """
    depth = depths(module)
    top = max(depth.values(), default=0)
    highest = peak_rate(module, options.learning_rate)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in _trainable(module):
        decayed = parameter.ndim >= 2
        peak = highest * options.layer_decay ** (top - depth[name])
        group = groups.setdefault(
            (depth[name], decayed),
            {
                "params": [],
                "lr": peak,
                "peak": peak,
                "weight_decay": options.weight_decay if decayed else 0.0,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


def _trainable(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    return ((name, p) for name, p in module.named_parameters() if p.requires_grad)


def rate_factor(step: int, steps: int, options: TrainOptions) -> float:
    """Learning rate of a step (0 … steps - 1) over its peak: up over the warm-up, then down to zero."""
    import math

    done = (step + 0.5) / steps
    if done < options.warmup:
        return done / options.warmup
    left = (1.0 - done) / (1.0 - options.warmup)
    return left if options.decay == "linear" else 0.5 * (1.0 - math.cos(math.pi * left))
