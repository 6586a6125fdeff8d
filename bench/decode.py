"""smollm2 against llama.cpp on the published Q4_1 file, as llama-cpp-python sets it up: decoding, prefill,
and several requests at once.

Ours is an artefact: `--artefact FOLDER`, or what `--recipe FILE` makes of the same file (made anew; the
default is the fastest that keeps the quality). Decoding one text at a time goes as the artefact says: with
prompt-lookup the tokens are the same, and how many a pass gives depends on the text; it is printed. The peer
runs in an environment of its own and answers turn by turn, with the same threads and the same tokens.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench._environment import interpreter
from bench._pairs import Row, limit_threads, paired_row, run

if TYPE_CHECKING:
    from tiku.artefact.predictor import OpenedArtefact
    from tiku.decoding import Draft
    from tiku.decoding.loop import Drafter

_PACKAGE, _VERSION = "llama-cpp-python", "0.3.36"
_PROMPT, _NEW, _PREFILL = 64, 128, 512
_REQUESTS, _NEW_EACH = 8, 64
_WINDOWS = 5  # of 512 tokens, for the perplexity
_WORSE = 0.01  # how much more perplexity ours may have
_RECIPE = """\
steps:
- method: int8-dynamic
  config: {group_size: 32, quantize_head: true}
- method: onnxruntime
- method: prompt-lookup
  config: {draft_tokens: 4}
"""


class Peer:
    """llama.cpp, in its own process."""

    def __init__(self, path: str, threads: int) -> None:
        python = interpreter("llama", "llama_cpp", (f"{_PACKAGE}=={_VERSION}",))
        script = Path(__file__).with_name("_llama_peer.py")
        self._process = subprocess.Popen(
            [python, script, path, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.version = str(self._answer()["version"])

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """What the method of this name gives for these arguments."""
        assert self._process.stdin is not None
        print(json.dumps({"do": do, **given}), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{_PACKAGE} ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Since:
    """The drafter that an artefact asks for, or none; `start` is when the first new token was there."""

    def __init__(self, drafter: Drafter | None) -> None:
        self._drafter = drafter
        self.start: float | None = None

    def propose(self, tokens: Sequence[int], room: int) -> Draft:
        """What the drafter proposes."""
        from tiku.decoding import Draft

        if self.start is None:
            self.start = time.perf_counter()
        return self._drafter.propose(tokens, room) if self._drafter else Draft()


class Ours:
    """The same work by an artefact of tiku's."""

    def __init__(self, artefact: OpenedArtefact) -> None:
        from tiku.artefact.continuing import drafters

        self.session = artefact.session
        self._drafters = drafters(artefact.session, artefact.serve)

    def decode(self, prompts: Sequence[Sequence[int]], new: int) -> dict[str, Any]:
        """Greedy, one after the other: `seconds` from the first new token of each to the one `new` tokens
        after it."""
        from tiku.core.generation import Request
        from tiku.decoding import greedy

        seconds, tokens, forwards = 0.0, [], 0
        for prompt in prompts:
            since = Since(self._drafters())
            made = greedy(self.session, Request(tuple(prompt), new + 1), since)
            assert since.start is not None  # there is more than one token to make
            seconds += time.perf_counter() - since.start
            tokens.append(list(made.tokens))
            forwards += made.forwards - 1
        return {"seconds": seconds, "tokens": tokens, "per_pass": len(prompts) * new / forwards}

    def prefill(self, tokens: Sequence[int]) -> dict[str, Any]:
        """The logits after a text."""
        start = time.perf_counter()
        (token,), _ = self._extend([tokens])
        return {"seconds": time.perf_counter() - start, "next": token}

    def together(self, prompts: Sequence[Sequence[int]], new: int) -> dict[str, Any]:
        """Greedy, prompts of one length, all in each batch."""
        start = time.perf_counter()
        made, cache = self._extend(prompts)
        steps = [made]
        for _ in range(new - 1):
            made, cache = self._extend([[token] for token in made], cache)
            steps.append(made)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "tokens": [list(row) for row in zip(*steps, strict=True)]}

    def nats(self, windows: Sequence[Sequence[int]]) -> dict[str, Any]:
        """The sum of -log p(token | tokens before it in its window), and how many tokens that are."""
        import numpy as np
        from scipy.special import log_softmax

        total = 0.0
        for window in windows:
            logits = self.session.run({"input_ids": np.array([window])})[0, :-1].astype(np.float64)
            total -= float(log_softmax(logits, axis=1)[np.arange(len(logits)), window[1:]].sum())
        return {"nats": total, "tokens": sum(len(window) - 1 for window in windows)}

    def _extend(self, rows: Sequence[Sequence[int]], cache: Any = None) -> tuple[list[int], Any]:
        """The likeliest next token of each row, and the cache."""
        import numpy as np

        logits, cache = self.session.extend(np.array(rows, dtype=np.int64), cache, last_only=True)
        return logits[:, -1].argmax(axis=1).tolist(), cache


@dataclass(frozen=True)
class Case:
    """One comparison; both do `work`, which makes or reads `tokens` tokens. `peer` arguments are its own."""

    name: str
    work: str
    given: dict[str, Any]
    tokens: int
    peer: dict[str, Any]


def _model_file() -> str:
    from tiku.core import registry

    return str(registry.get("samples", "smollm2").fetch())


def _texts(tokenizer: Any) -> tuple[list[list[int]], list[list[int]]]:
    """(windows of the test text, prompts from the text after them)."""
    from tiku.data import load, split

    (loaded,) = load(("sample:wiki",))
    text = "\n\n".join(split(loaded, seed=0).test.documents)
    tokens = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    starts = [n * _PREFILL for n in range(_WINDOWS)]
    prompts = [len(starts) * _PREFILL + n * _PROMPT for n in range(_REQUESTS)]
    return [tokens[n : n + _PREFILL] for n in starts], [tokens[n : n + _PROMPT] for n in prompts]


def _applied(recipe: str | None, folder: Path) -> Path:
    """The artefact that the recipe makes of the model."""
    source, out = folder / "recipe.yaml", folder / "artefact"
    source.write_text(Path(recipe).read_text(encoding="utf-8") if recipe else _RECIPE, encoding="utf-8")
    command = [sys.executable, "-m", "tiku", "apply", str(source), "sample:smollm2", "--data", "sample:wiki"]
    subprocess.run(
        [*command, "--budget", "quick", "--quiet", "--out", str(out)], check=True, stdout=sys.stderr
    )
    return out


def _cases(windows: list[list[int]], prompts: list[list[int]], peer: Peer) -> Iterator[Case]:
    yield Case(
        f"decode, batch 1, {_NEW} tokens after {_PROMPT}, {len(prompts)} texts", "decode",
        {"prompts": prompts, "new": _NEW}, len(prompts) * _NEW, {},
    )  # fmt: skip
    yield Case(f"prefill, {_PREFILL} tokens", "prefill", {"tokens": windows[0]}, _PREFILL, {})
    together = {"prompts": prompts, "new": _NEW_EACH}
    seconds = {one: peer.ask("together", **together, unified=one)["seconds"] for one in (True, False)}
    unified = seconds[True] < seconds[False]
    yield Case(
        f"{_REQUESTS} requests at once, {_NEW_EACH} tokens after {_PROMPT} each (peer: one batch,"
        f" {'one cache for all' if unified else 'a cache for each'}, the faster of the two)",
        "together", together, _REQUESTS * _NEW_EACH, {"unified": unified},
    )  # fmt: skip


def _perplexities(ours: Ours, peer: Peer, windows: list[list[int]], worse: float) -> str:
    """Both on the same tokens. Raises `AssertionError` where ours is worse than allowed."""
    import math

    found = [one["nats"] / one["tokens"] for one in (ours.nats(windows), peer.ask("nats", windows=windows))]
    mine, theirs = (math.exp(value) for value in found)
    said = f"perplexity {mine:.3f} (peer {theirs:.3f}) on {sum(map(len, windows))} tokens of wiki"
    print(said, file=sys.stderr)
    if not mine <= theirs * (1 + worse):
        raise AssertionError(f"{said}: more than {worse:.0%} worse")
    return said


def _measured(case: Case, ours: Ours, peer: Peer, pairs: int) -> tuple[list[float], list[float], str]:
    """Tokens/s of both over the pairs, each pair in the other order than the last, and how many of the last
    pair's tokens agree."""
    last: list[Any] = [None, None]

    def mine() -> float:
        last[0] = getattr(ours, case.work)(**case.given)
        return case.tokens / float(last[0]["seconds"])

    def theirs() -> float:
        last[1] = peer.ask(case.work, **case.given, **case.peer)
        return case.tokens / float(last[1]["seconds"])

    turns: tuple[Callable[[], float], ...] = (mine, theirs)
    speeds: tuple[list[float], list[float]] = ([], [])
    for turn in range(pairs + 1):  # the first warms up
        for side in (0, 1) if turn % 2 else (1, 0):
            speed = turns[side]()
            if turn:
                speeds[side].append(speed)
        print(f"{case.name}: pair {turn} of {pairs}", file=sys.stderr)
    return *speeds, _agreement(last[0], last[1])


def _agreement(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Greedy texts part at the first near tie; the perplexity is what is held equal."""
    import numpy as np

    if "next" in mine:
        return "the same next token" if mine["next"] == theirs["next"] else "another next token"
    same = np.atleast_2d(mine["tokens"]) == np.atleast_2d(theirs["tokens"])
    before = same.cumprod(axis=1).sum(axis=1)
    said = f"the same tokens until the first near tie: {', '.join(map(str, before))} of {same.shape[1]}"
    return f"{said}; {mine['per_pass']:.2f} tokens per pass" if mine.get("per_pass", 1) != 1 else said


def rows(
    pairs: int, *, artefact: str | None = None, recipe: str | None = None, worse: str | None = None
) -> Iterator[Row]:
    """Three cases."""
    from tiku.artefact import open_artefact
    from tiku.artefact.recipe_file import read_recipe

    threads = int(os.environ["OMP_NUM_THREADS"])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(artefact) if artefact else _applied(recipe, Path(scratch))
        opened, made_by = open_artefact(folder, threads=threads), read_recipe(folder / "recipe.yaml")
        peer = Peer(_model_file(), threads)
        ours = Ours(opened)
        windows, prompts = _texts(opened.processor)
        quality = _perplexities(ours, peer, windows, float(worse or _WORSE))
        for case in _cases(windows, prompts, peer):
            mine, theirs, agreement = _measured(case, ours, peer, pairs)
            yield paired_row(
                f"smollm2, {case.name}, {threads} threads; ours: {made_by}",
                mine, theirs, f"{quality}; {agreement}", peer_package=_PACKAGE, peer_version=peer.version,
                unit="tokens/s", higher_is_better=True,
            )  # fmt: skip
        peer.close()
        opened.close()


if __name__ == "__main__":
    limit_threads(min(2, os.cpu_count() or 1))
    run("decode", rows, options={
        "artefact": "a folder that tiku apply wrote of sample:smollm2",
        "recipe": "a recipe.yaml to apply to sample:smollm2",
        "worse": f"how much more perplexity ours may have (default {_WORSE})",
    })  # fmt: skip
