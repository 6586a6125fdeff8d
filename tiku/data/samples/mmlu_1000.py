"""1,000 four-option questions of MMLU."""

from tiku.core.text import Text
from tiku.data.sample import DataSample
from tiku.data.samples._evals import ARCHIVE, read_questions

__all__ = ["SAMPLE"]

_BROKEN = frozenset({231})

SAMPLE = DataSample(
    kind="data",
    name="mmlu-1000",
    title=Text("1,000 four-option questions of MMLU", "MMLU 的 1,000 道四选一选择题"),
    task="causal-lm",
    licence="MIT (MMLU; evals)",
    provenance=Text(
        "Hendrycks et al., MMLU, ICLR 2021; the selection shipped with OpenAI evals 3.0.1 (sandbagging)",
        "Hendrycks 等，MMLU，ICLR 2021；取自 OpenAI evals 3.0.1（sandbagging）所附的子集",
    ),
    archive=ARCHIVE,
    caveats=(
        Text(
            "question 231 lists its right option twice and is left out: 999 questions",
            "第 231 题的正确选项出现了两次，已剔除：实为 999 题",
        ),
        Text(
            "the options' texts are compared, not their letters: not comparable with published MMLU scores",
            "比较的是选项文本而不是字母：与公开的 MMLU 分数不可比",
        ),
    ),
    read=lambda folder: read_questions(folder, "mmlu-1000", _BROKEN),
)
