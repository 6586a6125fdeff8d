"""A decoder traced with ONNX Runtime's own operators: attention that writes new keys and values into the
cache's buffers (com.microsoft.GroupQueryAttention), rotary positions, and root-mean-square norms.

The buffers may be longer than the text, and rows may have lengths of their own: a row's new tokens follow
the last place that its mask shows. What is not recognised is traced as it is written.

B batch, T new tokens, S tokens in all, H heads, D width of a head.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from tiku.runtimes._explain import first_line
from tiku.runtimes._language import FIXED, Decoder, logits_argument, traceable_decoder
from tiku.runtimes._onnx_operators import grouped_attention, rms_norm, rotation
from tiku.runtimes._tracing import sharing_copy

__all__ = ["POSITIONS", "fused_decoder", "operators_of_onnxruntime", "why_not_fused"]

POSITIONS = "position_ids"
_ATTENTION = "tiku_onnxruntime"
_ROTARY = "apply_rotary_pos_emb"  # its name in every transformers family that has one
_NEAR = 1e-4
_FROM_START, _FROM_MASK = "start", "mask"  # of the batch; the first token shown


@dataclass(eq=False)
class _Passage:
    """What one traced pass hands to its layers: where each row's last token lies (int32), and S."""

    last_B: Any
    total: Any
    cache: Any
    tables: dict[int, Any] = field(default_factory=dict)  # by the cosines they were cut from


_passage: list[_Passage] = []  # of the pass being traced


def fused_decoder(network: Any) -> Decoder:
    """The decoder around a network that may be changed; run it inside `operators_of_onnxruntime`. Where
    places may be told, `position_ids` is its fourth input."""
    import torch

    plain = traceable_decoder(network)
    example, keeps = list(plain.example), logits_argument(network)
    placed = _counts_places(network, example[0])
    if placed is not None:
        batch, new = example[0].shape
        past = example[1].shape[1] - new
        example.insert(len(FIXED), torch.arange(past, past + new).expand(batch, new).contiguous())
    _replace_norms(network)
    network.set_attn_implementation(_ATTENTION)

    class InPlace(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, ids: Any, mask: Any, kept: Any, *rest: Any) -> Any:
            past = rest if placed is None else rest[1:]
            passage = _passage_of(ids, mask, past)
            _passage[:] = [passage]
            given = {} if placed is None else {POSITIONS: rest[0]}
            given |= {keeps: kept} if keeps else {}
            output = self.network(
                input_ids=ids, attention_mask=mask, past_key_values=passage.cache, use_cache=True, **given
            )
            logits = output.logits if keeps else output.logits[:, kept]
            return (logits, *(part for layer in passage.cache.layers for part in layer.present))

    fixed = FIXED if placed is None else (*FIXED, POSITIONS)
    return Decoder(InPlace().eval(), tuple(example), fixed, places_from_mask=placed == _FROM_MASK)


def why_not_fused(module: Any) -> str | None:
    """Why a decoder with these operators cannot be made of this module and be told the places of its tokens;
    None where it can. Runs a few tokens through the module, and traces nothing."""
    import torch

    network = sharing_copy(module)
    try:
        with torch.inference_mode(), operators_of_onnxruntime(network):
            decoder = fused_decoder(network)
            decoder.module(*decoder.example)
    except Exception as error:  # the network's own code, which may raise anything
        return first_line(error)
    return None if POSITIONS in decoder.fixed else "it counts positions in a way of its own"


@contextmanager
def operators_of_onnxruntime(network: Any) -> Iterator[None]:
    """While it lasts, the network's attention and rotary functions trace to single operators."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(_ATTENTION, _attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(_ATTENTION, eager_mask)
    homes = {home: getattr(home, _ROTARY) for home in _rotary_homes(network)}
    for home, own in homes.items():
        setattr(home, _ROTARY, _turning(own))
    try:
        yield
    finally:
        for home, own in homes.items():
            setattr(home, _ROTARY, own)
        for table in (ALL_ATTENTION_FUNCTIONS, ALL_MASK_ATTENTION_FUNCTIONS):
            type(table)._global_mapping.pop(_ATTENTION, None)
        _passage.clear()


def _counts_places(network: Any, ids_BT: Any) -> str | None:
    """From where a network that can be told positions counts them by itself: from the start of the batch,
    padding included, or, as OPT, from the first token that the mask shows. None for any other way."""
    import torch

    if POSITIONS not in inspect.signature(network.forward).parameters:
        return None
    mask_BT = torch.ones_like(ids_BT)
    mask_BT[0, 0] = 0
    own = network(input_ids=ids_BT, attention_mask=mask_BT).logits[:, -1]
    ways = {
        _FROM_START: torch.arange(ids_BT.shape[1]).expand_as(ids_BT),
        _FROM_MASK: (mask_BT.cumsum(1) - 1).clamp(min=0),
    }
    for way, places_BT in ways.items():
        told = network(input_ids=ids_BT, attention_mask=mask_BT, position_ids=places_BT).logits[:, -1]
        if torch.allclose(own, told, atol=_NEAR * max(1.0, float(own.abs().max()))):
            return way
    return None


def _passage_of(ids: Any, mask: Any, past: Any) -> _Passage:
    import torch
    from transformers.cache_utils import DynamicCache

    places = torch.arange(1, mask.shape[1] + 1) * mask
    total = torch.onnx.operators.shape_as_tensor(mask)[1].to(torch.int32)  # type: ignore[attr-defined]
    cache = DynamicCache()
    for keys, values in zip(past[::2], past[1::2], strict=True):
        cache.layers.append(_buffers(keys, values, mask.shape[1] - ids.shape[1]))
    return _Passage((places.amax(dim=1) - 1).to(torch.int32), total, cache)


def _buffers(keys: Any, values: Any, length: Any) -> Any:
    """A layer of the cache that gives back what is new: the attention itself joins it to the old."""
    from transformers.cache_utils import DynamicLayer

    class Buffers(DynamicLayer):  # type: ignore[no-untyped-call]
        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
            return key_states, value_states

        def get_seq_length(self) -> Any:
            return length

    layer: Any = Buffers()  # type: ignore[no-untyped-call]
    layer.dtype, layer.device = keys.dtype, keys.device
    layer.keys, layer.values, layer.is_initialized = keys, values, True
    layer.present = ()
    return layer


def _attend(
    module: Any, query_BHTD: Any, key: Any, value: Any, mask: Any, scaling: float | None = None, **other: Any
) -> Any:
    """Stands for `eager_attention_forward`. Raises `ValueError` for attention that the operator cannot
    compute: the decoder is then exported as it is written."""
    if other.get("s_aux") is not None or getattr(module, "is_causal", True) is False:
        raise ValueError("attention sinks, or attention that is not causal")
    passage = _passage[-1]
    layer = passage.cache.layers[module.layer_idx]
    scale = query_BHTD.shape[-1] ** -0.5 if scaling is None else float(scaling)
    made, *layer.present = grouped_attention(
        (query_BHTD, key, value), (layer.keys, layer.values), passage.last_B, passage.total, mask,
        scale=float(scale), softcap=float(other.get("softcap") or 0.0),
    )  # fmt: skip
    return made, None


def _rotary_homes(network: Any) -> set[ModuleType]:
    """The Python modules whose layers turn positions as the operator does."""
    homes = {sys.modules[type(part).__module__] for part in network.modules()}
    return {home for home in homes if _turns_halves(getattr(home, _ROTARY, None))}


def _turns_halves(function: Callable[..., Any] | None) -> bool:
    """Try it: the first half of a head's width is turned with the second."""
    import torch

    if function is None:
        return False
    draw = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, heads, 3, 8, generator=draw) for heads in (4, 2))
    angles = torch.randn(1, 3, 4, generator=draw).repeat(1, 1, 2)
    cos, sin = angles.cos(), angles.sin()
    try:
        turned = function(q, k, cos, sin)
    except Exception:  # a function of that name may ask for anything
        return False
    other = (torch.cat([-x[..., 4:], x[..., :4]], dim=-1) for x in (q, k))
    pairs = zip(turned, (q, k), other, strict=False)
    return all(bool(torch.allclose(got, x * cos + y * sin, atol=_NEAR)) for got, x, y in pairs)


def _turning(own: Callable[..., Any]) -> Callable[..., Any]:
    """`apply_rotary_pos_emb` as operators; its own code where it is called in another way."""

    def turn(q: Any, k: Any, cos: Any, sin: Any, *other: Any, **named: Any) -> Any:
        usual = _passage and not other and named.get("unsqueeze_dim", 1) == 1
        if not usual or q.dim() != 4 or cos.dim() != 3 or cos.shape[-1] != q.shape[-1]:
            return own(q, k, cos, sin, *other, **named)
        tables = _passage[-1].tables
        if id(cos) not in tables:
            tables[id(cos)] = (cos, *_half_tables(cos, sin))  # `cos` is held: its id stays its own
        return tuple(rotation(x, *tables[id(cos)][1:]) for x in (q, k))

    return turn


def _half_tables(cos_BTD: Any, sin_BTD: Any) -> tuple[Any, Any, Any]:
    """One line per token of the batch, and which line each token reads."""
    import torch

    batch, new, width = cos_BTD.shape
    lines = (part[..., : width // 2].reshape(-1, width // 2) for part in (cos_BTD, sin_BTD))
    return (*lines, torch.arange(batch * new).reshape(batch, new))


def _replace_norms(network: Any) -> None:
    """Put the operator in the place of norms that compute what it computes."""
    found = [
        (name, part) for name, part in network.named_modules() if type(part).__name__.endswith("RMSNorm")
    ]
    for name, part in found:
        parent, _, leaf = name.rpartition(".")
        if (norm := rms_norm(part)) is not None:
            setattr(network.get_submodule(parent), leaf, norm)
