"""Arithmetic in 16 bits: which processors have it, and modules whose weights are so.

Without the instructions torch widens each number and is many times slower than in float32.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

from tiku.core.subject import Subject
from tiku.core.verdict import Support

__all__ = ["COMPUTE", "DTYPES", "INT8_IN_BF16", "computes", "multiplies", "narrowed"]

COMPUTE = "compute"  # the runtime option: the torch dtype that the module is loaded and multiplied in
DTYPES = {"bf16": "bfloat16", "fp16": "float16"}
INT8_IN_BF16 = "int8-weight-only-bf16"  # linear layers in 8 bits, everything else as in bf16

_CPUINFO = Path("/proc/cpuinfo")
_INSTRUCTIONS = {  # flags of /proc/cpuinfo: x86 and Arm
    "bf16": {"avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX BF16", "bf16": "Arm BF16"},
    "fp16": {"avx512_fp16": "AVX-512 FP16", "amx_fp16": "AMX FP16", "asimdhp": "Arm FP16"},
}
_LARGEST = {"bf16": 3.38e38, "fp16": 65504.0}


def computes(subject: Subject, *, gpu: bool = True) -> Support:
    """Yes where this machine multiplies in the subject's 16 bits and the model is transformers' own. Without
    `gpu` only the processor counts."""
    scheme = "bf16" if subject.numerics.scheme == INT8_IN_BF16 else subject.numerics.scheme
    if not (there := multiplies(scheme, gpu)):
        return there
    if hasattr(subject.module, "save_pretrained"):
        return Support.yes()
    return Support.no(
        "tiku narrows transformers models only: a module of your own may multiply with float32 numbers that "
        "are not its weights",
        "tiku 只把 transformers 模型改为 16 位：自定义模块可能会与不属于权重的 float32 数相乘",
    )


def narrowed(module: Any, scheme: str) -> Any:
    """A copy whose weights are 16 bits wide. Buffers (rotary frequencies) and what the architecture asks to
    keep stay float32, as when transformers loads the file. Raises `OverflowError` for a weight out of range.
    """
    import torch

    dtype = getattr(torch, DTYPES[scheme])
    wide = _kept_wide(module, scheme)
    memo: dict[int, Any] = {}
    for name, weights in module.named_parameters():
        if weights.is_floating_point() and not any(part in name.split(".") for part in wide):
            if float(weights.detach().abs().max()) > _LARGEST[scheme]:
                raise OverflowError(name)
            memo[id(weights)] = torch.nn.Parameter(weights.detach().to(dtype), requires_grad=False)
    made = copy.deepcopy(module, memo)
    made.config.dtype = dtype
    return made


def _kept_wide(module: Any, scheme: str) -> set[str]:
    strict = set(getattr(module, "_keep_in_fp32_modules_strict", None) or ())
    return strict | set(getattr(module, "_keep_in_fp32_modules", None) or ()) if scheme == "fp16" else strict


def multiplies(scheme: str, gpu: bool) -> Support:
    """Whether the processor, or with `gpu` a GPU, has the arithmetic."""
    import torch

    wanted = _INSTRUCTIONS[scheme]
    if (gpu and torch.cuda.is_available()) or set(wanted) & _flags():
        return Support.yes()
    names = ", ".join(wanted.values())
    if not gpu:
        return Support.no(
            f"this processor has no {scheme} arithmetic ({names})",
            f"该处理器没有 {scheme} 运算指令（{names}）",
        )
    return Support.no(
        f"this processor has no {scheme} arithmetic ({names}) and there is no GPU: torch would widen every "
        "number and be slower than in float32",
        f"该处理器没有 {scheme} 运算指令（{names}），也没有 GPU：torch 须逐个展宽，反而比 float32 慢",
    )


@cache
def _flags() -> frozenset[str]:
    """What the processor calls its instruction sets; none where the system hides them."""
    if not _CPUINFO.exists():
        return frozenset()
    first = _CPUINFO.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    lines = (line.partition(":") for line in first.splitlines())
    return frozenset(
        flag for name, _, value in lines if name.strip() in ("flags", "Features") for flag in value.split()
    )
