"""A decoder that stops after its first layers: the same weights, the same head, less work."""

from __future__ import annotations

import copy
from typing import Any

from tiku.core.errors import CannotMeasure

__all__ = ["first_layers", "layer_list"]


def layer_list(module: Any) -> str | None:
    """The name of the list of layers in the module's body; None where there is not exactly one."""
    from torch import nn

    body = getattr(module, "base_model", None)
    config = getattr(module, "config", None)
    if body is None or body is module or config is None:
        return None
    count = getattr(config, "num_hidden_layers", None)
    found = [n for n, c in body.named_children() if isinstance(c, nn.ModuleList) and len(c) == count]
    return found[0] if len(found) == 1 else None


def first_layers(module: Any, count: int) -> Any:
    """A view of the module with `count` layers; every parameter is the module's own.

    Raises `CannotMeasure` where its layers are not one list.
    """
    from torch import nn

    name = layer_list(module)
    if name is None or not 1 <= count <= module.config.num_hidden_layers:
        raise CannotMeasure(
            "this model cannot stop after its first layers",
            got=f"{type(module).__name__}, {count} layers",
            allowed="decoders whose layers are one list, and at most as many layers as it has",
            next_step="decode without a draft, or with prompt-lookup",
        )
    config = copy.deepcopy(module.config)
    config.num_hidden_layers = count
    if getattr(config, "layer_types", None):
        config.layer_types = list(config.layer_types)[:count]
    body = _shallow(module.base_model, config)
    body._modules[name] = nn.ModuleList(list(getattr(module.base_model, name))[:count])
    view = _shallow(module, config)
    view._modules[module.base_model_prefix] = body
    return view


def _shallow(module: Any, config: Any) -> Any:
    view = copy.copy(module)
    view._modules = dict(module._modules)
    view.config = config
    return view
