"""MediaWiki dumps to plain prose: templates, tables, references, files, links and HTML are taken out.

Brackets are resolved from the inside out, so nesting needs no parser. Templates that stand for words
(units, quotations, foreign words) leave their words; all others leave nothing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import IO
from xml.etree import ElementTree

__all__ = ["articles", "plain"]

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_NOTE = re.compile(r"<ref\b[^<>]*/\s*>|<ref\b[^<>]*>.*?</ref\s*>", re.DOTALL | re.IGNORECASE)
_BLOCK = re.compile(
    r"<(math|gallery|source|syntaxhighlight|timeline|score|imagemap|references|chem)\b[^<>]*?"
    r"(/>|>.*?</\1\s*>)",
    re.DOTALL | re.IGNORECASE,
)
_BREAK = re.compile(r"<(br|hr)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_TEMPLATE = re.compile(r"\{\{((?:[^{}]|\{(?!\{)|\}(?!\}))*)\}\}")
_TABLE = re.compile(r"^[ :*]*\{\|((?!^[ :*]*\{\|).)*?^[ :*]*\|\}", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[\[((?:[^\[\]]|\[(?!\[)|\](?!\]))*)\]\]")
_BAR = re.compile(r"\|(?![^\[\]]*\]\])")  # of the template itself, not of a link inside it
_WEB_LINK = re.compile(r"\[(?:https?:|ftp:|mailto:)?//[^\s\]]*\s*([^\]]*)\]")
_BARE_LINK = re.compile(r"(?:https?|ftp)://\S+")
_HEADING = re.compile(r"^(={2,6})\s*(.*?)\s*\1\s*$")
_NAMESPACE = re.compile(r"^\s*:?\s*(file|image|media|category|template|wikt|wiktionary|s|commons)\s*:", re.I)
_LANGUAGE_LINK = re.compile(r"^\s*[a-z]{2,3}(-[a-z]+)?:")
_EMPTY_BRACKETS = re.compile(r"\s*[(（]\s*(?:[,;:–/\-]|or|and|\s)*\s*[)）]")
_BRACKET_START = re.compile(r"([(（])\s*(?:[,;:]\s*)*")
_COMMAS = re.compile(r",(?:\s*,)+")
_LINE_START = re.compile(r"^[\s,;:.=)]+")  # what a formula or a template leaves behind
_SPACE_BEFORE = re.compile(r"[ \t]+([,.;:!?)])")
_APPENDICES = frozenset({
    "references", "notes", "external links", "see also", "further reading", "bibliography", "sources",
    "footnotes", "citations", "notes and references", "works cited", "gallery", "references and notes",
    "notes and citations",
})  # fmt: skip
_ROUNDS = 40  # deeper nesting than this is damage


def articles(dump: IO[bytes]) -> Iterator[tuple[str, str]]:
    """(title, prose) of every article of an XML dump; redirects and other name spaces are skipped."""
    title = space = ""
    redirect = False
    for _, element in ElementTree.iterparse(dump):
        tag = element.tag.rpartition("}")[2]
        if tag == "title":
            title, redirect = element.text or "", False
        elif tag == "ns":
            space = element.text or ""
        elif tag == "redirect":
            redirect = True
        elif tag == "text" and space == "0" and not redirect:
            yield title, plain(element.text or "")
        elif tag == "page":
            element.clear()


def plain(markup: str) -> str:
    """The prose of one article: paragraphs and headings, one per line, a blank line between."""
    text = _COMMENT.sub("", markup)
    text = _NOTE.sub("", text)
    text = _BLOCK.sub("", text)
    text = _repeat(_TEMPLATE, _template, text)
    text = _repeat(_TABLE, lambda _: "", text)
    text = _repeat(_LINK, _link, text)
    text = _WEB_LINK.sub(r"\1", text)
    text = re.sub(r"\[\[|\]\]", "", _BARE_LINK.sub("", text))
    text = _TAG.sub("", _BREAK.sub("\n", text))
    text = re.sub(r"'{2,5}", "", html.unescape(text)).replace("\xa0", " ")
    text = re.sub(r"__[A-Z]+__", "", text)
    return "\n\n".join(_paragraphs(text))


def _repeat(pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str], text: str) -> str:
    for _ in range(_ROUNDS):
        text, count = pattern.subn(replace, text)
        if not count:
            break
    return text


def _template(match: re.Match[str]) -> str:
    name, *arguments = (part.strip() for part in _BAR.split(match[1]))
    name = name.lower()
    words = [a for a in arguments if "=" not in a]
    if name.startswith("formatnum:"):
        return name.removeprefix("formatnum:")
    if name in _FIXED:
        return _FIXED[name]
    if name in _ARGUMENT:
        index = _ARGUMENT[name]
        return words[index] if -len(words) <= index < len(words) else ""
    if name in ("convert", "cvt") and len(words) >= 2:
        return _converted(words)
    if name in ("quote", "quotation", "cquote", "bquote", "blockquote"):
        named = dict(a.split("=", 1) for a in arguments if "=" in a)
        return words[0] if words else next((v for k, v in named.items() if k.strip() in ("1", "text")), "")
    if name.startswith("lang-"):
        return words[0] if words else ""
    return f"As of {words[0]}" if name == "as of" and words else ""


def _converted(words: list[str]) -> str:
    """{{convert|3|to|5|km|mi}} -> "3 to 5 km"."""
    if words[1] in ("-", "–", "to", "and", "or", "by", "x") and len(words) >= 4:
        return f"{words[0]} {words[1]} {words[2]} {words[3]}"
    return f"{words[0]} {words[1]}"


_FIXED = {
    "nbsp": " ", "spaced ndash": " – ", "snd": " – ", "ndash": "–", "mdash": "—", "'": "'", "pipe": "|",
    "c.": "c. ", "circa": "c. ", "=": "=", "!": "|", "sup": "", "spnd": " – ", "dash": " – ",
}  # fmt: skip
_ARGUMENT = {
    "lang": 1, "transl": -1, "nowrap": 0, "small": 0, "smaller": 0, "big": 0, "nihongo": 0, "abbr": 0,
    "vanchor": 0, "visible anchor": 0, "angbr": 0, "val": 0, "nts": 0, "dts": 0, "sic": 0, "chem": 0,
    "ipa": 0, "ipa link": 0, "ipablink": 0, "ipalink": 0, "angle bracket": 0, "grapheme": 0,
    "flag": 0, "flagcountry": 0, "keypress": 0, "ill": 0, "em": 0, "strong": 0, "dfn": 0, "linktext": 0,
    "mvar": 0, "math": 0, "var": 0, "overline": 0, "nobold": 0, "unicode": 0, "script": 1, "gaps": 0,
    "interlanguage link": 0, "not a typo": 0, "zh": 0, "okina": 0, "sub": 0, "poemquote": 0, "hlist": 0,
}  # fmt: skip


def _link(match: re.Match[str]) -> str:
    target, bar, label = match[1].partition("|")
    if _NAMESPACE.match(target) or (_LANGUAGE_LINK.match(target) and not bar):
        return ""
    return label.rpartition("|")[2] if bar and label else target.lstrip(":").partition("#")[0]


def _paragraphs(text: str) -> Iterator[str]:
    """Lines of prose; appendices, leftovers of tables and headings with nothing below are dropped."""
    skipped_below = 0  # the level of the heading whose section is left out
    pending: list[tuple[int, str]] = []
    for raw in text.split("\n"):
        heading = _HEADING.match(raw.strip())
        if heading:
            level = len(heading[1])
            if skipped_below and level > skipped_below:
                continue
            skipped_below = level if heading[2].lower() in _APPENDICES else 0
            pending = [(n, h) for n, h in pending if n < level]
            if not skipped_below:
                pending.append((level, heading[2]))
            continue
        line = _tidy(raw)
        if line and not skipped_below:
            yield from (h for _, h in pending)
            pending = []
            yield line


def _tidy(raw: str) -> str:
    line = raw.strip()
    if line.startswith(("|", "!", "{", "}")):
        return ""
    line = _EMPTY_BRACKETS.sub("", line.lstrip("*#:; "))
    line = _SPACE_BEFORE.sub(r"\1", _BRACKET_START.sub(r"\1", line))
    line = _LINE_START.sub("", _COMMAS.sub(",", line))
    line = re.sub(r"[ \t]{2,}", " ", line).strip()
    return line if sum(c.isalpha() for c in line) >= 3 else ""
