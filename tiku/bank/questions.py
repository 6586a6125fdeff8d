"""Reads the ten question texts that ship beside this file in `questions/`.

One file per question and language: TOML front matter between two `+++` lines, then six `##` sections
in a fixed order (`SECTION_KEYS`). The methods section holds one `###` heading per id of the front
matter's `methods`, in the same order. A wheel needs the package data `tiku.bank: questions/*.md`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import get_args

from tiku.core.errors import UnknownName
from tiku.core.registry import closest
from tiku.core.text import Language, Text

__all__ = ["SECTION_KEYS", "MethodText", "QuestionText", "Section", "all_questions", "availability", "load"]

SECTION_KEYS = ("question", "short_answer", "methods", "decision", "errata", "command")

_FILE = re.compile(r"q(\d\d)_(\w+)\.(\w\w)\.md")
_NUMBERED = re.compile(r"q?0*(\d+)")


@dataclass(frozen=True)
class Section:
    """One `##` section: a key that is the same in every language, its heading and its body."""

    key: str
    heading: str
    markdown: str


@dataclass(frozen=True)
class MethodText:
    """One `###` heading of the methods section and the id of the method it describes.

    `built_by` are further registry or metric names that do what it describes (front matter table).
    """

    id: str
    heading: str
    markdown: str
    built_by: tuple[str, ...] = ()

    def is_built(self, names: Collection[str]) -> bool:
        """Whether a name is this method, a variant of this metric (`f1_macro` of `f1`) or in `built_by`."""
        wanted = [name.replace("-", "_") for name in (self.id, *self.built_by)]
        return any(
            name.replace("-", "_") == want or name.startswith(f"{want}_") for name in names for want in wanted
        )


@dataclass(frozen=True)
class QuestionText:
    """One question in one language. `markdown` of the methods section also holds every method."""

    id: str
    number: int
    title: str
    language: Language
    sections: tuple[Section, ...]
    methods: tuple[MethodText, ...]
    metrics: tuple[str, ...]

    def section(self, key: str) -> Section:
        """The section of this key (one of `SECTION_KEYS`). Raises `UnknownName`."""
        for section in self.sections:
            if section.key == key:
                return section
        raise UnknownName(
            "a question has no section of this name",
            got=key,
            allowed=SECTION_KEYS,
            next_step="use one of these keys",
        )


def load(id_or_number: str | int, language: Language = "en") -> QuestionText:
    """One question by id ("inference") or number (5, "5", "q05").

    Raises `UnknownName` with the allowed names and the nearest one.
    """
    catalogue = _catalogue(language)
    wanted = str(id_or_number).strip().lower()
    numbered = _NUMBERED.fullmatch(wanted)
    for number, name in catalogue:
        if name == wanted or (numbered and int(numbered[1]) == number):
            return _read(number, name, language)
    allowed = [f"{name} ({number})" for number, name in catalogue]
    near = closest(wanted, [name for _, name in catalogue])
    raise UnknownName(
        "there is no question of this name or number",
        got=id_or_number,
        allowed=allowed,
        next_step=near or "list the questions with: tiku questions",
    )


def all_questions(language: Language = "en") -> tuple[QuestionText, ...]:
    """Every question of the bank, by number. Raises `UnknownName` for a language without texts."""
    return tuple(_read(number, name, language) for number, name in _catalogue(language))


def availability(question: QuestionText, built: Collection[str]) -> Text:
    """One statement: which of the question's methods the given names cover, and which not.

    `built` holds the names of the methods and metrics of this installation. The texts never say it
    themselves, so that they stay true as methods are added.
    """
    there = [method.id for method in question.methods if method.is_built(built)]
    missing = [method.id for method in question.methods if not method.is_built(built)]
    if not missing:
        return Text("This installation measures every method above.", "本次安装能测量上述全部方法。")
    if not there:
        return Text(
            "This installation builds none of the methods above; the exam reports them as “not measured”.",
            "本次安装尚未实现上述方法；考试会如实报告“未测量”。",
        )
    return Text(
        f"This installation measures {', '.join(there)}; "
        f"the exam reports the rest as “not measured”: {', '.join(missing)}.",
        f"本次安装能测量 {'、'.join(there)}；其余方法在考试中报告为“未测量”：{'、'.join(missing)}。",
    )


@cache
def _catalogue(language: str) -> tuple[tuple[int, str], ...]:
    if language not in get_args(Language):
        raise UnknownName(
            "the bank has no texts in this language",
            got=language,
            allowed=get_args(Language),
            next_step="use one of these",
        )
    matches = (_FILE.fullmatch(entry.name) for entry in files("tiku.bank").joinpath("questions").iterdir())
    return tuple(sorted((int(m[1]), m[2]) for m in matches if m and m[3] == language))


@cache
def _read(number: int, name: str, language: Language) -> QuestionText:
    entry = files("tiku.bank").joinpath("questions", f"q{number:02d}_{name}.{language}.md")
    _, front, body = entry.read_text(encoding="utf-8").split("+++\n", 2)
    fields = tomllib.loads(front)
    parts = _split(body, "## ")
    sections = tuple(Section(key, *part) for key, part in zip(SECTION_KEYS, parts, strict=True))
    described = _split(sections[SECTION_KEYS.index("methods")].markdown, "### ")
    also = fields.get("built_by", {})
    methods = tuple(
        MethodText(name, *part, built_by=tuple(also.get(name, ())))
        for name, part in zip(fields["methods"], described, strict=True)
    )
    return QuestionText(
        id=fields["id"],
        number=fields["number"],
        title=fields["title"],
        language=language,
        sections=sections,
        methods=methods,
        metrics=tuple(fields["metrics"]),
    )


def _split(markdown: str, marker: str) -> list[tuple[str, str]]:
    """(heading, body) of every heading that starts with exactly `marker`; text before is dropped."""
    pieces = re.split(rf"^{marker}(.+)$", markdown, flags=re.MULTILINE)
    return [(h.strip(), body.strip()) for h, body in zip(pieces[1::2], pieces[2::2], strict=True)]
