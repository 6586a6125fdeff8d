"""A result on the terminal: colours and rules on a terminal, plain text in a pipe or with NO_COLOR."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tiku.core.instrument import all_metrics
from tiku.core.result import Result
from tiku.core.text import Language, Text
from tiku.report.page import Cell, Page, Requirement, Section, page_of
from tiku.report.streams import styled
from tiku.report.tiles import Tile
from tiku.report.words import ANSWER_WORDS, CHANGE_WORDS, DECISION_WORDS, MET_WORDS, SPLIT_WORDS, STATUS_WORDS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text as StyledText

__all__ = ["STYLES", "console", "print_answer", "print_summary"]

_PIPE_WIDTH = 120
STYLES = {
    "ship": "bold green", "do not ship": "bold red", "cannot tell": "bold yellow",
    "pass": "green", "fail": "red", "inconclusive": "yellow", "informative": "blue", "not measured": "dim",
    "better": "green", "worse": "red", "equivalent": "dim", "not comparable": "dim",
    "refused": "dim", "failed": "red", "timeout": "yellow", "out of memory": "yellow",
}  # fmt: skip
_MARKS = {"pass": "✓", "fail": "✗", "inconclusive": "?", "informative": "i", "not measured": "·"}


def console() -> Console:
    """stdout; plain and of a fixed width where it is no terminal, so that piped text is the same
    everywhere."""
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would exit with 1, which says that a requirement failed

    fancy = styled(sys.stdout)
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Piped(highlight=False, markup=False, emoji=False, width=width, force_terminal=fancy)


def print_summary(result: Result, *, language: Language = "en", folder: Path | None = None) -> None:
    """Decision, ten lines, requirements, the chosen recipe and where the files are."""
    from rich.text import Text as Styled

    page, out = page_of(result, all_metrics()), console()
    word = DECISION_WORDS[result.decision][language]
    out.print(
        Styled.assemble((word, STYLES[result.decision]), f"  {result.model['name']} · {result.data['name']}")
    )
    for reason in result.reasons:
        out.print(Styled(f"  {reason[language]}"))
    out.print()
    out.print(_answers(page, language))
    if page.requirements:
        out.print()
        out.print(_requirements(page.requirements, language))
    out.print()
    out.print(_chosen(page, language))
    for text in _files(result, folder):
        out.print(Styled(text[language], "dim"))


def print_answer(result: Result, question: str, *, language: Language = "en") -> None:
    """One question: verdict, answer, evidence, caveats and the command that repeats it."""
    from rich.text import Text as Styled

    section = next(s for s in page_of(result, all_metrics()).sections if s.tile.id == question)
    out, verdict = console(), section.tile.verdict
    out.print(
        Styled.assemble(
            (section.tile.title[language], "bold"), "  ", (ANSWER_WORDS[verdict][language], STYLES[verdict])
        )
    )
    out.print(Styled(section.answer.answer[language]))
    if len(section.rows) > 1 and section.columns:
        out.print()
        out.print(_evidence(section, language))
    for line in _without_numbers(section, language):
        out.print(Styled(line, "dim"))
    for caveat in section.answer.caveats:
        out.print(Styled(f"- {caveat[language]}", "dim"))
    if verdict != "not measured":
        out.print(Styled(section.command, "dim"), soft_wrap=True)


def _grid(*headers: str, fold: tuple[int, ...] = (0,)) -> Table:
    """Columns of which only those in `fold` may wrap: a number and its interval stay on one line."""
    from rich.table import Table

    table = Table(
        box=None, show_header=any(headers), pad_edge=False, padding=(0, 2, 0, 0), header_style="dim"
    )
    for place, header in enumerate(headers):
        table.add_column(header, overflow="fold", no_wrap=place not in fold)
    return table


def _answers(page: Page, language: Language) -> Table:
    from rich.text import Text as Styled

    table = _grid("", "", "", "", "", fold=())
    table.columns[-1].overflow = "ellipsis"
    for tile in page.tiles:
        style = STYLES[tile.verdict]
        word = f"{_MARKS[tile.verdict]} {ANSWER_WORDS[tile.verdict][language]}"
        title, number = Styled(_short(tile, language)), Styled(str(tile.number), "dim")
        metric = Styled(tile.metric[language] if tile.metric else "", "dim")
        table.add_row(number, title, Styled(word, style), Styled(_key_number(tile)), metric)
    return table


def _short(tile: Tile, language: Language) -> str:
    """English titles are long for a terminal: the id, which `tiku ask` takes, stands in."""
    return tile.id if language == "en" else tile.title[language]


def _key_number(tile: Tile) -> str:
    if tile.shown is None:
        return ""
    return f"{tile.shown}  {tile.change.value}" if tile.change else str(tile.shown)


def _requirements(lines: tuple[Requirement, ...], language: Language) -> Table:
    from rich.text import Text as Styled

    table = _grid("", "", "", "")
    for line in lines:
        met = line.outcome.met
        style = STYLES[{True: "pass", False: "fail", None: "inconclusive"}[met]]
        table.add_row(
            Styled(MET_WORDS[met][language], style),
            Styled(line.outcome.expr),
            Styled(str(line.observed) if line.observed else "—"),
            Styled(SPLIT_WORDS[line.outcome.on][language], "dim"),
        )
    return table


def _chosen(page: Page, language: Language) -> Table:
    """The chosen recipe and its changes, or the sentence that there is none."""
    from rich.text import Text as Styled

    chosen = page.result.chosen
    table = _grid("", "", "", "", fold=(1,))
    if chosen is None:
        table.add_row(Styled(Text("no recipe was chosen", "没有选定的方案")[language], "yellow"))
        return table
    title = Text("chosen recipe", "选定方案")[language]
    table.add_row(Styled(title, "dim"), Styled(str(page.labels[chosen]), "bold"))
    for row in page.compared:
        if row.change is not None and row.verdict in ("better", "worse"):
            word = Styled(CHANGE_WORDS[row.verdict][language], STYLES[row.verdict])
            table.add_row("", Styled(row.title[language]), Styled(str(row.change)), word)
    return table


def _evidence(section: Section, language: Language) -> Table:
    from rich.text import Text as Styled

    table = _grid(Text("recipe", "方案")[language], *(title[language] for _, title in section.columns[:4]))
    for row in section.rows:
        if row.cells:
            name = Styled(f"#{row.label.number} {row.label}")
            table.add_row(name, *(_evidence_cell(cell) for cell in row.cells[:4]))
    return table


def _evidence_cell(cell: Cell) -> StyledText:
    from rich.text import Text as Styled

    text = Styled(cell.shown.value if cell.shown else "—")
    if cell.change and cell.verdict:
        text.append(f"  {cell.change.value}", STYLES[cell.verdict])
    return text


def _without_numbers(section: Section, language: Language) -> list[str]:
    """Lines for the recipes that were not measured, and why."""
    return [
        f"#{row.label.number} {row.label}: {STATUS_WORDS[row.status][language]}"
        + (f": {row.reason[language]}" if row.reason else "")
        for row in section.rows
        if not row.cells
    ]


def _files(result: Result, folder: Path | None) -> tuple[Text, ...]:
    if folder is None:
        return ()
    names = ["report.html", "result.json"]
    if result.confirmation is not None:
        names.append("artefact/")
    paths = "  ".join(str(folder / name) + ("/" if name.endswith("/") else "") for name in names)
    return (Text(f"written: {paths}", f"已写入：{paths}"),)
