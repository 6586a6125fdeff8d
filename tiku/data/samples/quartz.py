"""3,860 two-option questions about qualitative relationships."""

from tiku.core.text import Text
from tiku.data.sample import DataSample
from tiku.data.samples._evals import ARCHIVE, read_questions

__all__ = ["SAMPLE"]

SAMPLE = DataSample(
    kind="data",
    name="quartz",
    title=Text(
        "QuaRTz: two-option questions about qualitative relationships", "QuaRTz：定性关系二选一选择题"
    ),
    task="causal-lm",
    licence="CC BY 4.0 (QuaRTz, Allen Institute for AI); MIT (evals)",
    provenance=Text(
        "Tafjord et al., QuaRTz, EMNLP 2019; as shipped in OpenAI evals 3.0.1, without the background "
        "sentence",
        "Tafjord 等，QuaRTz，EMNLP 2019；取自 OpenAI evals 3.0.1，不含背景句",
    ),
    archive=ARCHIVE,
    caveats=(
        Text(
            "many questions are twins that differ in one word: near-duplicates stay in one split",
            "许多题目成对出现、只差一词：近似重复的题目划分在同一部分",
        ),
    ),
    read=lambda folder: read_questions(folder, "quartz"),
)
