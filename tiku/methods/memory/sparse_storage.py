"""Weights that are mostly zero stored without their zeros."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tiku.core.config import param
from tiku.core.method import Context, Method, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.memory._storing import kept_by_torch, with_storage
from tiku.weightfiles.sparse import LAYOUTS

__all__ = ["METHOD", "SparseStorage"]

_LEAST = 0.01  # of the weights' bytes: what the metric of the file's size counts as a change


@dataclass(frozen=True)
class SparseStorage(Method):
    """Each weight matrix in the layout of the fewest bytes: a bitmask, CSR, 4 x 4 blocks, or two of four.

    Only the files shrink: the matrices are dense again in memory and are multiplied as such. A mask that was
    multiplied into weights leaves -0.0 where weights were negative; those become 0.0 here, which changes
    no sum.
    """

    name: ClassVar[str] = "sparse-storage"
    promise: ClassVar[float] = 0.3
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("memory",)
    title: ClassVar[Text] = Text("Sparse storage of masked weights", "掩码权重的稀疏存储")
    source: ClassVar[str] = "Hoefler et al. 2021, Sparsity in Deep Learning (JMLR 22), section 2.2"
    slot: ClassVar[str | None] = "weight files"

    layout: str = param(
        "auto",
        "auto: the smallest for each matrix; others are used where they save",
        choices=("auto", *LAYOUTS),
    )

    def supports(self, subject: Subject) -> Support:
        if not (kept := kept_by_torch(subject)):
            return kept
        saved = _saved(subject.module)
        if saved >= _LEAST:
            return Support.yes()
        return Support.no(
            f"a mask and the weights that are not zero would take {1 - saved:.1%} of the dense bytes: "
            "there are too few zeros",
            f"位掩码加上非零权重仍占稠密存储的 {1 - saved:.1%}：零太少",
        )

    def apply(self, subject: Subject, context: Context) -> Subject:
        module = copy.deepcopy(subject.module)
        total = zeros = 0
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.0)
                total, zeros = total + tensor.numel(), zeros + int((tensor == 0).sum())
        facts = {**subject.facts, "sparse_storage": {"zeros": zeros / max(1, total)}}
        return replace(with_storage(subject, sparse=self.layout), module=module, facts=facts)


def _saved(module: Any) -> float:
    """The share of the parameters' bytes that a bitmask per matrix saves where it saves any."""
    total = saved = 0
    for weights in module.parameters():
        total += weights.nbytes
        zeros = int((weights == 0).sum())
        saved += max(0, zeros * weights.itemsize - weights.numel() // 8)
    return saved / max(1, total)


METHOD = SparseStorage
