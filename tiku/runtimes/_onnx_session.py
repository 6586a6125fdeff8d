"""An open ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ArtefactError
from tiku.core.subject import Session
from tiku.runtimes._explain import first_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["OnnxRuntimeSession", "session_settings"]


class OnnxRuntimeSession(Session):
    """Runs `model.onnx` with `threads` threads; `arena` keeps freed buffers for the next run.

    Without `fusion` constants are folded and dead nodes removed, but each operator runs as its own
    kernel (level "basic" of ONNX Runtime's graph optimisation; fusion needs "extended" or "all").
    `unfused` names single fusions to leave out. The callers of `streams` runs compute too: they and the
    session's own threads are `threads` together.
    """

    runtime = "onnxruntime"

    def __init__(
        self,
        graph: Path,
        *,
        threads: int,
        device: str,
        arena: bool,
        fusion: bool,
        unfused: Sequence[str] = (),
        streams: int = 1,
    ) -> None:
        import onnxruntime

        self.streams = min(streams, threads)
        providers = _providers(device)
        settings = session_settings(threads=threads - self.streams + 1, arena=arena, fusion=fusion)
        try:
            self._session = onnxruntime.InferenceSession(
                str(graph), settings, providers=providers, disabled_optimizers=list(unfused)
            )
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
