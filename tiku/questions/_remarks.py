"""What builds say of themselves: how far a number format moved the answers, and the guards that fired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tiku.core.question import Evidence
from tiku.core.recipe import Recipe
from tiku.core.text import Text
from tiku.questions._weighing import own_recipe
from tiku.questions._wording import join

__all__ = ["remarks"]

_MOVED = ("away_from_before", "away_from_module")  # by the method, and by the runtime that carries it out


def remarks(evidence: Evidence) -> tuple[Text, ...]:
    """One caveat with what each build said, joins of several methods left out: their parts said it."""
    found = []
    for trial in evidence.trials:
        own = own_recipe(trial, evidence.base)
        if trial.status != "done" or "build" not in trial.details or _joined(own):
            continue
        told = join(list(_said(trial.details["build"], own)), separator=Text(", ", "，"))
        if told.en:
            found.append(Text(f"{own} ({told.en})", f"{own}（{told.zh}）"))
    told = join(list(dict.fromkeys(found)))
    return (Text(f"what the builds say: {told.en}", f"构建所述：{told.zh}"),) if found else ()


def _joined(recipe: Recipe) -> bool:
    return sum(method.slot != "runtime" for method in recipe.methods()) > 1


def _said(facts: Mapping[str, Any], recipe: Recipe) -> Iterator[Text]:
    built: Mapping[str, Any] = facts.get("built") or {}
    for method in recipe.methods():
        if (own := method.remark(facts)) is not None:
            yield own
    if why := built.get("not_fused"):
        yield Text(f"operators not fused: {why}", f"算子未融合：{why}")
    if (products := built.get("int8_products")) and products["taken"] < products["asked"]:
        taken, asked = products["taken"], products["asked"]
        yield Text(f"{taken} of {asked} products run in int8", f"{asked} 个乘积中有 {taken} 个以 int8 运行")
    yield from _moved({**facts, **(facts.get("check") or {}), **built})


def _moved(facts: Mapping[str, Any]) -> Iterator[Text]:
    """The larger of both distances, beside that of a model which does not read its text."""
    found = [facts[name] for name in _MOVED if "nats" in (facts.get(name) or {})]
    if found:
        most = max(found, key=lambda one: float(one["nats"]))
        nats, blind = f"{most['nats']:.2g}", f"{most['garbage_from']:.2g}"
        yield Text(
            f"answers moved by {nats} nats each, a model blind to its input by {blind}",
            f"每个回答平均偏移 {nats} nat，不看输入的模型为 {blind}",
        )
