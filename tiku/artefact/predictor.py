"""An opened artefact: encodes, batches as its `Serve` says, runs, and restores the order.

Shape letters: N inputs, C classes, B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.artefact.adaptive import AdaptiveBatches, complete_within
from tiku.artefact.batching import plan_batches
from tiku.artefact.continuing import continuations
from tiku.artefact.manifest import MODEL, check_files, read_manifest
from tiku.core import registry
from tiku.core.errors import ArtefactError, BadInput, UnknownName
from tiku.core.family import Family
from tiku.core.generation import Generated, Request
from tiku.core.runtime import Runtime
from tiku.core.startup import idle_here
from tiku.core.subject import Serve, Session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tiku.artefact.manifest import Manifest

__all__ = ["OpenedArtefact", "cores", "open_artefact", "open_session", "registered"]


_IDLE = (
    "this artefact was measured in a process started with {}; these settings do not act in this process. "
    "Set them in the shell before Python starts (the artefact's README shows how)"
)


def cores() -> int:
    """Physical cores this process may use; at least 1."""
    import os

    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


class OpenedArtefact:
    """Implements `tiku.core.subject.Predictor`.

    `truncated` counts the inputs that were longer than the limit and were cut, over all calls.
    `cache_report` tells of the last `complete` that answered several requests at once.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, family: Family, processor: Any, session: Session
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.task = manifest.task
        self.family = manifest.family
        self.labels = manifest.labels
        self.serve: Serve = manifest.serve
        self.session = session
        self.processor = processor
        self.truncated = 0
        self.cache_report: Mapping[str, Any] = {}
        self._family = family
        self._batches: AdaptiveBatches | None = None

    def encode(self, inputs: Sequence[Any]) -> list[dict[str, list[int]]]:
        """One unpadded encoding per input; inputs over `serve.max_length` tokens are cut and counted."""
        encodings = self._family.encode(self.processor, inputs, self.serve.max_length)
        self.truncated += self._count_cut(inputs, encodings)
        return encodings

    def predict(self, inputs: Sequence[Any]) -> NDArray[np.float32]:
        """logits_NC in the order of the inputs; shape (0, C) for no inputs. Raises `DataError`."""
        import numpy as np

        if self.task == "causal-lm":
            raise BadInput(
                "a language model continues text, it gives no class logits",
                got=self.task,
                allowed="classification tasks",
                next_step="use generate(prompts), or session.run for the token logits",
            )
        encodings = self.encode(inputs)
        lengths = [_length(encoding) for encoding in encodings]
        logits_NC = np.zeros((len(encodings), len(self.labels)), dtype=np.float32)

        def answer(batch: list[int]) -> None:
            logits_NC[batch] = self.session.run(self.collate([encodings[i] for i in batch]))

        if self.serve.memory:
            self._within_limit().run(lengths, answer)
        else:
            self._run_all(plan_batches(lengths, self.serve), answer)
        return logits_NC

    def _run_all(self, batches: list[list[int]], answer: Callable[[list[int]], None]) -> None:
        """As many at once as the session takes; what one raises is raised when the others have ended."""
        if self.session.streams == 1 or len(batches) <= 1:
            for batch in batches:
                answer(batch)
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(self.session.streams, len(batches))) as pool:
            list(pool.map(answer, batches))

    def _within_limit(self) -> AdaptiveBatches:
        if self._batches is None:
            self._batches = AdaptiveBatches(self.serve.memory, getattr(self.session, "pid", None))
        return self._batches

    @property
    def batch_report(self) -> Mapping[str, Any]:
        """What batches under a memory limit have come to so far; empty without one."""
        return {} if self._batches is None else self._batches.report

    def collate(self, encodings: Sequence[dict[str, list[int]]]) -> dict[str, NDArray[Any]]:
        """One padded batch: int64 arrays of shape (B, T)."""
        return self._family.collate(self.processor, encodings)

    def generate(self, prompts: Sequence[str], max_tokens: int | Sequence[int] = 64) -> list[str]:
        """Greedy continuations, one per prompt, until the end token or the request's own `max_tokens`."""
        return [
            str(self.processor.decode(made.tokens, skip_special_tokens=True))
            for made in self.complete(prompts, max_tokens)
        ]

    def complete(
        self, prompts: Sequence[str], max_tokens: int | Sequence[int] = 64, *, past_end: bool = False
    ) -> list[Generated]:
        """What `generate` makes, as tokens, with what they cost; `past_end` goes on after the end token.

        Decoded as `serve` says. Raises `DataError` for an empty prompt, `CannotMeasure` where the runtime
        cannot decode so.
        """
        limits = [max_tokens] * len(prompts) if isinstance(max_tokens, int) else list(max_tokens)
        if len(limits) != len(prompts):
            raise BadInput(
                "one token limit per prompt",
                got=f"{len(limits)} for {len(prompts)} prompts",
                allowed="equal counts",
                next_step="give one number for all, or one per prompt",
            )
        end = self.processor.eos_token_id
        stop = frozenset() if past_end or end is None else frozenset({int(end)})
        encodings = self.encode(prompts)
        requests = [
            Request(tuple(encoding["input_ids"]), limit, stop)
            for encoding, limit in zip(encodings, limits, strict=True)
        ]
        decode = complete_within if self.serve.memory else continuations
        made, self.cache_report = decode(self.session, requests, self.serve)
        return made

    def close(self) -> None:
        """Close the session."""
        self.session.close()

    def _count_cut(self, inputs: Sequence[Any], encodings: list[dict[str, list[int]]]) -> int:
        """Only an input that fills the limit can have been cut; those are tokenised again in full."""
        own = getattr(self.processor, "model_max_length", None)
        limit = min((n for n in (own, self.serve.max_length) if n is not None), default=None)
        if limit is None or not callable(self.processor):
            return 0
        full = [i for i, encoding in enumerate(encodings) if _length(encoding) >= limit]
        if not full:
            return 0
        whole = self.processor([inputs[i] for i in full], truncation=False, verbose=False)["input_ids"]
        return sum(len(ids) > limit for ids in whole)


def open_artefact(
    folder: Path | str, threads: int | None = None, device: str = "auto", *, check_hashes: bool = True
) -> OpenedArtefact:
    """Open an artefact in its own runtime.

    `threads` None: what the artefact was tuned to, else every physical core. `check_hashes` False
    trusts the bytes and checks names and sizes only. Settings that this process would have to be started
    with are named in a warning where they do not act. Raises `ArtefactError`, `MissingExtra`.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if idle := idle_here(manifest.serve.environment):
        warnings.warn(_IDLE.format(", ".join(idle)), stacklevel=2)
    check_files(folder, manifest, hashes=check_hashes)
    family = registered("models", manifest.family)
    session = open_session(folder, manifest, threads=threads, device=device)
    return OpenedArtefact(folder, manifest, family, family.load_processor(folder / MODEL), session)


def open_session(
    folder: Path,
    manifest: Manifest,
    *,
    threads: int | None = None,
    device: str = "auto",
    alone: bool = False,
) -> Session:
    """The artefact's model in its runtime, without the processor; `alone`: whoever runs it does not run
    several batches at once. Raises `ArtefactError`, `MissingExtra`."""
    runtime: Runtime = registered("runtimes", manifest.runtime)
    if not (right := runtime.computes_correctly(manifest.numerics)):
        raise ArtefactError(
            "this processor would compute wrong answers with this artefact",
            got=right.reason.en if right.reason else None,
            allowed="a processor like the one it was built on",
            next_step="build the artefact again on this machine",
        )
    streams = 1 if alone or manifest.serve.memory else manifest.serve.streams
    return runtime.open(
        folder / MODEL,
        task=manifest.task,
        options={**manifest.runtime_options, **({"streams": streams} if streams > 1 else {})},
        threads=threads or manifest.serve.threads or cores(),
        device=device,
    )


def registered(group: str, name: str) -> Any:
    """The registry's entry; a name it does not hold is an `ArtefactError`."""
    try:
        return registry.get(group, name)
    except UnknownName as error:
        raise ArtefactError(
            f"this tiku has no {registry.GROUPS[group].noun} of the name the artefact asks for",
            got=error.got,
            allowed=error.allowed,
            next_step="install the package that adds it, or a newer tiku",
        ) from error


def _length(encoding: dict[str, list[int]]) -> int:
    return len(next(iter(encoding.values())))
