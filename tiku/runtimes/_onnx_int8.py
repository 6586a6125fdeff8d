"""int8 weights and activations in an ONNX graph."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["head_node", "quantize_in_place"]

_PRODUCTS = ("MatMul", "Gemm")


def quantize_in_place(path: Path, options: Mapping[str, Any]) -> None:
    """Replace the float graph at `path` by its int8 form.

    Options: `per_channel`, `reduce_range` (7-bit weights), `quantize_head`, `quantize_embeddings`,
    `group_size` (None: one scale per activation tensor; else blocks of that many inputs).
    """
    import onnx

    model = onnx.load(str(path))
    skipped = [] if options.get("quantize_head") else [name for name in [head_node(model)] if name]
    with _quiet():
        if options.get("group_size"):
            _by_blocks(model, path, options["group_size"], skipped)
        else:
            _by_tensors(model, path, options, skipped)


def head_node(model: Any) -> str | None:
    """Name of the matrix product nearest to the output: the classification head."""
    makers = {output: node for node in model.graph.node for output in node.output}
    name = model.graph.output[0].name
    while name in makers:
        node = makers[name]
        if node.op_type in _PRODUCTS:
            return str(node.name)
        name = node.input[0]
    return None


def _by_tensors(model: Any, path: Path, options: Mapping[str, Any], skipped: list[str]) -> None:
    """onnxruntime's dynamic quantisation: uint8 activations with one scale per tensor, int8 weights."""
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # the tracer knows no type for what com.microsoft's operators make, and the quantiser trips over its notes
    for note in [one for one in model.graph.value_info if not one.type.HasField("tensor_type")]:
        model.graph.value_info.remove(note)
    quantize_dynamic(
        model,
        str(path),
        op_types_to_quantize=[*_PRODUCTS, *(["Gather"] if options.get("quantize_embeddings") else [])],
        per_channel=options.get("per_channel", True),
        reduce_range=options.get("reduce_range", True),
        weight_type=QuantType.QInt8,
        # the quantiser first rewrites Gemm as MatMul under a name of its own
        nodes_to_exclude=[name for node in skipped for name in (node, f"{node}_MatMul")],
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT},
    )


def _by_blocks(model: Any, path: Path, block: int, skipped: list[str]) -> None:
    """MatMulNBits with 8 bits: weights and activations share one scale per block of inputs."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(
        model, bits=8, block_size=block, is_symmetric=False, accuracy_level=4, nodes_to_exclude=skipped
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(path), False)


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantisers log every layer and advise preprocessing that the traced graph does not need."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
