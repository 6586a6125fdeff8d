"""Scoring on a torch module: one shared prefix in the key/value cache, packed rows after it.

P prefix tokens, T nodes of a pack, R rows whose logits are needed, S scored tokens, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiku.core.method import Progress
from tiku.core.subject import Session
from tiku.measure.language.packing import Pack, pack, shared_prefix
from tiku.measure.language.requests import Request
from tiku.measure.language.session_scoring import TokenScores

if TYPE_CHECKING:
    import torch

__all__ = ["packed"]

_NEEDED = ("attention_mask", "position_ids", "past_key_values", "logits_to_keep")


def packed(
    session: Session, requests: Sequence[Request], tokens_per_pass: int, progress: Progress
) -> TokenScores | str:
    """Scores of all tokens, or why this session cannot pack."""
    import torch

    module = getattr(session, "module", None)
    reason = _unfit(session, module, max(len(r.sequence) for r in requests))
    if reason:
        return reason
    shared = shared_prefix(requests)
    packs = pack(requests, shared, tokens_per_pass)
    count = sum(len(r.continuation) for r in requests)
    nats_S, greedy_S = np.zeros(count), np.zeros(count, dtype=np.bool_)
    with torch.inference_mode():
        try:
            trunk = _encode_prefix(module, requests[0].context[:shared])
            for number, one in enumerate(packs):
                nats_S[one.slots_S], greedy_S[one.slots_S] = _score(module, one, shared, trunk)
                progress(number + 1, len(packs), "log-likelihoods")
        except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            return f"{type(module).__name__} does not take packed rows ({type(error).__name__}: {error})"
    return nats_S, greedy_S


def _unfit(session: Session, module: Any, longest: int) -> str | None:
    """Why packed rows would be wrong: the mask of a pack must be the only one the layers apply.

    `longest` counts the tokens of the longest request: a wider attention window does not matter.
    """
    config = getattr(module, "config", None)
    if module is None or config is None:
        return "the session has no transformers module"
    if session.runtime != "torch":  # the module is there, but it is another form of it that ships
        return f"the runtime {session.runtime} runs the model in its own way"
    if getattr(module, "_is_stateful", False):
        return "a recurrent state cannot be masked"
    accepted = inspect.signature(module.forward).parameters
    lacking = [name for name in _NEEDED if name not in accepted]
    if lacking:
        return f"{type(module).__name__}.forward has no {lacking[0]}"
    window = getattr(config, "sliding_window", None) or longest
    harmless = {"full_attention", "sliding_attention"} if window >= longest else {"full_attention"}
    others = set(getattr(config, "layer_types", None) or ()) - harmless
    if others:
        return f"layers of kind {', '.join(sorted(others))}"
    if window < longest and getattr(config, "use_sliding_window", True):
        return "sliding-window attention"
    return None


def _encode_prefix(module: Any, tokens: Sequence[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values of the shared prefix, per layer."""
    import torch

    if not tokens:
        return []
    ids = torch.tensor([list(tokens)], device=module.device)
    cache = module(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values
    return [(layer.keys, layer.values) for layer in cache.layers]


def _score(
    module: Any, one: Pack, shared: int, trunk: list[tuple[torch.Tensor, torch.Tensor]]
) -> TokenScores:
    import torch

    device = module.device
    kept_R, where_S = np.unique(one.rows_S, return_inverse=True)
    inputs: dict[str, Any] = {
        "input_ids": torch.from_numpy(one.tokens_T)[None].to(device),
        "logits_to_keep": torch.from_numpy(kept_R).to(device),
        "use_cache": bool(trunk),
    }
    if trunk or one.sees_TT is not None:
        inputs["position_ids"] = torch.from_numpy(one.depth_T + shared)[None].to(device)
    if one.sees_TT is not None:
        inputs["attention_mask"] = _mask(one.sees_TT, shared, module.dtype, device)
    if trunk:
        inputs["past_key_values"] = _cache(module, trunk)
    logits_RV = module(**inputs).logits[0].float()
    total_R = torch.logsumexp(logits_RV, dim=-1)
    best_R = logits_RV.argmax(dim=-1)
    where, targets = torch.from_numpy(where_S).to(device), torch.from_numpy(one.targets_S).to(device)
    nats_S = logits_RV[where, targets] - total_R[where]
    return nats_S.double().cpu().numpy(), (best_R[where] == targets).cpu().numpy()


def _mask(sees_TT: NDArray[np.bool_], shared: int, dtype: Any, device: Any) -> torch.Tensor:
    """Additive mask (1, 1, T, P + T): every node sees the prefix and its own ancestors."""
    import torch

    count = len(sees_TT)
    mask_TK = torch.zeros(count, shared + count, dtype=dtype, device=device)
    hidden = torch.from_numpy(~sees_TT).to(device)
    mask_TK[:, shared:].masked_fill_(hidden, torch.finfo(dtype).min)
    return mask_TK[None, None]


def _cache(module: Any, trunk: list[tuple[torch.Tensor, torch.Tensor]]) -> Any:
    """A fresh cache that holds the prefix: a forward pass appends to the one it is given."""
    from transformers import DynamicCache

    cache = DynamicCache(config=module.config)
    for layer, (keys, values) in enumerate(trunk):
        cache.update(keys, values, layer)
    return cache
