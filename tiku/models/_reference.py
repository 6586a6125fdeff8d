"""Calling the user's `package.module:function`."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from types import ModuleType
from typing import Any

from tiku.core.errors import ModelError
from tiku.core.registry import closest

__all__ = ["call", "unfit"]


def call(source: str, labels: tuple[str, ...]) -> Any:
    """What the function returns; it is given `labels` when it takes them. Raises `ModelError`.

    The module is looked up on the import path and in the current folder.
    """
    module_name, _, function_name = source.partition(":")
    module = _module(source, module_name)
    function = getattr(module, function_name, None)
    if not callable(function):
        public = [name for name, value in vars(module).items() if callable(value) and name[0] != "_"]
        raise ModelError(
            "the module has no function of this name",
            got=source,
            allowed=public or "a function",
            next_step=closest(function_name, public) or "check the name after the colon",
        )
    try:
        takes_labels = "labels" in inspect.signature(function).parameters
        return function(labels=labels) if takes_labels else function()
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ModelError(
            "the function that builds the model raised an error",
            got=f"{source}: {type(error).__name__}: {error}",
            allowed="a function that returns (module, processor) or a Subject",
            next_step=f"run it alone: python -c 'import {module_name}; {module_name}.{function_name}()'",
        ) from error


def unfit(source: str, got: str, allowed: str) -> ModelError:
    """The error for a function that returned something else."""
    return ModelError(
        "the function returned something that cannot be examined",
        got=f"{source} gave {got}",
        allowed=allowed,
        next_step="see the contract in the documentation of tiku.models.torch_module",
    )


def _module(source: str, name: str) -> ModuleType:
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # importing runs the user's code
        absent = isinstance(error, ModuleNotFoundError) and (error.name or "") == name.split(".")[0]
        raise ModelError(
            "there is no Python module of this name" if absent else "importing the module failed",
            got=f"{source}: {type(error).__name__}: {error}",
            allowed="a module on the import path or in the current folder",
            next_step=f"run it alone: python -c 'import {name}'",
        ) from error
    finally:
        sys.path.remove(here)
