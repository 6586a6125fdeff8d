"""bfloat16 in an OpenVINO model: weights stored so, and the arithmetic asked for in the model itself."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from tiku.core.subject import Numerics, Subject

__all__ = ["arithmetic_of", "ask_for_bf16", "narrow_weights", "widened_subject"]

_HINT = ["runtime_options", "INFERENCE_PRECISION_HINT"]


def widened_subject(subject: Subject) -> Subject:
    """The subject with its 16-bit weights in float32, the same numbers: what is traced and compared."""
    module = copy.deepcopy(subject.module).float()
    module.config.dtype = None
    return replace(subject, module=module, numerics=Numerics())


def narrow_weights(model: Any) -> Any:
    """Store in bfloat16 every float32 constant that loses nothing by it, and have the plugin multiply so."""
    import openvino.opset13 as ops

    for constant in [op for op in model.get_ops() if op.get_type_name() == "Constant"]:
        narrow = _narrow(constant)
        if narrow is not None:
            wide = ops.convert(narrow, "f32")
            for user in constant.output(0).get_target_inputs():
                user.replace_source_output(wide.output(0))
    model.validate_nodes_and_infer_types()
    ask_for_bf16(model)
    return model


def ask_for_bf16(model: Any) -> None:
    """Have whatever opens the model compute in bfloat16 what is not multiplied in int8."""
    model.set_rt_info("bf16", _HINT)


def arithmetic_of(model: Any) -> str:
    """The precision that the model asks for: f32 unless tiku wrote another into it."""
    return str(model.get_rt_info(_HINT).astype(str)) if model.has_rt_info(_HINT) else "f32"


def _narrow(constant: Any) -> Any:
    """The constant in bfloat16: the upper halves of its numbers. None where a lower half is not empty."""
    import numpy as np
    import openvino

    if constant.get_element_type() != openvino.Type.f32:
        return None
    bits = np.ascontiguousarray(constant.data).view(np.uint32)
    if bits.size < 2 or (bits & 0xFFFF).any():
        return None
    halves = (bits >> 16).astype(np.uint16)
    tensor = openvino.Tensor(halves, openvino.Shape(list(constant.get_output_shape(0))), openvino.Type.bf16)
    return openvino.op.Constant(tensor, shared_memory=False)  # the model outlives the tensor
