"""Keys and values kept in 8 bits, with what that costs on the calibration text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from tiku.core import registry
from tiku.core.config import param
from tiku.core.errors import CannotMeasure
from tiku.core.method import Context, Method, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.serving._decoding import shares_batches
from tiku.methods.serving._racing import work_texts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["METHOD", "Int8Cache"]

_TEXTS = 64
_CHUNK = 64  # tokens fed at once: those after the first chunk read a cache
_CHARACTERS_PER_TOKEN = 8  # more than any tokenizer needs


@dataclass(frozen=True)
class Int8Cache(Method):
    """Each key and value vector becomes whole numbers from -127 to 127 with one scale per token and head,
    about a quarter of float32. Every read widens the whole cache again: that saves memory, not time.

    How far the next-token distributions move is measured on calibration text, through the cache, and kept
    as a fact: perplexity is otherwise read without one.
    """

    name: ClassVar[str] = "int8-cache"
    promise: ClassVar[float] = 0.5
    stage: ClassVar[Stage] = "serve"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory")
    title: ClassVar[Text] = Text("8-bit key/value cache", "8 位键值缓存")
    source: ClassVar[str] = "Sheng et al. 2023, FlexGen (compressed cache); Hooper et al. 2024, KVQuant"
    tasks: ClassVar[frozenset[str]] = frozenset({"causal-lm"})
    slot: ClassVar[str | None] = "cache"

    tokens: int = param(256, "calibration tokens the error is measured on", low=16, high=65_536)

    def supports(self, subject: Subject) -> Support:
        if subject.runtime != "torch":
            return Support.no(
                f"tiku keeps 8-bit caches in the torch runtime only, not in {subject.runtime}",
                f"tiku 仅在 torch 运行时中支持 8 位缓存，{subject.runtime} 不支持",
            )
        return shares_batches(subject)

    def apply(self, subject: Subject, context: Context) -> Subject:
        ids = _calibration_tokens(subject, context, self.tokens)
        wide_SV, wide_bytes = _logits(subject, ids, context, "fp32")
        narrow_SV, narrow_bytes = _logits(subject, ids, context, "int8")
        fact = {
            **_moved(wide_SV, narrow_SV, ids[_CHUNK:] if len(ids) > _CHUNK else ids[1:]),
            "bytes_per_token": narrow_bytes / len(ids),
            "bytes_per_token_before": wide_bytes / len(ids),
        }
        options = {**subject.runtime_options, "cache_format": "int8"}
        return replace(subject, runtime_options=options, facts={**subject.facts, "int8_cache": fact})


def _calibration_tokens(subject: Subject, context: Context, count: int) -> list[int]:
    """The first tokens of the calibration text, within what the model reads."""
    texts = "\n\n".join(str(text) for text in work_texts(context, _TEXTS))
    family = registry.get("models", subject.family)
    encoded = family.encode(
        subject.processor, [texts[: count * _CHARACTERS_PER_TOKEN]], subject.serve.max_length
    )
    ids = list(encoded[0]["input_ids"])[:count]
    if len(ids) < 2:
        raise CannotMeasure(
            "the calibration text is too short to tell what an 8-bit cache changes",
            got=f"{len(ids)} tokens",
            allowed="2 or more",
            next_step="give more data",
        )
    return ids


def _logits(
    subject: Subject, ids: Sequence[int], context: Context, cache_format: str
) -> tuple[NDArray[np.float32], int]:
    """Logits before each token that was predicted through the cache, and the cache's bytes at the end."""
    import numpy as np

    from tiku.artefact.predictor import cores
    from tiku.runtimes._torch_session import TorchSession

    threads = context.protocol.threads or cores()
    session = TorchSession("torch", subject.module, threads=threads, device="cpu", cache_format=cache_format)
    step = _CHUNK if len(ids) > _CHUNK else 1
    cache, rows = None, []
    for at in range(0, len(ids), step):
        fed = np.asarray([ids[at : at + step]], dtype=np.int64)
        logits_BTV, cache = session.extend(fed, cache)
        rows.append(logits_BTV[0])
        context.progress(at, len(ids), "8-bit cache on calibration text")
    session.close()
    return np.concatenate(rows)[step - 1 : -1], _bytes(cache)


def _bytes(cache: Any) -> int:
    own = getattr(cache, "nbytes", None)
    if own is not None:
        return int(own)
    return sum(int(layer.keys.nbytes + layer.values.nbytes) for layer in cache.layers)


def _moved(
    wide_SV: NDArray[np.float32], narrow_SV: NDArray[np.float32], next_S: Sequence[int]
) -> dict[str, Any]:
    """KL divergence in nats per token, the ratio of the perplexities, how often the likeliest token stays."""
    import numpy as np
    from scipy.special import log_softmax

    p_SV = log_softmax(wide_SV.astype(np.float64), axis=-1)
    q_SV = log_softmax(narrow_SV.astype(np.float64), axis=-1)
    at = np.arange(len(next_S))
    lost_S = p_SV[at, list(next_S)] - q_SV[at, list(next_S)]
    return {
        "tokens": len(next_S),
        "kl": float((np.exp(p_SV) * (p_SV - q_SV)).sum(axis=-1).mean()),
        "perplexity_ratio": float(np.exp(lost_S.mean())),
        "same_choice": float((p_SV.argmax(axis=-1) == q_SV.argmax(axis=-1)).mean()),
    }


METHOD = Int8Cache
