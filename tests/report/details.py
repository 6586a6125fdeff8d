# ruff: noqa: E501 - made-up values read as tables
"""Details as the instruments of tiku leave them, made up for the report's tests."""

from __future__ import annotations

import math
from typing import Any

from tiku.core.measured import Measured

__all__ = ["instrument_details"]

_TEXTS = (
    (
        "A film that should have been a triumph, and is at least a beautifully shot apology.",
        "negative",
        "positive",
    ),
    ("It is hard to imagine anybody disliking this; I managed.", "negative", "positive"),
    ("The ending is dreadful, in the best possible sense of the word.", "positive", "negative"),
    ("Not bad. Not bad at all.", "positive", "negative"),
    ("Two hours of <script>alert('boo')</script> & other “special” effects.", "negative", "positive"),
)


def _interval(value: float, half: float, n: int) -> dict[str, Any]:
    return vars(
        Measured(value, max(0.0, value - half), min(1.0, value + half), n, "1", "measured", "Wilson")
    ).copy()


def _example(place: int) -> dict[str, Any]:
    text, true, predicted = _TEXTS[place % len(_TEXTS)]
    return {"text": text, "true": true, "predicted": predicted, "confidence": round(0.998 - 0.004 * place, 4)}


def _quality() -> dict[str, Any]:
    share = [i / 120 for i in range(121)]
    return {
        "items": 1586,
        "classes": ["negative", "positive"],
        "confusion": [[662, 128], [106, 690]],
        "roc": [{"class": "positive", "points": [[x, round(1 - (1 - x) ** 9, 6)] for x in share]}],
        "reliability": [
            {"low": 0.5 + 0.033 * i, "high": 0.533 + 0.033 * i, "n": 105, "confidence": 0.52 + 0.0325 * i,
             "accuracy": _interval(0.54 + 0.0295 * i, 0.085 - 0.004 * i, 105)}
            for i in range(15)
        ],
        "per_class": {
            name: {"items": items, **{m: _interval(v, 0.025, items) for m, v in scores.items()}}
            for name, items, scores in (
                ("negative", 790, {"precision": 0.862, "recall": 0.838, "f1": 0.85}),
                ("positive", 796, {"precision": 0.8435, "recall": 0.8668, "f1": 0.855}),
            )
        },
        "slices": {
            "length": {
                "metric": "accuracy",
                "slices": [{"name": n, **_interval(v, 0.04, k)} for n, v, k in
                           (("41 tokens or more", 0.801, 212), ("21 to 40 tokens", 0.853, 811), ("up to 20 tokens", 0.871, 563))],
                "too_small": [{"name": "over 80 tokens", "n": 9}],
                "worst": {"name": "41 tokens or more", **_interval(0.801, 0.055, 212)},
            }
        },
        "worst_examples": [_example(i) for i in range(5)],
        "flips": {"count": 28, "lost": 19, "won": 9,
                  "examples": [{**_example(i), "confidence": 0.53 + 0.01 * i, "base_confidence": 0.55} for i in range(4)]},
    }  # fmt: skip


def instrument_details(speed: float = 1.0) -> dict[str, Any]:
    """Details of one trial that is `speed` times as fast as the base."""
    spread = [0.0172 + 0.012 * (i / 71) + 0.016 * (i / 71) ** 8 for i in range(72)]
    rounds = [1 + 0.02 * math.sin(3 * i) for i in range(7)]
    other = None if speed == 1.0 else True
    return {
        "classification_quality": _quality(),
        "latency": {
            "seconds": [s / speed for s in spread], "base_seconds": other and spread,
            "aa_deviation": 0.012, "attempts": 1, "batch_size": 1, "includes": "tokenisation, one forward pass",
        },
        "throughput_and_energy": {
            "items_per_round": 128, "seconds": [1.016 * r / speed for r in rounds],
            "base_seconds": other and [1.016 * r for r in reversed(rounds)],
            "joules": [7.8 * r / speed for r in rounds], "base_joules": other and [7.8 * r for r in reversed(rounds)],
            "aa_deviation": 0.01, "attempts": 1, "energy_source": "cpu time",
            "energy_note": {"en": "Modelled: 15 W per busy core, ±30 %.", "zh": "建模估算：每个忙碌核心 15 瓦，±30%。"},
        },
        "peak_memory": {
            "split": {"peak": int(471e6 / speed**0.4), "libraries": int(232e6 / speed**0.1), "weights": int(92e6 / speed),
                      "activations": int(130e6 / speed**0.3), "load_transient": int(17e6), "gpu_allocated": None, "gpu_reserved": None},
            "peaks": [471000000],
        },
        "build": {
            "head": "trained",
            "learning_curve": {
                "train": [{"step": 20 * i, "loss": 0.69 * math.exp(-i / 9) + 0.12, "seconds": 20.0 * i} for i in range(1, 21)],
                "validation": [{"step": 100 * i, "loss": 0.33 + 0.25 / i, "accuracy": 0.86 - 0.09 / i, "items": 1000} for i in range(1, 5)],
                "steps": 400, "seconds": 412.0, "cpu_seconds": 801.0, "tokens": 340_000, "tokens_per_second": 825.0,
                "padding_share": 0.06, "resumed_at": [],
            },
        },
        "size": {"files": {"model.safetensors": 90_864_176}},
    }  # fmt: skip
