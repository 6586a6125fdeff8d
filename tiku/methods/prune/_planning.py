"""From shares to keep and importance on calibration texts to a cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiku.core.method import Progress
from tiku.core.subject import Subject
from tiku.core.verdict import Support
from tiku.methods.prune import _importance
from tiku.methods.prune._calibration import Batch
from tiku.methods.prune._cutting import Cut, group_fields
from tiku.methods.prune._layout import (
    Blocks,
    Layout,
    Sizes,
    find_blocks,
    find_layout,
    part,
    prunable,
    sizes_of,
)
from tiku.methods.prune._rebuilding import valid, with_fields
from tiku.methods.prune._stream import narrowable

if TYPE_CHECKING:
    import torch

__all__ = ["Shares", "plan_cut", "supported"]

_JUDGES = {"taylor": _importance.taylor, "activation": _importance.contribution}


@dataclass(frozen=True)
class Shares:
    """Shares of blocks, neurons, attention heads and channels of the stream that stay, and how the
    latter three are judged."""

    blocks: float = 1.0
    neurons: float = 1.0
    heads: float = 1.0
    importance: str = "activation"
    width: float = 1.0


def supported(subject: Subject, shares: Shares) -> Support:
    """Whether this network can be cut to these shares."""
    support = prunable(subject)
    if not support:
        return support
    blocks = find_blocks(subject.module)
    assert blocks is not None
    if shares.blocks < 1.0 and count_of(len(blocks), shares.blocks) == len(blocks):
        return Support.no(
            f"{shares.blocks:g} of {len(blocks)} blocks, rounded, is all of them",
            f"{len(blocks)} 层的 {shares.blocks:g} 取整后即为全部层",
        )
    if shares.neurons == shares.heads == shares.width == 1.0:
        return Support.yes()
    layout = find_layout(blocks)
    if layout is None:
        return Support.no(
            f"the linear layers of {type(blocks.blocks[0]).__name__} are fused or named in a way that is "
            "not known, so neurons, heads and channels cannot be told apart",
            f"{type(blocks.blocks[0]).__name__} 的线性层已融合或命名未知，无法区分神经元、注意力头与通道",
        )
    narrow = narrowable(subject.module, shares.width) if shares.width < 1.0 else Support.yes()
    return narrow and _heads_supported(subject.module.config, blocks, layout, shares)


def plan_cut(
    module: Any, shares: Shares, batches: Sequence[Batch], progress: Progress
) -> tuple[Cut, dict[str, Any]]:
    """The cut, and facts about it."""
    blocks = find_blocks(module)
    assert blocks is not None
    everything = tuple(range(len(blocks)))
    facts: dict[str, Any] = {"blocks_before": len(blocks)}
    kept = everything
    if shares.blocks < 1.0:
        influence = _importance.block_influence(module, blocks, batches, progress)
        kept = _largest(influence, count_of(len(blocks), shares.blocks))
        facts["influence"] = [round(value, 5) for value in influence]
    facts["kept_blocks"] = list(kept)
    if shares.neurons == shares.heads == 1.0:
        return Cut(kept, {}, {}), facts
    layout = find_layout(blocks)
    assert layout is not None
    sizes = sizes_of(module.config, blocks, layout)

    def chosen(layer: str, whole: int, count: int) -> dict[int, torch.Tensor]:
        if count == whole:
            return {}
        layers = {i: part(blocks.blocks[i], layer) for i in kept}
        scores = _JUDGES[shares.importance](module, layers, whole, batches, progress)
        return {i: _positions(scores[i], count) for i in kept}

    count = count_of(sizes.neurons, shares.neurons, _multiple(sizes.neurons))
    neurons = chosen(layout.out_of, sizes.neurons, count)
    count = _group_count(module.config, layout, sizes, shares.heads)
    groups = chosen(layout.output, sizes.groups, count)
    facts |= {"importance": shares.importance, "neurons_before": sizes.neurons, "heads_before": sizes.heads}
    facts["neurons"] = len(neurons[kept[0]]) if neurons else sizes.neurons
    facts["heads"] = (len(groups[kept[0]]) if groups else sizes.groups) * (sizes.heads // sizes.groups)
    return Cut(kept, neurons, groups), facts


def count_of(whole: int, share: float, multiple: int = 1) -> int:
    """So many of `whole`, rounded to a multiple, one multiple at least."""
    return min(whole, max(multiple, multiple * int(share * whole / multiple + 0.5)))


def _heads_supported(config: Any, blocks: Blocks, layout: Layout, shares: Shares) -> Support:
    if shares.heads == 1.0:
        return Support.yes()
    if layout.head_size_field is None:
        return Support.no(
            f"transformers works out the head size of {config.model_type} as width / heads: a folder with "
            "fewer heads of the same size cannot be written",
            f"transformers 以“宽度 / 头数”推算 {config.model_type} 的头大小，无法只减头数",
        )
    sizes = sizes_of(config, blocks, layout)
    if _group_count(config, layout, sizes, shares.heads) == sizes.groups:
        return Support.no(
            f"of its {sizes.groups} key/value groups none can go: the width must stay a multiple of the "
            "number of heads",
            f"其 {sizes.groups} 个键值组无法再减少：宽度必须是头数的整数倍",
        )
    return Support.yes()


def _group_count(config: Any, layout: Layout, sizes: Sizes, share: float) -> int:
    """The allowed number of key/value groups nearest to the share; the smaller of two as near.

    Some configs are read only when the number of heads divides the width.
    """
    if share == 1.0:
        return sizes.groups
    wanted = share * sizes.groups
    allowed = [
        n for n in range(1, sizes.groups + 1) if valid(with_fields(config, group_fields(layout, sizes, n)))
    ]
    return min(allowed, key=lambda n: (abs(n - wanted), n), default=sizes.groups)


def _multiple(size: int) -> int:
    """Counts stay multiples that kernels and groups of quantised weights like: steps of an eighth at most."""
    return next((m for m in (128, 64, 32, 16, 8, 4, 2) if size % m == 0 and 8 * m <= size), 1)


def _positions(scores: torch.Tensor, count: int) -> torch.Tensor:
    import torch

    return torch.tensor(_largest(scores.tolist(), count))


def _largest(scores: Sequence[float], count: int) -> tuple[int, ...]:
    """Positions of the largest scores, ascending; of equal ones the first."""
    return tuple(sorted(sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:count]))
