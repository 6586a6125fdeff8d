"""What a few-bit layer costs: the bytes it stores, and the time its runtime takes for it, measured.

Shape letters: O outputs, I inputs, R rows multiplied at once.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.methods.quantize._grid import GridKind

if TYPE_CHECKING:
    from tiku.layers.quantized_linear import QuantizedLinear

__all__ = ["LayerTimes", "stored_bytes"]

_WARM, _LEAST_CALLS, _SECONDS = 3, 9, 0.02
_Shape = tuple[int, int, int, int]  # O, I, bits, group


def stored_bytes(outputs: int, inputs: int, kind: GridKind) -> int:
    """Bytes of the buffers of one layer, its bias aside."""
    layer = _empty(outputs, inputs, kind)
    return sum(b.numel() * b.element_size() for name, b in layer.named_buffers() if name != "weight_shape")


@dataclass(eq=False)
class LayerTimes:
    """Median seconds of one call by shape, bits and group: each combination is measured once."""

    runtime: str
    rows: int
    threads: int
    found: dict[_Shape, float] = field(default_factory=dict)

    def seconds(self, outputs: int, inputs: int, kind: GridKind) -> float:
        """Of a layer of this shape in this format. The time depends on no weight: they are zeros."""
        key = (outputs, inputs, kind.bits, kind.group_of(inputs))
        if key not in self.found:
            with _RUNS[self.runtime](_empty(outputs, inputs, kind), self.rows, self.threads) as call:
                self.found[key] = _timed(call)
        return self.found[key]

    def told(self) -> dict[str, float]:
        """Microseconds by "OxI, bits"."""
        return {f"{o}x{i}, {b} bits": round(1e6 * s, 1) for (o, i, b, _), s in sorted(self.found.items())}


def _empty(outputs: int, inputs: int, kind: GridKind) -> QuantizedLinear:
    from tiku.layers.quantized_linear import QuantizedLinear

    group = kind.group_of(inputs)
    return QuantizedLinear(inputs, outputs, bits=kind.bits, group=group, symmetric=kind.symmetric, bias=False)


def _timed(call: Callable[[], object]) -> float:
    for _ in range(_WARM):
        call()
    times: list[float] = []
    while len(times) < _LEAST_CALLS or sum(times) < _SECONDS:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


@contextmanager
def _in_torch(layer: Any, rows: int, threads: int) -> Iterator[Callable[[], object]]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    x_RI = torch.ones(rows, layer.in_features)
    try:
        with torch.inference_mode():
            yield lambda: layer(x_RI)
    finally:
        torch.set_num_threads(before)


@contextmanager
def _in_onnxruntime(layer: Any, rows: int, threads: int) -> Iterator[Callable[[], object]]:
    """The node that the exported model has, in a graph of its own."""
    import onnxruntime
    import torch

    from tiku.runtimes._onnx_graph import Traced, write_graph
    from tiku.runtimes._onnx_packed import multiply_in_int8, packed_products

    network, x_RI = torch.nn.Sequential(layer), torch.ones(rows, layer.in_features)
    packed_products(network)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its tracer old
        path = Path(folder) / "layer.onnx"
        write_graph(Traced(network, (x_RI,), ["x"], ["y"], {}), path)
        multiply_in_int8(path)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {"x": x_RI.numpy()}
    yield lambda: session.run(None, feed)


_RUNS: dict[str, Any] = {"torch": _in_torch, "onnxruntime": _in_onnxruntime}
