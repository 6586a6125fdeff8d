"""Language models for the exporting runtimes: a decoder whose key/value cache goes in and comes out.

B batch, T new tokens, P tokens in the cache, R positions whose logits are wanted, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiku.core.errors import ModelError
from tiku.core.subject import Session, Subject
from tiku.core.verdict import Support
from tiku.runtimes._explain import first_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "FIXED",
    "Decoder",
    "check_decoder",
    "keeps_cache",
    "logits_argument",
    "traceable_decoder",
    "whole_text",
]

FIXED = ("input_ids", "attention_mask", "logits_to_keep")  # inputs beside the cache
_KEEPS = ("logits_to_keep", "num_logits_to_keep")
_TRACED_BATCH, _TRACED_TOKENS, _TRACED_PAST = 2, 3, 4
_CHECKED = ((1, (1, 1)), (1, (9, 1, 4)), (3, (2, 11, 1)))  # (batch, lengths of the pieces), not as traced
_TOLERANCE = 1e-3  # of the largest logit: sums in another order


@dataclass(frozen=True)
class Decoder:
    """`module(input_ids_BT, attention_mask_BS, logits_to_keep_R, *past)` gives `(logits_BRV, *present)`,
    with S = P + T; `past` alternates keys and values, each (B, heads, P, width). `example`: inputs to trace
    with; `fixed` names those before the cache. `places_from_mask`: where it is told positions, it would by
    itself count them from the mask.
    """

    module: Any
    example: tuple[Any, ...]
    fixed: tuple[str, ...] = FIXED
    places_from_mask: bool = False

    @property
    def past(self) -> tuple[str, ...]:
        """Names of the cache's inputs, as optimum calls them."""
        return self._cache("past_key_values")

    @property
    def present(self) -> tuple[str, ...]:
        """Names of the cache's outputs, in the order of `past`."""
        return self._cache("present")

    def _cache(self, word: str) -> tuple[str, ...]:
        layers = (len(self.example) - len(self.fixed)) // 2
        return tuple(f"{word}.{layer}.{part}" for layer in range(layers) for part in ("key", "value"))


def keeps_cache(subject: Subject, runtime: str) -> Support:
    """Yes for decoders that take and give a key/value cache; no, with the reason, for others."""
    accepted = inspect.signature(subject.module.forward).parameters
    if getattr(subject.module, "_is_stateful", False) or "past_key_values" not in accepted:
        return Support.no(
            f"tiku exports language models to {runtime} with a key/value cache, and "
            f"{type(subject.module).__name__} keeps none",
            f"tiku 导出到 {runtime} 的语言模型带键值缓存，而 {type(subject.module).__name__} 没有键值缓存",
        )
    if not getattr(getattr(subject.module, "config", None), "use_cache", False):
        return Support.no(
            f"the model's config turns its key/value cache off (use_cache), and without one {runtime} would "
            "compute the whole text again for every token",
            f"模型配置关闭了键值缓存（use_cache）；没有缓存，{runtime} 每生成一个词元都要把全文重算一遍",
        )
    return Support.yes()


def traceable_decoder(network: Any) -> Decoder:
    """The decoder around a network that may be changed. Raises `ModelError` where its cache is not made of
    keys and values alone."""
    import torch

    keeps = logits_argument(network)

    class WithCache(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, input_ids: Any, attention_mask: Any, rows: Any, *past: Any) -> Any:
            output = self.network(
                input_ids=input_ids, attention_mask=attention_mask, past_key_values=_cache_of(past),
                use_cache=True, **({keeps: rows} if keeps else {}),
            )  # fmt: skip
            logits = output.logits if keeps else output.logits[:, rows]
            return (logits, *_flat(output.past_key_values))

    ids = torch.arange(_TRACED_BATCH * _TRACED_TOKENS).reshape(_TRACED_BATCH, -1) % network.config.vocab_size
    mask = torch.ones(_TRACED_BATCH, _TRACED_PAST + _TRACED_TOKENS, dtype=torch.int64)
    return Decoder(WithCache().eval(), (ids, mask, torch.tensor([0, 2]), *_example_past(network)))


def logits_argument(network: Any) -> str | None:
    """What the network calls the positions whose logits are wanted; None where it has no such argument."""
    accepted = inspect.signature(network.forward).parameters
    return next((name for name in _KEEPS if name in accepted), None)


def whole_text(inputs: Mapping[str, NDArray[Any]], names: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """The fixed inputs that a graph has, for logits at every position and an empty cache."""
    import numpy as np

    ids = inputs["input_ids"]
    given = {
        "input_ids": ids,
        "attention_mask": inputs.get("attention_mask", np.ones_like(ids)),
        "logits_to_keep": np.arange(ids.shape[1]),
    }
    return {name: given[name] for name in FIXED if name in names}


def check_decoder(subject: Subject, session: Session) -> None:
    """Compare an exported float32 decoder with its module: other batches, lengths and cache lengths than it
    was traced with, in one piece and in several. Raises `ModelError`."""
    import numpy as np
    import torch

    config = subject.module.config
    longest = getattr(config, "max_position_embeddings", None) or 1024
    for batch, pieces in _CHECKED:
        fed = [min(length, longest // len(pieces)) for length in pieces]
        draw = np.random.default_rng(batch)
        tokens_BT = draw.integers(0, config.vocab_size, size=(batch, sum(fed)))
        with torch.inference_mode():
            output = subject.module(input_ids=torch.from_numpy(tokens_BT), use_cache=False)
        own = output.logits.float().numpy()
        try:
            away = max(float(np.abs(got - own).max()) for got in _both_ways(session, tokens_BT, fed))
        except Exception as error:  # runtimes raise classes of their own
            raise _wrong(subject, session, first_line(error)) from error
        if not away <= _TOLERANCE * max(1.0, float(np.abs(own).max())):
            raise _wrong(subject, session, f"logits differ by {away:.3g}")


def _both_ways(
    session: Session, tokens_BT: NDArray[np.int64], pieces: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """logits_BTV at once, and through the cache."""
    import numpy as np

    logits, cache = [], None
    for piece in np.split(tokens_BT, np.cumsum(pieces)[:-1], axis=1):
        made, cache = session.extend(piece, cache)
        logits.append(made)
    return session.run({"input_ids": tokens_BT}), np.concatenate(logits, axis=1)


def _wrong(subject: Subject, session: Session, problem: str) -> ModelError:
    return ModelError(
        f"the decoder exported to {session.runtime} is right only at the lengths it was traced with",
        got=f"{type(subject.module).__name__}: {problem}",
        allowed="modules whose control flow depends neither on lengths nor on tokens",
        next_step="choose the runtime torch",
    )


def _cache_of(past: Sequence[Any]) -> Any:
    """A cache that already holds these tensors. Every layer keeps everything: what a layer with a sliding
    window may see is in its mask."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    cache = DynamicCache()
    for keys, values in zip(past[::2], past[1::2], strict=True):
        layer = DynamicLayer()  # type: ignore[no-untyped-call]
        layer.dtype, layer.device = keys.dtype, keys.device
        layer.keys, layer.values, layer.is_initialized = keys, values, True
        cache.layers.append(layer)
    return cache


def _flat(cache: Any) -> list[Any]:
    return [part for layer in cache.layers for part in (layer.keys, layer.values)]


def _example_past(network: Any) -> list[Any]:
    """The cache after the first tokens. Raises `ModelError`."""
    import torch

    ids = torch.zeros(_TRACED_BATCH, _TRACED_PAST, dtype=torch.int64)
    cache = network(input_ids=ids, use_cache=True).past_key_values
    parts = _flat(cache) if hasattr(cache, "layers") else []
    shapes = [tuple(getattr(part, "shape", ())) for part in parts]
    plain = all(len(shape) == 4 and shape[::2] == (_TRACED_BATCH, _TRACED_PAST) for shape in shapes)
    if not parts or not plain:
        kinds = sorted({type(layer).__name__ for layer in getattr(cache, "layers", [cache])})
        raise ModelError(
            "this model's cache is not made of keys and values for every token",
            got=f"{type(network).__name__}: {', '.join(kinds)}",
            allowed="attention layers that each keep their own keys and values",
            next_step="choose the runtime torch",
        )
    return [part.clone() for part in parts]
