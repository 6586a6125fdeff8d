"""What other runtimes trace: a module that takes its inputs in order and returns logits alone."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tiku.core import registry
from tiku.core.errors import ModelError
from tiku.core.family import Family
from tiku.core.subject import Subject
from tiku.core.verdict import Support
from tiku.runtimes._explain import first_line

__all__ = ["example_inputs", "text_classifier", "traceable_module", "tracing"]


def text_classifier(subject: Subject, runtime: str) -> Support:
    """Yes for text classification; no, with the reason, for other tasks."""
    if subject.task == "text-classification":
        return Support.yes()
    if subject.task == "causal-lm":
        return Support.no(
            f"tiku's export to {runtime} carries no key/value cache, and a language model without one "
            "would compute the whole text again for every token",
            f"tiku 导出到 {runtime} 的计算图不带键值缓存；没有缓存的语言模型每生成一个词元都要把全文重算一遍",
        )
    return Support.no(
        f"tiku exports text classifiers to {runtime}, not {subject.task}",
        f"tiku 只把文本分类模型导出到 {runtime}，不支持 {subject.task}",
    )


def example_inputs(subject: Subject) -> dict[str, Any]:
    """Two texts of different length as int64 tensors of shape (2, tokens), by input name."""
    import torch

    family: Family = registry.get("models", subject.family)
    encodings = family.encode(subject.processor, ["a few words to trace with", "fewer words"], None)
    arrays = family.collate(subject.processor, encodings)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def traceable_module(subject: Subject, names: list[str]) -> Any:
    """A copy of the module called as `module(*inputs in the order of names)`, returning logits.

    Attention is written out as matrix products and a softmax: traced so, the graph holds no fused
    operator that the other runtime would have to take apart again (minilm int8 in onnxruntime: 202
    texts per CPU second against 188).
    """
    import torch

    network = copy.deepcopy(subject.module).eval()
    if hasattr(network, "set_attn_implementation"):
        network.set_attn_implementation("eager")

    class LogitsOnly(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *inputs: Any) -> Any:
            output = self.network(**dict(zip(names, inputs, strict=True)))
            return getattr(output, "logits", output)

    return LogitsOnly().eval()


@contextmanager
def tracing(subject: Subject, runtime: str) -> Iterator[None]:
    """Run an export quietly; whatever it raises becomes a `ModelError` about this model."""
    import torch

    try:
        with warnings.catch_warnings(), torch.inference_mode(), _quiet():
            warnings.simplefilter("ignore")  # the tracer warns at every number that Python sees
            yield
    except Exception as error:  # tracing runs the network's Python code, which may raise anything
        raise ModelError(
            f"this model cannot be traced for {runtime}",
            got=f"{type(subject.module).__name__}: {first_line(error)}",
            allowed="modules whose control flow does not depend on values",
            next_step="choose the runtime torch",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Tracers look at every attribute of a module, and transformers talks about some of them."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(before)
