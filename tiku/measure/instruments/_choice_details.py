"""What tables and plots of multiple choice are drawn from, as JSON values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiku.measure import stats
from tiku.measure.language.questions import Asked
from tiku.measure.language.scoring import Scores

__all__ = ["chance_of", "choice_details"]

_EXAMPLES = 10
_TEXT = 300  # characters of a question that are shown
_PROMPT = 1_200
_PER_BIN = 25  # questions that a bin of the reliability curve should hold
_MOST_BINS = 15


def choice_details(asked: Asked, scores: Scores, base_O: NDArray[np.float64] | None) -> dict[str, Any]:
    """protocol, reliability, worst_examples and, for a candidate, flips: of the raw log-likelihoods.

    `base_O` are the base's log-likelihoods of the same options.
    """
    own = _Chosen(asked, scores.log_likelihoods)
    found = {
        "items": len(asked.questions),
        "protocol": _protocol(asked, scores),
        "decided_within_noise": int((own.margins <= 2 * scores.noise_floor).sum()),
        "reliability": _reliability(own),
        "worst_examples": _worst(own),
    }
    return found if base_O is None else {**found, "flips": _flips(_Chosen(asked, base_O), own)}


def chance_of(asked: Asked) -> float:
    """The accuracy of guessing."""
    return float(np.mean([1 / len(options) for options in asked.questions.options]))


class _Chosen:
    """One model's choices by raw log-likelihood."""

    def __init__(self, asked: Asked, nats_O: NDArray[np.float64]) -> None:
        self.asked = asked
        self.shares = asked.shares(nats_O)
        self.chosen = asked.chosen("choice_accuracy", nats_O)
        self.right = self.chosen == np.array(asked.questions.answers)
        self.confidence = np.array([float(own.max()) for own in self.shares])
        tops = [np.sort(own)[-2:] for own in np.split(nats_O, np.flatnonzero(np.diff(asked.owners_O)) + 1)]
        self.margins = np.array([float(top[-1] - top[0]) for top in tops])

    def example(self, i: int) -> dict[str, Any]:
        questions = self.asked.questions
        return {
            "text": _shown(questions.contexts[i], _TEXT),
            "true": questions.options[i][questions.answers[i]],
            "predicted": questions.options[i][self.chosen[i]],
            "confidence": round(float(self.confidence[i]), 4),
        }


def _protocol(asked: Asked, scores: Scores) -> dict[str, Any]:
    return {
        "shots": asked.shots,
        "chance": chance_of(asked),
        "options": len(asked.owners_O),
        "tokens_scored": int(scores.lengths_N.sum()),
        "contexts_cut": asked.cut,
        "prompt": _shown(asked.prompts[0], _PROMPT),
        "path": scores.path,
        "not_used": list(scores.fallbacks),
        "noise_floor_nats": scores.noise_floor,
        "probes": scores.probes,
    }


def _reliability(own: _Chosen) -> list[dict[str, Any]]:
    """The chosen option's share of the likelihood against how often it is right."""
    bins = min(_MOST_BINS, len(own.right) // _PER_BIN)
    if bins < 2:
        return []
    curve = stats.reliability_curve(own.confidence, own.right, bins=bins, mode="mass")
    return [asdict(one) for one in curve]


def _worst(own: _Chosen) -> list[dict[str, Any]]:
    wrong = np.flatnonzero(~own.right)
    worst = wrong[np.argsort(-own.confidence[wrong], kind="stable")][:_EXAMPLES]
    return [own.example(int(i)) for i in worst]


def _flips(base: _Chosen, own: _Chosen) -> dict[str, Any]:
    """Questions whose choice changed: how many, for worse (`lost`) or better (`won`), and some."""
    changed = np.flatnonzero(base.chosen != own.chosen)
    lost = changed[base.right[changed]]
    surest = lost[np.argsort(-own.confidence[lost], kind="stable")][:_EXAMPLES]
    return {
        "count": int(changed.size),
        "lost": int(lost.size),
        "won": int(own.right[changed].sum()),
        "examples": [
            {**own.example(int(i)), "base_confidence": round(float(base.confidence[i]), 4)} for i in surest
        ],
    }


def _shown(text: str, most: int) -> str:
    return text if len(text) <= most else "…" + text[1 - most :]
