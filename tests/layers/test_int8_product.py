"""bfloat16 activations times 8-bit codes: the numbers that the codes mean, in whatever pieces and memory."""

from __future__ import annotations

import pytest
import torch

from tiku.layers.quantized_linear import Codes, QuantizedLinear


def layer(outputs: int, inputs: int, bias: bool = False) -> tuple[QuantizedLinear, torch.Tensor]:
    """A layer of random codes whose scales are powers of two, and its weights in float64."""
    torch.manual_seed(outputs * inputs)
    codes = torch.randint(0, 256, (outputs, inputs), dtype=torch.uint8)
    scale = 2.0 ** torch.randint(-6, 3, (outputs, 1))
    made = QuantizedLinear.of(Codes(8, inputs, codes, scale), torch.randn(outputs) if bias else None)
    return made, (codes.double() - 128) * scale.double()


# One whole piece, several, and a last one that is smaller; the last two shapes are not for the kernel.
SHAPES = [(4, 16), (36, 48), (1300, 1040), (8, 2_000_000), (6, 16), (8, 24)]


@pytest.mark.parametrize("rows", [1, 3, 16, 17])
@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_a_row_that_picks_an_input_gets_its_weights_exactly(outputs: int, inputs: int, rows: int) -> None:
    made, weight = layer(outputs, inputs)
    picked = torch.randint(0, inputs, (rows,))
    x = torch.zeros(rows, inputs, dtype=torch.bfloat16)
    x[torch.arange(rows), picked] = 1
    with torch.inference_mode():
        got = made(x)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got.double(), weight[:, picked].T)  # 8 bits and a power of two: bfloat16 holds them


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (3, 40)])
def test_sums_are_as_exact_as_bfloat16_tells_them(shape: tuple[int, int]) -> None:
    made, weight = layer(132, 528, bias=True)
    x = torch.randn(*shape, 528).bfloat16()
    expected = x.double() @ weight.T
    with torch.no_grad():
        got = made(x).double()
    assert got.shape == (*shape, 132)
    # The sum is rounded once or twice, the bias and what both give once each.
    assert ((got - expected - made.bias).abs() <= 2.0**-7 * (expected.abs() + made.bias.abs()) + 0.05).all()


def test_memory_that_begins_anywhere_is_read_right() -> None:
    """The kernel's loads want whole cache lines; a streamed layer lies where the file has it."""
    made, weight = layer(64, 128)
    held = torch.empty(made.weight_packed.nbytes + 24, dtype=torch.uint8)
    for offset in (4, 8, 20):
        place = held[offset : offset + made.weight_packed.nbytes].view(torch.int32).view(64, 32)
        place.copy_(made.weight_packed.clone())
        made.weight_packed.data = place
        x = torch.eye(128, dtype=torch.bfloat16).flatten()
        several = torch.cat([x.new_zeros(3), x])[3:].view(128, 128)[:9]
        with torch.inference_mode():
            assert torch.equal(made(several).double(), weight[:, :9].T)
            assert torch.equal(made(several[:, None].transpose(0, 1))[0].double(), weight[:, :9].T)


@pytest.mark.parametrize("rows", [2, 30])
def test_gradients_flow_to_the_activations(rows: int) -> None:
    made, weight = layer(32, 64)
    x = torch.randn(rows, 64).bfloat16().requires_grad_()
    made(x).sum().backward()
    torch.testing.assert_close(x.grad.double(), weight.sum(0).expand(rows, 64), rtol=0.02, atol=0.5)


def test_no_rows_give_no_rows() -> None:
    made, _ = layer(32, 64)
    assert made(torch.zeros(0, 64, dtype=torch.bfloat16)).shape == (0, 32)


def test_codes_that_were_let_go_of_cannot_be_multiplied() -> None:
    made, _ = layer(32, 64)
    made.weight_packed.data = torch.empty(0, dtype=torch.int32)
    with pytest.raises((IndexError, RuntimeError, ValueError)):
        made(torch.zeros(1, 64, dtype=torch.bfloat16))
    with pytest.raises((IndexError, RuntimeError, ValueError)):
        made(torch.zeros(1, 64))
