"""The four rated corpora of Hutto & Gilbert (2014), all in one archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tiku.core.text import Text
from tiku.data.archives import Archive, Member
from tiku.data.sample import DataSample

if TYPE_CHECKING:
    from tiku.data.table import Table

_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz!hutto_ICWSM_2014/"
_FILES = {
    "movieReviewSnippets": "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
    "amazonReviewSnippets": "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2",
    "nytEditorialSnippets": "7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e",
    "tweets": "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f",
}
_ARCHIVE = Archive(
    "vaderSentiment==3.3.2",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    2_466_783,
    tuple(
        Member(f"{_INNER}{name}_GroundTruth.txt", f"{name}.tsv", digest) for name, digest in _FILES.items()
    ),
    source=True,
)


def rated_texts(name: str, title: Text, file: str, *, grouped: bool) -> DataSample:
    """The sample of one corpus. In grouped corpora the id is "document_sentence"."""
    return DataSample(
        kind="data",
        name=name,
        title=title,
        task="text-classification",
        licence="MIT (vaderSentiment)",
        provenance=Text(
            "Hutto & Gilbert, VADER, ICWSM 2014: every sentence rated from -4 to 4 by about 20 people; "
            "label = mean rating above 0, ratings of exactly 0 left out",
            "Hutto 与 Gilbert，VADER，ICWSM 2014：每句由约 20 人在 -4 到 4 之间评分；标签为平均分是否大于 0，"
            "平均分恰为 0 的句子不用",
        ),
        archive=_ARCHIVE,
        read=lambda folder: _read(folder / f"{file}.tsv", name, grouped),
    )


def _read(path: Path, name: str, grouped: bool) -> Table:
    """Lines "id TAB mean rating TAB text" with bare quotation marks; HTML's entities become characters."""
    from tiku.data.decoding import read_text
    from tiku.data.normal import unescaped
    from tiku.data.table import Table

    lines = [line.split("\t") for line in read_text(path).split("\n") if line.strip()]
    rated = [(number, float(mean), text) for number, mean, text in lines if float(mean) != 0]
    columns = {
        "text": [unescaped(text) for _, _, text in rated],
        "label": ["positive" if mean > 0 else "negative" for _, mean, _ in rated],
    }
    if grouped:
        columns["group"] = [number.partition("_")[0] for number, _, _ in rated]
    return Table(name, columns, [f"{name}:{number}" for number, _, _ in rated])
