"""Static int8 in an ONNX graph: `MatMulIntegerToFloat` nodes (com.microsoft) over codes.

ONNX Runtime makes the same nodes from a graph of QuantizeLinear and DequantizeLinear pairs, but leaves the
bias outside: minilm took 1.09 of the time.

O outputs, I inputs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiku.core.subject import Numerics
from tiku.runtimes._onnx_graph import load_graph, save_graph
from tiku.runtimes._static_int8 import (
    InputGrid,
    grids_of,
    largest_code,
    products_taken,
    unknown_layer,
    weight_codes,
)

__all__ = ["multiply_in_static_int8"]

_CONTRIB = "com.microsoft"
_KERNELS = ("MatMulIntegerToFloat", "MatMulInteger", "QLinearMatMul", "QGemm")


def multiply_in_static_int8(path: Path, numerics: Numerics) -> dict[str, Any]:
    """Quantise the products of the named layers in the float graph at `path`; how many kernels of the
    opened graph multiply in int8. Raises `ModelError`."""
    model = load_graph(path)
    rewriting = _Rewriting(model.graph, largest_code(numerics))
    asked = sum(rewriting.layer(name, grid) for name, grid in grids_of(numerics).items())
    rewriting.finish()
    if all(one.domain != _CONTRIB for one in model.opset_import):
        from onnx import helper

        model.opset_import.append(helper.make_opsetid(_CONTRIB, 1))
    save_graph(model, path)
    return products_taken(_kernels(path), asked, "onnxruntime")


def _kernels(path: Path) -> int:
    """int8 products in the graph as ONNX Runtime executes it."""
    import onnx
    import onnxruntime

    from tiku.runtimes._onnx_session import session_settings

    settings = session_settings(threads=1, arena=False, fusion=True)
    with tempfile.TemporaryDirectory() as folder:
        settings.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        graph = onnx.load(settings.optimized_model_filepath, load_external_data=False).graph
    return sum(node.op_type in _KERNELS for node in graph.node)


@dataclass(eq=False)
class _Rewriting:
    """Replaces products in a graph, one layer after the other."""

    graph: Any
    largest: int
    _nodes: list[Any] = field(init=False)
    _inputs: dict[tuple[str, InputGrid], list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._nodes = list(self.graph.node)
        self._weights = {tensor.name: tensor for tensor in self.graph.initializer}
        self._makers = {output: node for node in self._nodes for output in node.output}

    def layer(self, name: str, grid: InputGrid) -> int:
        """Quantise every product with this layer's weights; how many there are."""
        found = list(self._products(f"network.{name}.weight"))
        if not found:
            raise unknown_layer(name, "onnxruntime")
        stored: list[str] = []
        for product, turned in found:
            stored = stored or self._store(name, product, turned)
            self._replace(product, stored, grid)
        return len(found)

    def finish(self) -> None:
        """Write the nodes back, without those and the weights that nothing uses any more."""
        used = {name for node in self._nodes for name in node.input}
        kept = [n for n in self._nodes if n.op_type != "Transpose" or n.output[0] in used]
        used = {name for node in kept for name in node.input} | {one.name for one in self.graph.output}
        weights = [tensor for tensor in self.graph.initializer if tensor.name in used]
        for stored, new in ((self.graph.node, kept), (self.graph.initializer, weights)):
            del stored[:]
            stored.extend(new)

    def _products(self, weight: str) -> Iterator[tuple[Any, bool]]:
        """Nodes that multiply by the weight, and whether the operand is (O, I) in the node."""
        for node in self._nodes:
            if node.op_type not in ("MatMul", "Gemm") or len(node.input) < 2:
                continue
            given = {a.name: a.f if a.name in ("alpha", "beta") else a.i for a in node.attribute}
            plain = not given.get("transA") and given.get("alpha", 1) == given.get("beta", 1) == 1
            maker = self._makers.get(node.input[1])
            behind = maker.input[0] if maker is not None and maker.op_type == "Transpose" else None
            if plain and (node.input[1] in (weight, f"{weight}.T") or behind == weight):
                yield node, bool(given.get("transB"))

    def _store(self, name: str, product: Any, turned: bool) -> list[str]:
        """Names of the codes (I, O) and of their scales."""
        from onnx import numpy_helper

        operand, maker = product.input[1], self._makers.get(product.input[1])
        array = numpy_helper.to_array(self._weights[operand if maker is None else maker.input[0]])
        weight_OI = array if turned or maker is not None else array.T
        codes_OI, scale_O = weight_codes(weight_OI, self.largest)
        return [self._constant(f"{name}.codes", codes_OI.T.copy()), self._constant(f"{name}.scale", scale_O)]

    def _constant(self, name: str, array: Any) -> str:
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _replace(self, product: Any, stored: list[str], grid: InputGrid) -> None:
        from onnx import helper

        codes, scale, zero = self._quantised(product.input[0], grid)
        bias, output = self._bias(product)
        at = self._place(product)
        inputs = [codes, stored[0], scale, stored[1], zero, *(["", bias] if bias else [])]
        self._nodes[at] = helper.make_node(
            "MatMulIntegerToFloat", inputs, [output], name=f"{product.name}/int8", domain=_CONTRIB
        )

    def _place(self, wanted: Any) -> int:
        return next(at for at, node in enumerate(self._nodes) if node is wanted)

    def _quantised(self, name: str, grid: InputGrid) -> list[str]:
        """Codes, scale and zero of an input: one node for all products that read it."""
        import numpy as np
        from onnx import helper

        key = (name, grid)
        if key not in self._inputs:
            base = f"{name}/codes{len(self._inputs)}"
            scale = self._constant(f"{base}.scale", np.array(grid.scale, dtype=np.float32))
            zero = self._constant(f"{base}.zero", np.array(grid.zero, dtype=np.uint8))
            node = helper.make_node("QuantizeLinear", [name, scale, zero], [base], name=base)
            maker = self._makers.get(name)
            self._nodes.insert(0 if maker is None else self._place(maker) + 1, node)
            self._inputs[key] = [base, scale, zero]
        return self._inputs[key]

    def _bias(self, product: Any) -> tuple[str | None, str]:
        """The bias that is added to the product and to nothing else, and the name of the sum."""
        if product.op_type == "Gemm":
            return (product.input[2] if len(product.input) > 2 else None), product.output[0]
        users = [node for node in self._nodes if product.output[0] in node.input]
        outputs = {one.name for one in self.graph.output}
        if len(users) == 1 and users[0].op_type == "Add" and product.output[0] not in outputs:
            (other,) = [name for name in users[0].input if name != product.output[0]] or [None]
            tensor = self._weights.get(other)
            if tensor is not None and len(tensor.dims) == 1:
                self._nodes = [node for node in self._nodes if node is not users[0]]
                return other, users[0].output[0]
        return None, product.output[0]
