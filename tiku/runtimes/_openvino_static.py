"""Static int8 in an OpenVINO model: int8 weights, and a FakeQuantize with the calibrated range on each input.

The plugin's low-precision transformations turn the pair into products of int8 numbers. O outputs, I inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tiku.core.errors import ModelError
from tiku.core.subject import Numerics
from tiku.runtimes._static_int8 import InputGrid, grids_of, largest_code, unknown_layer, weight_codes

__all__ = ["formats", "quantise_products", "rest_taken"]

_LEVELS = 256
_INT8 = "_i8"  # how the plugin names kernels that multiply int8
_PRODUCTS = ("FullyConnected", "MatMul")
_COMPUTING = ("Eltwise", "MVN", "RMSNorm", "ScaledDotProductAttention", "Softmax", "Subgraph")
_FLOATING = ("bf16", "f16", "f32")


def quantise_products(model: Any, numerics: Numerics) -> int:
    """Quantise the products of the named layers, in place; how many there are. Raises `ModelError`."""
    largest, inputs, count = largest_code(numerics), {}, 0
    products = list(_products(model))
    for name, grid in grids_of(numerics).items():
        own = [one for one in products if one.get_friendly_name().startswith(f"__module.network.{name}/")]
        if not own:
            raise unknown_layer(name, "openvino")
        for product in own:
            product.input(1).replace_source_output(_weight(product, largest).output(0))
            source = product.input_value(0)
            key = (source.get_node().get_name(), source.get_index(), grid)
            if key not in inputs:
                inputs[key] = _quantised(source, grid)
            product.input(0).replace_source_output(inputs[key].output(0))
        count += len(own)
    model.validate_nodes_and_infer_types()
    return count


def formats(compiled: Any) -> dict[str, dict[str, int]]:
    """Executed operators by number format: products, and the rest that computes in floating point."""
    products: Counter[str] = Counter()
    rest: Counter[str] = Counter()
    for op in compiled.get_runtime_model().get_ops():
        info = op.get_rt_info()
        kind, found = _text(info, "layerType"), _text(info, "runtimePrecision")
        if kind in _PRODUCTS:
            products["int8" if _text(info, "primitiveType").lower().endswith(_INT8) else found] += 1
        elif kind in _COMPUTING and found in _FLOATING:
            rest[found] += 1
    return {"products": dict(products), "rest": dict(rest)}


def rest_taken(found: dict[str, dict[str, int]], asked: str) -> dict[str, Any]:
    """JSON values. Raises `ModelError` where nothing is computed in the bfloat16 that was asked for."""
    if asked == "bf16" and not found["rest"].get("bf16"):
        raise ModelError(
            "openvino took no bfloat16 kernel for this model on this processor",
            got=f"the rest in {', '.join(found['rest']) or 'no floating point'}",
            allowed="a model and a processor with bfloat16 kernels",
            next_step="leave rest at fp32",
        )
    return {"computed_in": found}


def _text(info: Any, key: str) -> str:
    return str(info[key].astype(str)) if key in info else ""


def _products(model: Any) -> Iterator[Any]:
    """The nodes that multiply by a weight from the right."""
    for node in model.get_ops():
        if node.get_type_name() != "MatMul" or node.get_attributes()["transpose_a"]:
            continue
        if node.input_value(1).get_node().get_type_name() == "Constant":
            yield node


def _weight(product: Any, largest: int) -> Any:
    """Codes times scales; (O, I) where the product turns its operand, else (I, O)."""
    import numpy as np
    import openvino.opset13 as ops

    array = product.input_value(1).get_node().get_data()
    turned = bool(product.get_attributes()["transpose_b"])
    codes_OI, scale_O = weight_codes(array if turned else array.T, largest)
    codes = codes_OI if turned else np.ascontiguousarray(codes_OI.T)
    scale = scale_O[:, None] if turned else scale_O[None]
    return ops.multiply(ops.convert(ops.constant(codes), "f32"), ops.constant(np.ascontiguousarray(scale)))


def _quantised(source: Any, grid: InputGrid) -> Any:
    import numpy as np
    import openvino.opset13 as ops

    low, high = (ops.constant(np.array([end], dtype=np.float32)) for end in grid.ends)
    return ops.fake_quantize(source, low, high, low, high, _LEVELS)
