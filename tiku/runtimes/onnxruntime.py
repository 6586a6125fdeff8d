"""ONNX Runtime on the CPU: the traced graph in float32, or with int8 weights and activations.

The graph is stored as it was traced: ONNX Runtime fuses it when it opens it. Fusing it beforehand
with `onnxruntime.transformers.optimizer` (attention, layer norm, GELU) was measured and was slower.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tiku.core.errors import ArtefactError
from tiku.core.runtime import Runtime
from tiku.core.subject import Numerics, Session, Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.runtimes._available import installed, require
from tiku.runtimes._explain import first_line
from tiku.runtimes._onnx_int8 import quantize_in_place
from tiku.runtimes._tracing import check_export, example_inputs, text_classifier, traceable_module, tracing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["RUNTIME", "OnnxRuntime", "OnnxRuntimeSession", "session_settings"]

_GRAPH = "model.onnx"
_OPSET = 17
_SCHEMES = ("fp32", "int8-dynamic")

_STANDALONE = """\
import onnxruntime


def open_model(folder):
    return onnxruntime.InferenceSession(f"{folder}/model.onnx", providers=["CPUExecutionProvider"])


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
    """`model.onnx`: inputs int64 (batch, tokens) by the processor's names, output `logits`."""

    name: ClassVar[str] = "onnxruntime"
    title: ClassVar[Text] = Text("ONNX Runtime", "ONNX Runtime")
    extra: ClassVar[str | None] = "onnx"
    modules: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    def supports(self, subject: Subject) -> Support:
        if not (there := installed(self, "onnx")):
            return there
        if not (fits := text_classifier(subject, self.name)):
            return fits
        if subject.numerics.scheme in _SCHEMES:
            return Support.yes()
        return Support.no(
            f"tiku has no {subject.numerics.scheme} for onnxruntime",
            f"tiku 尚未为 onnxruntime 实现 {subject.numerics.scheme}",
        )

    def save(self, subject: Subject, folder: Path) -> None:
        """Trace, check, then quantise if the numerics ask for it. Raises `ModelError`.

        `torch.export` (dynamo) gave the same results in 9 s where tracing took 1 s.
        """
        import torch

        require(self)
        folder.mkdir(parents=True, exist_ok=True)
        inputs = example_inputs(subject)
        axes = {name: {0: "batch", 1: "tokens"} for name in inputs} | {"logits": {0: "batch"}}
        with tracing(subject, self.name):
            torch.onnx.export(
                traceable_module(subject, list(inputs)),
                tuple(inputs.values()),
                str(folder / _GRAPH),
                input_names=list(inputs),
                output_names=["logits"],
                dynamic_axes=axes,
                opset_version=_OPSET,
                dynamo=False,
            )
            session = OnnxRuntimeSession(folder / _GRAPH, threads=1, device="cpu", arena=False, fusion=True)
        check_export(subject, session)
        session.close()
        if subject.numerics.scheme == "int8-dynamic":
            quantize_in_place(folder / _GRAPH, subject.numerics.options)

    def open(
        self, folder: Path, *, task: str, options: Mapping[str, Any], threads: int, device: str
    ) -> Session:
        require(self)
        return OnnxRuntimeSession(
            folder / _GRAPH,
            threads=threads,
            device=device,
            arena=options.get("arena", True),
            fusion=options.get("fusion", True),
        )

    def standalone(self, *, task: str, family: str, options: Mapping[str, Any], numerics: Numerics) -> str:
        return (_STANDALONE if options.get("fusion", True) else _STANDALONE_UNFUSED) + _FORWARD


class OnnxRuntimeSession(Session):
    """Runs `model.onnx` with `threads` threads; `arena` keeps freed buffers for the next run.

    Without `fusion` constants are folded and dead nodes removed, but each operator runs as its own
    kernel (level "basic" of ONNX Runtime's graph optimisation; fusion needs "extended" or "all").
    """

    runtime = "onnxruntime"

    def __init__(self, graph: Path, *, threads: int, device: str, arena: bool, fusion: bool) -> None:
        import onnxruntime

        providers = _providers(device)
        settings = session_settings(threads=threads, arena=arena, fusion=fusion)
        try:
            self._session = onnxruntime.InferenceSession(str(graph), settings, providers=providers)
        except Exception as error:  # onnxruntime raises classes of its own that share no base
            raise ArtefactError(
                "onnxruntime cannot open this graph",
                got=f"{graph.name}: {first_line(error)}",
                allowed="the file as tiku wrote it",
                next_step="build the artefact again",
            ) from error
        self._names = [node.name for node in self._session.get_inputs()]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._session.run(
            ["logits"], {name: inputs[name] for name in self._names}
        )[0]
        return logits

    def close(self) -> None:
        del self._session


def session_settings(*, threads: int, arena: bool, fusion: bool) -> Any:
    """The `onnxruntime.SessionOptions` of a session."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.enable_cpu_mem_arena = arena
    settings.log_severity_level = 4  # what fails is raised
    if not fusion:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # without this the worker threads spin on after a run and slow down whatever else is measured
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    return settings


def _providers(device: str) -> list[str]:
    """Raises `ArtefactError` when the device has no provider here."""
    import onnxruntime

    kind = device.partition(":")[0]
    wanted = "CUDAExecutionProvider" if kind == "cuda" else "CPUExecutionProvider"
    available = onnxruntime.get_available_providers()
    if kind not in ("auto", "cpu", "cuda") or wanted not in available:
        raise ArtefactError(
            "this onnxruntime has no provider for the device",
            got=device,
            allowed=available,
            next_step="leave the device at auto (the CPU)",
        )
    return [wanted]


RUNTIME = OnnxRuntime()
