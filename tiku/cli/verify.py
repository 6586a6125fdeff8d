"""`tiku verify ARTEFACT`: is this folder whole, and does it still answer as it did?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiku.cli import _options as o
from tiku.cli._console import print_json
from tiku.core.text import Text
from tiku.core.units import format_quantity

if TYPE_CHECKING:
    from tiku.artefact import VerifyReport

__all__ = ["register"]

_Artefact = Annotated[Path, typer.Argument(help="An artefact folder.", metavar="ARTEFACT")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify", short_help="Prove that an artefact is whole.")(verify)


def verify(artefact: _Artefact, lang: o.Lang = None, as_json: o.Json = False) -> int:
    """Check every hash, load the artefact in a fresh process without tiku, compare its outputs."""
    from tiku.artefact import verify as check

    language = o.language(lang)
    report = check(artefact)
    if as_json:
        print_json(report.to_json())
    else:
        for line in _lines(report):
            print(line[language])
    return 0 if report.ok else 1


def _lines(report: VerifyReport) -> Iterator[Text]:
    """What held, in the order it was checked, then what did not."""
    if report.hashes_ok:
        size = format_quantity(report.bytes, "byte")
        yield Text(
            f"whole: {report.files} files, {size}, every hash as listed",
            f"完整：{report.files} 个文件，{size}，所有哈希一致",
        )
    if report.max_abs_diff is not None:
        alone = Text("without tiku", "未使用 tiku") if report.without_tiku else Text("with tiku", "使用 tiku")
        numbers = f"{report.max_abs_diff:.3g} (≤ {report.tolerance:.3g})"
        yield Text(
            f"opened in a fresh process {alone.en}: logits differ by {numbers}",
            f"在新进程中打开（{alone.zh}）：logits 相差 {numbers}",
        )
    if report.error is None:
        yield Text("the artefact holds", "成品通过校验")
        return
    parts = report.error.parts()
    yield Text(f"failed: {parts.pop('what')}", f"未通过：{report.error.what}")
    for name, text in parts.items():
        yield Text(f"  {name}: {text}", f"  {name}: {text}")
