"""Whether a built language model still says what its module says.

T positions, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tiku.core.errors import ModelError
from tiku.core.subject import Session, Subject

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["divergence", "refuse_garbage"]

_TOKENS = 48
_HARMLESS = 0.1  # nats: a divergence below it is no garbage, however alike the module's own answers are


def refuse_garbage(subject: Subject, session: Session) -> None:
    """Compare the built model with its module on a text that the module itself writes. Raises `ModelError`
    where it is further away than a model that answers the same at every position would be.

    ONNX Runtime's int8 with 8-bit weights wrote such garbage on processors whose 16-bit sums saturate.
    """
    import torch

    ids_1T = _own_text(subject.module)
    with torch.inference_mode():
        own_TV = _log_softmax(subject.module(input_ids=ids_1T).logits[0].float().numpy())
    got_TV = _log_softmax(session.run({"input_ids": ids_1T.numpy()})[0])
    away = divergence(own_TV, got_TV)
    blind = divergence(own_TV, _same_everywhere(own_TV))
    if not away <= max(blind, _HARMLESS):
        raise ModelError(
            f"the model answers garbage after {subject.numerics.scheme} in {session.runtime}",
            got=f"its predictions are {away:.3g} nats per token away from the original's",
            allowed=f"less than {max(blind, _HARMLESS):.3g} nats, what a model blind to its text reaches",
            next_step="choose another number format; for int8-dynamic, reduce_range or per_channel",
        )


def divergence(own_TV: NDArray[np.floating[Any]], other_TV: NDArray[np.floating[Any]]) -> float:
    """Mean Kullback-Leibler divergence in nats of log-probabilities from the first to the second; NaN where
    one is not finite."""
    import numpy as np

    return float((np.exp(own_TV) * (own_TV - other_TV)).sum(axis=-1).mean())


def _log_softmax(logits_TV: NDArray[np.float32]) -> NDArray[np.float64]:
    from scipy.special import log_softmax

    found: NDArray[np.float64] = log_softmax(logits_TV.astype("float64"), axis=-1)
    return found


def _same_everywhere(own_TV: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the predictions, at every position: the best a model can say that does not read."""
    import numpy as np
    from scipy.special import logsumexp

    mean_1V = logsumexp(own_TV, axis=0, keepdims=True) - np.log(len(own_TV))
    return np.broadcast_to(mean_1V, own_TV.shape)


def _own_text(module: Any) -> Any:
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
