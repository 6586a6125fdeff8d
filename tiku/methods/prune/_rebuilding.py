"""The smaller network: a new module of the same class from the changed config, filled with what was kept.

Attributes such as the number of heads then come from the config, as they do when transformers loads
the saved folder.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ModelError

if TYPE_CHECKING:
    import torch

__all__ = ["empty_network", "fill", "valid", "with_fields"]


def with_fields(config: Any, fields: Mapping[str, Any]) -> Any:
    """A copy of the config with other values."""
    changed = copy.deepcopy(config)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def valid(config: Any) -> bool:
    """Whether transformers would read this config from a file: some check divisibility there."""
    try:
        type(config).from_dict(config.to_dict())
    except Exception:  # each version raises its own
        return False
    return True


def empty_network(module: Any, config: Any) -> Any:
    """A module of the same class, number format and attention code; its weights are to be filled."""
    import torch

    with torch.random.fork_rng(devices=[]):
        network = type(module)(config)
    generation = getattr(module, "generation_config", None)
    if generation is not None:
        network.generation_config = copy.deepcopy(generation)
    return network.to(next(module.parameters()).dtype).train(module.training)


def fill(network: Any, state: Mapping[str, torch.Tensor]) -> Any:
    """Load the kept weights. Raises `ModelError` where config and weights do not fit together."""
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ModelError(
            "the cut weights do not have the shapes that the changed config describes",
            got=str(error).splitlines()[-1].strip(),
            allowed="architectures whose sizes follow from the fields of their config",
            next_step="leave this pruning out for this model",
        ) from error
    return network
