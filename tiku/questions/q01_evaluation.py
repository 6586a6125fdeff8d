"""Question 1: How is a large model's quality evaluated?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tiku.core.method import Situation
from tiku.core.question import Evidence, Proposal, Question
from tiku.core.result import Answer, AnswerVerdict, Trial
from tiku.core.text import Text
from tiku.questions._quality import CLASSIFICATION, LANGUAGE, headline
from tiku.questions._wording import grid_caveats, join, with_interval

__all__ = ["QUESTION"]


class Evaluation(Question):
    """Reads the base's own quality, each number with its interval; proposes nothing."""

    id = "evaluation"
    number = 1
    title = Text("How is a large model's quality evaluated?", "如何评估大模型的性能？")
    metrics: ClassVar[tuple[str, ...]] = (*CLASSIFICATION, *LANGUAGE)

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
        on = _judged_on(base, told)
        answer = Text(
            f"The base on {on.en}: {text.en}. Brackets are 95 % intervals.",
            f"基线在{on.zh}上：{text.zh}。方括号为 95% 区间。",
        )
        quality = headline(evidence)
        return Answer(
            self._verdict(evidence),
            answer,
            recommended=None,
            evidence=(base.id,),
            caveats=(
                *base.warnings,
                *grid_caveats(evidence.situation.facts),
                *_resolution(evidence, quality),
            ),
            key_metric=quality if quality in told else told[0],
        )

    def _verdict(self, evidence: Evidence) -> AnswerVerdict:
        own = [o for o in evidence.requirements if o.expr.split()[0] in self.metrics]
        if any(o.met is False for o in own):
            return "fail"
        if any(o.met is None for o in own):
            return "inconclusive"
        return "pass" if own else "informative"


def _judged_on(base: Trial, told: Sequence[str]) -> Text:
    """Of what, and how much: tokens of text and questions for language models, else items."""
    counts = {name: base.metrics[name].n for name in told}
    parts = []
    if "perplexity" in counts:
        n = counts["perplexity"]
        parts.append(Text(f"{n:,} held-out tokens of text", f" {n:,} 个留出文本词元"))
    if "choice_accuracy" in counts:
        n = counts["choice_accuracy"]
        parts.append(Text(f"{n:,} held-out questions", f" {n:,} 道留出选择题"))
    n = counts[told[0]]
    items = Text(f"{n:,} held-out items", f" {n:,} 个留出样本")
    return join(parts, separator=Text(" and ", "和")) if parts else items


def _resolution(evidence: Evidence, quality: str) -> tuple[Text, ...]:
    """The smallest change that comparisons on this much data could see."""
    compared = [t for t in (*evidence.trials, *evidence.others) if quality in t.against_base]
    seen = [t.against_base[quality].smallest_detectable for t in compared]
    known = [s for s in seen if s is not None]
    if not known:
        return ()
    metric, least = evidence.metrics[quality], max(known)
    size = f"{least:.3g}"
    if metric.scale == "ratio":
        size = f"{100 * least:.2g} %"
    elif metric.unit == "1":
        size = f"{100 * least:.1f} pt"
    return (
        Text(
            f"a change in {quality} smaller than {size} would go unseen on this many items",
            f"在此样本量下，{quality} 小于 {size} 的变化无法察觉",
        ),
    )


QUESTION: Question = Evaluation()
