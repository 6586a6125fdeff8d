"""Transformers folders whose linear layers are stored in few bits: the format "pack-quantized" of
compressed-tensors, which transformers and vLLM read with the package of that name.

tiku writes it (the buffers of `QuantizedLinear` are the format's own) and reads it without the package,
so that the layers keep their codes in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tiku.core.errors import ArtefactError
from tiku.core.files import write_json
from tiku.core.subject import Subject
from tiku.core.verdict import Support

__all__ = [
    "SCALED_AFTERWARDS",
    "STANDALONE",
    "WEIGHT_ONLY",
    "describe",
    "is_packed",
    "loading_arguments",
    "packable",
    "quantised_layers",
]

WEIGHT_ONLY = "-weight-only"  # how the names of these number formats end

STANDALONE = """\
import json
import pathlib

import numpy
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, {auto}
from transformers.pytorch_utils import Conv1D


def _codes(words, bits, count):
    stream = numpy.unpackbits(words.contiguous().numpy().view(numpy.uint8), axis=-1, bitorder="little")
    codes = stream[..., : count * bits].reshape(*words.shape[:-1], count, bits)
    return torch.from_numpy(codes.astype(numpy.float32) @ 2.0 ** numpy.arange(bits, dtype=numpy.float32))


def _weight(part, kind):
    bits, (outputs, inputs) = kind["num_bits"], part["weight_shape"].tolist()
    group = kind["group_size"] or inputs
    wide = lambda one: one.repeat_interleave(group, dim=1)[:, :inputs]
    zero = part.get("weight_zero_point")
    zero = 2 ** (bits - 1) if zero is None else wide(_codes(zero.T, bits, outputs).T)
    return (_codes(part["weight_packed"], bits, inputs) - zero) * wide(part["weight_scale"])


def open_model(folder):
    stored = dict()
    for path in pathlib.Path(folder).glob("*.safetensors"):
        stored.update(load_file(path))
    config = AutoConfig.from_pretrained(folder)
    kinds = list(config.quantization_config["config_groups"].values())
    del config.quantization_config
    with torch.device("meta"):
        empty = {auto}.from_config(config)
    for key in [key for key in stored if key.endswith(".weight_packed")]:
        name = key.removesuffix(".weight_packed")
        fields = ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point")
        part = {{f: stored.pop(f"{{name}}.{{f}}") for f in fields if f"{{name}}.{{f}}" in stored}}
        kind = next(k for k in kinds if "Linear" in k["targets"] or name in k["targets"])
        weight = _weight(part, kind["weights"])
        transposed = isinstance(empty.get_submodule(name), Conv1D)
        stored[name + ".weight"] = weight.T.contiguous() if transposed else weight
    model = type(empty).from_pretrained(None, config=config, state_dict=stored, dtype=torch.float32)
    return model.eval()


"""

# Standing behind it: 8 bits of one scale per output, multiplied as `tiku.layers.int8_product` does. Weights
# widened and rounded to bfloat16 would move the logits of some models by more than the check allows.
SCALED_AFTERWARDS = """\
class _Scaled(torch.nn.Module):
    def __init__(self, codes, scale, bias):
        super().__init__()
        self.codes, self.scale, self.bias = codes.bfloat16(), scale.bfloat16(), bias

    def forward(self, x):
        y = torch.nn.functional.linear(x, self.codes) * self.scale
        return y if self.bias is None else y + self.bias


def open_scaled(folder, open_widened=open_model):
    model, stored = open_widened(folder), dict()
    for path in pathlib.Path(folder).glob("*.safetensors"):
        stored.update(load_file(path))
    for name in [key.removesuffix(".weight_packed") for key in stored if key.endswith(".weight_packed")]:
        outputs, inputs = stored[name + ".weight_shape"].tolist()
        scale = stored[name + ".weight_scale"]
        if name + ".weight_zero_point" in stored or scale.shape[1] > 1 or inputs % 16 or outputs % 4:
            continue
        codes = _codes(stored[name + ".weight_packed"], 8, inputs) - 128
        parent, _, leaf = name.rpartition(".")
        made = _Scaled(codes, scale[:, 0], model.get_submodule(name).bias)
        setattr(model.get_submodule(parent), leaf, made)
    return model


open_model = open_scaled


"""

_METHOD, _FORMAT = "compressed-tensors", "pack-quantized"


def packable(subject: Subject) -> Support:
    """Yes for transformers models: their folder is what the format describes."""
    if hasattr(subject.module, "save_pretrained"):
        return Support.yes()
    return Support.no(
        "quantised layers are stored in transformers folders, and this module is not a transformers model",
        "量化层以 transformers 模型目录的形式保存，而此模块不是 transformers 模型",
    )


def quantised_layers(module: Any) -> dict[str, Any]:
    """The `QuantizedLinear` modules by name."""
    from tiku.layers.quantized_linear import QuantizedLinear

    return {name: part for name, part in module.named_modules() if isinstance(part, QuantizedLinear)}


def is_packed(folder: Path) -> bool:
    """Whether the folder's config says that its weights are stored so."""
    return _stored(folder).get("quant_method") == _METHOD


def describe(folder: Path, module: Any) -> None:
    """Add to `config.json` what `quantization_config` must say of the saved module's layers."""
    config = json.loads((folder / "config.json").read_bytes())
    config["quantization_config"] = _quantization_config(module)
    write_json(folder / "config.json", config)


def loading_arguments(folder: Path) -> dict[str, Any]:
    """What `from_pretrained` must be given beside the folder. Raises `ArtefactError` on other formats."""
    from transformers import AutoConfig

    stored = _stored(folder)
    if stored.get("format") != _FORMAT:
        raise ArtefactError(
            "tiku reads one format of compressed-tensors",
            got=stored.get("format"),
            allowed=_FORMAT,
            next_step="open the folder with transformers and the package compressed-tensors",
        )
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    config.quantization_config = {"quant_method": _reader(), "stored": stored}
    return {"config": config}


def _stored(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    found = config.get("quantization_config") if isinstance(config, dict) else None
    return found if isinstance(found, dict) else {}


def _quantization_config(module: Any) -> dict[str, Any]:
    """One group per kind of grid. A single kind is told as all layers but those that were left."""
    kinds: dict[tuple[int, int | None, bool], list[str]] = {}
    for name, layer in quantised_layers(module).items():
        group = None if layer.group >= layer.in_features else layer.group
        kinds.setdefault((layer.bits, group, layer.weight_zero_point is None), []).append(name)
    left = [name for name, part in module.named_modules() if _features(part)]
    groups = {}
    for number, ((bits, group, symmetric), layers) in enumerate(kinds.items()):
        weights = {
            "num_bits": bits, "type": "int", "symmetric": symmetric, "group_size": group,
            "strategy": "channel" if group is None else "group", "dynamic": False,
        }  # fmt: skip
        targets = ["Linear"] if len(kinds) == 1 else layers
        groups[f"group_{number}"] = {"targets": targets, "weights": weights}
    return {
        "quant_method": _METHOD, "format": _FORMAT, "quantization_status": "compressed",
        "config_groups": groups, "ignore": left,
    }  # fmt: skip


def _features(part: Any) -> tuple[int, int] | None:
    """(inputs, outputs) of a linear layer, also of transformers' `Conv1D`, which stores them that way
    round; None for other modules."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    if isinstance(part, nn.Linear):
        return part.in_features, part.out_features
    return (part.nx, part.nf) if isinstance(part, Conv1D) else None


def _placed(stored: Mapping[str, Any], module: Any) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """(name, linear layer, its grid) of every layer that the config says is stored in few bits."""
    ignored = set(stored.get("ignore") or ())
    for name, part in module.named_modules():
        if _features(part) is None or name in ignored:
            continue
        for group in stored["config_groups"].values():
            if "Linear" in group["targets"] or name in group["targets"]:
                yield name, part, group["weights"]
                break


@cache
def _reader() -> str:
    """Registers with transformers what puts empty `QuantizedLinear` layers into a model before its weights
    are read; the name it goes by."""
    from transformers.quantizers.auto import register_quantization_config, register_quantizer
    from transformers.quantizers.base import HfQuantizer
    from transformers.utils.quantization_config import QuantizationConfigMixin

    name = "tiku-pack-quantized"

    @register_quantization_config(name)
    class Config(QuantizationConfigMixin):
        def __init__(self, stored: Mapping[str, Any], quant_method: str = name) -> None:
            self.quant_method: Any = quant_method
            self.stored = dict(stored)

    @register_quantizer(name)
    class Quantizer(HfQuantizer):
        requires_calibration = True

        def _process_model_before_weight_loading(self, model: Any, **kwargs: Any) -> None:
            from tiku.layers.quantized_linear import QuantizedLinear

            config: Any = self.quantization_config
            for place, layer, grid in list(_placed(config.stored, model)):
                parent, _, leaf = place.rpartition(".")
                inputs, outputs = _features(layer) or (0, 0)
                with layer.weight.device:
                    empty = QuantizedLinear(
                        inputs, outputs, bits=grid["num_bits"], group=grid["group_size"] or inputs,
                        symmetric=grid["symmetric"], bias=layer.bias is not None,
                    )  # fmt: skip
                setattr(model.get_submodule(parent), leaf, empty)

        def is_serializable(self) -> bool:
            return True

        @property
        def is_trainable(self) -> bool:
            return False

    return name
