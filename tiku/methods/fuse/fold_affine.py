"""The scales and shifts of normalisations, folded into the linear layers that read them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tiku.core.errors import ModelError
from tiku.core.method import Context, Method, Situation, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support

__all__ = ["METHOD", "FoldAffine"]

_TOLERANCE = 1e-3  # of the largest logit: the same numbers summed in another order


@dataclass(frozen=True)
class FoldAffine(Method):
    """W·(g⊙n + b) + c becomes (W·diag(g))·n + (c + W·b): the norm's scale g becomes one, its shift b zero.

    Done where linear layers alone read the norm, which one pass over two texts shows; a norm that a
    residual sum reads too (BERT's), or whose layers share their weights with others (a tied head), is
    left as it is and named in the facts. Weights are computed in float64; the logits are compared. No
    number gets better by it alone: it puts a norm's large scales where quantisation and pruning see them.
    """

    name: ClassVar[str] = "fold-affine"
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("inference", "memory")
    title: ClassVar[Text] = Text("Norm scales folded into the next layers", "归一化的缩放与平移并入后续层")
    source: ClassVar[str] = "Ashkboos et al. 2024, SliceGPT, section 3 (arXiv:2401.15024)"

    def supports(self, subject: Subject) -> Support:
        if not subject.numerics.scheme.startswith("fp32"):
            return Support.no(
                f"the model is already {subject.numerics.scheme}; folding comes before rounding",
                f"模型已是 {subject.numerics.scheme}；折叠须在舍入之前进行",
            )
        fits, left = _plan(subject)
        if fits:
            return Support.yes()
        why = "; ".join(sorted(set(left.values()))) or "it has no layer norm or RMS norm with a scale"
        return Support.no(
            f"no norm of {type(subject.module).__name__} can hand on its scale: {why}",
            f"{type(subject.module).__name__} 中没有可折叠的归一化层：它们的输出还被残差相加等其他运算读取，"
            "或后续层与别处共享权重，或没有缩放参数",
        )

    def apply(self, subject: Subject, context: Context) -> Subject:
        """Raises `ModelError` when the folded model answers otherwise."""
        import torch

        fits, left = _plan(subject)
        module = copy.deepcopy(subject.module)
        with torch.no_grad():
            for number, (norm, layers) in enumerate(fits.items()):
                _fold(module.get_submodule(norm), [module.get_submodule(name) for name in layers])
                context.progress(number + 1, len(fits), "folding norms")
        folded = replace(subject, module=module)
        away = _difference(subject, folded)
        facts = {"folded": len(fits), "left": left, "max_abs_logit_difference": away}
        return replace(folded, facts={**subject.facts, "fold_affine": facts})

    @classmethod
    def candidates(cls, situation: Situation) -> tuple[Method, ...]:
        """Alone it saves nothing: tried only where there is time to show that."""
        return (cls(),) if situation.budget == "thorough" else ()


def _plan(subject: Subject) -> tuple[dict[str, list[str]], dict[str, str]]:
    """(layers to fold into by norm, why not by norm)."""
    from tiku.methods.fuse._readers import readings
    from tiku.runtimes._tracing import example_inputs

    norms, inputs_of = readings(subject.module, example_inputs(subject))
    uses = Counter(id(p) for part in subject.module.modules() for p in part.parameters(recurse=False))
    fits, left = {}, {}
    for norm, seen in norms.items():
        reasons = list(_obstacles(subject.module, norm, seen, inputs_of, uses))
        if reasons:
            left[norm] = reasons[0]
        else:
            fits[norm] = sorted(seen.layers)
    return fits, left


def _obstacles(
    module: Any, norm: str, seen: Any, inputs_of: dict[str, set[str]], uses: Counter[int]
) -> Iterator[str]:
    if seen.others:
        yield f"its output is read by {', '.join(sorted(seen.others))} beside linear layers"
    if not seen.layers:
        yield "no linear layer reads it"
    for name in sorted(seen.layers):
        layer = module.get_submodule(name)
        if uses[id(layer.weight)] > 1:
            yield f"{name} shares its weight with another layer"
        if inputs_of[name] != {norm}:
            yield f"{name} reads other things too"
        if layer.bias is None and getattr(module.get_submodule(norm), "bias", None) is not None:
            yield f"{name} has no bias that could take the shift"
    if _gain(module.get_submodule(norm)) is None:
        yield "its scale is applied in a way tiku does not know"


def _gain(norm: Any) -> tuple[Any, float] | None:
    """(what the norm multiplies with, the weight at which that is one): RMS norms scale by their weight
    or, as Gemma's, by one more than it. Found by asking the norm."""
    import torch

    bare = copy.deepcopy(norm)
    x = torch.randn(3, len(norm.weight), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for neutral, gain in ((1.0, norm.weight), (0.0, 1 + norm.weight)):
            bare.weight.fill_(neutral)
            shift = 0 if getattr(norm, "bias", None) is None else norm.bias
            if torch.allclose(norm(x), (bare(x) - shift) * gain + shift, rtol=1e-4, atol=1e-5):
                return gain.detach().double(), neutral
    return None


def _fold(norm: Any, layers: list[Any]) -> None:
    from torch import nn

    found = _gain(norm)
    assert found is not None  # `_plan` asked
    gain, neutral = found
    shift = getattr(norm, "bias", None)
    for layer in layers:
        weight_OI = layer.weight if isinstance(layer, nn.Linear) else layer.weight.T  # GPT-2 stores (I, O)
        exact = weight_OI.double()
        if shift is not None:
            layer.bias.copy_(layer.bias.double() + exact @ shift.double())
        weight_OI.copy_(exact * gain)
    norm.weight.fill_(neutral)
    if shift is not None:
        shift.zero_()


def _difference(before: Subject, after: Subject) -> float:
    import torch

    from tiku.runtimes._tracing import example_inputs

    inputs = example_inputs(before)
    with torch.inference_mode():
        old, new = (getattr(out, "logits", out) for out in (s.module(**inputs) for s in (before, after)))
    away, scale = float((old - new).abs().max()), max(1.0, float(old.abs().max()))
    if not away <= _TOLERANCE * scale:
        raise ModelError(
            "the model answers otherwise after its norms were folded",
            got=f"{type(before.module).__name__}: logits differ by up to {away:.3g}",
            allowed=f"at most {_TOLERANCE * scale:.3g}",
            next_step="leave fold-affine out of the recipe for this architecture",
        )
    return away


METHOD = FoldAffine
