"""The measured recipes of one question, weighed on its deciding metric and on the quality they kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tiku.core.metric import Metric
from tiku.core.question import Evidence
from tiku.core.recipe import Recipe
from tiku.core.result import Trial
from tiku.core.text import Text
from tiku.measure.stats.significance import ALPHA, adjusted
from tiku.questions._collateral import collateral
from tiku.questions._quality import headline
from tiku.questions._settling import needed_text
from tiku.questions._wording import change, inside, join

__all__ = ["Weighing", "own_recipe"]

_LEAST_SHOWN = 0.001


@dataclass(frozen=True)
class Weighing:
    """`trials` are those that were compared with the base on `metric`.

    "Better" is claimed after Holm's correction over all of them: the more recipes are tried, the likelier
    the luckiest of them looks better than the base.
    """

    evidence: Evidence
    metric: Metric
    trials: tuple[Trial, ...]

    @cached_property
    def adjusted(self) -> dict[str, float]:
        """P-value of each trial against "no change", adjusted for the number of trials."""
        return adjusted({t.id: t.against_base[self.metric.name] for t in self.trials})

    @property
    def quality(self) -> Metric | None:
        """The metric of quality that must not get worse."""
        return self.evidence.metrics.get(headline(self.evidence))

    def kept(self, trial: Trial) -> bool:
        """Whether the quality was compared and did not get worse."""
        name = headline(self.evidence)
        return name in trial.against_base and trial.against_base[name].verdict != "worse"

    def alone_better(self) -> list[Trial]:
        """Better by its own interval, and the quality kept."""
        return [t for t in self._verdicts("better") if self.kept(t)]

    def better(self) -> list[Trial]:
        """Better after Holm's correction as well."""
        return [t for t in self.alone_better() if self.adjusted[t.id] <= ALPHA]

    def best(self) -> Trial | None:
        """The largest effect of those that are better."""
        sign = 1.0 if self.metric.direction == "higher" else -1.0
        return max(self.better(), key=lambda t: sign * t.against_base[self.metric.name].effect, default=None)

    def open(self) -> list[Trial]:
        """Those that may yet be better: no verdict, or none that survives the correction."""
        survived = self.better()
        return [
            t for t in self.trials
            if self.kept(t) and (t in self._verdicts("cannot tell") or t in self.alone_better())
            and t not in survived
        ]  # fmt: skip

    def _verdicts(self, verdict: str) -> list[Trial]:
        return [t for t in self.trials if t.against_base[self.metric.name].verdict == verdict]

    def answer(self) -> Text:
        """The best recipe with its numbers, or why there is none."""
        best, count = self.best(), len(self.trials)
        if best is None:
            return self._none_better()
        parts = [change(self.metric, best.against_base[self.metric.name])]
        if self.quality is not None and self.quality.name != self.metric.name:
            parts.append(change(self.quality, best.against_base[self.quality.name]))
        told, name = join(parts), self._name(best)
        text = Text(
            f"Best of {count} measured recipes: {name}. Against the base: {told.en}.",
            f"{count} 个已测方案中最佳：{name}。相对基线：{told.zh}。",
        )
        return join([text, self._corrected(best)], separator=Text("", "")) if count > 1 else text

    def _corrected(self, best: Trial) -> Text:
        p, count = self.adjusted[best.id], len(self.trials)
        shown = f"< {_LEAST_SHOWN}" if p < _LEAST_SHOWN else f"= {p:.2g}"
        return Text(
            f" Better also after Holm's correction over {count} comparisons (p {shown}).",
            f"经 {count} 次比较的 Holm 校正后仍然更好（p {shown}）。",
        )

    def _none_better(self) -> Text:
        count, title = len(self.trials), inside(self.metric.title)
        groups = join(self._reasons())
        return Text(
            f"None of the {count} measured recipes is shown to improve {title.en} and keep the quality; "
            f"the base stays ({groups.en}).",
            f"已测的 {count} 个方案均未被证实能在保持质量的同时改善{title.zh}，维持基线（{groups.zh}）。",
        )

    def _reasons(self) -> list[Text]:
        """Why each recipe is not the answer, by reason."""
        lost = [t for t in self._verdicts("better") if not self.kept(t)]
        sorted_out = (
            (lost, Text("better, but the quality fell or was not compared", "有改善，但质量下降或未作比较")),
            (
                self._uncorrected(),
                Text("better alone, not after Holm's correction", "单独看更好，经 Holm 校正后不成立"),
            ),
            (self._verdicts("equivalent"), Text("equivalent", "等效")),
            (self._verdicts("worse"), Text("worse", "更差")),
            (self._verdicts("cannot tell"), Text("cannot tell", "无法判断")),
        )
        return [
            Text(f"{why.en}: {self._names(group)}", f"{why.zh}：{self._names(group)}")
            for group, why in sorted_out
            if group
        ]

    def _uncorrected(self) -> list[Trial]:
        survived = self.better()
        return [t for t in self.alone_better() if t not in survived]

    def caveats(self) -> tuple[Text, ...]:
        """What the recommended recipe makes worse, what the correction took away, what is still open."""
        best = self.best()
        found: list[Text] = []
        if best is not None:
            found += collateral(self.evidence, best)
            found += self._unsettled_quality(best)
            found += self._taken_away()
        return (*found, *self._unsettled())

    def _unsettled_quality(self, best: Trial) -> list[Text]:
        quality = self.quality
        if quality is None or best.against_base[quality.name].verdict != "cannot tell":
            return []
        compared, title = best.against_base[quality.name], inside(quality.title)
        more = needed_text(quality, compared, best.metrics[quality.name].n)
        return [
            Text(
                f"whether {title.en} changed cannot be told: {more.en}",
                f"{title.zh}是否改变无法判断：{more.zh}",
            )
        ]

    def _taken_away(self) -> list[Text]:
        lucky = self._uncorrected()
        if not lucky:
            return []
        count, names = len(self.trials), self._names(lucky)
        return [
            Text(
                f"better alone, but not after Holm's correction over {count} comparisons: {names}",
                f"单独看更好，但经 {count} 次比较的 Holm 校正后不成立：{names}",
            )
        ]

    def _unsettled(self) -> list[Text]:
        """What each comparison without a verdict would need."""
        parts = []
        for trial in self._verdicts("cannot tell"):
            if self.metric.name in trial.metrics:
                n = trial.metrics[self.metric.name].n
                more = needed_text(self.metric, trial.against_base[self.metric.name], n)
                parts.append(Text(f"{self._name(trial)}: {more.en}", f"{self._name(trial)}：{more.zh}"))
        if not parts:
            return []
        told, title = join(parts), inside(self.metric.title)
        return [
            Text(f"{title.en} cannot be told yet: {told.en}", f"{self.metric.title.zh}尚无法判断：{told.zh}")
        ]

    def _names(self, trials: Sequence[Trial]) -> str:
        return ", ".join(self._name(t) for t in trials)

    def _name(self, trial: Trial) -> str:
        return str(own_recipe(trial, self.evidence.base))


def own_recipe(trial: Trial, base: Trial) -> Recipe:
    """The steps that the base does not have."""
    return Recipe(tuple(s for s in trial.recipe.steps if s not in base.recipe.steps))
