"""What bfloat16 and float16 share: weights stored and multiplied in 16 bits by the torch runtime."""

from __future__ import annotations

from dataclasses import replace

from tiku.core import registry
from tiku.core.errors import ModelError
from tiku.core.runtime import Runtime
from tiku.core.subject import Numerics, Subject
from tiku.core.verdict import Support

__all__ = ["in_sixteen_bits", "narrow"]


def in_sixteen_bits(subject: Subject, scheme: str) -> Support:
    """Whether the torch runtime computes this subject so, on this machine."""
    if subject.numerics.scheme != "fp32":
        return Support.no(
            f"the model is already {subject.numerics.scheme}",
            f"模型已是 {subject.numerics.scheme}",
        )
    runtime: Runtime = registry.get("runtimes", subject.runtime)
    return runtime.supports(replace(subject, numerics=Numerics(scheme)))


def narrow(subject: Subject, scheme: str, numerics: Numerics | None = None) -> Subject:
    """The subject with 16-bit weights, `numerics` being what it is then called where that is not the scheme.
    Raises `ModelError` where a weight is out of range."""
    from tiku.runtimes._sixteen_bits import COMPUTE, DTYPES, narrowed

    try:
        module = narrowed(subject.module, scheme)
    except OverflowError as error:
        raise ModelError(
            f"a weight is too large for {scheme}",
            got=str(error),
            allowed="magnitudes up to 65504 in fp16",
            next_step="choose bfloat16, which has the range of float32",
        ) from error
    options = {**subject.runtime_options, COMPUTE: DTYPES[scheme]}
    return replace(subject, module=module, numerics=numerics or Numerics(scheme), runtime_options=options)
