"""PyTorch through `torch.compile` (TorchInductor): fused C++ kernels for the CPU, Triton for a GPU."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tiku.core import registry
from tiku.core.errors import ArtefactError
from tiku.core.runtime import Runtime
from tiku.core.subject import Numerics, Session, Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.runtimes._available import only_fp32
from tiku.runtimes._explain import first_line
from tiku.runtimes._torch_loading import import_architecture, load_module, standalone_source
from tiku.runtimes._torch_session import TorchSession, resolve_device

__all__ = ["RUNTIME", "TorchCompile"]

_COMPILED = """

def open_compiled(folder, open_eager=open_model):
    return torch.compile(open_eager(folder), dynamic=True)


open_model = open_compiled
"""


class TorchCompile(Runtime):
    """The torch runtime's files; compiled when opened, once per machine (inductor keeps a cache).

    Options: `mode` of `torch.compile`; `warmup`, a list of (batch, tokens) that are run while the
    session opens, so that no later request waits for a compilation; `inputs`, the names to warm up with.
    """

    name: ClassVar[str] = "torch-compile"
    title: ClassVar[Text] = Text("PyTorch compiled (TorchInductor)", "PyTorch 编译执行（TorchInductor）")
    modules: ClassVar[tuple[str, ...]] = ("torch",)

    def supports(self, subject: Subject) -> Support:
        if not (builds := _can_build()):
            return builds
        if subject.task == "causal-lm":
            return Support.no(
                "the cache grows by one token per step, and the compiler would build the graph anew; tiku "
                "compiles models that run in one pass",
                "键值缓存每步增长一个词元，编译器会反复重编计算图；tiku 目前只编译一次前向完成的模型",
            )
        return only_fp32(
            self,
            subject,
            "torch stores layers that multiply int8 by int8 only as a pickle; choose onnxruntime or openvino",
            "torch 中 int8 乘 int8 的层只能以 pickle 形式保存；请改用 onnxruntime 或 openvino",
        )

    def import_for(self, folder: Path) -> None:
        super().import_for(folder)
        import_architecture(folder)

    def save(self, subject: Subject, folder: Path) -> None:
        registry.get("models", subject.family).save(subject, folder)

    def open(
        self, folder: Path, *, task: str, options: Mapping[str, Any], threads: int, device: str
    ) -> Session:
        import torch

        module = load_module(folder, task).to(resolve_device(device))
        compiled = torch.compile(module, dynamic=True, mode=options.get("mode"))
        session = TorchSession(self.name, module, threads=threads, device=device, call=compiled)
        try:
            _warm_up(session, options)
        except Exception as error:  # the compiler raises classes of many kinds
            raise ArtefactError(
                "torch.compile cannot compile this model here",
                got=first_line(error),
                allowed="models whose forward pass TorchInductor can compile",
                next_step="choose the runtime torch",
            ) from error
        return session

    def standalone(self, *, task: str, family: str, options: Mapping[str, Any], numerics: Numerics) -> str:
        return standalone_source(task, family) + _COMPILED


def _warm_up(session: TorchSession, options: Mapping[str, Any]) -> None:
    import numpy as np

    for batch, tokens in options.get("warmup", ()):
        ones = np.ones((batch, tokens), dtype=np.int64)
        session.run({name: np.zeros_like(ones) if "type" in name else ones for name in options["inputs"]})


def _can_build() -> Support:
    """Inductor compiles C++ against Python's headers: both must be there, and torch cannot bring them."""
    compilers = [name for name in (os.environ.get("CXX"), "g++", "clang++") if name]
    if not any(shutil.which(name) for name in compilers):
        return Support.no(
            f"there is no C++ compiler ({', '.join(compilers)}); Debian's package g++ has one",
            f"没有 C++ 编译器（{'、'.join(compilers)}）；在 Debian 上可安装 g++",
        )
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        return Support.no(
            f"Python's own headers are missing ({header}); Debian's package python3-dev has them",
            f"缺少 Python 头文件（{header}）；在 Debian 上可安装 python3-dev",
        )
    return Support.yes()


RUNTIME = TorchCompile()
