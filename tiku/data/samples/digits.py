"""1,797 handwritten digits of 8 x 8 pixels.

Arrays: `pixels` float32 (1797, 8, 8) from 0 to 16; `labels` int64 (1797,).
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

from tiku.core.text import Text
from tiku.data.archives import Archive, Member
from tiku.data.sample import ArraySample

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SAMPLE"]


def _read(folder: Path) -> dict[str, NDArray]:  # type: ignore[type-arg]
    import numpy as np

    with gzip.open(folder / "digits.csv.gz", "rt", encoding="ascii") as file:
        values = np.loadtxt(file, delimiter=",")
    pixels = values[:, :64].reshape(-1, 8, 8).astype(np.float32)
    return {"pixels": pixels, "labels": values[:, 64].astype(np.int64)}


SAMPLE = ArraySample(
    kind="data",
    name="digits",
    title=Text("handwritten digits, 8 x 8 pixels", "手写数字，8 x 8 像素"),
    task="image-classification",
    licence="CC BY 4.0 (UCI); BSD-3-Clause (scikit-learn)",
    provenance=Text(
        "test part of the UCI Optical Recognition of Handwritten Digits (Alpaydin & Kaynak 1998), "
        "from the wheel of scikit-learn 1.7.2",
        "UCI 光学手写数字识别数据集的测试部分（Alpaydin 与 Kaynak，1998），取自 scikit-learn 1.7.2 的 wheel",
    ),
    archive=Archive(
        "scikit-learn==1.7.2",
        "89877e19a80c7b11a2891a27c21c4894fb18e2c2e077815bcade10d34287b20d",
        9_715_424,
        (
            Member(
                "sklearn/datasets/data/digits.csv.gz",
                "digits.csv.gz",
                "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
            ),
        ),
    ),
    read=_read,
)
