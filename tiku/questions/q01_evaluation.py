"""Question 1: How is a large model's quality evaluated?"""

from __future__ import annotations

from typing import ClassVar

from tiku.core.method import Situation
from tiku.core.question import Evidence, Proposal, Question
from tiku.core.result import Answer, AnswerVerdict
from tiku.core.task import TASKS
from tiku.core.text import Text
from tiku.questions._wording import join, with_interval

__all__ = ["QUESTION"]

_CLASSIFICATION = ("accuracy", "f1_macro", "auc_roc", "mcc", "log_loss", "ece")
_LANGUAGE = ("perplexity", "bits_per_byte", "choice_accuracy", "choice_accuracy_norm")


class Evaluation(Question):
    """Reads the base's own quality, each number with its interval; proposes nothing."""

    id = "evaluation"
    number = 1
    title = Text("How is a large model's quality evaluated?", "如何评估大模型的性能？")
    metrics: ClassVar[tuple[str, ...]] = (*_CLASSIFICATION, *_LANGUAGE)

    def propose(self, situation: Situation) -> tuple[Proposal, ...]:
        return ()

    def decide(self, evidence: Evidence) -> Answer:
        base = evidence.base
        told = [n for n in self.metrics if n in base.metrics and n in evidence.metrics]
        if not told:
            return Answer(
                "not measured",
                Text("No quality metric could be measured on this data.", "在此数据上无法测得任何质量指标。"),
                evidence=(base.id,),
            )
        shown = [with_interval(base.metrics[n]) for n in told]
        named = [evidence.metrics[n].title for n in told]
        text = join([Text(f"{t.en} {s}", f"{t.zh} {s}") for t, s in zip(named, shown, strict=True)])
        count = base.metrics[told[0]].n
        answer = Text(
            f"The base on {count:,} held-out items: {text.en}. Brackets are 95 % intervals.",
            f"基线在 {count:,} 个留出样本上：{text.zh}。方括号为 95% 区间。",
        )
        quality = TASKS[evidence.situation.task].quality
        return Answer(
            self._verdict(evidence),
            answer,
            recommended=None,
            evidence=(base.id,),
            caveats=(*base.warnings, *_resolution(evidence, quality)),
            key_metric=quality if quality in base.metrics else told[0],
        )

    def _verdict(self, evidence: Evidence) -> AnswerVerdict:
        own = [o for o in evidence.requirements if o.expr.split()[0] in self.metrics]
        if any(o.met is False for o in own):
            return "fail"
        if any(o.met is None for o in own):
            return "inconclusive"
        return "pass" if own else "informative"


def _resolution(evidence: Evidence, quality: str) -> tuple[Text, ...]:
    """The smallest change that comparisons on this much data could see."""
    seen = [t.against_base[quality].smallest_detectable for t in evidence.trials if quality in t.against_base]
    known = [s for s in seen if s is not None]
    if not known:
        return ()
    size = f"{100 * max(known):.1f} pt" if evidence.metrics[quality].unit == "1" else f"{max(known):.3g}"
    return (
        Text(
            f"a change in {quality} smaller than {size} would go unseen on this many items",
            f"在此样本量下，{quality} 小于 {size} 的变化无法察觉",
        ),
    )


QUESTION: Question = Evaluation()
