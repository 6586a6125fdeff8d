"""4-bit GPTQ of smollm2 against llm-compressor, both on the CPU: the time, at equal or lower perplexity.

Both start from the same float32 weights, read the same calibration tokens (windows of the calibration part
of wiki), store the same layers (not the head, not the embedding) with the same group size, and run with the
same threads. Groups hold 64 inputs: 576, a width of smollm2, is no multiple of 128. Reading the model and
writing the result are timed on neither side. A turn takes minutes, so the default is one pair, which gives no
interval of the ratio; perplexities are computed by one evaluator, on dense weights, with the interval of the
difference over windows.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench._environment import interpreter
from bench._pairs import Row, limit_threads, paired_row, run

if TYPE_CHECKING:
    from torch import Tensor

    from tiku.core.data import Splits
    from tiku.core.method import Context
    from tiku.core.subject import Subject

_PACKAGE, _VERSION = "llmcompressor", "0.14.0.1"
_SAMPLES, _TOKENS, _GROUP = 128, 512, 64
_PEER_BATCH = 8  # windows at a time
_JUDGED = 64  # windows of the test part
_SHIFTS = 64  # places tried for a window that its own text gives back
_ROWS = 64  # of each layer, whose levels are counted
_WORSE = 0.0  # how much more perplexity ours may have

Weights = Mapping[str, "Tensor"]


@dataclass(frozen=True, eq=False)
class Work:
    """What both quantise, and how."""

    subject: Subject
    context: Context
    windows: Sequence[list[int]]
    symmetric: bool

    def ours(self) -> tuple[float, Weights]:
        """(seconds, dense weights of the quantised layers)."""
        from tiku.layers.quantized_linear import QuantizedLinear
        from tiku.methods.quantize.gptq import GPTQ

        tokens = sum(map(len, self.windows))
        method = GPTQ(
            group=_GROUP, symmetric=self.symmetric, tokens=tokens, window=max(map(len, self.windows))
        )
        start = time.perf_counter()
        changed = method.apply(self.subject, self.context)
        seconds = time.perf_counter() - start
        told = changed.facts["quantised"]
        print(f"ours: {told['gptq']}, {told['calibration']}", file=sys.stderr)
        if told["calibration"]["tokens"] != tokens:
            raise AssertionError(f"ours read {told['calibration']['tokens']} tokens instead of {tokens}")
        parts = changed.module.named_modules()
        return seconds, {name: part.weight for name, part in parts if isinstance(part, QuantizedLinear)}

    def peer(self, folder: Path, batch: int) -> tuple[float, Weights, str]:
        """(seconds, dense weights of the quantised layers, version); a process of its own."""
        from safetensors.torch import load_file

        python = interpreter("gptq", _PACKAGE, (f"{_PACKAGE}=={_VERSION}",), with_torch=True)
        out = folder / "peer.safetensors"
        request = {
            "folder": str(folder), "windows": self.windows, "group": _GROUP, "symmetric": self.symmetric,
            "batch": batch, "threads": int(os.environ["OMP_NUM_THREADS"]), "out": str(out),
        }  # fmt: skip
        answered = subprocess.run(
            [python, Path(__file__).with_name("_gptq_peer.py")], input=json.dumps(request), text=True,
            stdout=subprocess.PIPE, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        found = json.loads(answered.stdout.splitlines()[-1])
        return found["seconds"], load_file(out), found["version"]


def _windows(tokenizer: Any, documents: Sequence[str], count: int, length: int) -> list[list[int]]:
    """Windows that do not overlap and that their own text gives back, so that both can read either."""
    found: list[list[int]] = []
    for document in documents:
        tokens = tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"]
        at = 0
        while at + length <= len(tokens) and len(found) < count:
            shifts = range(at, min(at + _SHIFTS, len(tokens) - length + 1))
            start = next((n for n in shifts if _read_back(tokenizer, tokens[n : n + length])), None)
            if start is not None:
                found.append(tokens[start : start + length])
            at = at + _SHIFTS if start is None else start + length
    if len(found) < count:
        raise ValueError(f"wiki has {len(found)} windows of {length} tokens to calibrate on, not {count}")
    return found


def _read_back(tokenizer: Any, window: list[int]) -> bool:
    return bool(tokenizer(tokenizer.decode(window))["input_ids"] == window)


def _context(splits: Splits, texts: Sequence[str], threads: int, folder: Path) -> Context:
    """The splits with these texts, whole, as the calibration part."""
    from dataclasses import replace

    import numpy as np

    from tiku.core.method import Context
    from tiku.core.protocol import protocol_for
    from tiku.data.labelled_texts import LabelledTexts

    part = LabelledTexts("windows of wiki", tuple(texts), np.zeros(len(texts), dtype=np.int64), ("text",))
    protocol = protocol_for("quick", seed=0, threads=threads, device="cpu")
    return Context((replace(splits, calibration=part),), protocol, folder)


def _start(samples: int, tokens: int, symmetric: bool, folder: Path) -> tuple[Work, list[list[int]]]:
    """The work, and the windows that the results are judged on. `folder` gets the model for the peer."""
    from tiku.core import registry
    from tiku.data import load, split
    from tiku.data.archives import cache_folder

    source = registry.get("samples", "smollm2").fetch()
    subject = registry.get("models", "causal-lm").load(str(source), cache=cache_folder())
    subject.module.save_pretrained(folder)
    subject.processor.save_pretrained(folder)
    (loaded,) = load(("sample:wiki",))
    splits, tokenizer = split(loaded, seed=0), subject.processor
    documents = (*splits.calibration.documents, *splits.train.documents)
    windows = _windows(tokenizer, documents, samples, tokens)
    judged = _windows(tokenizer, splits.test.documents, _JUDGED, _TOKENS)
    context = _context(
        splits, [tokenizer.decode(w) for w in windows], int(os.environ["OMP_NUM_THREADS"]), folder
    )
    return Work(subject, context, windows, symmetric), judged


def _nats(subject: Subject, weights: Weights, windows: Sequence[list[int]]) -> Any:
    """Nats per token of each window, by the float32 model with these weights."""
    import torch

    module = copy.deepcopy(subject.module)
    for name, weight in weights.items():
        module.get_submodule(name).weight.data.copy_(weight)
    found = []
    with torch.inference_mode():
        for window in windows:
            ids = torch.tensor([window])
            logits = module(input_ids=ids, use_cache=False).logits[0, :-1]
            found.append(float(torch.nn.functional.cross_entropy(logits, ids[0, 1:])))
    return torch.tensor(found, dtype=torch.float64).numpy()


def _levels(weights: Weights) -> int:
    """The most values that a group of inputs holds."""
    most = 0
    for weight in weights.values():
        parts = weight[:: max(1, len(weight) // _ROWS)].reshape(-1, _GROUP).sort(dim=1).values
        most = max(most, int((parts.diff(dim=1) != 0).sum(dim=1).max()) + 1)
    return most


def _agreement(work: Work, ours: Weights, peer: Weights, judged: Sequence[list[int]], worse: float) -> str:
    """Raises `AssertionError` where the work was not the same, or ours is worse than allowed."""
    import numpy as np

    from tiku.measure.stats.means import mean_interval

    if ours.keys() != peer.keys() or max(_levels(ours), _levels(peer)) > 16:
        raise AssertionError(
            f"{len(ours)} and {len(peer)} layers, {_levels(ours)} and {_levels(peer)} levels"
        )
    before, mine, theirs = (_nats(work.subject, weights, judged) for weights in ({}, ours, peer))
    away = mean_interval(mine - theirs)
    perplexities = [float(np.exp(nats.mean())) for nats in (before, mine, theirs)]
    said = (
        f"{len(ours)} layers, at most 16 levels per group in both; perplexity {perplexities[1]:.3f} (peer"
        f" {perplexities[2]:.3f}, before {perplexities[0]:.3f}) on {len(judged)} windows of the test part,"
        f" ours less by {-away.value:.4f} ({-away.high:.4f} … {-away.low:.4f}) nats per token"
    )
    print(said, file=sys.stderr)
    if not perplexities[1] <= perplexities[2] * (1 + worse):
        raise AssertionError(f"{said}: more than {worse:.0%} worse")
    return said


def rows(
    pairs: int, *, samples: str | None = None, tokens: str | None = None, scheme: str | None = None,
    batch: str | None = None, worse: str | None = None,
) -> Iterator[Row]:  # fmt: skip
    """One case."""
    import torch

    threads = int(os.environ["OMP_NUM_THREADS"])
    torch.set_num_threads(threads)
    chosen, at_once = scheme or "W4A16", int(batch or _PEER_BATCH)
    if chosen not in ("W4A16", "W4A16_ASYM"):
        raise SystemExit(f"--scheme {chosen}: W4A16 or W4A16_ASYM")
    seconds: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        work, judged = _start(int(samples or _SAMPLES), int(tokens or _TOKENS), chosen == "W4A16", folder)
        for turn in range(pairs):
            for side in (1, 0) if turn % 2 else (0, 1):
                if side:
                    took, theirs, version = work.peer(folder, at_once)
                else:
                    took, mine = work.ours()
                seconds[side].append(took)
            print(f"pair {turn + 1} of {pairs}: {seconds}", file=sys.stderr)
        agreement = _agreement(work, mine, theirs, judged, float(worse or _WORSE))
    yield paired_row(
        f"smollm2, {chosen} by GPTQ, groups of {_GROUP}, {len(work.windows)} x {len(work.windows[0])} tokens"
        f" of wiki, {threads} threads (peer: {at_once} windows at a time)",
        *seconds, agreement, peer_package="llm-compressor", peer_version=version, unit="s",
    )  # fmt: skip


if __name__ == "__main__":
    limit_threads(min(2, os.cpu_count() or 1))
    run("gptq_time", rows, pairs=1, options={
        "samples": f"calibration windows (default {_SAMPLES})",
        "tokens": f"tokens of a window (default {_TOKENS})",
        "scheme": "W4A16 (symmetric, the default) or W4A16_ASYM",
        "batch": f"windows that the peer reads at a time (default {_PEER_BATCH})",
        "worse": f"how much more perplexity ours may have (default {_WORSE})",
    })  # fmt: skip
