"""The stream between blocks: how wide it is, how narrow it may become, which channels do most.

B batch, T tokens, D channels of the stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiku.core.method import Progress
from tiku.core.verdict import Support
from tiku.methods.prune import _importance
from tiku.methods.prune._calibration import Batch
from tiku.methods.prune._layout import Blocks, Layout, find_blocks, find_layout, part, sizes_of
from tiku.methods.prune._rebuilding import valid, with_fields

if TYPE_CHECKING:
    import torch

__all__ = [
    "Channels",
    "Stream",
    "choose_channels",
    "fields_of",
    "find_stream",
    "is_layer_norm",
    "narrowable",
    "norms_of",
    "width_of",
]

_AWAY = 16  # the width may lie a sixteenth of the whole beside the wanted one, for a multiple kernels like


@dataclass(frozen=True)
class Stream:
    """Where channels are read. `readers`: linear layers by name. `neck`: a square layer behind the blocks
    whose outputs are no channels of the stream (a pooler), and the layers that read them."""

    blocks: Blocks
    layout: Layout
    width: int
    readers: Mapping[str, Any]
    neck: str | None
    behind_neck: Mapping[str, Any]

    @property
    def heads_follow(self) -> bool:
        """The head size is the width over the number of heads, so heads go with the channels."""
        return self.layout.head_size_field is None


@dataclass(frozen=True)
class Channels:
    """Positions that stay, ascending: of the stream, of the neck's outputs, of the heads of each block."""

    stream: torch.Tensor
    neck: torch.Tensor
    heads: Mapping[int, torch.Tensor]


def find_stream(module: Any) -> Stream:
    """The stream of a network that `narrowable` accepts."""
    from torch.nn import Linear

    blocks = find_blocks(module)
    layout = None if blocks is None else find_layout(blocks)
    assert blocks is not None and layout is not None
    width = int(module.config.hidden_size)
    inside = (layout.queries, layout.keys, layout.values, *layout.into)
    readers = {
        f"{blocks.name}.{i}.{name}": part(b, name) for i, b in enumerate(blocks.blocks) for name in inside
    }
    outside = {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, Linear) and not name.startswith(f"{blocks.name}.") and layer.in_features == width
    }
    square = [name for name, layer in outside.items() if layer.out_features == width]
    neck = square[0] if len(square) == 1 and len(outside) > 1 else None
    later = list(outside)[list(outside).index(neck) + 1 :] if neck else []
    readers |= {name: layer for name, layer in outside.items() if name not in later}
    return Stream(blocks, layout, width, readers, neck, {name: outside[name] for name in later})


def narrowable(module: Any, share: float) -> Support:
    """Whether channels can be cut from a network whose blocks and layout are known."""
    for name, norm in norms_of(module).items():
        if not (is_layer_norm(norm) or _is_plain_rms(norm)):
            return Support.no(
                f"{name} ({type(norm).__name__}) is neither a LayerNorm nor a plain RMSNorm, so that it "
                "cannot be corrected for fewer channels",
                f"{name}（{type(norm).__name__}）既非 LayerNorm 也非普通 RMSNorm，减少通道后无法校正",
            )
    width = int(module.config.hidden_size)
    if width_of(module, share) == width:
        return Support.no(
            f"no width near {share:g} of {width} channels can be written: heads stay whole and divide it",
            f"{width} 个通道的 {share:g} 附近没有可保存的宽度：注意力头须保持完整并整除宽度",
        )
    return Support.yes()


def width_of(module: Any, share: float) -> int:
    """The allowed width near the share that is a multiple of the largest power of two."""
    stream = find_stream(module)
    whole, wanted = stream.width, share * stream.width
    near = max(whole / _AWAY, _step(module, stream) / 2)
    allowed = [n for n in _widths(module, stream) if abs(n - wanted) <= near]
    for multiple in (128, 64, 32, 16, 8, 4, 2, 1):
        found = [n for n in allowed if n % multiple == 0]
        if found:
            return min(found, key=lambda n: (abs(n - wanted), n))
    return whole


def fields_of(module: Any, stream: Stream, width: int) -> dict[str, Any]:
    """Config values of a stream of `width` channels; the size of a head stays."""
    config = module.config
    sizes = sizes_of(config, stream.blocks, stream.layout)
    fields: dict[str, Any] = {"hidden_size": width}
    if getattr(config, "embedding_size", None) == stream.width:
        fields["embedding_size"] = width
    if stream.layout.head_size_field is None:
        fields["num_attention_heads"] = width // sizes.head_size
    else:
        fields[stream.layout.head_size_field] = sizes.head_size
    return fields


def choose_channels(
    module: Any, width: int, importance: str, batches: Sequence[Batch], progress: Progress
) -> Channels:
    """The most important channels, judged over all layers that read the stream."""
    stream = find_stream(module)
    judge = _first_order if importance == "taylor" else _shares_of_outputs
    kept = _largest(judge(module, stream.readers, stream.width, batches, progress), width)
    neck = kept
    if stream.neck is not None:
        neck = _largest(judge(module, stream.behind_neck, stream.width, batches, progress), width)
    heads: Mapping[int, torch.Tensor] = {}
    if stream.heads_follow:
        sizes = sizes_of(module.config, stream.blocks, stream.layout)
        layers = {i: part(block, stream.layout.output) for i, block in enumerate(stream.blocks.blocks)}
        score = _importance.taylor if importance == "taylor" else _importance.contribution
        scores = score(module, layers, sizes.heads, batches, progress)
        heads = {i: _largest(one, width // sizes.head_size) for i, one in scores.items()}
    return Channels(kept, neck, heads)


def norms_of(module: Any) -> dict[str, Any]:
    """Modules whose only weights are one number (or two) per channel of the stream."""
    width = int(module.config.hidden_size)
    leaves = {name: m for name, m in module.named_modules() if not list(m.children())}
    own = {name: dict(m.named_parameters(recurse=False)) for name, m in leaves.items()}
    return {
        name: m
        for name, m in leaves.items()
        if "weight" in own[name] and all(tuple(p.shape) == (width,) for p in own[name].values())
    }


def is_layer_norm(module: Any) -> bool:
    """One that takes mean and variance over the channels."""
    from torch.nn import LayerNorm

    return isinstance(module, LayerNorm)


def _shares_of_outputs(
    module: Any, layers: Mapping[str, Any], width: int, batches: Sequence[Batch], progress: Progress
) -> torch.Tensor:
    """Per channel: its share of what each layer computes (Wanda's score of columns, squared), summed."""
    import torch

    found = _importance.contribution(module, layers, width, batches, progress)
    shares = [score.square() / score.square().sum().clamp_min(1e-300) for score in found.values()]
    return torch.stack(shares).sum(0)


def _first_order(
    module: Any, layers: Mapping[str, Any], width: int, batches: Sequence[Batch], progress: Progress
) -> torch.Tensor:
    """Per channel: |first-order change of the loss| when no layer reads it, summed over batches."""
    import torch

    scores = torch.zeros(width, dtype=torch.float64)
    for done, batch in enumerate(batches):
        gate = torch.ones(width, requires_grad=True)
        with _importance.gated(layers, dict.fromkeys(layers, gate)), torch.enable_grad():
            (slope,) = torch.autograd.grad(_importance.loss(_importance.run(module, batch), batch), [gate])
        scores += slope.double().abs()
        progress(done + 1, len(batches), "first-order importance of channels")
    return scores


def _largest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Positions of the largest scores, ascending; of equal ones the first."""
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def _widths(module: Any, stream: Stream) -> list[int]:
    """Smaller widths that a config can say and transformers would read."""
    step = _step(module, stream)
    return [
        n
        for n in range(step, stream.width, step)
        if valid(with_fields(module.config, fields_of(module, stream, n)))
    ]


def _step(module: Any, stream: Stream) -> int:
    """Where heads go with the channels, whole heads; else a width that the heads divide, as configs want."""
    sizes = sizes_of(module.config, stream.blocks, stream.layout)
    return sizes.head_size if stream.heads_follow else sizes.heads


def _is_plain_rms(module: Any) -> bool:
    """Whether it computes weight * x / rms(x), tried on numbers."""
    import torch

    weight = module.weight.detach()
    x = torch.linspace(-2.0, 3.0, len(weight))[None, None]
    with torch.inference_mode():
        found = module(x.to(weight.dtype))
    wanted = weight * x / x.square().mean(-1, keepdim=True).sqrt()
    return found.shape == wanted.shape and bool(torch.allclose(found, wanted, rtol=1e-3, atol=1e-5))
