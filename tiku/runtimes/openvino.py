"""OpenVINO on the CPU: IR in float32, or int8 weights with activations quantised on the fly."""

from __future__ import annotations

import json
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
from tiku.runtimes._openvino_int8 import compress
from tiku.runtimes._tracing import check_export, example_inputs, exportable, traceable_module, tracing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["RUNTIME", "OpenVino", "OpenVinoSession"]

_GRAPH = "openvino_model.xml"  # the name optimum-intel uses, with openvino_model.bin beside it

_STANDALONE = """\
import numpy as np
import openvino


def open_model(folder):
    # f32: on processors with bfloat16 OpenVINO would otherwise compute in it
    return openvino.compile_model(f"{{folder}}/openvino_model.xml", "CPU", {settings})


def forward(model, inputs):
    names = [node.get_any_name() for node in model.inputs]
    return np.array(model({{name: inputs[name] for name in names}})[0])
"""


class OpenVino(Runtime):
    """An IR: int64 inputs (batch, tokens) by the processor's names, output `logits`."""

    name: ClassVar[str] = "openvino"
    title: ClassVar[Text] = Text("OpenVINO", "OpenVINO")
    extra: ClassVar[str | None] = "openvino"
    modules: ClassVar[tuple[str, ...]] = ("openvino",)

    def supports(self, subject: Subject) -> Support:
        int8 = subject.numerics.scheme == "int8-dynamic"
        if not (there := installed(self, *(["nncf"] if int8 else []))):
            return there
        if subject.task == "causal-lm":
            return Support.no(
                "tiku does not convert language models to openvino yet",
                "tiku 尚不能将语言模型转换为 openvino",
            )
        if not (fits := exportable(subject, self.name)):
            return fits
        if int8:
            return _int8_as_asked(subject.numerics)
        if subject.numerics.scheme == "fp32":
            return Support.yes()
        return Support.no(
            f"tiku has no {subject.numerics.scheme} for openvino",
            f"tiku 尚未为 openvino 实现 {subject.numerics.scheme}",
        )

    def save(self, subject: Subject, folder: Path) -> None:
        """Convert, check and write; weights in float32 or, where asked for, int8. Raises `ModelError`."""
        require(self)
        import openvino

        folder.mkdir(parents=True, exist_ok=True)
        inputs = example_inputs(subject)
        anything = openvino.PartialShape([-1, -1])
        with tracing(subject, self.name):
            model = openvino.convert_model(
                traceable_module(subject, list(inputs)),
                example_input=tuple(inputs.values()),
                input=[(anything, openvino.Type.i64)] * len(inputs),
            )
            for port, name in zip(model.inputs, inputs, strict=True):
                port.get_tensor().set_names({name})
            model.outputs[0].get_tensor().set_names({"logits"})
            session = OpenVinoSession(model, threads=1, device="cpu", hint="LATENCY", fusion=True)
        check_export(subject, session)
        session.close()
        if subject.numerics.scheme == "int8-dynamic":
            model = compress(model, subject.numerics.options)
        openvino.save_model(model, str(folder / _GRAPH), compress_to_fp16=False)

    def open(
        self, folder: Path, *, task: str, options: Mapping[str, Any], threads: int, device: str
    ) -> Session:
        require(self)
        return OpenVinoSession(
            folder / _GRAPH,
            threads=threads,
            device=device,
            hint=options.get("hint", "LATENCY"),
            fusion=options.get("fusion", True),
        )

    def standalone(self, *, task: str, family: str, options: Mapping[str, Any], numerics: Numerics) -> str:
        return _STANDALONE.format(settings=json.dumps(_arithmetic(options.get("fusion", True))))


class OpenVinoSession(Session):
    """Runs the IR, a file or a model in memory, in float32 arithmetic with `threads` threads.

    Without `fusion` the plugin makes no fused subgraphs (its snippets: attention, chains of elementwise
    operators); what its kernels do to their own outputs, such as adding a bias, stays one with them.
    """

    runtime = "openvino"

    def __init__(self, graph: Any, *, threads: int, device: str, hint: str, fusion: bool) -> None:
        import openvino

        if device.upper() not in ("AUTO", "CPU"):
            raise ArtefactError(
                "tiku runs OpenVINO on the CPU only", got=device, allowed="auto, cpu", next_step="use auto"
            )
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": hint,
            **_arithmetic(fusion),
        }
        try:
            core = openvino.Core()
            model = core.read_model(str(graph)) if isinstance(graph, Path) else graph
            compiled = core.compile_model(model, "CPU", settings)
        except Exception as error:  # openvino raises RuntimeError and classes of its own
            raise ArtefactError(
                "openvino cannot open this model",
                got=f"{getattr(graph, 'name', _GRAPH)}: {first_line(error)}",
                allowed="the files as tiku wrote them",
                next_step="build the artefact again",
            ) from error
        self._names = [port.get_any_name() for port in compiled.inputs]
        self._request = compiled.create_infer_request()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        import numpy as np

        outputs = self._request.infer({name: inputs[name] for name in self._names}, share_inputs=True)
        logits: NDArray[np.float32] = np.array(outputs[0])  # the request reuses its own buffer
        return logits

    def close(self) -> None:
        del self._request


def _arithmetic(fusion: bool) -> dict[str, str]:
    return {"INFERENCE_PRECISION_HINT": "f32", **({} if fusion else {"SNIPPETS_MODE": "DISABLE"})}


def _int8_as_asked(numerics: Numerics) -> Support:
    if numerics.options.get("per_channel", True):
        return Support.yes()
    return Support.no(
        "openvino compresses weights per channel; it has no single scale per tensor",
        "openvino 按通道压缩权重，没有整个张量共用一个缩放系数的方式",
    )


RUNTIME = OpenVino()
