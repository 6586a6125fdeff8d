"""Few-bit layers in an OpenVINO model: constants that hold the layer's own codes, scales and zero points.

O outputs, I inputs, G groups. OpenVINO has 4 and 8 bits; codes of 2 and 3 bits lie in its 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tiku.core.subject import Subject
from tiku.core.verdict import Support
from tiku.runtimes._compressed_tensors import quantised_layers
from tiku.runtimes._openvino_int8 import group_activations

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["put_codes", "storable", "widened"]


def storable(subject: Subject) -> Support:
    """Yes where groups divide the inputs: the stored weight is a block of (O, G, I / G)."""
    layers = quantised_layers(subject.module).items()
    ragged = [n for n, layer in layers if layer.group < layer.in_features and layer.in_features % layer.group]
    if not ragged:
        return Support.yes()
    return Support.no(
        f"OpenVINO stores groups of one size, and the last group of {ragged[0]} is shorter",
        f"OpenVINO 要求各组大小相同，而 {ragged[0]} 的最后一组较短",
    )


def widened(network: Any) -> dict[str, Any]:
    """Put float32 layers in the place of the quantised ones; their codes by the name of the layer."""
    found = {}
    for name, layer in quantised_layers(network).items():
        parent, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(parent), leaf, layer.dequantised())
        found[name] = layer.codes()
    return found


def put_codes(model: Any, codes: dict[str, Any]) -> Any:
    """Replace the float32 weights of these layers by their codes. Activations stay float32."""
    if not codes:
        return model
    constants = {op.get_friendly_name(): op for op in model.get_ops() if op.get_type_name() == "Constant"}
    for name, stored in codes.items():
        wide = constants[f"self.{name}.weight"].output(0)
        narrow = _weight(stored)
        for user in wide.get_target_inputs():
            user.replace_source_output(narrow.output(0))
    model.validate_nodes_and_infer_types()
    return group_activations(model, 0)


def _weight(codes: Any) -> Any:
    """(code - zero) * scale as the plugin recognises it, float32 of shape (O, I)."""
    import numpy as np
    import openvino.opset13 as ops

    outputs, inputs = codes.codes_OI.shape
    groups = codes.scale_OG.shape[1]
    bits = 4 if codes.bits < 8 else 8
    half = np.full((outputs, groups), 1 << codes.bits - 1, dtype=np.uint8)
    zero_OG = half if codes.zero_OG is None else codes.zero_OG.numpy()
    shape = (outputs, groups, inputs // groups)
    parts = [_constant(codes.codes_OI.numpy(), shape, bits), _constant(zero_OG, (outputs, groups, 1), bits)]
    code, zero = (ops.convert(part, "f32") for part in parts)
    scale = ops.constant(codes.scale_OG.numpy().reshape(outputs, groups, 1))
    wide = ops.multiply(ops.subtract(code, zero), scale)
    return ops.reshape(wide, ops.constant(np.array([outputs, inputs], dtype=np.int64)), special_zero=False)


def _constant(values: NDArray[np.uint8], shape: tuple[int, ...], bits: int) -> Any:
    """Unsigned; two of 4 bits in a byte, the first in its low half."""
    import numpy as np
    import openvino

    if bits == 8:
        return openvino.op.Constant(np.ascontiguousarray(values).reshape(shape))
    flat = np.ascontiguousarray(values).reshape(-1)
    even = np.pad(flat, (0, len(flat) % 2))
    halves = openvino.Tensor(even[0::2] | even[1::2] << 4, openvino.Shape(list(shape)), openvino.Type.u4)
    return openvino.op.Constant(halves, shared_memory=False)  # the model outlives the tensor
