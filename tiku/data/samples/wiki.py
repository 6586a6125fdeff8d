"""106 articles of the English Wikipedia as plain prose, about 2.8 M characters."""

from __future__ import annotations

import bz2
from pathlib import Path
from typing import TYPE_CHECKING

from tiku.core.text import Text
from tiku.data.archives import Archive, Member
from tiku.data.sample import DataSample

if TYPE_CHECKING:
    from tiku.data.table import Table

__all__ = ["SAMPLE"]


def _read(folder: Path) -> Table:
    from tiku.data.table import Table
    from tiku.data.wikitext import articles

    with bz2.open(folder / "articles.xml.bz2") as dump:
        found = list(articles(dump))
    columns = {"title": [title for title, _ in found], "text": [text for _, text in found]}
    return Table("wiki", columns, [title for title, _ in found], documents=True)


SAMPLE = DataSample(
    kind="data",
    name="wiki",
    title=Text("articles of the English Wikipedia, markup removed", "英文维基百科文章，已去除标记"),
    task="causal-lm",
    licence="CC BY-SA 3.0 + GFDL (Wikipedia); LGPL-2.1 (gensim)",
    provenance=Text(
        "the shortened dump of early 2016 in the test data of gensim 4.4.0",
        "gensim 4.4.0 测试数据中的 2016 年初删节转储",
    ),
    archive=Archive(
        "gensim==4.4.0",
        "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
        27_809_988,
        (
            Member(
                "gensim/test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2",
                "articles.xml.bz2",
                "a53f4648dec40467ebdcbc7a1307eddb51fe6e28e9309f6ebde81ba0d04bea2d",
            ),
        ),
    ),
    caveats=(
        Text(
            "language models have usually seen Wikipedia in training: perplexity on it flatters them",
            "语言模型训练时通常见过维基百科：在其上的困惑度偏于乐观",
        ),
    ),
    read=_read,
)
