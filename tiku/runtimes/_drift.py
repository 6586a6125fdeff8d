"""Whether a built language model still says what its module says.

T positions, V vocabulary.
"""

from __future__ import annotations

from typing import Any

from tiku.core.drift import drift
from tiku.core.subject import Session, Subject

__all__ = ["own_text", "refuse_garbage"]

_TOKENS = 48


def refuse_garbage(subject: Subject, session: Session) -> dict[str, Any]:
    """Compare the built language model with its module on a text that the module itself writes; how far it
    is away. Raises `ModelError`.

    ONNX Runtime's int8 with 8-bit weights wrote such garbage on processors whose 16-bit sums saturate.
    """
    import torch

    ids_1T = own_text(subject.module)
    with torch.inference_mode():
        own_TV = subject.module(input_ids=ids_1T).logits[0].float().numpy()
    got_TV = session.run({"input_ids": ids_1T.numpy()})[0]
    return {"away_from_module": drift(own_TV, got_TV, subject.numerics.scheme, f" in {session.runtime}")}


def own_text(module: Any) -> Any:
    """int64 (1, T), sampled from the module with a seed of its own."""
    import torch

    config = module.config
    longest = min(_TOKENS, getattr(config, "max_position_embeddings", None) or _TOKENS)
    start = getattr(config, "bos_token_id", None)
    ids = torch.tensor([[start if isinstance(start, int) else 0]])
    draw, cache, fed = torch.Generator().manual_seed(0), None, ids
    with torch.inference_mode():
        while ids.shape[1] < longest:
            output = module(input_ids=fed, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            odds = output.logits[:, -1].float().softmax(-1)
            fed = torch.multinomial(odds, 1, generator=draw)
            ids = torch.cat([ids, fed], dim=1)
    return ids
