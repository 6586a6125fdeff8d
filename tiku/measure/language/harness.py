"""Tasks of lm-evaluation-harness on any language model that tiku opens.

    import tiku
    tiku.run_harness("out/exam/artefact", ["arc_easy"], num_fewshot=5, limit=100)["results"]

Needs the package lm-eval (`pip install 'tiku[harness]'`). The tasks' data come from where the harness
gets them: most from a hub, a task of your own from a local file.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tiku.core import registry
from tiku.core.errors import MissingExtra, ModelError
from tiku.core.subject import Session

__all__ = ["harness_model", "run_harness"]

_TASK = "causal-lm"


def run_harness(
    model: str | Path,
    tasks: Sequence[str | dict[str, Any]],
    *,
    threads: int | None = None,
    device: str = "auto",
    **options: Any,
) -> dict[str, Any]:
    """What `lm_eval.simple_evaluate` returns for these tasks (names, or task configs as mappings).

    `model` is an artefact folder, or whatever an exam takes: a transformers folder, a hub id, a GGUF
    file, "module:function", "sample:NAME". `options` go to `simple_evaluate` (num_fewshot, limit,
    apply_chat_template, …). Raises `MissingExtra`, `ModelError`, `ArtefactError`.
    """
    _require()
    from lm_eval import simple_evaluate

    with _opened(str(model), threads, device) as (session, tokenizer):
        found: dict[str, Any] = simple_evaluate(
            model=harness_model(session, tokenizer), tasks=list(tasks), **options
        )
    return found


def harness_model(session: Session, tokenizer: Any) -> Any:
    """A session as a `lm_eval.api.model.LM`, for those who call the harness themselves."""
    _require()
    from tiku.measure.language._harness_model import HarnessModel

    return HarnessModel(session, tokenizer)


def _require() -> None:
    if importlib.util.find_spec("lm_eval") is None:
        raise MissingExtra(
            "running lm-evaluation-harness tasks needs a package that is not installed",
            got="lm_eval",
            next_step="pip install 'tiku[harness]'",
        )


@contextmanager
def _opened(model: str, threads: int | None, device: str) -> Iterator[tuple[Session, Any]]:
    """The model's session and tokenizer."""
    from tiku.artefact import open_artefact
    from tiku.artefact.manifest import MANIFEST

    if (Path(model) / MANIFEST).is_file():
        predictor = open_artefact(model, threads=threads, device=device)
        session, tokenizer, task = predictor.session, predictor.processor, predictor.task
    else:
        session, tokenizer, task = _loaded(model, threads, device)
    try:
        if task != _TASK:
            raise ModelError(
                "the harness asks language models", got=f"{model}: {task}", allowed=_TASK,
                next_step="give a model that continues text",
            )  # fmt: skip
        yield session, tokenizer
    finally:
        session.close()


def _loaded(model: str, threads: int | None, device: str) -> tuple[Session, Any, str]:
    from tiku.artefact.predictor import cores
    from tiku.data.archives import cache_folder
    from tiku.models import resolve
    from tiku.runtimes._torch_session import TorchSession

    source = model
    if model.startswith("sample:"):
        source = str(registry.get("samples", model.removeprefix("sample:")).fetch())
    subject = resolve(source, _TASK).load(source, cache=cache_folder())
    session = TorchSession("torch", subject.module, threads=threads or cores(), device=device)
    return session, subject.processor, subject.task
