"""An open OpenVINO model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ArtefactError
from tiku.core.subject import Session
from tiku.runtimes._explain import first_line
from tiku.runtimes._openvino_bf16 import arithmetic_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["GRAPH", "OpenVinoSession", "arithmetic"]

GRAPH = "openvino_model.xml"  # the name optimum-intel uses, with openvino_model.bin beside it


class OpenVinoSession(Session):
    """Runs the IR, a file or a model in memory, with `threads` threads, in float32 arithmetic unless the
    model itself asks for bfloat16.

    Without `fusion` the plugin makes no fused subgraphs (its snippets: attention, chains of elementwise
    operators); what its kernels do to their own outputs, such as adding a bias, stays one with them.
    """

    runtime = "openvino"

    def __init__(
        self, graph: Any, *, threads: int, device: str, hint: str, fusion: bool, streams: int = 1
    ) -> None:
        import openvino

        self.streams = min(streams, threads)
        if device.upper() not in ("AUTO", "CPU"):
            raise ArtefactError(
                "tiku runs OpenVINO on the CPU only", got=device, allowed="auto, cpu", next_step="use auto"
            )
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": hint,
            **({"NUM_STREAMS": self.streams} if self.streams > 1 else {}),
        }
        try:
            core = openvino.Core()
            model = core.read_model(str(graph)) if isinstance(graph, Path) else graph
            settings |= arithmetic(fusion, arithmetic_of(model))
            compiled = core.compile_model(model, "CPU", settings)
        except Exception as error:  # openvino raises RuntimeError and classes of its own
            raise ArtefactError(
                "openvino cannot open this model",
                got=f"{getattr(graph, 'name', GRAPH)}: {first_line(error)}",
                allowed="the files as tiku wrote them",
                next_step="build the artefact again",
            ) from error
        self._names = [port.get_any_name() for port in compiled.inputs]
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for request in (self._request, *(compiled.create_infer_request() for _ in range(self.streams - 1))):
            self._idle.put(request)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        import numpy as np

        request = self._idle.get()
        try:
            outputs = request.infer({name: inputs[name] for name in self._names}, share_inputs=True)
            logits: NDArray[np.float32] = np.array(outputs[0])  # the request reuses its own buffer
        finally:
            self._idle.put(request)
        return logits

    def formats(self) -> dict[str, dict[str, int]]:
        """Executed operators by number format: products, and the rest."""
        from tiku.runtimes._openvino_static import formats

        return formats(self._compiled)

    def close(self) -> None:
        del self._idle, self._request, self._compiled


def arithmetic(fusion: bool, precision: str = "f32") -> dict[str, str]:
    """The plugin's settings beside its threads. By itself it keeps a language model's cache in 8 bits."""
    exact = {"INFERENCE_PRECISION_HINT": precision, "KV_CACHE_PRECISION": "f32"}
    return {**exact, **({} if fusion else {"SNIPPETS_MODE": "DISABLE"})}
