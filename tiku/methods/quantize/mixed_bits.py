"""Mixed bits: sensitive layers keep 8 bits, the others get 4 or fewer, for a size, a time or a quality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Numerics, Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.quantize._grid import GridKind
from tiku.methods.quantize._weight_only import FEW_BITS_OF_ENCODERS, HEAD_KIND, can_quantise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from tiku.methods.quantize._calibrated import Calibrated
    from tiku.methods.quantize._sensitivity import Answers
    from tiku.methods.quantize._targets import Layer

__all__ = ["METHOD", "MixedBits"]


@dataclass(frozen=True)
class MixedBits(Method):
    """Chooses the bits of each layer by an integer programme over the layers' sensitivities and costs.

    Sensitivity: "hessian", the error of a layer's outputs on calibration texts relative to their energy;
    "logits", the KL divergence of the model's answers when that layer alone is rounded (nats per
    prediction; a forward pass per layer and number of bits). Cost: "bytes" a layer stores, or its "time",
    measured in the runtime `timed_on` once per shape and number of bits, for `rows` rows at once.

    Target "size": the least sum of sensitivities within a cost: `mean_bits` per weight, or `most_time`
    of what the layers take in 8 bits. Target "quality": the least cost with a sum of sensitivities of
    `most_loss` at most. `facts["quantised"]["mixed_bits"]` says which layers got how many, and for
    "logits" what the divergence of the whole model became beside the sum that was predicted.
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
    sensitivity: str = param("hessian", "how layers are judged", choices=("hessian", "logits"))
    judged_tokens: int = param(512, "tokens that the logits are compared on", low=1, high=100_000_000)
    target: str = param("size", "what is met, at the best of the other", choices=("size", "quality"))
    cost: str = param("bytes", "what a layer costs", choices=("bytes", "time"))
    most_time: float = param(1.0, "share of the time in 8 bits at most (size, time)", low=0.01, high=100.0)
    most_loss: float = param(0.05, "sum of the sensitivities at most (quality)", low=1e-9, high=1e6)
    timed_on: str = param("torch", "runtime that layers are timed in", choices=("torch", "onnxruntime"))
    rows: int = param(1, "rows a layer multiplies at once when it is timed", low=1, high=65_536)
    quantize_head: bool = param(False, "also quantise the layer that gives the logits, to 8 bits; unties it")

    def supports(self, subject: Subject) -> Support:
        if self.mean_bits < self.least_bits:
            return Support.no(
                f"a mean of {self.mean_bits:g} bits cannot be met with {self.least_bits} bits or more",
                f"每层至少 {self.least_bits} 位，无法达到平均 {self.mean_bits:g} 位",
            )
        if self.cost == "time" and self.timed_on == "onnxruntime" and find_spec("onnxruntime") is None:
            return Support.no(
                "onnxruntime is not installed, so no layer can be timed in it: pip install 'tiku[onnx]'",
                "未安装 onnxruntime，无法在其中测量各层耗时：pip install 'tiku[onnx]'",
            )
        return can_quantise(subject)

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `DataError` (nothing to calibrate on) and `ModelError` (numbers that are not finite)."""
        from tiku.methods.quantize._calibrated import Calibrated
        from tiku.methods.quantize._grid import round_to_nearest
        from tiku.methods.quantize._sensitivity import Answers

        kinds = self._kinds()
        start = {"quantize_head": self.quantize_head, "tokens": self.tokens, "window": self.window}
        work = Calibrated.start(subject, context, kinds[0], **start)  # type: ignore[arg-type]
        judge = Answers.of(work.subject, work.texts, self.judged_tokens) if self._by_logits else None
        layers, importances, errors = self._sensitivities(work, kinds, judge)
        report = dict(work.report)
        if layers:
            chosen, told = self._chosen(layers, kinds, errors, context.protocol.threads or 1)
            for layer, importance, at in zip(layers, importances, chosen, strict=True):
                work.put(layer, round_to_nearest(layer.weight(), kinds[at], importance))
            if judge is not None:
                told["divergence"] = judge.divergence()
            report["mixed_bits"] = told
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

    @classmethod
    def why_not(cls, situation: Situation) -> Text | None:
        return None if situation.task == "causal-lm" else FEW_BITS_OF_ENCODERS

    @property
    def _by_logits(self) -> bool:
        return self.sensitivity == "logits"

    def _kinds(self) -> list[GridKind]:
        low = [GridKind(b, self.group, symmetric=False) for b in (2, 3, 4) if b >= self.least_bits]
        return [*low, HEAD_KIND]

    def _sensitivities(
        self, work: Calibrated, kinds: Sequence[GridKind], judge: Answers | None
    ) -> tuple[list[Layer], list[Tensor], NDArray[np.float64]]:
        """Layers, the importance of their inputs, and how much each kind of grid harms them (L, C)."""
        import numpy as np

        from tiku.methods.quantize._sensitivity import Answers, divergences, relative_errors

        layers: list[Layer] = []
        importances: list[Tensor] = []
        errors: list[list[float]] = []
        for group in work.groups():
            importance = group.hessian_II.diagonal().clone()
            for layer in group.layers:
                layers.append(layer)
                importances.append(importance)
                if judge is None:
                    errors.append(relative_errors(layer, group, kinds))
        if judge is not None:
            now = Answers(judge.subject, judge.batches)  # the head may be in 8 bits by now
            errors = divergences(now, layers, importances, kinds, work.context.progress)
        return layers, importances, np.array(errors, dtype=np.float64)

    def _chosen(
        self, layers: Sequence[Layer], kinds: Sequence[GridKind], errors: NDArray[np.float64], threads: int
    ) -> tuple[list[int], dict[str, object]]:
        """Position of the kind of grid by layer, and what there is to tell."""
        import numpy as np

        from tiku.methods.quantize._bit_choice import choose, choose_bits

        sizes, bits = np.array([layer.weight().numel() for layer in layers]), [kind.bits for kind in kinds]
        told: dict[str, object] = {}
        if self.target == "size" and self.cost == "bytes":
            chosen = choose_bits(errors, sizes, bits, self.mean_bits)
        else:
            costs, told = self._costs(layers, kinds, threads)
            if self.target == "quality":
                chosen = choose(costs, errors, self.most_loss, "a sum of sensitivities")
            else:
                chosen = choose(errors, costs, self.most_time * float(costs[:, -1].sum()), "seconds")
        at = (range(len(layers)), chosen)
        told |= _told(layers, [bits[i] for i in chosen], sizes.tolist())
        return chosen, {**told, "sum_of_sensitivities": float(errors[at].sum())}

    def _costs(
        self, layers: Sequence[Layer], kinds: Sequence[GridKind], threads: int
    ) -> tuple[NDArray[np.float64], dict[str, object]]:
        """Bytes or seconds (L, C), and the times that were measured."""
        import numpy as np

        from tiku.methods.quantize._layer_cost import LayerTimes, stored_bytes

        times = LayerTimes(self.timed_on, self.rows, threads)
        cost = stored_bytes if self.cost == "bytes" else times.seconds
        shapes = [layer.weight().shape for layer in layers]
        found = np.array([[cost(o, i, kind) for kind in kinds] for o, i in shapes], dtype=np.float64)
        return found, {"microseconds": times.told()} if self.cost == "time" else {}


def _told(layers: Sequence[Layer], bits: Sequence[int], sizes: Sequence[int]) -> dict[str, object]:
    """Mean bits, layers by bits, and the names of those that got 8."""
    wide = [layer.name for layer, b in zip(layers, bits, strict=True) if b == HEAD_KIND.bits]
    return {
        "mean_bits": sum(b * n for b, n in zip(bits, sizes, strict=True)) / sum(sizes),
        "layers_by_bits": {str(b): n for b, n in sorted(Counter(bits).items())},
        "eight_bits": wide,
    }


METHOD = MixedBits
