"""What the methods share that store the weights of linear layers in few bits."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ModelError
from tiku.core.subject import Numerics, Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.quantize._grid import GridKind
from tiku.methods.quantize._targets import Layer, Targets, find_targets, patterns

if TYPE_CHECKING:
    from tiku.layers.quantized_linear import Codes

__all__ = [
    "FEW_BITS_OF_ENCODERS",
    "HEAD_KIND",
    "can_quantise",
    "error_remark",
    "put",
    "report_of",
    "stored_as",
    "working_copy",
]

FEW_BITS_OF_ENCODERS = Text(
    "tried on language models; on encoders int8-weight-only and int4-weight-only stand for weights in few "
    "bits, and `tiku apply` carries out a recipe that names another",
    "在语言模型上尝试；在编码器上由 int8-weight-only 与 int4-weight-only 代表少位权重，"
    "其他方法可在方案中指定，用 `tiku apply` 执行",
)
HEAD_KIND = GridKind(8, None, symmetric=True)  # every error of the head goes straight into the logits


def can_quantise(subject: Subject) -> Support:
    """Yes for float32 torch modules that have a linear layer outside the head."""
    if subject.numerics.scheme != "fp32":
        return Support.no(
            f"the model is already {subject.numerics.scheme}; a second quantisation would only lose more",
            f"模型已是 {subject.numerics.scheme}，再次量化只会损失更多精度",
        )
    if not hasattr(subject.module, "named_modules"):
        return Support.no("the model is no torch module any more", "模型已不是 torch 模块")
    if not find_targets(subject).layers:
        return Support.no(
            "the model has no linear layer outside its head to quantise",
            "除输出层外，模型没有可量化的线性层",
        )
    return Support.yes()


def working_copy(subject: Subject, *, quantize_head: bool) -> tuple[Subject, Targets]:
    """A copy to change and its layers. A head that shares the embedding's weights is given its own if it
    is to be quantised: the table stays as it is."""
    copied = replace(subject, module=copy.deepcopy(subject.module))
    targets = find_targets(copied, quantize_head=quantize_head)
    for layer in targets.layers:
        if layer.head:
            _untie(copied.module, layer)
    return copied, targets


def put(module: Any, layer: Layer, codes: Codes) -> None:
    """Put the quantised layer in the place of `layer`. In place."""
    from tiku.layers.quantized_linear import QuantizedLinear

    parent, _, leaf = layer.name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, QuantizedLinear.of(codes, layer.bias))


def stored_as(
    subject: Subject, kind: GridKind, method: str, report: Mapping[str, Any], options: Mapping[str, Any]
) -> Subject:
    """The subject with the number format and the report in its facts."""
    numerics = Numerics(
        f"int{kind.bits}-weight-only",
        {"method": method, "bits": kind.bits, "group": kind.group, "symmetric": kind.symmetric, **options},
    )
    subject.module.eval()
    return replace(subject, numerics=numerics, facts={**subject.facts, "quantised": dict(report)})


def error_remark(relative: float | None, fired: Sequence[Text]) -> Text | None:
    """How the error of the layers compares with rounding to nearest, and the guards that fired."""
    parts = list(fired)
    if relative is not None:
        parts.insert(
            0, Text(f"layer error {relative:.2f} of plain rounding's", f"层误差为直接舍入的 {relative:.2f}")
        )
    return Text(", ".join(p.en for p in parts), "，".join(p.zh for p in parts)) if parts else None


def report_of(targets: Targets, kind: GridKind) -> dict[str, Any]:
    """What was quantised, what was not and why, and where a group had to be a whole row."""
    if not targets.layers:
        raise ModelError(
            "the model has no linear layer to quantise",
            got=f"{len(targets.skipped)} layers, none of them eligible",
            allowed="a model with linear layers outside its head",
            next_step="leave this method out, or set quantize_head",
        )
    report: dict[str, Any] = {"layers": len(targets.layers), "skipped": targets.skipped_patterns()}
    other: dict[str, list[str]] = {}
    for layer in targets.layers:
        if kind.group and not layer.head and layer.inputs % kind.group:
            group = kind.group_of(layer.inputs)
            name = "per_channel" if group == layer.inputs else str(group)
            other.setdefault(name, []).append(layer.name)
    if other:
        report["other_groups_where_it_does_not_divide"] = {k: patterns(v) for k, v in other.items()}
    return report


def _untie(module: Any, layer: Layer) -> None:
    """Let the head own its weights, and say so in the config, so that loading does not tie them again."""
    import torch

    layer.module.weight = torch.nn.Parameter(layer.module.weight.detach().clone(), requires_grad=False)
    config: Any = getattr(module, "config", None)
    for one in (config, config.get_text_config() if hasattr(config, "get_text_config") else None):
        if one is not None and getattr(one, "tie_word_embeddings", False):
            one.tie_word_embeddings = False
