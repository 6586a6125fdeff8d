"""Mixed bits: sensitive layers keep 8 bits, the others get 4 or fewer, within a mean that is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Numerics, Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.quantize._grid import GridKind
from tiku.methods.quantize._weight_only import HEAD_KIND, can_quantise

if TYPE_CHECKING:
    from torch import Tensor

    from tiku.methods.quantize._calibrated import Calibrated
    from tiku.methods.quantize._calibration import SharedInput
    from tiku.methods.quantize._targets import Layer

__all__ = ["METHOD", "MixedBits"]

_JUDGED_ROWS = 64


@dataclass(frozen=True)
class MixedBits(Method):
    """Chooses the bits of each layer by an integer programme: the least sum, over layers, of the error of
    the outputs on calibration texts relative to their energy, with at most `mean_bits` per weight.

    `facts["quantised"]["mixed_bits"]` says which layers got how many.
    """

    name: ClassVar[str] = "mixed-bits"
    promise: ClassVar[float] = 0.35
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory")
    title: ClassVar[Text] = Text("Bits chosen per layer", "逐层选择位数")
    source: ClassVar[str] = "Yao et al. 2021, HAWQ-V3 (ICML): bits per layer by integer programming"
    slot: ClassVar[str | None] = "numerics"
    slow: ClassVar[bool] = True

    mean_bits: float = param(5.0, "bits per weight at most, as a mean over the layers", low=2.0, high=8.0)
    least_bits: int = param(
        4, "fewest bits of a layer; torch multiplies from 4 and 8 bits", choices=(2, 3, 4)
    )
    group: int | None = param(
        32, "inputs that share a scale below 8 bits; null: one scale per output", choices=(None, 32, 64, 128)
    )
    tokens: int = param(16_384, "calibration tokens", low=1, high=100_000_000)
    window: int = param(512, "tokens of a calibration text at most", low=8, high=131_072)
    quantize_head: bool = param(False, "also quantise the layer that gives the logits, to 8 bits; unties it")

    def supports(self, subject: Subject) -> Support:
        if self.mean_bits < self.least_bits:
            return Support.no(
                f"a mean of {self.mean_bits:g} bits cannot be met with {self.least_bits} bits or more",
                f"每层至少 {self.least_bits} 位，无法达到平均 {self.mean_bits:g} 位",
            )
        return can_quantise(subject)

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `DataError` (nothing to calibrate on) and `ModelError` (numbers that are not finite)."""
        from tiku.methods.quantize._bit_choice import choose_bits
        from tiku.methods.quantize._calibrated import Calibrated
        from tiku.methods.quantize._grid import round_to_nearest

        kinds = self._kinds()
        start = {"quantize_head": self.quantize_head, "tokens": self.tokens, "window": self.window}
        work = Calibrated.start(subject, context, kinds[0], **start)  # type: ignore[arg-type]
        layers, importances, errors = _sensitivities(work, kinds)
        report = dict(work.report)
        if layers:
            import numpy as np

            sizes = np.array([layer.weight().numel() for layer in layers])
            bits = [kind.bits for kind in kinds]
            chosen = choose_bits(np.array(errors), sizes, bits, self.mean_bits)
            for layer, importance, at in zip(layers, importances, chosen, strict=True):
                work.put(layer, round_to_nearest(layer.weight(), kinds[at], importance))
            report["mixed_bits"] = _told(layers, [bits[at] for at in chosen], sizes.tolist())
        options = {"method": self.name, "group": self.group, "quantize_head": self.quantize_head}
        work.subject.module.eval()
        return replace(
            work.subject,
            numerics=Numerics("mixed-weight-only", options),
            facts={**work.subject.facts, "quantised": report},
        )

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """For language models, where there is time; encoders lose little to 8 bits everywhere."""
        worth = situation.task == "causal-lm" and situation.budget != "quick"
        return (cls(quantize_head=True),) if worth else ()

    def _kinds(self) -> list[GridKind]:
        low = [GridKind(b, self.group, symmetric=False) for b in (2, 3, 4) if b >= self.least_bits]
        return [*low, HEAD_KIND]


def _sensitivities(
    work: Calibrated, kinds: Sequence[GridKind]
) -> tuple[list[Layer], list[Tensor], list[list[float]]]:
    """Layers, the importance of their inputs, and their relative error for each kind of grid."""
    layers: list[Layer] = []
    importances: list[Tensor] = []
    errors: list[list[float]] = []
    for group in work.groups():
        importance = group.hessian_II.diagonal().clone()
        for layer in group.layers:
            layers.append(layer)
            importances.append(importance)
            errors.append(_relative_errors(layer, group, kinds))
    return layers, importances, errors


def _relative_errors(layer: Layer, group: SharedInput, kinds: Sequence[GridKind]) -> list[float]:
    """Error of the outputs divided by their energy, over evenly spread rows."""
    from tiku.methods.quantize._gptq import hessian_error
    from tiku.methods.quantize._grid import round_to_nearest

    weight = layer.weight()
    some, hessian = weight[:: -(-len(weight) // _JUDGED_ROWS)], group.hessian_II
    energy = max(hessian_error(some, hessian), 1e-30)
    rounded = (round_to_nearest(some, kind, hessian.diagonal()).weight() for kind in kinds)
    return [hessian_error(one - some, hessian) / energy for one in rounded]


def _told(layers: Sequence[Layer], bits: Sequence[int], sizes: Sequence[int]) -> dict[str, object]:
    """Mean bits, layers by bits, and the names of those that got 8."""
    wide = [layer.name for layer, b in zip(layers, bits, strict=True) if b == HEAD_KIND.bits]
    return {
        "mean_bits": sum(b * n for b, n in zip(bits, sizes, strict=True)) / sum(sizes),
        "layers_by_bits": {str(b): n for b, n in sorted(Counter(bits).items())},
        "eight_bits": wide,
    }


METHOD = MixedBits
