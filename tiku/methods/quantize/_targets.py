"""Which layers of a model are stored in few bits, and why the others are not.

Shape letters: O outputs, I inputs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ModelError
from tiku.core.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Layer", "Targets", "find_targets", "patterns"]

_EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_ROUTER = re.compile(r"(^|\.)(router|gate|wg|shared_expert_gate)(\.|$)")
HEAD, ROUTER, SHARED, KEPT, OTHER = (
    "output head",
    "router of experts",
    "shares its weights with another module",
    "the architecture keeps it in float32",
    "a linear layer of another kind",
)


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer by name. `transposed`: it stores its weight as (I, O), as transformers' `Conv1D`."""

    name: str
    module: Any
    transposed: bool
    head: bool = False

    def weight(self) -> Tensor:
        """The weight as float32 (O, I), detached; for float32 layers a view."""
        weight: Tensor = self.module.weight.detach().float()
        return weight.T if self.transposed else weight

    @property
    def bias(self) -> Tensor | None:
        bias: Tensor | None = self.module.bias
        return None if bias is None else bias.detach()

    @property
    def inputs(self) -> int:
        """Input features."""
        return int(self.module.weight.shape[0 if self.transposed else 1])

    def set_weight(self, weight_OI: Tensor) -> None:
        """Put in other weights. In place."""
        self.module.weight.data.copy_(weight_OI.T if self.transposed else weight_OI)


@dataclass(frozen=True, eq=False)
class Targets:
    """The layers to quantise, in the module's order; `skipped` has a reason for each of the others."""

    layers: tuple[Layer, ...]
    skipped: Mapping[str, str]

    def skipped_patterns(self) -> dict[str, list[str]]:
        """Reasons with the names they hold for, numbers of layers replaced by a star."""
        return {
            reason: patterns(name for name, why in self.skipped.items() if why == reason)
            for reason in sorted(set(self.skipped.values()))
        }


def find_targets(subject: Subject, *, quantize_head: bool = False) -> Targets:
    """Linear layers of the body (and of the head, if asked). Embeddings and norms are no linear layers;
    weights that several modules share stay shared. Raises `ModelError` on weights that are not finite."""
    module = subject.module
    heads = _head_names(subject)
    owners = Counter(id(p) for _, _, p in _owned_parameters(module))
    found: list[Layer] = []
    skipped: dict[str, str] = {}
    for name, part, transposed in _linear_layers(module, skipped):
        head = name in heads
        reason = _reason(module, name, part, head=head, asked=quantize_head, owners=owners)
        if reason:
            skipped[name] = reason
        else:
            found.append(Layer(name, part, transposed, head))
    _check_finite(found)
    return Targets(tuple(found), skipped)


def patterns(names: Iterable[str]) -> list[str]:
    """Names with numbers replaced by a star, each pattern once with its count where that is above one."""
    counts = Counter(re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) for name in names)
    return [f"{pattern} ({n})" if n > 1 else pattern for pattern, n in counts.items()]


def _linear_layers(module: Any, skipped: dict[str, str]) -> Iterator[tuple[str, Any, bool]]:
    """(name, layer, transposed). Subclasses of `Linear` may compute something else: they go to `skipped`."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    for name, part in module.named_modules():
        if type(part) in (nn.Linear, Conv1D):
            yield name, part, type(part) is Conv1D
        elif isinstance(part, nn.Linear | Conv1D):
            skipped[name] = OTHER


def _reason(
    module: Any, name: str, part: Any, *, head: bool, asked: bool, owners: Mapping[int, int]
) -> str | None:
    if head:
        return None if asked else HEAD
    if owners[id(part.weight)] > 1:
        return SHARED
    if _is_router(module, name, part):
        return ROUTER
    kept = getattr(module, "_keep_in_fp32_modules", None) or ()
    return KEPT if any(key in name.split(".") for key in kept) else None


def _is_router(module: Any, name: str, part: Any) -> bool:
    """A gate that scores experts: named so, and as wide as there are experts (one: a shared expert)."""
    if not _ROUTER.search(name):
        return False
    config: Any = getattr(module, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    experts = {getattr(text, key, None) for key in _EXPERT_COUNTS} - {None}
    return "router" in name or (bool(experts) and part.weight.shape[0] in {1, *experts})


def _owned_parameters(module: Any) -> Iterator[tuple[str, str, Any]]:
    """Every place in which a parameter is registered, also the second of a module with two names."""
    for name, part in module.named_modules(remove_duplicate=False):
        for key, parameter in part.named_parameters(recurse=False):
            yield name, key, parameter


def _head_names(subject: Subject) -> set[str]:
    """The layers that give the logits: what lies outside a transformers body, else the last linear layer."""
    module = subject.module
    linears = [name for name, _, _ in _linear_layers(module, {})]
    body = getattr(module, "base_model", module)
    if body is module:
        return set(linears[-1:])
    inside = {id(part) for part in body.modules()}
    return {name for name in linears if id(module.get_submodule(name)) not in inside}


def _check_finite(layers: Iterable[Layer]) -> None:
    import torch

    for layer in layers:
        if not torch.isfinite(layer.module.weight).all():
            raise ModelError(
                "a weight is not a finite number",
                got=f"{layer.name}.weight",
                allowed="finite weights",
                next_step="load or train the model again",
            )
