"""How far the answers of a changed model are from the original's, and from where on they are garbage.

T answers (positions of a text, or texts), V vocabulary or classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tiku.core.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["divergence", "drift"]

_HARMLESS = 0.1  # nats: a divergence below it is no garbage, however alike the module's own answers are


def drift(
    own_TV: NDArray[np.float32], got_TV: NDArray[np.float32], scheme: str, where: str = ""
) -> dict[str, Any]:
    """The mean divergence of two models' answers in nats, and the one from which on they are garbage: that
    of a model which answers the same everywhere. JSON values; raises `ModelError` on garbage."""
    own, got = _log_softmax(own_TV), _log_softmax(got_TV)
    away = divergence(own, got)
    limit = max(divergence(own, _same_everywhere(own)), _HARMLESS)
    if not away <= limit:
        raise ModelError(
            f"the model answers garbage after {scheme}{where}",
            got=f"its predictions are {away:.3g} nats each away from the original's",
            allowed=f"less than {limit:.3g} nats, what a model blind to its text reaches",
            next_step="choose another number format, or more bits; for int8, reduce_range or per_channel",
        )
    return {"nats": away, "garbage_from": limit, "answers": len(own)}


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
