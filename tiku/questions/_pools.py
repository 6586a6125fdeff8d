"""What keeping freed memory gave: a runtime's arena on and off, and which runtimes have one at all."""

from __future__ import annotations

from tiku.core import registry
from tiku.core.method import Method, Situation
from tiku.core.question import Evidence
from tiku.core.result import Trial
from tiku.core.text import Text
from tiku.questions._switches import both_ways, ratio_of
from tiku.questions._weighing import own_recipe
from tiku.questions._wording import inside, join

__all__ = ["arenas_gave", "without_arena"]

_SWITCH = "arena"
_SPEEDS = ("throughput", "p50_latency", "time_per_token")


def without_arena(situation: Situation) -> tuple[Method, ...]:
    """Each runtime worth a trial here that has an arena, told to give freed memory back."""
    methods = (registry.get("methods", name) for name in registry.names("methods"))
    runtimes = (m for m in methods if m.slot == "runtime" and (not m.tasks or situation.task in m.tasks))
    first = (c for m in runtimes for c in m.candidates(situation)[:1])
    return tuple(type(c)(arena=False) for c in first if hasattr(c, _SWITCH))


def arenas_gave(evidence: Evidence) -> tuple[Text, ...]:
    """One line for each recipe that was measured both ways; where one was, also who has no arena to set."""
    pairs = list(both_ways(evidence, _SWITCH))
    told = tuple(text for on, off in pairs if (text := _told(evidence, on, off)) is not None)
    return (*told, _NO_ARENA) if told else ()


def _told(evidence: Evidence, on: Trial, off: Trial) -> Text | None:
    if (peak := ratio_of(on, off, ("peak_memory",))) is None:
        return None
    found = [peak, *([speed] if (speed := ratio_of(on, off, _SPEEDS)) is not None else [])]
    amounts = []
    for name, (ratio, low, high) in found:
        title, amount = inside(evidence.metrics[name].title), f"×{ratio:.2f} [{low:.2f}, {high:.2f}]"
        amounts.append(Text(f"{title.en} {amount}", f"{title.zh} {amount}"))
    both, recipe = join(amounts), own_recipe(on, evidence.base)
    return Text(
        f"the arena inside {recipe}, on against off: {both.en} (each measured against the base in a run of "
        "its own)",
        f"{recipe} 的内存池（arena），开启与关闭之比：{both.zh}（两者各自与基线比较）",
    )


_NO_ARENA = Text(
    "the other runtimes have no arena to switch: OpenVINO lays the buffers of a graph out when it compiles "
    "it, and torch on the CPU asks the process allocator for each tensor (method allocator)",
    "其他运行时没有可开关的内存池：OpenVINO 在编译计算图时一次排定缓冲区；torch 在 CPU 上逐张量向进程分配器"
    "申请（见方法 allocator）",
)
