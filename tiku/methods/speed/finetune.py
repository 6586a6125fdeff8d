"""Fine-tuning: the model learns the classes of the user's own data."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from tiku.core.data import Splits
from tiku.core.errors import DataError
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.training.options import TrainOptions

__all__ = ["METHOD", "Finetune"]


@dataclass(frozen=True)
class Finetune(TrainOptions, Method):
    """Train on the train split with `tiku.training.train`; the fields are its options."""

    name: ClassVar[str] = "finetune"
    stage: ClassVar[Stage] = "train"
    questions: ClassVar[tuple[str, ...]] = ("training",)
    title: ClassVar[Text] = Text("Fine-tuning", "微调")
    source: ClassVar[str] = (
        "Devlin et al. 2019; Loshchilov & Hutter 2019 (AdamW); Howard & Ruder 2018 (rates by layer); "
        "Mosbach et al. 2021 (stability)"
    )
    tasks: ClassVar[frozenset[str]] = frozenset({"text-classification"})

    def supports(self, subject: Subject) -> Support:
        """Text classifiers that are still a float32 torch module."""
        if subject.task != "text-classification":
            return Support.no(
                f"fine-tuning learns from labelled texts so far; no training loop for {subject.task} yet",
                f"目前的微调只从带标签的文本学习；{subject.task} 的训练循环尚未提供",
            )
        if not hasattr(subject.module, "state_dict"):
            return Support.no(
                "the model is a built runtime session without trainable weights",
                "模型已是构建好的运行时会话，没有可训练的权重",
            )
        if subject.numerics.scheme != "fp32":
            return Support.no(
                f"the model is to be stored as {subject.numerics.scheme}; fine-tuning comes before that",
                f"模型已定为以 {subject.numerics.scheme} 存储；微调须在此之前进行",
            )
        return Support.yes()

    def apply(self, subject: Subject, context: Context) -> Subject:
        """A new subject, trained. Raises what `tiku.training.train` raises."""
        from tiku.training.loop import train

        splits = _labelled(subject, context.splits)
        options = TrainOptions(**{f.name: getattr(self, f.name) for f in fields(TrainOptions)})
        return train(subject, splits.train, splits.validation, options, context)

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """None: the exam itself fine-tunes a model whose head is new."""
        return ()


def _labelled(subject: Subject, offered: tuple[Splits, ...]) -> Splits:
    for splits in offered:
        if subject.task in splits.train.tasks:
            return splits
    raise DataError(
        "there are no labelled texts to train on",
        got=", ".join(splits.train.kind for splits in offered) or "no data",
        allowed="labelled texts",
        next_step="give a data set with a text and a label column",
    )


METHOD = Finetune
