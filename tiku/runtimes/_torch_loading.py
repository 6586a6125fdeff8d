"""What a folder of the torch runtime holds: opened here, and by the source that needs no tiku."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiku.core.errors import ArtefactError, ModelError
from tiku.runtimes._compressed_tensors import SCALED_AFTERWARDS, STANDALONE, is_packed, loading_arguments
from tiku.runtimes._explain import first_line
from tiku.runtimes._storage import fill, is_compressed, is_narrow, read_weights, reader

__all__ = ["import_architecture", "load_module", "standalone_source"]

_AUTO_CLASSES = {
    "text-classification": "AutoModelForSequenceClassification",
    "causal-lm": "AutoModelForCausalLM",
}

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
    task: str,
    family: str,
    *,
    packed: bool = False,
    scaled_afterwards: bool = False,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Source that opens and runs the folder with torch (and transformers) alone."""
    reading = reader(options or {})
    if packed:
        after = SCALED_AFTERWARDS if scaled_afterwards else ""
        return STANDALONE.format(auto=_AUTO_CLASSES[task]) + after + reading + _FORWARD
    if family == "torch-module":
        return _OWN_FUNCTION + reading + (_OWN_COMPRESSED if reading else "") + _FORWARD
    opening = _COMPRESSED if reading else _TRANSFORMERS
    return opening.format(auto=_AUTO_CLASSES[task]) + reading + _FORWARD


def import_architecture(folder: Path) -> None:
    """Import the code of a transformers model, which comes with a thousand modules. A user's own function is
    imported with the processor that it gives."""
    if (folder / _REFERENCE).is_file():
        return
    import transformers

    for name in json.loads((folder / "config.json").read_bytes()).get("architectures") or ():
        getattr(transformers, name, None)


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
    if is_compressed(folder) or (not given and is_narrow(folder, dtype)):
        return _from_read(folder, task, given, dtype)
    module = getattr(transformers, _AUTO_CLASSES[task]).from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        **given,
    )
    return module.eval()


def _from_read(folder: Path, task: str, given: Mapping[str, Any], dtype: str) -> Any:
    """The same from weights that cannot be mapped: decoded or widened, then taken over as they are."""
    import torch
    import transformers

    config = given.get("config") or transformers.AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    with torch.device("meta"):
        architecture = type(getattr(transformers, _AUTO_CLASSES[task]).from_config(config))
    module = architecture.from_pretrained(
        None, config=config, state_dict=read_weights(folder, dtype), dtype=getattr(torch, dtype)
    )
    if (folder / "generation_config.json").is_file():
        module.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    return module.eval()
