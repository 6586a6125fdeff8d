"""ONNX Runtime on the CPU: the traced graph in float32, or with int8 weights and activations.

The graph is stored as it was traced: ONNX Runtime fuses it when it opens it. Fusing it beforehand
with `onnxruntime.transformers.optimizer` (attention, layer norm, GELU) was measured and was slower.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from tiku.core.errors import ModelError
from tiku.core.runtime import Runtime
from tiku.core.subject import Numerics, Session, Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.runtimes._available import installed, require
from tiku.runtimes._compressed_tensors import WEIGHT_ONLY
from tiku.runtimes._drift import refuse_garbage
from tiku.runtimes._language import check_decoder, traceable_decoder
from tiku.runtimes._onnx_attention import (
    POSITIONS,
    fused_decoder,
    operators_of_onnxruntime,
    why_not_fused,
)
from tiku.runtimes._onnx_graph import Traced, load_graph, save_graph, write_graph
from tiku.runtimes._onnx_int8 import quantize_in_place
from tiku.runtimes._onnx_language import (
    FROM_MASK,
    IN_PLACE,
    LANGUAGE_FORWARD,
    RAGGED,
    OnnxLanguageSession,
    traced_decoder,
)
from tiku.runtimes._onnx_packed import multiply_in_int8, packed_products, storable
from tiku.runtimes._onnx_rewriting import FUSED, rewrite
from tiku.runtimes._onnx_session import OnnxRuntimeSession, session_settings
from tiku.runtimes._onnx_static import multiply_in_static_int8
from tiku.runtimes._static_int8 import SCHEME as STATIC
from tiku.runtimes._static_int8 import computes_correctly, rest_of
from tiku.runtimes._torch_rows import refusal
from tiku.runtimes._tracing import (
    check_export,
    example_inputs,
    exportable,
    sharing_copy,
    traceable_module,
    tracing,
)

__all__ = ["RUNTIME", "OnnxRuntime", "OnnxRuntimeSession", "session_settings"]

_GRAPH = "model.onnx"
_SCHEMES = ("fp32", "int8-dynamic", STATIC)

# One kernel for a sum and its layer norm took 10 times as long as the two it replaces (onnxruntime 1.32,
# minilm, 15,000 tokens: 0.18 against 0.02 s); without it the int8 model answers 1.11 times as many texts.
_UNFUSED = ("SkipLayerNormFusion",)

_STANDALONE = """\
import onnxruntime


def open_model(folder):
    return onnxruntime.InferenceSession(f"{folder}/model.onnx", providers=["CPUExecutionProvider"])


"""

_STANDALONE_CLASSIFIER = f"""\
import onnxruntime


def open_model(folder):
    return onnxruntime.InferenceSession(
        f"{{folder}}/model.onnx",
        providers=["CPUExecutionProvider"],
        disabled_optimizers={list(_UNFUSED)},  # slower as one kernel
    )


"""

_STANDALONE_UNFUSED = """\
import onnxruntime


def open_model(folder):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(
        f"{folder}/model.onnx", options, providers=["CPUExecutionProvider"]
    )


"""

_FORWARD = """\
def forward(model, inputs):
    names = [node.name for node in model.get_inputs()]
    return model.run(["logits"], {name: inputs[name] for name in names})[0]
"""


class OnnxRuntime(Runtime):
    """`model.onnx`: inputs int64 (batch, tokens) by the processor's names, output `logits`. A language model
    also has its cache as inputs and outputs (see `tiku/runtimes/_language.py`)."""

    name: ClassVar[str] = "onnxruntime"
    title: ClassVar[Text] = Text("ONNX Runtime", "ONNX Runtime")
    extra: ClassVar[str | None] = "onnx"
    modules: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    crops: ClassVar[bool] = True
    batches: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    def supports(self, subject: Subject) -> Support:
        if not (there := installed(self, "onnx")):
            return there
        if not (fits := exportable(subject, self.name)):
            return fits
        if subject.numerics.scheme.endswith(WEIGHT_ONLY):
            return storable(subject)
        if rest_of(subject.numerics) != "fp32":
            return Support.no(
                "onnxruntime's processor kernels compute what is not int8 in float32 only",
                "onnxruntime 的 CPU 算子只能以 float32 计算 int8 以外的部分",
            )
        if subject.numerics.scheme in _SCHEMES:
            return Support.yes()
        return Support.no(
            f"tiku has no {subject.numerics.scheme} for onnxruntime",
            f"tiku 尚未为 onnxruntime 实现 {subject.numerics.scheme}",
        )

    def decodes_together(self, subject: Subject) -> Support:
        """Rows of different lengths need the fused attention, which reads where each row ends."""
        if not _may_fuse(subject):
            return Support.no(
                "the graph exported to onnxruntime is not fused, and takes rows of one length only",
                "导出到 onnxruntime 的计算图未融合算子，只接受等长的行",
            )
        if (why := why_not_fused(subject.module)) is not None:
            return Support.no(
                f"the graph exported to onnxruntime takes rows of one length only: {why}",
                f"导出到 onnxruntime 的计算图只接受等长的行：{why}",
            )
        return Support.yes()

    def computes_correctly(self, numerics: Numerics) -> Support:
        return computes_correctly(numerics)

    def save(self, subject: Subject, folder: Path) -> dict[str, Any]:
        """Trace, check, then quantise if the numerics ask for it. How far a narrowed language model is from
        its module, and how many products of a static one are int8. Raises `ModelError`.

        `torch.export` (dynamo) gave the same results in 9 s where tracing took 1 s.
        """
        require(self)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _GRAPH
        language = subject.task == "causal-lm"
        built: dict[str, Any] = {}
        if not language:
            _export(subject, path, lambda: _write_classifier(subject, path))
        elif _may_fuse(subject):
            built |= _export_fused(subject, path)
        else:
            _export(subject, path, lambda: _write_decoder(subject, path))
        if subject.numerics.scheme == "fp32":
            return built
        built |= _narrow(path, subject.numerics)
        if language:
            session = _session(path, subject.task)
            built |= refuse_garbage(subject, session)
            session.close()
        return built

    def open(
        self, folder: Path, *, task: str, options: Mapping[str, Any], threads: int, device: str
    ) -> Session:
        require(self)
        return _session(folder / _GRAPH, task, options, threads=threads, device=device)

    def standalone(self, *, task: str, family: str, options: Mapping[str, Any], numerics: Numerics) -> str:
        language = task == "causal-lm"
        fused = _STANDALONE if language else _STANDALONE_CLASSIFIER
        opening = fused if options.get("fusion", True) else _STANDALONE_UNFUSED
        return opening + (LANGUAGE_FORWARD if language else _FORWARD)


def _export(subject: Subject, path: Path, write: Callable[[], None]) -> None:
    """Write the float graph and compare it with its module. Raises `ModelError`."""
    with tracing(subject, OnnxRuntime.name):
        write()
        session = _session(path, subject.task)
    try:
        (check_decoder if subject.task == "causal-lm" else check_export)(subject, session)
    finally:
        session.close()


def _may_fuse(subject: Subject) -> bool:
    """Static int8 finds its layers by the names of their weights, which joined products have lost."""
    return bool(subject.runtime_options.get("fusion", True)) and subject.numerics.scheme != STATIC


def _export_fused(subject: Subject, path: Path) -> dict[str, Any]:
    """Write the decoder with ONNX Runtime's own operators; as it is written where that fails or computes
    another thing. Which operators there are, or why there are none."""
    try:
        _export(subject, path, lambda: _write_fused_decoder(subject, path))
    except ModelError as error:
        _export(subject, path, lambda: _write_decoder(subject, path))
        return {"not_fused": str(error.got)}
    kinds = Counter(node.op_type for node in load_graph(path).graph.node)
    return {"fused": {kind: kinds[kind] for kind in FUSED if kinds[kind]}}


def _write_classifier(subject: Subject, path: Path) -> None:
    write_graph(_traced_classifier(subject), path, untie=_unties(subject))


def _write_decoder(subject: Subject, path: Path) -> None:
    network = _decoder_network(subject)
    network.set_attn_implementation("eager")
    write_graph(traced_decoder(traceable_decoder(network)), path, untie=_unties(subject))


def _write_fused_decoder(subject: Subject, path: Path) -> None:
    network = _decoder_network(subject)
    with operators_of_onnxruntime(network):
        decoder = fused_decoder(network)
        write_graph(traced_decoder(decoder), path, untie=_unties(subject))
    model = load_graph(path)
    ragged = POSITIONS in decoder.fixed and refusal(subject.module) is None
    rewrite(model)
    facts = {IN_PLACE: True, RAGGED: ragged, FROM_MASK: decoder.places_from_mask}
    for name in (name for name, true in facts.items() if true):
        model.metadata_props.add(key=name, value="yes")
    save_graph(model, path)


def _unties(subject: Subject) -> bool:
    return bool(subject.numerics.options.get("quantize_head"))


def _traced_classifier(subject: Subject) -> Traced:
    inputs = example_inputs(subject)
    axes = {name: {0: "batch", 1: "tokens"} for name in inputs} | {"logits": {0: "batch"}}
    module = traceable_module(subject, list(inputs))
    packed_products(module)
    return Traced(module, tuple(inputs.values()), list(inputs), ["logits"], axes)


def _decoder_network(subject: Subject) -> Any:
    network = sharing_copy(subject.module)
    packed_products(network)
    return network


def _narrow(path: Path, numerics: Numerics) -> dict[str, Any]:
    """Quantise the graph at `path` as asked for; what there is to report."""
    if numerics.scheme == STATIC:
        return multiply_in_static_int8(path, numerics)
    if numerics.scheme == "int8-dynamic":
        quantize_in_place(path, numerics.options)
    else:
        multiply_in_int8(path)
    return {}


def _session(
    path: Path,
    task: str,
    options: Mapping[str, Any] | None = None,
    *,
    threads: int = 1,
    device: str = "cpu",
) -> OnnxRuntimeSession:
    kind = OnnxLanguageSession if task == "causal-lm" else OnnxRuntimeSession
    options = options or {"arena": False}
    arena, fusion = options.get("arena", True), options.get("fusion", True)
    return kind(
        path,
        threads=threads,
        device=device,
        arena=arena,
        fusion=fusion,
        unfused=() if task == "causal-lm" else _UNFUSED,
        streams=options.get("streams", 1),
    )


RUNTIME = OnnxRuntime()
