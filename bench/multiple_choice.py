"""Few-shot multiple choice against lm-evaluation-harness's own Hugging Face model, on the CPU.

Both get the same weights, tokenizer, prompts and options, and tokenise them themselves. The peer runs
with its own cache for one-token options and with the fastest of several batch sizes (its "auto" would
search for the largest that fits the memory, on each call, which is slower here).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench._environment import enter
from bench._pairs import Row, alternate, limit_threads, run

if TYPE_CHECKING:
    from tiku.data.choices import Choices
    from tiku.measure.language.scoring import Scores

_QUESTIONS = 60
_SHOTS = 5
_PEER_BATCHES = (1, 4, 8, 16, 32)
_AGREEMENT = 1e-3  # nats


def _data() -> tuple[Choices, Choices]:
    """(questions, examples) of the sample quartz."""
    from tiku.data import load, split

    (loaded,) = load(("sample:quartz",))
    splits = split(loaded, seed=0)
    return splits.test.take(range(_QUESTIONS)), splits.train.take(range(_SHOTS))


def _model() -> Any:
    from tiku.core import registry
    from tiku.data.archives import cache_folder

    source = registry.get("samples", "smollm2").fetch()
    return registry.get("models", "causal-lm").load(str(source), cache=cache_folder())


def _instances(questions: Choices, examples: Choices) -> list[Any]:
    """The same prompts and options as the peer's requests."""
    from lm_eval.api.instance import Instance

    shots = "".join(f"{one}\n\n" for one in examples.worked())
    pairs = [
        (shots + context, questions.delimiter + option)
        for context, options in zip(questions.contexts, questions.options, strict=True)
        for option in options
    ]
    return [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]


def _fastest_batch(peer: Any, instances: Sequence[Any]) -> int:
    """The batch size at which the peer answers a part of the requests soonest."""
    few, seconds = list(instances[:32]), {}
    peer.loglikelihood(few[:4], disable_tqdm=True)
    for size in _PEER_BATCHES:
        peer.batch_size_per_gpu = size
        start = time.perf_counter()
        peer.loglikelihood(few, disable_tqdm=True)
        seconds[size] = time.perf_counter() - start
    print(f"peer, seconds by batch size: {seconds}", file=sys.stderr)
    return min(seconds, key=lambda size: seconds[size])


def _same(ours: Scores, peer: list[tuple[float, bool]]) -> str:
    import numpy as np

    gap = float(np.abs(ours.log_likelihoods - [value for value, _ in peer]).max())
    greedy = [bool(flag) for _, flag in peer]
    if gap > _AGREEMENT or ours.greedy.tolist() != greedy:
        raise AssertionError(f"log-likelihoods differ by up to {gap} nats, or the greedy flags do")
    return f"{len(peer)} log-likelihoods differ by {gap:.1e} nats at most, greedy flags equal"


def rows(pairs: int) -> Iterator[Row]:
    """One case."""
    import torch
    from lm_eval.models.huggingface import HFLM

    from tiku.measure.language.questions import ask
    from tiku.measure.language.scoring import score
    from tiku.runtimes._torch_session import TorchSession

    threads = int(os.environ["OMP_NUM_THREADS"])
    torch.set_num_threads(threads)
    subject, (questions, examples) = _model(), _data()
    tokenizer, instances = subject.processor, _instances(questions, examples)
    session = TorchSession("torch", subject.module, threads=threads, device="cpu")
    peer = HFLM(pretrained=subject.module, tokenizer=tokenizer, backend="causal")
    peer.batch_size_per_gpu = batch = _fastest_batch(peer, instances)

    def ours() -> Scores:
        asked = ask(tokenizer, questions, examples, tokenizer.model_max_length)
        return score(session, asked.requests_O)

    yield alternate(
        f"{_SHOTS}-shot multiple choice, {_QUESTIONS} questions of quartz, smollm2 in float32,"
        f" {threads} threads (peer: batch size {batch}, the fastest of {', '.join(map(str, _PEER_BATCHES))})",
        ours,
        lambda: peer.loglikelihood(instances, disable_tqdm=True),
        _same,
        peer_package="lm-eval",
        pairs=pairs,
    )


if __name__ == "__main__":
    enter("multiple_choice", "lm_eval", ("lm-eval",))
    limit_threads(min(2, os.cpu_count() or 1))
    run("multiple_choice", rows)
