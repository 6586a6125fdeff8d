"""GPTQ: weights in few bits, chosen so that the layers' outputs on calibration texts change little."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.quantize._grid import GridKind
from tiku.methods.quantize._weight_only import FEW_BITS_OF_ENCODERS, can_quantise, error_remark, stored_as

if TYPE_CHECKING:
    from tiku.layers.quantized_linear import Codes
    from tiku.methods.quantize._calibration import SharedInput
    from tiku.methods.quantize._targets import Layer

__all__ = ["GPTQ", "METHOD"]

_GUARDS = {  # what `_Record.told` names layers under
    "equal_to_rounding": ("layers equal to plain rounding: {}", "{} 层与直接舍入相同"),
    "kept_rounding_which_erred_less": (
        "layers that kept plain rounding, which erred less: {}",
        "{} 层保留直接舍入（误差更小）",
    ),
    "more_damping_than_asked": ("layers that needed more damping: {}", "{} 层需要更大的阻尼"),
    "inputs_that_never_fired": ("layers with inputs that never fired: {}", "{} 层有从未激活的输入"),
}
_JUDGED_ROWS = 64  # of each layer, on which GPTQ and rounding to nearest are compared


@dataclass(frozen=True)
class GPTQ(Method):
    """Rounds the weights of each layer one input at a time and corrects the others for the error, by the
    second moments of the layer's inputs on calibration texts. Scales are fixed per group beforehand.

    Layers in which rounding to nearest errs less keep that; `facts["quantised"]["gptq"]` says which, what
    damping was needed, and which inputs never fired.
    """

    name: ClassVar[str] = "gptq"
    promise: ClassVar[float] = 0.45
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("GPTQ", "GPTQ")
    source: ClassVar[str] = "Frantar et al. 2022, GPTQ (arXiv 2210.17323; ICLR 2023)"
    slot: ClassVar[str | None] = "numerics"
    slow: ClassVar[bool] = True

    bits: int = param(4, "bits per weight", choices=(2, 3, 4, 8))
    group: int | None = param(
        128, "inputs that share a scale; null: one scale per output", choices=(None, 32, 64, 128)
    )
    symmetric: bool = param(False, "zero in the middle of the grid: no zero points to store, more error")
    act_order: bool = param(True, "round the inputs with the largest activations first")
    damping: float = param(0.01, "share of the mean diagonal added to the diagonal", low=1e-6, high=10.0)
    tokens: int = param(65_536, "calibration tokens", low=1, high=100_000_000)
    window: int = param(512, "tokens of a calibration text at most", low=8, high=131_072)
    quantize_head: bool = param(False, "also quantise the layer that gives the logits, to 8 bits; unties it")

    def supports(self, subject: Subject) -> Support:
        return can_quantise(subject)

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `DataError` (nothing to calibrate on) and `ModelError` (numbers that are not finite)."""
        from tiku.methods.quantize._calibrated import Calibrated

        kind = GridKind(self.bits, self.group, self.symmetric)
        work = Calibrated.start(
            subject,
            context,
            kind,
            quantize_head=self.quantize_head,
            tokens=self.tokens,
            window=self.window,
        )
        record = _Record()
        for group in work.groups():
            for layer, codes in self._solved(group, kind, record):
                work.put(layer, codes)
        report = {**work.report, "gptq": record.told()}
        options = {"quantize_head": self.quantize_head}
        return stored_as(work.subject, kind, self.name, report, options)

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """For language models, with fewer tokens than a thorough calibration; encoders lose little to
        rounding as it is."""
        if situation.task != "causal-lm":
            return ()
        return (cls(tokens=16_384, quantize_head=True),)

    @classmethod
    def why_not(cls, situation: Situation) -> Text | None:
        return None if situation.task == "causal-lm" else FEW_BITS_OF_ENCODERS

    @classmethod
    def remark(cls, facts: Mapping[str, Any]) -> Text | None:
        told = facts["quantised"]["gptq"]
        named = {key: len(told[key]) for key in _GUARDS if key in told}
        fired = [Text(*(part.format(count) for part in _GUARDS[key])) for key, count in named.items()]
        return error_remark(told["error_relative_to_rounding"], fired)

    def _solved(self, group: SharedInput, kind: GridKind, record: _Record) -> Iterator[tuple[Layer, Codes]]:
        """The layers of a group in one go: they have one Hessian."""
        import torch

        from tiku.methods.quantize._gptq import solve
        from tiku.methods.quantize._grid import fit_grid

        hessian = group.hessian_II
        weights = [layer.weight() for layer in group.layers]
        whole = torch.cat(weights)
        grid = fit_grid(whole, kind, hessian.diagonal())
        found = solve(whole, hessian, grid, act_order=self.act_order, damping=self.damping)
        record.damped(group.layers, found.damping, self.damping, found.dead)
        nearest = grid.codes_of(whole)
        at = 0
        for layer, weight in zip(group.layers, weights, strict=True):
            own, plain = (codes.rows(at, at + len(weight)) for codes in (found.codes, nearest))
            at += len(weight)
            yield layer, (own if record.better(layer, weight, own, plain, hessian) else plain)


class _Record:
    """What GPTQ has to report: how much it gained, and where it did not."""

    def __init__(self) -> None:
        self._errors = [0.0, 0.0]
        self._equal: list[str] = []
        self._worse: list[str] = []
        self._damped: dict[str, float] = {}
        self._dead: dict[str, int] = {}

    def damped(self, layers: tuple[Layer, ...], used: float, asked: float, dead: int) -> None:
        """Note more damping than asked for, and inputs that never fired."""
        for layer in layers:
            if used > asked:
                self._damped[layer.name] = used
            if dead:
                self._dead[layer.name] = dead

    def better(self, layer: Layer, weight_OI: Any, own: Codes, plain: Codes, hessian_II: Any) -> bool:
        """Whether GPTQ errs less than rounding to nearest, judged on evenly spread rows."""
        import torch

        from tiku.methods.quantize._gptq import hessian_error

        if torch.equal(own.codes_OI, plain.codes_OI):
            self._equal.append(layer.name)
            return True
        step = -(-len(weight_OI) // _JUDGED_ROWS)
        some = weight_OI[::step]
        errors = [hessian_error(c.rows(None, None, step).weight() - some, hessian_II) for c in (own, plain)]
        better = errors[0] < errors[1]
        if not better:
            self._worse.append(layer.name)
        self._errors[0] += step * min(errors)
        self._errors[1] += step * errors[1]
        return better

    def told(self) -> dict[str, Any]:
        """JSON values, which `GPTQ.remark` reads."""
        mine, nearest = self._errors
        told: dict[str, Any] = {"error_relative_to_rounding": mine / nearest if nearest else None}
        named = {
            "equal_to_rounding": self._equal,
            "kept_rounding_which_erred_less": self._worse,
            "more_damping_than_asked": self._damped,
            "inputs_that_never_fired": self._dead,
        }
        return told | {key: value for key, value in named.items() if value}


METHOD = GPTQ
