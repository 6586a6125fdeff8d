"""The way of a method with calibration: copy, choose texts, gather statistics, solve group by group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tiku.core.method import Context
from tiku.core.subject import Subject
from tiku.methods.quantize._calibration import SharedInput, statistics
from tiku.methods.quantize._calibration_texts import CalibrationTexts, choose_texts
from tiku.methods.quantize._grid import GridKind, round_to_nearest
from tiku.methods.quantize._targets import Layer, Targets, patterns
from tiku.methods.quantize._weight_only import HEAD_KIND, put, report_of, working_copy

if TYPE_CHECKING:
    from tiku.layers.quantized_linear import Codes

__all__ = ["Calibrated"]


@dataclass(eq=False)
class Calibrated:
    """A copy of a subject that is being quantised, its calibration texts, and the report so far."""

    subject: Subject
    kind: GridKind
    targets: Targets
    texts: CalibrationTexts
    report: dict[str, Any]
    context: Context
    _unreached: list[str] = field(default_factory=list)

    @classmethod
    def start(
        cls,
        subject: Subject,
        context: Context,
        kind: GridKind,
        *,
        quantize_head: bool,
        tokens: int,
        window: int,
    ) -> Calibrated:
        """Raises `DataError` without calibration texts and `ModelError` without linear layers."""
        copied, targets = working_copy(subject, quantize_head=quantize_head)
        report = report_of(targets, kind)
        texts = choose_texts(copied, context, tokens=tokens, window=window)
        widest = max(layer.inputs for layer in targets.layers)
        report["calibration"] = {
            **texts.facts,
            "fewer_tokens_than_inputs": texts.facts["tokens"] < widest,  # then H is singular
        }
        return cls(copied, kind, targets, texts, report, context)

    @property
    def body(self) -> list[Layer]:
        """The layers that calibration decides on: not the head."""
        return [layer for layer in self.targets.layers if not layer.head]

    def groups(self) -> Iterable[SharedInput]:
        """Groups with their statistics. Layers that no token reached, and the head, are rounded."""
        for group in statistics(self.subject, self.body, self.texts, self.context.progress):
            if group.rows:
                yield group
            else:
                self._unreached += [layer.name for layer in group.layers]
                for layer in group.layers:
                    self.put(layer, round_to_nearest(layer.weight(), self.kind))
        for layer in self.targets.layers:
            if layer.head:
                self.put(layer, round_to_nearest(layer.weight(), HEAD_KIND))
        if self._unreached:
            self.report["rounded_to_nearest_as_no_token_reached_them"] = patterns(self._unreached)

    def put(self, layer: Layer, codes: Codes) -> None:
        """Put the codes in the place of the layer."""
        put(self.subject.module, layer, codes)
