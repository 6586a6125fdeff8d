"""How much memory a forward pass holds at its height, found without computing it.

torch's fake tensors carry shapes and no numbers; every kernel is asked only what it would return. A weak
reference on each storage tells when it would have been freed.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tiku.core.errors import CannotMeasure

__all__ = ["Pass", "imagined", "run"]


@dataclass(frozen=True)
class Pass:
    """Bytes: `peak` of everything the pass allocates, and `cache`, what it hands to the next token."""

    peak: int
    cache: int


@contextmanager
def imagined(auto: Any, config: Any) -> Iterator[Any]:
    """The model of a config with weights that take no memory. Raises `CannotMeasure`."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        try:
            module = auto.from_config(config, dtype=torch.float32).eval()
        except Exception as error:  # an architecture may compute with the values of its weights
            raise _cannot(config, error) from error
        yield module


def run(module: Any, batch: int, tokens: int, keep_cache: bool) -> Pass:
    """One forward pass of `module`, made by `imagined`, over whole rows. Raises `CannotMeasure`."""
    import torch

    shape = {"input_ids": torch.ones(batch, tokens, dtype=torch.long)}
    masked = {**shape, "attention_mask": torch.ones(batch, tokens, dtype=torch.long)}
    accepted = inspect.signature(module.forward).parameters
    given: dict[str, Any] = {"use_cache": keep_cache} if "use_cache" in accepted else {}
    if keep_cache and "logits_to_keep" in accepted:
        given["logits_to_keep"] = 1
    try:
        return _counted(module, {**masked, **given})
    except Exception:  # some architectures look into the mask, whose numbers nobody knows
        pass
    try:
        return _counted(module, {**shape, **given})
    except Exception as error:
        raise _cannot(module.config, error) from error


def _cannot(config: Any, error: Exception) -> CannotMeasure:
    return CannotMeasure(
        "the memory of this architecture cannot be told without running it",
        got=f"{config.model_type}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
        next_step="measure it instead: tiku ask memory MODEL --data DATA",
    )


def _counted(module: Any, inputs: Mapping[str, Any]) -> Pass:
    counter = _counter(module)
    with counter:
        output = module(**inputs)
    peak = counter.peak
    kept = {name: value for name, value in output.items() if name in ("past_key_values", "cache_params")}
    del output
    cache = counter.now if any(value is not None for value in kept.values()) else 0
    return Pass(peak, cache)


def _counter(module: Any) -> Any:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.now, self.peak = 0, 0
            own = (*module.parameters(), *module.buffers())
            self._live = {tensor.untyped_storage()._cdata: 0 for tensor in own}

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            for leaf in tree_leaves(made):
                if isinstance(leaf, torch.Tensor):
                    self._see(leaf.untyped_storage())
            return made

        def _see(self, storage: Any) -> None:
            key = storage._cdata
            if key not in self._live:
                self._live[key] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._forget, key)

        def _forget(self, key: int) -> None:
            self.now -= self._live.pop(key, 0)

    return Counter()
