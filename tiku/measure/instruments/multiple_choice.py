"""Multiple choice by log-likelihood, and paired with the base on the same questions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiku.core.instrument import Instrument, Reading, Workbench
from tiku.core.measured import Measured
from tiku.core.metric import Direction, Metric
from tiku.core.subject import Predictor
from tiku.core.text import Text
from tiku.core.verdict import Comparison, Support
from tiku.data.choices import Choices
from tiku.measure.instruments._requests import LANGUAGE_TASK
from tiku.measure.instruments._text import pad_of, tokenizer_of, unmeasured_when_unfit
from tiku.measure.language.questions import NORMALISATIONS, Asked, ask
from tiku.measure.language.scoring import Scores, score

__all__ = ["INSTRUMENT", "MultipleChoice"]

_TASKS = frozenset({LANGUAGE_TASK})
_PROBES = 4


def _metric(name: str, direction: Direction, en: str, zh: str, *aliases: str) -> Metric:
    return Metric(name, "1", direction, Text(en, zh), _TASKS, "difference", 0.01, aliases)


class MultipleChoice(Instrument):
    """The option with the highest log-likelihood after the question is the model's choice: of the raw
    sum, and of the sum per character (`acc_norm` of lm-evaluation-harness), per byte (`acc_bytes`) and
    per token (Brown et al. 2020). Worked examples come from the train part, the same for all questions.
    """

    name = "multiple_choice"
    metrics = (
        _metric("choice_accuracy", "higher", "Multiple choice", "选择题准确率", "choice_acc"),
        _metric(
            "choice_accuracy_norm", "higher", "Multiple choice, per character", "选择题准确率（按字符归一）",
            "choice_acc_norm",
        ),
        _metric(
            "choice_accuracy_bytes", "higher", "Multiple choice, per byte", "选择题准确率（按字节归一）",
            "choice_acc_bytes",
        ),
        _metric(
            "choice_accuracy_tokens", "higher", "Multiple choice, per token", "选择题准确率（按词元归一）"
        ),
        _metric("choice_flip_rate", "lower", "Choices unlike the base's", "与基准不同的选择比例"),
    )  # fmt: skip
    cost_rank = 11
    on_items = True

    def supports(self, bench: Workbench) -> Support:
        """Language models with questions."""
        data = bench.dataset("choices")
        if bench.candidate.task != LANGUAGE_TASK or data is None or not len(data):
            return Support.no(
                "there are no multiple-choice questions for a language model", "没有供语言模型使用的选择题"
            )
        return Support.yes()

    def measure(self, bench: Workbench) -> Reading:
        """Ask. Raises `CannotMeasure` when logits are not finite, or an option does not fit the model."""
        with unmeasured_when_unfit():
            return self._measure(bench)

    def _measure(self, bench: Workbench) -> Reading:
        from tiku.measure.instruments._choice_details import choice_details

        questions = _drawn(bench)
        asked = _ask(bench.candidate, questions, bench)
        scores = _score(bench.candidate, asked, bench)
        groups, seed = _groups(questions), bench.protocol.seed
        own = _Answers(asked, scores.log_likelihoods, groups, seed)
        metrics, against, base_O = own.measured(), {}, None
        if bench.base is not None:
            base_O = _base_nats(bench, bench.base, questions, asked)
            base = _Answers(asked, base_O, groups, seed)
            against, metrics["choice_flip_rate"] = own.against(base), own.flip_rate(base)
        details = choice_details(asked, scores, base_O)
        warnings = _warnings(bench, asked, metrics["choice_accuracy"])
        return Reading(metrics, against, details, {"nats": own.nats_O}, warnings)


@dataclass(frozen=True, eq=False)
class _Answers:
    """One model's log-likelihoods of all options; `groups` of questions that may depend on each other."""

    asked: Asked
    nats_O: NDArray[np.float64]
    groups: NDArray[np.int64] | None
    seed: int

    def chosen(self, name: str) -> NDArray[np.int64]:
        return self.asked.chosen(name, self.nats_O)

    def right(self, name: str) -> NDArray[np.bool_]:
        return np.asarray(self.chosen(name) == np.array(self.asked.questions.answers))

    def measured(self) -> dict[str, Measured]:
        from tiku.measure.stats import proportion

        found = {name: proportion(self.right(name), self.groups, seed=self.seed) for name in NORMALISATIONS}
        protocol = f"{self.asked.shots}-shot log-likelihood"
        return {name: replace(one, estimator=f"{one.estimator}; {protocol}") for name, one in found.items()}

    def flip_rate(self, base: _Answers) -> Measured:
        from tiku.measure.stats import proportion

        changed = base.chosen("choice_accuracy") != self.chosen("choice_accuracy")
        return proportion(changed, self.groups, seed=self.seed)

    def against(self, base: _Answers) -> dict[str, Comparison]:
        return {name: self._compared(_by_name(name), base) for name in NORMALISATIONS}

    def _compared(self, metric: Metric, base: _Answers) -> Comparison:
        """Tango's interval, or whole groups resampled."""
        from tiku.measure.stats import compare_correct, compare_paired

        before, after = base.right(metric.name), self.right(metric.name)
        if self.groups is None:
            return compare_correct(metric, before, after)
        always = np.ones(len(after), dtype=np.bool_)
        return compare_paired(
            metric, always, before, after, self.groups, statistic="accuracy", seed=self.seed
        )


def _by_name(name: str) -> Metric:
    return next(metric for metric in MultipleChoice.metrics if metric.name == name)


def _drawn(bench: Workbench) -> Choices:
    """The questions, or `protocol.choice_items` of them drawn by the protocol's seed."""
    data, plan = bench.dataset("choices"), bench.protocol
    assert isinstance(data, Choices)  # supports() said so
    if len(data) <= plan.choice_items:
        return data
    drawn = np.random.default_rng(plan.seed).choice(len(data), plan.choice_items, replace=False)
    return data.take(np.sort(drawn))


def _groups(questions: Choices) -> NDArray[np.int64] | None:
    """The data's groups, else clusters of questions that are nearly the same; None when all differ."""
    from tiku.data.duplicates import near_duplicates

    named = questions.groups()
    found = near_duplicates(questions.keys()) if named is None else [str(name) for name in named]
    if found is None:
        return None
    names, codes = np.unique(np.asarray(found), return_inverse=True)
    return codes.astype(np.int64) if 1 < len(names) < len(questions) else None


def _ask(model: Predictor, questions: Choices, bench: Workbench) -> Asked:
    examples, shots = bench.train_of("choices"), bench.protocol.shots
    if examples is not None:
        order = np.random.default_rng(bench.protocol.seed).permutation(len(examples))
        examples = examples.take(order[:shots])
    assert examples is None or isinstance(examples, Choices)
    tokenizer = tokenizer_of(model)
    return ask(tokenizer, questions, examples if shots else None, tokenizer.model_max_length)


def _score(model: Predictor, asked: Asked, bench: Workbench) -> Scores:
    return score(
        model.session, asked.requests_O, pad=pad_of(model.processor), probes=_PROBES, progress=bench.progress
    )


def _base_nats(bench: Workbench, base: Predictor, questions: Choices, asked: Asked) -> NDArray[np.float64]:
    """What the base kept, or says now, of the same options."""
    kept = bench.base_arrays.get("nats")
    if kept is not None and len(kept) == len(asked.requests_O):
        return kept
    return _score(base, _ask(base, questions, bench), bench).log_likelihoods


def _warnings(bench: Workbench, asked: Asked, accuracy: Measured) -> tuple[Text, ...]:
    from tiku.measure.instruments._choice_details import chance_of

    found, chance, wanted = [], chance_of(asked), bench.protocol.shots
    if asked.shots < wanted:
        found.append(
            Text(
                f"{asked.shots} worked examples instead of {wanted}: more were not there or did not fit",
                f"使用了 {asked.shots} 个示例而不是 {wanted} 个：训练部分不足或放不下",
            )
        )
    if asked.cut:
        found.append(
            Text(
                f"{asked.cut} questions with an option are longer than the context and lost their beginning",
                f"{asked.cut} 个“题目+选项”超出上下文长度，开头被截去",
            )
        )
    low, high = accuracy.low, accuracy.high
    if bench.base is None and low is not None and high is not None and low <= chance <= high:
        found.append(
            Text(
                f"multiple choice cannot be told from guessing ({chance:.0%}) on {accuracy.n} questions",
                f"在 {accuracy.n} 道题上，选择题表现与随机猜测（{chance:.0%}）无法区分",
            )
        )
    return tuple(found)


INSTRUMENT = MultipleChoice()
