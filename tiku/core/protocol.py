"""`Protocol`: how much is measured. Part of a trial's identity: another protocol, another trial."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

__all__ = ["BUDGETS", "Budget", "Protocol", "protocol_for"]

Budget = Literal["quick", "standard", "thorough"]
BUDGETS: tuple[Budget, ...] = get_args(Budget)


@dataclass(frozen=True)
class Protocol:
    """The measuring protocol.

    `max_items` caps the examples quality is judged on (None: all of the split). `latency_pairs`
    counts interleaved single requests, `throughput_pairs` interleaved rounds of
    `throughput_items` requests. `fresh_processes` is the number of memory probes. `max_aa` is the
    relative deviation of the A/A control above which timing is too noisy. `text_tokens` caps the
    tokens a perplexity is computed on; its windows hold `context` tokens and advance by `stride`.
    `choice_items` and `shots` (worked examples before each question) rule multiple choice.
    `own_text`: language models that decode token by token are timed on their own text as well.
    """

    seed: int = 0
    threads: int | None = None
    device: str = "auto"
    max_items: int | None = None
    latency_pairs: int = 60
    throughput_pairs: int = 7
    throughput_items: int = 128
    fresh_processes: int = 1
    bootstrap: int = 2000
    max_aa: float = 0.10
    text_tokens: int = 8_192
    context: int = 512
    stride: int = 256
    choice_items: int = 200
    shots: int = 0
    decode_tokens: int = 32
    own_text: bool = False


_PRESETS: dict[Budget, Protocol] = {
    "quick": Protocol(
        max_items=500, latency_pairs=30, throughput_pairs=5, throughput_items=64, bootstrap=1000,
        text_tokens=4_096, choice_items=60, decode_tokens=16,
    ),
    "standard": Protocol(),
    "thorough": Protocol(
        latency_pairs=200, throughput_pairs=15, throughput_items=512, fresh_processes=3, bootstrap=10_000,
        text_tokens=65_536, choice_items=1_000, decode_tokens=128,
    ),
}  # fmt: skip


def protocol_for(
    budget: Budget, *, seed: int = 0, threads: int | None = None, device: str = "auto"
) -> Protocol:
    """The preset of a budget with the run's own seed, threads and device."""
    return replace(_PRESETS[budget], seed=seed, threads=threads, device=device)
