"""Cutting blocks, neurons and heads out of a network, and the proof that nothing else changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ModelError
from tiku.methods.prune._calibration import Batch
from tiku.methods.prune._importance import bypassed, gated, run
from tiku.methods.prune._layout import Blocks, Layout, Sizes, find_blocks, find_layout, part, sizes_of
from tiku.methods.prune._rebuilding import empty_network, fill, with_fields

if TYPE_CHECKING:
    import torch

__all__ = ["Cut", "count_parameters", "cut_network", "group_fields", "spans"]

_TOLERANCE = 1e-3  # of the largest logit: the same sums in another order


@dataclass(frozen=True)
class Cut:
    """What stays: blocks, and per block (by its old number) neurons and key/value groups, ascending.

    No entry for a block means all of them. Every block keeps equally many.
    """

    blocks: tuple[int, ...]
    neurons: Mapping[int, torch.Tensor]
    groups: Mapping[int, torch.Tensor]


def cut_network(module: Any, cut: Cut, probe: Batch) -> Any:
    """The smaller network. It must answer `probe` as the whole one with the removed parts silenced.

    Raises `ModelError` where it does not: then something in this architecture depends on what was cut.
    """
    blocks = find_blocks(module)
    assert blocks is not None  # `prunable` said so
    layout = find_layout(blocks)
    sizes = None if layout is None else sizes_of(module.config, blocks, layout)
    network = empty_network(
        module, with_fields(module.config, _cut_fields(module.config, cut, layout, sizes))
    )
    fill(network, _kept_state(module, blocks, layout, sizes, cut))
    _check(module, network, blocks, layout, sizes, cut, probe)
    return network


def _cut_fields(config: Any, cut: Cut, layout: Layout | None, sizes: Sizes | None) -> dict[str, Any]:
    """The config's new values; lists with one entry per block lose those of the dropped blocks."""
    before = config.num_hidden_layers
    changed: dict[str, Any] = {"num_hidden_layers": len(cut.blocks)}
    for name, value in config.to_dict().items():
        if "layer" in name and isinstance(value, list) and len(value) == before:
            changed[name] = [value[i] for i in cut.blocks]
    if layout is not None and cut.neurons:
        changed[layout.neurons_field] = len(next(iter(cut.neurons.values())))
    if layout is not None and sizes is not None and cut.groups:
        changed |= group_fields(layout, sizes, len(next(iter(cut.groups.values()))))
    return changed


def group_fields(layout: Layout, sizes: Sizes, groups: int) -> dict[str, Any]:
    """Config values of so many key/value groups; the size of a head stays."""
    assert layout.head_size_field is not None  # else heads are not offered for cutting
    return {
        "num_attention_heads": groups * (sizes.heads // sizes.groups),
        "num_key_value_heads": groups,
        layout.head_size_field: sizes.head_size,
    }


def count_parameters(module: Any) -> int:
    """Weights, tied ones once."""
    return sum(p.numel() for p in module.parameters())


def _kept_state(
    module: Any, blocks: Blocks, layout: Layout | None, sizes: Sizes | None, cut: Cut
) -> dict[str, torch.Tensor]:
    """The state of the smaller network: blocks renumbered, rows and columns chosen."""
    prefix, state = f"{blocks.name}.", {}
    new = {old: i for i, old in enumerate(cut.blocks)}
    for name, tensor in module.state_dict().items():
        if not name.startswith(prefix):
            state[name] = tensor
            continue
        number, _, inner = name.removeprefix(prefix).partition(".")
        old = int(number)
        if old in new:
            chosen = tensor
            if layout is not None and sizes is not None:
                chosen = _chosen(inner, tensor, layout, sizes, cut, old)
            state[f"{prefix}{new[old]}.{inner}"] = chosen
    return state


def _chosen(
    name: str, tensor: torch.Tensor, layout: Layout, sizes: Sizes, cut: Cut, block: int
) -> torch.Tensor:
    """Rows or columns of one weight of a block."""
    layer, _, kind = name.rpartition(".")
    rows: torch.Tensor | None = None
    columns: torch.Tensor | None = None
    if block in cut.neurons and layer in layout.into:
        rows = cut.neurons[block]
    elif block in cut.neurons and layer == layout.out_of:
        columns = cut.neurons[block]
    elif block in cut.groups and layer in (layout.keys, layout.values):
        rows = spans(cut.groups[block], sizes.head_size)
    elif block in cut.groups and layer == layout.queries:
        rows = _query_spans(cut.groups[block], sizes)
    elif block in cut.groups and layer == layout.output:
        columns = _query_spans(cut.groups[block], sizes)
    if rows is not None:
        return tensor[rows]
    return tensor[:, columns] if columns is not None and kind == "weight" else tensor


def _query_spans(groups: torch.Tensor, sizes: Sizes) -> torch.Tensor:
    return spans(groups, sizes.head_size * (sizes.heads // sizes.groups))


def spans(chosen: torch.Tensor, width: int) -> torch.Tensor:
    """Positions of the chosen stretches of `width`."""
    import torch

    return (chosen[:, None] * width + torch.arange(width)).flatten()


def _check(
    module: Any, network: Any, blocks: Blocks, layout: Layout | None, sizes: Sizes | None, cut: Cut,
    probe: Batch,
) -> None:  # fmt: skip
    import torch

    with torch.inference_mode():
        with bypassed(blocks, cut.blocks), _silenced(blocks, layout, sizes, cut):
            expected = run(module, probe)
        away = (run(network, probe) - expected).abs()
    real = probe.mask_BT if away.ndim == 3 else slice(None)
    largest = away[real].max().item()
    if not largest <= _TOLERANCE * max(1.0, expected[real].abs().max().item()):
        raise ModelError(
            "the cut network does not answer as the whole one with these parts silenced",
            got=f"logits {largest:.3g} apart",
            allowed="the same logits",
            next_step="leave this pruning out for this model: something in it depends on what was cut",
        )


@contextlib.contextmanager
def _silenced(blocks: Blocks, layout: Layout | None, sizes: Sizes | None, cut: Cut) -> Iterator[None]:

    if layout is None or sizes is None:
        yield
        return
    layers: dict[Any, Any] = {}
    gates: dict[Any, torch.Tensor] = {}
    for i, kept in cut.neurons.items():
        layers["neurons", i] = part(blocks.blocks[i], layout.out_of)
        gates["neurons", i] = _gate(sizes.neurons, kept)
    for i, kept in cut.groups.items():
        layers["groups", i] = part(blocks.blocks[i], layout.output)
        gates["groups", i] = _gate(sizes.heads * sizes.head_size, _query_spans(kept, sizes))
    with gated(layers, gates):
        yield


def _gate(size: int, kept: Sequence[int] | torch.Tensor) -> torch.Tensor:
    import torch

    gate = torch.zeros(size)
    gate[kept] = 1.0
    return gate
