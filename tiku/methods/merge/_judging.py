"""How well a module does on validation: what a greedy soup selects by.

Shape letters: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tiku.core import registry
from tiku.core.data import Dataset
from tiku.core.errors import DataError
from tiku.core.family import Family
from tiku.core.method import Context
from tiku.core.subject import Subject

__all__ = ["Judge"]

_BATCH = 32
_WINDOW = 256  # tokens
_WINDOWS = 64


class Judge:
    """Scores modules on one and the same part of validation; more is better. `unit` names the score."""

    def __init__(self, subject: Subject, context: Context, items: int) -> None:
        """Raises `DataError` when validation holds nothing for the task."""
        self._subject = subject
        self._family: Family = registry.get("models", subject.family)
        part = _validation(subject, context)
        if subject.task == "causal-lm":
            self.unit = "negative mean loss (nats per token)"
            self._windows = list(_windows(subject, part))
            self.items = len(self._windows)
        else:
            self.unit = "accuracy"
            self._encodings, self._targets = self._labelled(part, items)
            self.items = len(self._targets)
        if not self.items:
            raise DataError(
                "validation holds nothing to select by",
                got=f"{part.kind}: {len(part)} items",
                allowed="labelled texts for classifiers, prose for language models",
                next_step="choose selection: uniform, or give more data",
            )

    def score(self, module: Any) -> float:
        """Accuracy, or minus the mean loss of a token."""
        import torch

        with torch.inference_mode():
            if self._subject.task == "causal-lm":
                lost: float = sum(_lost(module, window) for window in self._windows)
                return -lost / sum(len(window[0]) - 1 for window in self._windows)
            return sum(self._right(module, batch) for batch in self._batches()) / self.items

    def _labelled(self, part: Dataset, items: int) -> tuple[list[dict[str, list[int]]], list[int]]:
        texts, given = part.inputs()[:items], part.targets()
        assert given is not None  # labelled texts have classes
        own = self._subject.labels or part.classes()
        targets = [own.index(part.classes()[int(number)]) for number in given[: len(texts)]]
        return self._family.encode(self._subject.processor, texts, None), targets

    def _batches(self) -> Iterator[list[int]]:
        order = sorted(range(self.items), key=lambda i: len(self._encodings[i]["input_ids"]))
        return (order[start : start + _BATCH] for start in range(0, len(order), _BATCH))

    def _right(self, module: Any, batch: Sequence[int]) -> int:
        import torch

        arrays = self._family.collate(self._subject.processor, [self._encodings[i] for i in batch])
        output = module(**{name: torch.from_numpy(array) for name, array in arrays.items()})
        chosen = getattr(output, "logits", output).argmax(-1).tolist()
        return sum(got == self._targets[i] for got, i in zip(chosen, batch, strict=True))


def _validation(subject: Subject, context: Context) -> Dataset:
    kind = "prose" if subject.task == "causal-lm" else "labelled texts"
    for splits in context.splits:
        if splits.validation.kind == kind:
            return splits.validation
    raise DataError(
        "there are no validation data to select by",
        got=", ".join(splits.validation.kind for splits in context.splits) or "no data",
        allowed=f"{kind} for {subject.task}",
        next_step="choose selection: uniform, or give data of that kind",
    )


def _windows(subject: Subject, part: Dataset) -> Iterator[Any]:
    """int64 (1, T) of the first texts, cut into windows."""
    import torch

    found = 0
    for text in part.inputs():
        ids = subject.processor(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        for start in range(0, len(ids) - 1, _WINDOW):
            window = ids[start : start + _WINDOW]
            if len(window) > 1 and found < _WINDOWS:
                found += 1
                yield torch.tensor([window])
        if found == _WINDOWS:
            return


def _lost(module: Any, ids_1T: Any) -> float:
    from torch.nn.functional import cross_entropy

    logits_TV = module(input_ids=ids_1T).logits[0, :-1].float()
    return float(cross_entropy(logits_TV, ids_1T[0, 1:], reduction="sum"))
