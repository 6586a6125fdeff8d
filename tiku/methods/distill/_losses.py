"""What a student is asked to match. N rows, V classes or tokens, B batch, T tokens, D width."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["answer_loss", "hidden_loss", "relation_loss"]

_BLIND = -1e9  # before a softmax: no weight, and no infinity in its logarithm's difference


def answer_loss(student_NV: torch.Tensor, teacher_NV: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL(teacher || student) of the answers at a temperature, times its square, per row (N).

    The square keeps the size of the gradient about the same at every temperature (Hinton et al. 2015).
    """
    teacher = (teacher_NV / temperature).log_softmax(-1)
    student = (student_NV / temperature).log_softmax(-1)
    return (teacher.exp() * (teacher - student)).sum(-1) * temperature**2


def hidden_loss(student_BTD: torch.Tensor, teacher_BTD: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """1 - cosine of the hidden states, mean over real tokens (Sanh et al. 2019)."""
    import torch

    cosine_BT = torch.cosine_similarity(student_BTD, teacher_BTD, dim=-1)
    return (1.0 - cosine_BT)[mask_BT].mean()


def relation_loss(
    student_BTD: torch.Tensor, teacher_BTD: torch.Tensor, mask_BT: torch.Tensor, heads: int, *, causal: bool
) -> torch.Tensor:
    """KL of how tokens attend to each other by their own scaled products, mean over rows and heads.

    The widths may differ: only the relations are compared (Wang et al. 2020, MiniLM; 2021, MiniLMv2).
    """
    teacher = _relations(teacher_BTD, mask_BT, heads, causal)
    student = _relations(student_BTD, mask_BT, heads, causal)
    rows_BHT = (teacher.exp() * (teacher - student)).sum(-1)
    return rows_BHT.transpose(1, 2)[mask_BT].mean()


def _relations(states_BTD: torch.Tensor, mask_BT: torch.Tensor, heads: int, causal: bool) -> torch.Tensor:
    """Log-probabilities of shape (B, heads, T, T)."""
    import torch

    b, t, d = states_BTD.shape
    split = states_BTD.reshape(b, t, heads, d // heads).transpose(1, 2)
    scores = split @ split.transpose(2, 3) / (d // heads) ** 0.5
    hidden = ~mask_BT[:, None, None, :]
    if causal:
        hidden = hidden | torch.ones(t, t, dtype=torch.bool, device=mask_BT.device).triu(1)
    relations: torch.Tensor = scores.masked_fill(hidden, _BLIND).log_softmax(-1)
    return relations
