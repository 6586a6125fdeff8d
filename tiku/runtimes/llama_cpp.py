"""llama.cpp on the CPU: a GGUF file, with the few-bit layers' own codes in its blocks.

Weights in blocks are multiplied by activations that llama.cpp rounds to 8 bits, 32 sharing a scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tiku.core.runtime import Runtime
from tiku.core.subject import Numerics, Session, Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.runtimes._available import installed, require
from tiku.runtimes._compressed_tensors import WEIGHT_ONLY
from tiku.runtimes._drift import refuse_garbage
from tiku.runtimes._gguf_writing import describable, write_gguf
from tiku.runtimes._language import check_decoder
from tiku.runtimes._llama_session import CACHE_FORMATS, LlamaSession

__all__ = ["RUNTIME", "LlamaCpp"]

_FILE = "model.gguf"
_SCHEMES = ("fp32", "fp16", "bf16")

_STANDALONE = """\
import llama_cpp
import numpy as np


def open_model(folder):
    path = f"{folder}/model.gguf"
    kept = llama_cpp.%s
    return llama_cpp.Llama(path, n_ctx=0, logits_all=True, type_k=kept, type_v=kept, verbose=False)


def forward(model, inputs):
    ids = inputs["input_ids"]
    seen = inputs.get("attention_mask", np.ones_like(ids)).astype(bool)
    logits = np.zeros((*ids.shape, model.n_vocab()), dtype=np.float32)
    for row in range(len(ids)):
        model.reset()
        model.eval(ids[row, seen[row]].tolist())
        logits[row, seen[row]] = model.scores[: seen[row].sum()]
    return logits
"""


class LlamaCpp(Runtime):
    """`model.gguf`, which every program around llama.cpp opens. Language models of the Llama family.

    `options["cache_format"]` ("fp32", "fp16"): how keys and values are kept."""

    name: ClassVar[str] = "llama-cpp"
    title: ClassVar[Text] = Text("llama.cpp", "llama.cpp")
    extra: ClassVar[str | None] = "llama"
    modules: ClassVar[tuple[str, ...]] = ("llama_cpp",)
    crops: ClassVar[bool] = True

    def supports(self, subject: Subject) -> Support:
        if not (there := installed(self, "gguf")):
            return there
        scheme = subject.numerics.scheme
        if subject.task != "causal-lm":
            return Support.no(
                f"llama.cpp runs language models, and this is a model for {subject.task}",
                f"llama.cpp 运行语言模型，而此模型用于 {subject.task}",
            )
        if scheme not in _SCHEMES and not scheme.endswith(WEIGHT_ONLY):
            return Support.no(
                f"tiku has no {scheme} for llama.cpp, whose few-bit blocks come from weight-only methods",
                f"tiku 尚未为 llama.cpp 实现 {scheme}；其低位宽块来自仅权重量化方法",
            )
        return describable(subject)

    def save(self, subject: Subject, folder: Path) -> None:
        """Write the file, open it and compare it with its module. Raises `ModelError`."""
        require(self)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _FILE
        write_gguf(subject, path)
        session = LlamaSession(path, threads=1, cache_format="fp32")
        (check_decoder if subject.numerics.scheme == "fp32" else refuse_garbage)(subject, session)
        session.close()

    def open(
        self, folder: Path, *, task: str, options: Mapping[str, Any], threads: int, device: str
    ) -> Session:
        require(self)
        return LlamaSession(folder / _FILE, threads=threads, cache_format=options.get("cache_format", "fp32"))

    def standalone(self, *, task: str, family: str, options: Mapping[str, Any], numerics: Numerics) -> str:
        return _STANDALONE % CACHE_FORMATS[options.get("cache_format", "fp32")]


RUNTIME = LlamaCpp()
