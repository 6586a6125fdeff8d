"""A torch module that runs: eager or compiled, on the CPU or a GPU."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ArtefactError, CannotMeasure, ModelError
from tiku.core.subject import Rows, Session
from tiku.runtimes._compressed_tensors import STANDALONE, is_packed, loading_arguments
from tiku.runtimes._cropping import crop_cache
from tiku.runtimes._explain import first_line
from tiku.runtimes._storage import fill, is_compressed, read_weights, reader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["TorchSession", "load_module", "resolve_device", "standalone_source"]

_AUTO_CLASSES = {
    "text-classification": "AutoModelForSequenceClassification",
    "causal-lm": "AutoModelForCausalLM",
}

# What the state is called that a forward pass takes and gives: attention, Mamba, RWKV.
_CACHES = ("past_key_values", "cache_params", "state")

_REFERENCE = "reference.json"  # written by the family torch-module: which function builds the module

_TRANSFORMERS = """\
import torch
from transformers import {auto}


def open_model(folder):
    return {auto}.from_pretrained(folder, dtype=torch.float32).eval()


"""

_OWN_FUNCTION = """\
import importlib
import inspect
import json
import pathlib

import torch
from safetensors.torch import load_model


def open_model(folder):
    note = json.loads(pathlib.Path(folder, "reference.json").read_text("utf-8"))
    module_name, function_name = note["reference"].split(":")
    function = getattr(importlib.import_module(module_name), function_name)
    takes_labels = "labels" in inspect.signature(function).parameters
    module, processor = function(labels=note["labels"]) if takes_labels else function()
    load_model(module, pathlib.Path(folder, "model.safetensors"))
    return module.eval()


"""

_COMPRESSED = """\
import pathlib

import torch
from transformers import AutoConfig, {auto}


def open_model(folder):
    stored = dict()
    for path in pathlib.Path(folder).glob("*.safetensors"):
        stored.update(load_file(path))
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        architecture = type({auto}.from_config(config))
    return architecture.from_pretrained(None, config=config, state_dict=stored, dtype=torch.float32).eval()


"""

_OWN_COMPRESSED = """\
def load_model(module, path):
    module.load_state_dict(load_file(next(path.parent.glob("*.safetensors"))), strict=False)


"""

_FORWARD = """\
def forward(model, inputs):
    with torch.inference_mode():
        output = model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return getattr(output, "logits", output).float().numpy()
"""


def standalone_source(
    task: str, family: str, *, packed: bool = False, options: Mapping[str, Any] | None = None
) -> str:
    """Source that opens and runs the folder with torch (and transformers) alone."""
    reading = reader(options or {})
    if packed:
        return STANDALONE.format(auto=_AUTO_CLASSES[task]) + reading + _FORWARD
    if family == "torch-module":
        return _OWN_FUNCTION + reading + (_OWN_COMPRESSED if reading else "") + _FORWARD
    opening = _COMPRESSED if reading else _TRANSFORMERS
    return opening.format(auto=_AUTO_CLASSES[task]) + reading + _FORWARD


def resolve_device(device: str) -> str:
    """ "auto" becomes "cuda" where there is a GPU, else "cpu". Raises `ArtefactError`."""
    import torch

    available = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if available else "cpu"
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not available):
        raise ArtefactError(
            "there is no such device here",
            got=device,
            allowed="auto, cpu, cuda" if available else "auto, cpu",
            next_step="leave the device at auto",
        )
    return device


def load_module(folder: Path, task: str, dtype: str = "float32") -> Any:
    """The module in eval mode, from what `Family.save` wrote; `dtype` is torch's name of the number format
    that a transformers model is to compute in. Raises `ArtefactError`."""
    try:
        if (folder / _REFERENCE).is_file():
            return _from_reference(folder)
        return _from_transformers(folder, task, dtype)
    except (ModelError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise ArtefactError(
            "the model of this artefact cannot be opened",
            got=f"{folder}: {first_line(error)}",
            allowed="the files as tiku wrote them",
            next_step="build the artefact again",
        ) from error


def _from_reference(folder: Path) -> Any:
    """The user's function builds the module again, and the saved weights are put into it."""
    from safetensors.torch import load_model

    from tiku.core import registry

    note = json.loads((folder / _REFERENCE).read_bytes())
    family = registry.get("models", "torch-module")
    module = family.load(note["reference"], labels=tuple(note["labels"]), cache=folder).module
    if is_compressed(folder):
        fill(module, read_weights(folder))
    else:
        load_model(module, str(folder / "model.safetensors"))
    return module.eval()


def _from_transformers(folder: Path, task: str, dtype: str) -> Any:
    import torch
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    given = loading_arguments(folder) if is_packed(folder) else {}
    if is_compressed(folder):
        return _from_compressed(folder, task, given, dtype)
    module = getattr(transformers, _AUTO_CLASSES[task]).from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        **given,
    )
    return module.eval()


def _from_compressed(folder: Path, task: str, given: Mapping[str, Any], dtype: str) -> Any:
    """The same from entropy-coded weights: they are decoded, then taken over without a copy."""
    import torch
    import transformers

    config = given.get("config") or transformers.AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    with torch.device("meta"):
        architecture = type(getattr(transformers, _AUTO_CLASSES[task]).from_config(config))
    module = architecture.from_pretrained(
        None, config=config, state_dict=read_weights(folder), dtype=getattr(torch, dtype)
    )
    if (folder / "generation_config.json").is_file():
        module.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    return module.eval()


class TorchSession(Session):
    """Runs `module`. `call` is what is called: the module itself, or its compiled form.

    A recurrent state is carried from token to token: recurrent layers start anew when they are given
    several at once.

    The thread count is torch's own and belongs to the process, so it is set again before each run:
    two sessions with different counts can alternate. `close` puts back the count found at the start.
    """

    def __init__(
        self,
        runtime: str,
        module: Any,
        *,
        threads: int,
        device: str,
        call: Any = None,
        cache_format: str = "fp32",
    ) -> None:
        import torch

        self.runtime = runtime
        self.cache_format = cache_format
        self.device = resolve_device(device)
        self.module = module.to(self.device)
        self._call = self.module if call is None else call
        self._threads = threads
        self._threads_before = torch.get_num_threads()
        accepted = inspect.signature(module.forward).parameters
        self._cache = next((name for name in _CACHES if name in accepted), None)
        self._last_only = next((n for n in ("logits_to_keep", "num_logits_to_keep") if n in accepted), None)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        import torch

        self._set_threads()
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(self.device) for name, array in inputs.items()}
            return self._to_numpy(self._call(**tensors))

    def extend(
        self, tokens_BT: NDArray[np.int64], cache: Any = None, *, last_only: bool = False
    ) -> tuple[NDArray[np.float32], Any]:
        import numpy as np
        import torch

        if self._cache is None or not getattr(getattr(self.module, "config", None), "use_cache", False):
            raise self._no_cache("set use_cache in config.json, or choose a model that can")
        self._set_threads()
        cache = self._empty_cache() if cache is None else cache
        tokens = tokens_BT.shape[1]
        one_by_one = cache is not None and getattr(self.module, "_is_stateful", False)
        logits = []
        with torch.inference_mode():
            for part in np.array_split(tokens_BT, tokens, axis=1) if one_by_one else [tokens_BT]:
                made, cache = self._step(part, cache, last_only=last_only)
                logits.append(made)
        joined = np.concatenate(logits, axis=1)
        return (joined[:, -1:] if last_only else joined), cache

    def _empty_cache(self) -> Any:
        """None: the model makes its own."""
        if self.cache_format == "fp32":
            return None
        from tiku.runtimes._int8_cache import Int8Cache

        return Int8Cache()

    def crop(self, cache: Any, length: int) -> Any:
        return crop_cache(self.module, cache, length)

    def rows(self, longest: Sequence[int]) -> Rows:
        from tiku.runtimes._torch_rows import TorchRows

        return TorchRows(self.module, self._forward_rows, self.device, longest, self.cache_format)

    def _forward_rows(self, inputs: Mapping[str, Any]) -> NDArray[np.float32]:
        import torch

        self._set_threads()
        keep = {self._last_only: 1} if self._last_only else {}
        with torch.inference_mode():
            return self._to_numpy(self._call(**inputs, use_cache=True, **keep))[:, -1]

    def _step(
        self, tokens_BT: NDArray[np.int64], cache: Any, *, last_only: bool
    ) -> tuple[NDArray[np.float32], Any]:
        import torch

        assert self._cache is not None
        keep = {self._last_only: 1} if last_only and self._last_only else {}
        ids = torch.from_numpy(tokens_BT).to(self.device)
        output = self._call(input_ids=ids, use_cache=True, **{self._cache: cache}, **keep)
        after = getattr(output, self._cache, None)
        if after is None:  # RecurrentGemma keeps its state in its own layers
            raise self._no_cache("choose a model that hands its cache out")
        return self._to_numpy(output), after

    def _no_cache(self, next_step: str) -> CannotMeasure:
        return CannotMeasure(
            "this model keeps no key/value cache", got=type(self.module).__name__, next_step=next_step
        )

    def close(self) -> None:
        import torch

        torch.set_num_threads(self._threads_before)

    def _set_threads(self) -> None:
        import torch

        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    def _to_numpy(self, output: Any) -> NDArray[np.float32]:
        logits = output if hasattr(output, "detach") else output.logits
        array: NDArray[np.float32] = logits.float().cpu().numpy()
        return array
