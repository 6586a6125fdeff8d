"""A training run whose target is what the teacher answers.

B batch, T tokens, N predictions, V classes or tokens.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tiku.methods.distill._losses import answer_loss, hidden_loss, relation_loss
from tiku.methods.prune._importance import watched
from tiku.methods.prune._layout import find_blocks, find_layout, part, sizes_of
from tiku.training.examples import Examples
from tiku.training.options import TrainOptions
from tiku.training.run import Run
from tiku.training.sampler import plan_epoch

if TYPE_CHECKING:
    import torch

__all__ = ["DistilRun", "Objective"]


@dataclass(frozen=True)
class Objective:
    """(1 - hard) * answers + hard * labels + hidden * hidden states + relations * attention relations."""

    temperature: float
    hard: float
    hidden: float
    relations: float


class DistilRun(Run):
    """`Run` with a teacher beside the student. Block i of the student stands for the teacher's blocks up
    to `matches[i]`: their hidden states are compared. `classes` None: tokens are predicted."""

    def __init__(
        self, student: torch.nn.Module, teacher: torch.nn.Module, examples: Examples, classes: int | None,
        options: TrainOptions, seed: int, *, objective: Objective, matches: Sequence[int], precision: str,
        device: str,
    ) -> None:  # fmt: skip
        super().__init__(student, examples, classes or 0, options, seed, precision=precision, device=device)
        self.teacher = teacher
        self._student, self._teacher = _Side(self.module), _Side(teacher)
        self._objective, self._matches = objective, matches
        self._predicts_tokens = classes is None
        self._rows_per_example = 1.0
        if self._predicts_tokens:
            self._rows_per_example = sum(n - 1 for n in examples.lengths) / len(examples)

    def loss_sum(self, positions: Any) -> torch.Tensor:
        """The mean over the batch's predictions, weighted so that each prediction of the run counts alike."""
        import torch
        from torch.nn.functional import cross_entropy

        inputs, targets = self.examples.batch(positions, self.device)
        with torch.no_grad():
            teacher = self._look(self._teacher, inputs)
        student = self._look(self._student, inputs)
        mask_BT = _real(inputs)
        rows, truth_N = self._predictions(inputs, targets, mask_BT)
        asked = self._objective
        loss_N = (1.0 - asked.hard) * answer_loss(
            student.logits[rows], teacher.logits[rows], asked.temperature
        )
        if asked.hard:
            loss_N = loss_N + asked.hard * cross_entropy(student.logits[rows], truth_N, reduction="none")
        loss: torch.Tensor = loss_N.mean() + self._inner_loss(student, teacher, mask_BT)
        return loss * (len(truth_N) / self._rows_per_example)

    def evaluate(self, examples: Examples) -> dict[str, float]:
        """Mean loss (nats) on the labels or the next tokens; accuracy where there are classes."""
        if not self._predicts_tokens:
            return super().evaluate(examples)
        return self._evaluate_tokens(examples)

    def judge(self, module: torch.nn.Module, examples: Examples) -> dict[str, float]:
        """`evaluate` of another module (the teacher)."""
        own, self.module = self.module, module
        try:
            return self.evaluate(examples)
        finally:
            self.module = own
            module.eval()

    def _evaluate_tokens(self, examples: Examples) -> dict[str, float]:
        import torch
        from torch.nn.functional import cross_entropy

        loss, count = 0.0, 0
        self.module.eval()
        with torch.inference_mode():
            for positions in plan_epoch(examples.lengths, self.options.batch_tokens, 0, 0):
                inputs, targets = examples.batch(positions, self.device)
                rows, truth_N = self._predictions(inputs, targets, _real(inputs))
                with self.autocast():
                    logits = self.module(**inputs, use_cache=False).logits
                loss += cross_entropy(logits[rows].float(), truth_N, reduction="sum").item()
                count += len(truth_N)
        self.module.train()
        return {"loss": loss / max(1, count), "items": count}

    def _predictions(
        self, inputs: dict[str, torch.Tensor], targets: torch.Tensor, mask_BT: torch.Tensor
    ) -> tuple[Any, torch.Tensor]:
        """Where the answers to be compared stand in the logits, and the true ones."""
        import torch

        if not self._predicts_tokens:
            return slice(None), targets
        rows_BT = torch.zeros_like(mask_BT)
        rows_BT[:, :-1] = mask_BT[:, :-1] & mask_BT[:, 1:]
        return rows_BT, inputs["input_ids"].roll(-1, 1)[rows_BT]

    def _look(self, side: _Side, inputs: dict[str, torch.Tensor]) -> _Seen:
        extra = {"use_cache": False} if self._predicts_tokens else {}
        with side.caught(self._objective) as seen, self.autocast():
            output = side.module(**inputs, **extra)
        seen.logits = output.logits.float()
        return seen

    def _inner_loss(self, student: _Seen, teacher: _Seen, mask_BT: torch.Tensor) -> torch.Tensor:
        import torch

        asked, loss = self._objective, torch.zeros((), device=mask_BT.device)
        for own, other in enumerate(self._matches if asked.hidden else ()):
            apart = hidden_loss(student.hidden[own], teacher.hidden[other], mask_BT)
            loss = loss + asked.hidden * apart / len(self._matches)
        heads = math.gcd(self._student.heads, self._teacher.heads)
        for mine, theirs in zip(student.attention, teacher.attention, strict=True):
            apart = relation_loss(mine, theirs, mask_BT, heads, causal=self._predicts_tokens)
            loss = loss + asked.relations * apart / len(student.attention)
        return loss


class _Seen:
    """What a forward pass showed: logits, hidden states by block, and the last block's projections."""

    def __init__(self) -> None:
        self.logits: Any = None
        self.hidden: dict[int, torch.Tensor] = {}
        self.attention: list[torch.Tensor] = []


class _Side:
    """A network and where to look into it. `heads` are its key/value groups."""

    def __init__(self, module: Any) -> None:
        blocks = find_blocks(module)
        assert blocks is not None  # only such networks are cut
        self.module, self._blocks = module, blocks
        self._layout = find_layout(blocks)
        self.heads = 1 if self._layout is None else sizes_of(module.config, blocks, self._layout).groups

    @contextlib.contextmanager
    def caught(self, asked: Objective) -> Iterator[_Seen]:
        """Hooks that keep what the objective compares, while the block of code runs."""
        seen = _Seen()
        with contextlib.ExitStack() as stack:
            if asked.hidden:
                stack.enter_context(watched(self._blocks, partial(_keep_hidden, seen)))
            for layer in self._projections() if asked.relations else ():
                handle = layer.register_forward_hook(partial(_keep_attention, seen))
                stack.callback(handle.remove)
            yield seen

    def _projections(self) -> list[Any]:
        """Query, key and value layers of the last block."""
        assert self._layout is not None  # `supports` said so
        names = (self._layout.queries, self._layout.keys, self._layout.values)
        return [part(self._blocks.blocks[-1], name) for name in names]


def _keep_hidden(seen: _Seen, block: int, before: torch.Tensor, after: torch.Tensor) -> None:
    seen.hidden[block] = after.float()


def _keep_attention(seen: _Seen, layer: Any, args: Any, output: torch.Tensor) -> None:
    seen.attention.append(output.float())


def _real(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    import torch

    return inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()
