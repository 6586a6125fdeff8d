"""int8 weights in an OpenVINO model, with activations quantised per group while it runs."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Mapping
from typing import Any

__all__ = ["compress", "group_activations", "head_node"]

# minilm, texts per CPU second against groups of 64: 0.88 with 32, 1.15 with 128, 1.18 with 192, 1.19 with 384
# (all inputs of a layer), the same answers; 0.50 with a group larger than the inputs, which are then not
# quantised at all.
_GROUP, _LARGE_GROUP = 64, 128


def compress(model: Any, options: Mapping[str, Any]) -> Any:
    """The model with int8 weights (asymmetric, one scale per output channel), by NNCF.

    Options: `quantize_head`, `quantize_embeddings`, `group_size` of the activations (None: 128 where it
    divides the inputs of every layer, else 64). The group is written into the IR, so that every program
    that opens it computes the same.
    """
    import nncf

    head = None if options.get("quantize_head") else head_node(model)
    scope = nncf.IgnoredScope(
        names=[head] if head else [],
        types=[] if options.get("quantize_embeddings") else ["Gather"],
        validate=False,
    )
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # NNCF prints a table and a progress bar
            compressed = nncf.compress_weights(
                model, mode=nncf.CompressWeightsMode.INT8_ASYM, ignored_scope=scope
            )
    finally:
        logging.disable(before)
    return group_activations(compressed, options.get("group_size") or _fitting_group(model))


def group_activations(model: Any, group: int | None) -> Any:
    """Have activations quantised to int8 in groups of this size (None: 64; 0: not at all)."""
    size = _GROUP if group is None else group
    model.set_rt_info(str(size), ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
    return model


def _fitting_group(model: Any) -> int:
    """The large group where it divides the inputs of every product with weights."""
    products = [node for node in model.get_ops() if node.get_type_name() == "MatMul"]
    widths = [
        node.input(1).get_shape()[-1 if node.get_attributes()["transpose_b"] else -2]
        for node in products
        if node.input(1).get_partial_shape().is_static
    ]
    return _LARGE_GROUP if all(width % _LARGE_GROUP == 0 for width in widths) else _GROUP


def head_node(model: Any) -> str | None:
    """Friendly name of the matrix product nearest to the output: the classification head."""
    node = model.outputs[0].get_node()
    while node.get_input_size():
        if node.get_type_name() == "MatMul":
            return str(node.get_friendly_name())
        node = node.input_value(0).get_node()
    return None
