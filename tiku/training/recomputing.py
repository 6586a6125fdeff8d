"""Activations recomputed in the backward pass instead of kept (Chen et al. 2016)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["recomputing", "repeated_blocks"]

_CACHES = ("past_key_values", "past_key_value", "layer_past")  # a second pass would write into them again


def repeated_blocks(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The blocks of every outermost list of two or more modules of one class."""
    from torch import nn

    found: list[nn.Module] = []
    for child in module.children():
        members = list(child.children()) if isinstance(child, nn.ModuleList | nn.Sequential) else []
        if len(members) > 1 and len({type(member) for member in members}) == 1 and _has_weights(members[0]):
            found += members
        else:
            found += repeated_blocks(child)
    return found


@contextmanager
def recomputing(module: torch.nn.Module, *, on: bool = True) -> Iterator[int]:
    """While it lasts, each repeated block keeps its inputs only, and runs again when its gradient is due.

    The gradients are those of the plain pass: dropout draws the same numbers again. Gives the number of
    blocks; with `on` False, 0, and nothing is changed.
    """
    blocks = repeated_blocks(module) if on else []
    for block in blocks:
        block.forward = _recomputed(block, block.forward)
    try:
        yield len(blocks)
    finally:
        for block in blocks:
            del block.forward  # the class's own is seen again


def _recomputed(block: torch.nn.Module, plain: Callable[..., Any]) -> Callable[..., Any]:
    from torch import is_grad_enabled
    from torch.utils.checkpoint import checkpoint

    @functools.wraps(plain)
    def forward(*args: Any, **kwargs: Any) -> Any:
        if not (block.training and is_grad_enabled()):
            return plain(*args, **kwargs)
        without = {name: None if name in _CACHES else value for name, value in kwargs.items()}
        block_with = functools.partial(plain, **without)
        return checkpoint(block_with, *args, use_reentrant=False, preserve_rng_state=True)

    return forward


def _has_weights(module: torch.nn.Module) -> bool:
    return next(module.parameters(), None) is not None
