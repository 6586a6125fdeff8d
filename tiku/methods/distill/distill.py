"""Distillation: a smaller model, cut from the whole one, learns to answer as the whole one does."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tiku.core.config import param
from tiku.core.hashing import hash_of
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.prune._planning import Shares, supported

__all__ = ["METHOD", "Distill"]

_VALIDATION_TOKENS = 8192
_FEWEST_STEPS = 30
_LM_BATCH = 512
_SECONDS = {"quick": 90, "standard": 300, "thorough": 1800}
_OPERATIONS_PER_SECOND = 6e10  # that two cores of a server reach in training; a faster machine is done sooner
_PASSES = 5  # operations per weight and token: two for the teacher, six for a student of half its size


@dataclass(frozen=True)
class Distill(Method):
    """Cuts blocks, neurons or heads as `prune-depth` and `prune-width` do, then trains what is left.

    The teacher is the model as it came in; a `student` of one's own takes the place of the cut. The loss
    is (1 - hard) * T² * KL(teacher || student) at temperature T plus hard * cross-entropy with the labels
    (a language model: with the next tokens, both averaged over tokens), plus `hidden` times 1 - cosine
    between the hidden state after each block and that of the teacher where the next kept block begins,
    plus `relations` times the KL of the query, key and value relations of the last block.
    """

    name: ClassVar[str] = "distill"
    promise: ClassVar[float] = 0.35
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory", "energy")
    title: ClassVar[Text] = Text("Distillation into a smaller model", "蒸馏到更小的模型")
    source: ClassVar[str] = (
        "Hinton et al. 2015, Distilling the Knowledge in a Neural Network; Sanh et al. 2019, DistilBERT; "
        "Wang et al. 2020, MiniLM, and 2021, MiniLMv2; Muralidharan et al. 2024, Minitron"
    )
    tasks: ClassVar[frozenset[str]] = frozenset({"text-classification", "causal-lm"})
    slow: ClassVar[bool] = True

    student: str = param("", "a smaller model with the same tokenizer; empty: cut from the model itself")
    keep_blocks: float = param(0.5, "share of the blocks that the student has", low=0.01, high=1.0)
    keep_neurons: float = param(1.0, "share of the feed-forward neurons it has", low=0.01, high=1.0)
    keep_heads: float = param(1.0, "share of the attention heads it has", low=0.01, high=1.0)
    importance: str = param(
        "activation", "how neurons and heads are chosen", choices=("taylor", "activation")
    )
    steps: int = param(100, "updates, about", low=1, high=10**6)
    batch_tokens: int = param(1024, "tokens of a batch, padding included", low=8, high=10**7)
    learning_rate: float | None = param(
        None, "peak learning rate; null: by the width of the model", low=1e-8, high=1.0
    )
    temperature: float = param(2.0, "softens the answers that are compared", low=0.1, high=100.0)
    hard: float = param(0.5, "weight of the labels against the teacher's answers", low=0.0, high=1.0)
    hidden: float = param(1.0, "weight of the hidden states", low=0.0, high=1000.0)
    relations: float = param(0.0, "weight of the attention relations", low=0.0, high=1000.0)
    max_length: int = param(256, "longer texts are cut to so many tokens", low=4, high=10**6)
    precision: str = param(
        "auto", "number format of matrix products; auto: bf16 where a probe finds it faster",
        choices=("auto", "fp32", "bf16"),
    )  # fmt: skip

    def supports(self, subject: Subject) -> Support:
        """What the prunings support, if there is something to cut and a loss to learn from."""
        if subject.task not in self.tasks:
            return Support.no(
                f"there is no loss yet that a student of the task {subject.task} could learn from",
                f"任务 {subject.task} 尚无学生模型可用的损失函数",
            )
        shares = self._shares()
        if not self.student and shares.blocks == shares.neurons == shares.heads == 1.0:
            return Support.no(
                "the student would be as large as its teacher: keep fewer blocks, neurons or heads",
                "学生模型将与教师一样大：请减少保留的层、神经元或注意力头",
            )
        return self._relations_supported(subject) if self.relations else supported(subject, shares)

    def apply(self, subject: Subject, context: Context) -> Subject:
        """A subject with the trained student. A run that was killed goes on from its checkpoint.

        Raises `DataError` without texts or labels, `ModelError`, and `TikuError` when training diverges.
        """
        from tiku.methods.distill._student import cut_student, given_student
        from tiku.methods.distill._teaching import Lesson, teach
        from tiku.methods.prune._cutting import count_parameters

        if self.student:
            pupil = given_student(subject, self.student, context, relations=bool(self.relations))
        else:
            pupil = cut_student(subject, context, self._shares(), self.max_length)
        identity = hash_of(dataclasses.asdict(self))
        lesson = Lesson(self._options(), self._objective(), pupil.matches, identity)
        student, taught = teach(subject, pupil.module, lesson, context, validation_tokens=_VALIDATION_TOKENS)
        facts = pupil.facts
        facts |= {
            "parameters_before": count_parameters(subject.module),
            "parameters": count_parameters(student),
            **taught,
        }
        return replace(subject, module=student, facts={**subject.facts, self.name: facts})

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """Half an encoder, or four fifths of a language model, with as many steps as the budget bears."""
        steps = _affordable_steps(situation)
        if steps < _FEWEST_STEPS:
            return ()
        if situation.task == "causal-lm":
            return (cls(keep_blocks=0.8, steps=steps, batch_tokens=_LM_BATCH, hard=0.2),)
        return (cls(keep_blocks=0.5, steps=steps),)

    def _shares(self) -> Shares:
        if self.student:
            return Shares()
        return Shares(self.keep_blocks, self.keep_neurons, self.keep_heads, self.importance)

    def _options(self) -> Any:
        from tiku.training.options import TrainOptions

        return TrainOptions(
            epochs=1, min_steps=self.steps, learning_rate=self.learning_rate, batch_tokens=self.batch_tokens,
            layer_decay=1.0, max_length=self.max_length, precision=self.precision,
        )  # fmt: skip

    def _objective(self) -> Any:
        from tiku.methods.distill._run import Objective

        return Objective(self.temperature, self.hard, self.hidden, self.relations)

    def _relations_supported(self, subject: Subject) -> Support:
        from tiku.methods.prune._layout import find_blocks, find_layout

        support = supported(subject, self._shares())
        blocks = find_blocks(subject.module) if support else None
        if blocks is not None and find_layout(blocks) is None:
            return Support.no(
                "queries, keys and values are not layers of their own here: there are no relations to match",
                "此模型的查询、键、值不是独立的层，没有可对齐的注意力关系",
            )
        return support


def _affordable_steps(situation: Situation) -> int:
    """Updates that a part of the budget bears."""
    batch = _LM_BATCH if situation.task == "causal-lm" else 1024
    operations = _PASSES * max(1, situation.parameters) * batch
    return min(2000, int(_SECONDS.get(situation.budget, 300) * _OPERATIONS_PER_SECOND / operations))


METHOD = Distill
