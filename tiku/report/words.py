"""The fixed words of a report in both languages."""

from __future__ import annotations

from tiku.core.text import Text

__all__ = [
    "ANSWER_WORDS",
    "CHANGE_WORDS",
    "DECISION_WORDS",
    "HOW_WORDS",
    "MET_WORDS",
    "SPLIT_WORDS",
    "STATUS_WORDS",
]

DECISION_WORDS = {
    "ship": Text("SHIP", "可以发布"),
    "do not ship": Text("DO NOT SHIP", "不可发布"),
    "cannot tell": Text("CANNOT TELL", "无法判断"),
}
ANSWER_WORDS = {
    "pass": Text("pass", "通过"),
    "fail": Text("fail", "不通过"),
    "inconclusive": Text("inconclusive", "尚无定论"),
    "informative": Text("informative", "供参考"),
    "not measured": Text("not measured", "未测量"),
}
CHANGE_WORDS = {
    "better": Text("better", "更好"),
    "worse": Text("worse", "更差"),
    "equivalent": Text("equivalent", "等效"),
    "cannot tell": Text("cannot tell", "无法判断"),
    "not comparable": Text("not comparable", "不可比"),
}
STATUS_WORDS = {
    "done": Text("measured", "已测量"),
    "refused": Text("not supported", "不支持"),
    "failed": Text("failed", "失败"),
    "timeout": Text("out of time", "超时"),
    "out of memory": Text("out of memory", "内存不足"),
}
MET_WORDS = {
    True: Text("met", "达到"),
    False: Text("missed", "未达到"),
    None: Text("cannot tell", "无法判断"),
}
SPLIT_WORDS = {
    "train": Text("train", "训练"),
    "calibration": Text("calibration", "校准"),
    "validation": Text("validation", "验证"),
    "test": Text("test", "测试"),
}
HOW_WORDS = {
    "measured": Text("measured", "实测"),
    "counter": Text("counted", "计数"),
    "modelled": Text("modelled", "建模估算"),
    "cited": Text("cited", "引用"),
}
