"""Few-bit layers in an ONNX graph: `MatMulNBits` nodes (com.microsoft) that hold the layer's own codes.

O outputs, I inputs, K blocks along the inputs. The operator takes 4 and 8 bits and blocks of a power of 2,
16 or more. Codes of 2 and 3 bits lie in its 4; a longer group, or a whole row, is blocks of one scale.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiku.core.subject import Subject
from tiku.core.verdict import Support
from tiku.runtimes._compressed_tensors import quantised_layers
from tiku.runtimes._onnx_graph import load_graph, save_graph

__all__ = ["multiply_in_int8", "packed_products", "storable"]

_SMALLEST, _LARGEST = 16, 128
_FLOAT, _INT8 = 1, 4  # accuracy_level: what the products are computed in


def storable(subject: Subject) -> Support:
    """Yes where every group is made of blocks that the operator takes."""
    layers = quantised_layers(subject.module).items()
    wrong = next((f"{name}: {layer.group}" for name, layer in layers if _block(layer) < _SMALLEST), None)
    if wrong is None:
        return Support.yes()
    return Support.no(
        f"ONNX Runtime's MatMulNBits takes blocks of a power of two from {_SMALLEST} on ({wrong})",
        f"ONNX Runtime 的 MatMulNBits 只支持不小于 {_SMALLEST} 的 2 的幂作为分组大小（{wrong}）",
    )


def packed_products(network: Any) -> None:
    """Replace the quantised layers of a network that may be changed by modules that trace to the operator."""
    for name, layer in quantised_layers(network).items():
        parent, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(parent), leaf, _product(layer))


def multiply_in_int8(path: Path) -> None:
    """Let the operator quantise each block of activations to int8, as its fast kernels do."""
    model = load_graph(path)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = _INT8
    save_graph(model, path)


def _block(layer: Any) -> int:
    """The largest block that no two groups share."""
    if layer.group >= layer.in_features:
        return _LARGEST
    group: int = layer.group
    return min(_LARGEST, group & -group)


def _product(layer: Any) -> Any:
    import torch

    block, bits = _block(layer), 4 if layer.bits < 8 else 8
    codes_OKB, scale_OK, zero_OK = _blocks(layer.codes(), block, bits)

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, *stored: Any) -> Any:
            return x[..., :1].expand(*x.shape[:-1], layer.out_features)  # the tracer asks for a shape alone

        @staticmethod
        def symbolic(graph: Any, x: Any, *stored: Any) -> Any:
            product = graph.op(
                "com.microsoft::MatMulNBits", x, *stored, K_i=layer.in_features, N_i=layer.out_features,
                bits_i=bits, block_size_i=block, accuracy_level_i=_FLOAT,
            )  # fmt: skip
            rank = x.type().dim()  # torch says on the standard error stream which shapes it was not told
            if rank:
                product.setType(x.type().with_sizes([None] * (rank - 1) + [layer.out_features]))
            return product

    class PackedProduct(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight_packed", _bytes(codes_OKB, bits))
            self.register_buffer("weight_scale", scale_OK)
            self.register_buffer("weight_zero_point", None if zero_OK is None else _bytes(zero_OK, bits))
            self.register_buffer("bias", layer.bias)

        def forward(self, x: Any) -> Any:
            stored = (self.weight_packed, self.weight_scale, self.weight_zero_point)
            y = Product.apply(x, *(tensor for tensor in stored if tensor is not None))  # type: ignore[no-untyped-call]
            return y if self.bias is None else y + self.bias

    return PackedProduct()


def _blocks(codes: Any, block: int, bits: int) -> tuple[Any, Any, Any]:
    """Codes (O, K, block), scales (O, K), zeros (O, K) or None: the operator's own zero, half its range."""
    import torch

    outputs, inputs = codes.codes_OI.shape
    count = -(-inputs // block)
    of_block_K = torch.arange(count) * block // codes.group
    shift = 0 if codes.zero_OG is not None else (1 << bits - 1) - (1 << codes.bits - 1)
    filled = torch.nn.functional.pad(codes.codes_OI + shift, (0, count * block - inputs))
    zero_OK = None if codes.zero_OG is None else codes.zero_OG[:, of_block_K]
    return filled.reshape(outputs, count, block), codes.scale_OG[:, of_block_K].contiguous(), zero_OK


def _bytes(codes: Any, bits: int) -> Any:
    """uint8 codes with two of 4 bits in a byte, the first in its low half."""
    import torch

    if bits == 8:
        return codes.to(torch.uint8).contiguous()
    even = torch.nn.functional.pad(codes, (0, codes.shape[-1] % 2)).to(torch.uint8)
    return (even[..., 0::2] | even[..., 1::2] << 4).contiguous()
