"""Layers with correlated inputs, as the layers of trained models have them."""

from __future__ import annotations

import torch


def drawn(
    seed: int, outputs: int = 48, inputs: int = 256, rows: int = 2048
) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight_OI with heavy tails, x_nI): few directions carry most of the inputs' energy, and some inputs
    are ten times as large as the others."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(inputs, inputs, generator=generator)
    mixing = mixing * torch.logspace(0, -2, inputs)[:, None]
    x = torch.randn(rows, inputs, generator=generator) @ mixing
    x[:, ::29] *= 10
    weight = torch.randn(outputs, inputs, generator=generator)
    return weight * weight.abs(), x


def hessian_of(x_nI: torch.Tensor) -> torch.Tensor:
    """By the definition, in float64."""
    x = x_nI.double()
    return (2 / len(x) * x.T @ x).float()


def output_error(changed_OI: torch.Tensor, weight_OI: torch.Tensor, x_nI: torch.Tensor) -> float:
    """Mean squared error of the layer's outputs, summed over outputs, in float64."""
    return float(((changed_OI - weight_OI).double() @ x_nI.double().T).square().sum() / len(x_nI))
