"""PyTorch, eager: the runtime every model starts in, and the reference the others are checked against."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tiku.core import registry
from tiku.core.runtime import Runtime
from tiku.core.subject import Numerics, Session, Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.runtimes._available import only_fp32
from tiku.runtimes._compressed_tensors import WEIGHT_ONLY, describe, packable, quantised_layers
from tiku.runtimes._sixteen_bits import COMPUTE, DTYPES, INT8_IN_BF16, computes
from tiku.runtimes._storage import store
from tiku.runtimes._streaming_session import StreamingSession
from tiku.runtimes._torch_loading import import_architecture, load_module, standalone_source
from tiku.runtimes._torch_session import TorchSession

__all__ = ["RUNTIME", "Torch"]


class Torch(Runtime):
    """Saves what `Family.save` writes: for transformers models a plain folder with safetensors, in the
    format of compressed-tensors where layers are quantised. `runtime_options["storage"]` stores them smaller
    (see `tiku/runtimes/_storage.py`)."""

    name: ClassVar[str] = "torch"
    title: ClassVar[Text] = Text("PyTorch (eager)", "PyTorch（即时执行）")
    modules: ClassVar[tuple[str, ...]] = ("torch",)
    crops: ClassVar[bool] = True
    batches: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    def supports(self, subject: Subject) -> Support:
        if subject.numerics.scheme.endswith(WEIGHT_ONLY):
            return packable(subject)
        if subject.numerics.scheme in (*DTYPES, INT8_IN_BF16):
            return computes(subject)
        return only_fp32(
            self,
            subject,
            "torch has no way to store layers that multiply int8 by int8 except as a pickle, and has "
            "announced their removal; choose the runtime onnxruntime or openvino with it",
            "torch 中 int8 乘 int8 的层只能以 pickle 形式保存，而且官方已宣布将其移除；"
            "请改用 onnxruntime 或 openvino 运行时",
        )

    def import_for(self, folder: Path) -> None:
        super().import_for(folder)
        import_architecture(folder)

    def save(self, subject: Subject, folder: Path) -> None:
        registry.get("models", subject.family).save(subject, folder)
        if quantised_layers(subject.module):
            describe(folder, subject.module)
        store(folder, subject.runtime_options)

    def open(
        self, folder: Path, *, task: str, options: Mapping[str, Any], threads: int, device: str
    ) -> Session:
        """`options["keep_codes"]`: the whole module is loaded, so that it can be changed and saved again.
        `options["compute"]`: torch's name of the number format to load and multiply in.
        `options["fold_qkv"]` ("attention" or "all"): layers that read one input become one product.
        `options["cache_format"]` ("int8", "static"): how keys and values are kept; `options["cache_tokens"]`:
        tokens that the static one has room for.
        `options["resident_layers"]`: so many blocks stay in memory, the others are read when needed."""
        if "resident_layers" in options and not options.get("keep_codes"):
            return StreamingSession(self.name, folder, task, options, threads=threads, device=device)
        module = load_module(folder, task, options.get(COMPUTE) or "float32")
        if options.get("fold_qkv"):
            from tiku.runtimes._folding import fold

            fold(module, mlp=options["fold_qkv"] == "all")
        cache_format = options.get("cache_format", "fp32")
        given = {name: options[name] for name in ("cache_tokens", "streams") if name in options}
        return TorchSession(
            self.name, module, threads=threads, device=device, cache_format=cache_format, **given
        )

    def standalone(self, *, task: str, family: str, options: Mapping[str, Any], numerics: Numerics) -> str:
        source = standalone_source(
            task,
            family,
            packed=numerics.scheme == INT8_IN_BF16 or numerics.scheme.endswith(WEIGHT_ONLY),
            scaled_afterwards=numerics.scheme == INT8_IN_BF16,
            options=options,
        )
        return source.replace("torch.float32", f"torch.{options.get(COMPUTE) or 'float32'}")


RUNTIME = Torch()
