"""Weights in few bits: packed without loss, and multiplied to what the widened weights give."""

from __future__ import annotations

import copy

import pytest
import torch

from tiku.layers.bits import WIDTHS, pack, packed_length, unpack
from tiku.layers.quantized_linear import Codes, QuantizedLinear


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("count", [1, 5, 8, 31, 64])
def test_codes_come_back_from_words_without_gaps(bits: int, count: int) -> None:
    codes = torch.randint(0, 1 << bits, (3, count), dtype=torch.uint8)
    packed = pack(codes, bits)
    assert packed.shape == (3, packed_length(count, bits)) and packed.dtype == torch.int32
    assert torch.equal(unpack(packed, bits, count), codes)


def test_four_bit_codes_lie_in_nibbles_the_low_one_first() -> None:
    assert pack(torch.tensor([[1, 2, 3]], dtype=torch.uint8), 4).tolist() == [[0x321]]


def drawn(bits: int, group: int, inputs: int, zeros: bool, outputs: int = 32) -> Codes:
    groups = -(-inputs // group)
    return Codes(
        bits,
        group,
        torch.randint(0, 1 << bits, (outputs, inputs), dtype=torch.uint8),
        torch.rand(outputs, groups) + 0.1,
        torch.randint(0, 1 << bits, (outputs, groups), dtype=torch.uint8) if zeros else None,
    )


@pytest.mark.parametrize(
    ("bits", "group", "inputs", "zeros"),
    [
        (4, 32, 64, False), (4, 32, 64, True), (4, 128, 256, True),
        (4, 48, 96, False), (4, 64, 96, True), (8, 64, 64, False),
        (8, 64, 64, True), (8, 32, 64, False), (3, 32, 72, True),
        (2, 16, 40, False),
    ],
)  # fmt: skip
def test_the_layer_multiplies_what_its_codes_mean(bits, group, inputs, zeros) -> None:
    torch.manual_seed(bits * inputs)
    codes = drawn(bits, group, inputs, zeros)
    layer, x = QuantizedLinear.of(codes, torch.randn(32)), torch.randn(2, 5, inputs)
    zero = (
        torch.full((32, inputs), 2.0 ** (bits - 1))
        if codes.zero_OG is None
        else torch.stack([codes.zero_OG[:, i // group].float() for i in range(inputs)], 1)
    )
    scale = torch.stack([codes.scale_OG[:, i // group] for i in range(inputs)], 1)
    meant = (codes.codes_OI.double() - zero) * scale.double()
    expected = x.double() @ meant.T + layer.bias
    torch.testing.assert_close(layer(x).double(), expected, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(layer.dequantised()(x), layer(x), rtol=1e-4, atol=1e-3)
    few = layer(x[:1, :1].bfloat16()).double()
    assert (few - expected[:1, :1]).norm() <= 0.02 * expected[:1, :1].norm()
    torch.testing.assert_close(layer(x[:, ::2]).double(), expected[:, ::2], rtol=1e-4, atol=1e-3)  # strided


def test_four_bits_take_an_eighth_of_float32() -> None:
    layer = QuantizedLinear.of(drawn(4, 128, 512, zeros=False, outputs=64))
    assert layer.weight_packed.nbytes * 8 == 64 * 512 * 4


def test_a_copy_is_independent_and_the_state_goes_through_a_state_dict() -> None:
    layer = QuantizedLinear.of(drawn(4, 32, 64, zeros=True), torch.randn(32))
    x = torch.randn(3, 64)
    before, twin = layer(x), copy.deepcopy(layer)
    other = QuantizedLinear.of(drawn(4, 32, 64, zeros=True), torch.zeros(32))
    other.load_state_dict(twin.state_dict())
    twin.weight_packed.zero_()
    assert torch.equal(layer(x), before)
    assert torch.equal(other(x), before)


def test_scales_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="scales"):
        Codes(4, 32, torch.zeros(16, 64, dtype=torch.uint8), torch.ones(16, 3))
