"""OpenVINO on the CPU: IR in float32, bfloat16, or few-bit weights with activations quantised on the fly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tiku.core.runtime import Runtime
from tiku.core.subject import Numerics, Session, Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.runtimes._available import installed, require
from tiku.runtimes._compressed_tensors import WEIGHT_ONLY
from tiku.runtimes._drift import refuse_garbage
from tiku.runtimes._language import check_decoder, traceable_decoder
from tiku.runtimes._openvino_bf16 import ask_for_bf16, narrow_weights, widened_subject
from tiku.runtimes._openvino_first import read_first_only
from tiku.runtimes._openvino_int8 import compress, group_activations
from tiku.runtimes._openvino_language import LANGUAGE_FORWARD, OpenVinoLanguageSession, converted_decoder
from tiku.runtimes._openvino_packed import put_codes, storable, widened
from tiku.runtimes._openvino_session import GRAPH, OpenVinoSession, arithmetic
from tiku.runtimes._openvino_static import quantise_products, rest_taken
from tiku.runtimes._sixteen_bits import computes, multiplies
from tiku.runtimes._static_int8 import SCHEME as STATIC
from tiku.runtimes._static_int8 import computes_correctly, products_taken, rest_of
from tiku.runtimes._tracing import (
    check_export,
    example_inputs,
    exportable,
    sharing_copy,
    traceable_module,
    tracing,
)

__all__ = ["RUNTIME", "OpenVino", "OpenVinoSession"]

_BF16 = "bf16"
_OPEN = """\
import numpy as np
import openvino


def open_model(folder):
    # precision: on processors with bfloat16 OpenVINO would otherwise always compute in it
    return openvino.compile_model(f"{{folder}}/openvino_model.xml", "CPU", {settings})


"""

_FORWARD = """\
def forward(model, inputs):
    names = [node.get_any_name() for node in model.inputs]
    return np.array(model({name: inputs[name] for name in names})[0])
"""


class OpenVino(Runtime):
    """An IR: int64 inputs (batch, tokens) by the processor's names, output `logits`. A language model keeps
    its cache in its own state (see `tiku/runtimes/_openvino_language.py`)."""

    name: ClassVar[str] = "openvino"
    title: ClassVar[Text] = Text("OpenVINO", "OpenVINO")
    extra: ClassVar[str | None] = "openvino"
    modules: ClassVar[tuple[str, ...]] = ("openvino",)
    crops: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    def supports(self, subject: Subject) -> Support:
        scheme = subject.numerics.scheme
        if not (there := installed(self, *(["nncf"] if scheme == "int8-dynamic" else []))):
            return there
        if not (fits := exportable(subject, self.name)):
            return fits
        if scheme == "int8-dynamic":
            return _int8_as_asked(subject.numerics)
        if scheme.endswith(WEIGHT_ONLY):
            return storable(subject)
        if scheme == "fp32":
            return Support.yes()
        if scheme == STATIC:
            return _rest_as_asked(subject)
        if scheme == _BF16 and subject.task == "text-classification":
            return computes(subject, gpu=False)
        return Support.no(f"tiku has no {scheme} for openvino", f"tiku 尚未为 openvino 实现 {scheme}")

    def computes_correctly(self, numerics: Numerics) -> Support:
        return computes_correctly(numerics)

    def save(self, subject: Subject, folder: Path) -> dict[str, Any]:
        """Convert, check and write; weights in float32 or, if asked for, in few bits. How far a narrowed
        language model is from its module, how many products of a static one are int8, and how many operators
        of a classifier work on its first position alone. Raises `ModelError`."""
        require(self)
        import openvino

        folder.mkdir(parents=True, exist_ok=True)
        asked, subject = subject, widened_subject(subject) if subject.numerics.scheme == _BF16 else subject
        language = subject.task == "causal-lm"
        with tracing(subject, self.name):
            model = _converted_decoder(subject) if language else _converted_classifier(subject)
            first = 0 if language else read_first_only(model)
            session = _session(model, subject.task)
        (check_decoder if language else check_export)(subject, session)
        session.close()
        built: dict[str, Any] = {"first_position_alone": first} if first else {}
        if asked.numerics.scheme == _BF16:
            model = narrow_weights(model)
        elif subject.numerics.scheme != "fp32":
            model, found = _narrowed(model, subject)
            built |= found
        openvino.save_model(model, str(folder / GRAPH), compress_to_fp16=False)
        return built

    def open(
        self, folder: Path, *, task: str, options: Mapping[str, Any], threads: int, device: str
    ) -> Session:
        require(self)
        return _session(folder / GRAPH, task, options, threads=threads, device=device)

    def standalone(self, *, task: str, family: str, options: Mapping[str, Any], numerics: Numerics) -> str:
        precision = _BF16 if _BF16 in (numerics.scheme, rest_of(numerics)) else "f32"
        opening = _OPEN.format(settings=json.dumps(arithmetic(options.get("fusion", True), precision)))
        return opening + (LANGUAGE_FORWARD if task == "causal-lm" else _FORWARD)


def _converted_classifier(subject: Subject) -> Any:
    import openvino

    inputs = example_inputs(subject)
    module = traceable_module(subject, list(inputs))
    codes = widened(module)
    anything = openvino.PartialShape([-1, -1])
    model = openvino.convert_model(
        module, example_input=tuple(inputs.values()), input=[(anything, openvino.Type.i64)] * len(inputs)
    )
    for port, name in zip(model.inputs, inputs, strict=True):
        port.get_tensor().set_names({name})
    model.outputs[0].get_tensor().set_names({"logits"})
    return put_codes(model, codes)


def _converted_decoder(subject: Subject) -> Any:
    """Attention stays one operator, which the plugin runs together with the cache."""
    network = sharing_copy(subject.module)
    network.set_attn_implementation("sdpa" if getattr(network, "_supports_sdpa", False) else "eager")
    decoder = traceable_decoder(network)
    codes = widened(decoder.module)
    return put_codes(converted_decoder(decoder), codes)


def _narrowed(model: Any, subject: Subject) -> tuple[Any, dict[str, Any]]:
    """The model with weights in int8, or with its few-bit weights multiplied by int8 activations; and what
    was found when it was tried."""
    products = None
    if subject.numerics.scheme == STATIC:
        products = quantise_products(model, subject.numerics)
        if rest_of(subject.numerics) == _BF16:
            ask_for_bf16(model)
    elif subject.numerics.scheme == "int8-dynamic":
        model = compress(model, subject.numerics.options)
    else:
        model = group_activations(model, None)
    session = _session(model, subject.task)
    try:
        taken = {} if products is None else _static_taken(session, products, rest_of(subject.numerics))
        away = refuse_garbage(subject, session) if subject.task == "causal-lm" else {}
    finally:
        session.close()
    return model, {**taken, **away}


def _static_taken(session: OpenVinoSession, asked: int, rest: str) -> dict[str, Any]:
    """In which number formats a static model is executed. Raises `ModelError`."""
    found = session.formats()
    taken = products_taken(found["products"].get("int8", 0), asked, "openvino")
    return {**taken, **rest_taken(found, rest)}


def _session(
    graph: Any,
    task: str,
    options: Mapping[str, Any] | None = None,
    *,
    threads: int = 1,
    device: str = "cpu",
) -> OpenVinoSession:
    kind = OpenVinoLanguageSession if task == "causal-lm" else OpenVinoSession
    options = options or {}
    hint, fusion = options.get("hint", "LATENCY"), options.get("fusion", True)
    streams = options.get("streams", 1)
    return kind(graph, threads=threads, device=device, hint=hint, fusion=fusion, streams=streams)


def _rest_as_asked(subject: Subject) -> Support:
    """What is not int8 in bfloat16: for classifiers, where the processor has it."""
    if rest_of(subject.numerics) == "fp32":
        return Support.yes()
    if subject.task == "text-classification":
        return multiplies(_BF16, gpu=False)
    return Support.no(
        "tiku computes language models in openvino in float32, but for their few-bit products",
        "tiku 在 openvino 中以 float32 计算语言模型，低位宽乘积除外",
    )


def _int8_as_asked(numerics: Numerics) -> Support:
    if numerics.options.get("per_channel", True):
        return Support.yes()
    return Support.no(
        "openvino compresses weights per channel; it has no single scale per tensor",
        "openvino 按通道压缩权重，没有整个张量共用一个缩放系数的方式",
    )


RUNTIME = OpenVino()
