"""What other runtimes trace: a module that takes its inputs in order and returns logits alone."""

from __future__ import annotations

import copy
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tiku.core import registry
from tiku.core.errors import ArtefactError, ModelError
from tiku.core.family import Family
from tiku.core.subject import Session, Subject
from tiku.core.verdict import Support
from tiku.runtimes._explain import first_line
from tiku.runtimes._language import keeps_cache

__all__ = ["check_export", "example_inputs", "exportable", "sharing_copy", "traceable_module", "tracing"]

_CHECKED = (["word"], ["a longer text of other words " * 7, "short", "of three texts"])
_TOLERANCE = 1e-3  # of the largest logit: sums in another order


def exportable(subject: Subject, runtime: str) -> Support:
    """Yes for text classifiers, and for decoders with a key/value cache; no, with the reason, for others."""
    if subject.task == "text-classification":
        return Support.yes()
    if subject.task == "causal-lm":
        return keeps_cache(subject, runtime)
    return Support.no(
        f"tiku exports text classifiers and language models to {runtime}, not {subject.task}",
        f"tiku 只把文本分类模型和语言模型导出到 {runtime}，不支持 {subject.task}",
    )


def example_inputs(subject: Subject) -> dict[str, Any]:
    """Two texts of different length as int64 tensors of shape (2, tokens), by input name."""
    return _inputs(subject, ["a few words to trace with", "fewer words"])


def _inputs(subject: Subject, texts: Sequence[str]) -> dict[str, Any]:
    import torch

    family: Family = registry.get("models", subject.family)
    encodings = family.encode(subject.processor, texts, None)
    arrays = family.collate(subject.processor, encodings)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def check_export(subject: Subject, session: Session) -> None:
    """Compare an exported float32 graph with its module at lengths it was not traced with.

    Tracing keeps whatever Python computed from the lengths of its examples (Longformer's windows,
    Funnel's pooling): such a graph fails or, worse, is wrong at others. Raises `ModelError`.
    """
    import numpy as np
    import torch

    for texts in _CHECKED:
        inputs = _inputs(subject, texts)
        with torch.inference_mode():
            output = subject.module(**inputs)
        own = getattr(output, "logits", output).float().numpy()
        try:
            got = session.run({name: tensor.numpy() for name, tensor in inputs.items()})
            away = float(np.abs(got - own).max()) if got.shape == own.shape else float("inf")
        except Exception as error:  # runtimes raise classes of their own
            raise _fixed_shape(subject, session, first_line(error)) from error
        if not away <= _TOLERANCE * max(1.0, float(np.abs(own).max())):
            raise _fixed_shape(subject, session, f"logits differ by {away:.3g}")


def _fixed_shape(subject: Subject, session: Session, problem: str) -> ModelError:
    return ModelError(
        f"the graph exported to {session.runtime} is right only at the lengths it was traced with",
        got=f"{type(subject.module).__name__}: {problem}",
        allowed="modules whose control flow does not depend on the length of the text",
        next_step="choose the runtime torch",
    )


def traceable_module(subject: Subject, names: list[str]) -> Any:
    """A copy of the module called as `module(*inputs in the order of names)`, returning logits.

    Attention is written out as matrix products and a softmax: traced so, the graph holds no fused
    operator that the other runtime would have to take apart again (minilm int8 in onnxruntime: 202
    texts per CPU second against 188).
    """
    import torch

    network = sharing_copy(subject.module)
    if hasattr(network, "set_attn_implementation"):
        network.set_attn_implementation("eager")
    for part in network.modules():  # a classifier reads its text once; T5's decoder has a config of its own
        if getattr(getattr(part, "config", None), "use_cache", False):
            part.config.use_cache = False

    class LogitsOnly(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *inputs: Any) -> Any:
            output = self.network(**dict(zip(names, inputs, strict=True)))
            return getattr(output, "logits", output)

    return LogitsOnly().eval()


def sharing_copy(module: Any) -> Any:
    """The module anew in eval mode, over the same weights: its parts can be changed, its weights not."""
    kept = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(tensor): tensor for tensor in kept}).eval()


@contextmanager
def tracing(subject: Subject, runtime: str) -> Iterator[None]:
    """Run an export and open it, quietly; whatever that raises becomes a `ModelError` about this model."""
    import torch

    try:
        with warnings.catch_warnings(), torch.inference_mode(), _quiet():
            warnings.simplefilter("ignore")  # the tracer warns at every number that Python sees
            yield
    except Exception as error:  # tracing runs the network's Python code, which may raise anything
        problem = str(error.got) if isinstance(error, ArtefactError) else first_line(error)
        raise ModelError(
            f"this model cannot be traced for {runtime}",
            got=f"{type(subject.module).__name__}: {problem}",
            allowed="modules whose control flow does not depend on values",
            next_step="choose the runtime torch",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Tracers look at every attribute of a module, and transformers talks about some of them; a tracer
    that fails prints the whole graph from C++, where standard output belongs to the command."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    sys.stdout.flush()
    stdout = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        logging.set_verbosity(before)
