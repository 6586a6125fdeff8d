"""How much a model minds when one layer is stored in fewer bits: by the layer's outputs, or by its logits.

Shape letters: B texts, T tokens, V tokens of the vocabulary (or classes).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tiku.methods.quantize._calibration_texts import CalibrationTexts, batches

if TYPE_CHECKING:
    from torch import Tensor

    from tiku.core.method import Progress
    from tiku.core.subject import Subject
    from tiku.methods.quantize._calibration import SharedInput
    from tiku.methods.quantize._grid import GridKind
    from tiku.methods.quantize._targets import Layer

__all__ = ["Answers", "divergences", "relative_errors"]

_JUDGED_ROWS = 64


def relative_errors(layer: Layer, group: SharedInput, kinds: Sequence[GridKind]) -> list[float]:
    """Error of the outputs divided by their energy, over evenly spread rows, for each kind of grid."""
    from tiku.methods.quantize._gptq import hessian_error
    from tiku.methods.quantize._grid import round_to_nearest

    weight = layer.weight()
    some, hessian = weight[:: -(-len(weight) // _JUDGED_ROWS)], group.hessian_II
    energy = max(hessian_error(some, hessian), 1e-30)
    rounded = (round_to_nearest(some, kind, hessian.diagonal()).weight() for kind in kinds)
    return [hessian_error(one - some, hessian) / energy for one in rounded]


def divergences(
    answers: Answers,
    layers: Sequence[Layer],
    importances: Sequence[Tensor],
    kinds: Sequence[GridKind],
    progress: Progress,
) -> list[list[float]]:
    """KL(model ‖ model with this one layer rounded) in nats per prediction, by layer and kind of grid."""
    from tiku.methods.quantize._grid import round_to_nearest

    found: list[list[float]] = []
    for done, (layer, importance) in enumerate(zip(layers, importances, strict=True)):
        found.append([])
        for kind in kinds:
            rounded = round_to_nearest(layer.weight(), kind, importance).weight()
            with _replaced(layer, rounded):
                found[-1].append(answers.divergence())
        progress(done + 1, len(layers), "divergence of the answers, layer by layer")
    return found


@dataclass(eq=False)
class Answers:
    """What a subject answers to a few texts now; `divergence` tells how far its answers have moved since."""

    subject: Subject
    batches: list[dict[str, Any]]
    before: list[Tensor] = field(init=False)

    @classmethod
    def of(cls, subject: Subject, texts: CalibrationTexts, tokens: int) -> Answers:
        """To the first texts that hold `tokens` tokens together (one text at least)."""
        some, total = [], 0
        for encoding in texts.encodings:
            if total < tokens:
                some.append(encoding)
                total += len(next(iter(encoding.values())))
        return cls(subject, list(batches(subject, CalibrationTexts(some), 1024)))

    def __post_init__(self) -> None:
        self.before = [self._log_probabilities(batch) for batch in self.batches]

    def divergence(self) -> float:
        """Mean KL(before ‖ now) over predictions, in nats."""
        total, count = 0.0, 0
        for batch, before in zip(self.batches, self.before, strict=True):
            away = (before.exp() * (before - self._log_probabilities(batch))).sum(-1)
            total, count = total + float(away.double().sum()), count + away.numel()
        return max(0.0, total / max(1, count))

    def _log_probabilities(self, batch: dict[str, Any]) -> Tensor:
        """float32 (n, V): of every token that is no padding, or of every text."""
        import torch

        accepted = inspect.signature(self.subject.module.forward).parameters
        extra = {"use_cache": False} if "use_cache" in accepted else {}
        with torch.inference_mode():
            output = self.subject.module(**{n: torch.from_numpy(a) for n, a in batch.items()}, **extra)
        logits: Tensor = getattr(output, "logits", output).float()
        if logits.ndim == 3 and "attention_mask" in batch:
            logits = logits[torch.from_numpy(batch["attention_mask"]).bool()]
        return logits.reshape(-1, logits.shape[-1]).log_softmax(-1)


@contextmanager
def _replaced(layer: Layer, weight_OI: Tensor) -> Iterator[None]:
    """The layer multiplies by other weights, then by its own again."""
    own = layer.weight().clone()
    layer.set_weight(weight_OI)
    try:
        yield
    finally:
        layer.set_weight(own)
