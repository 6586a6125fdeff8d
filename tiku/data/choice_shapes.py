"""The shapes in which multiple-choice questions are written, and how each becomes `Choices`.

- `{question, choices | options, answer}`; the answer is an index, a letter or the option itself; the
  options a list of texts, {"text": […], "label": […]}, lettered columns A, B, C, … or numbered columns
  (option1, option2; ending0 … ending3), whose answers may count as the columns do; a column passage,
  article or support is read before the question
- `{context | ctx | prompt, endings, label}`: the context is continued as it stands
- OpenAI evals: `{input: [{role, content}, …], ideal}` with "A: …" lines in the last message
- `{question: "… A. … B. … Answer:", answer}`: lettered lines inside the question
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tiku.core.errors import DataError
from tiku.core.text import Text
from tiku.data.checks import checked_texts
from tiku.data.choices import Choices
from tiku.data.columns import Columns, by_name
from tiku.data.table import Table

__all__ = ["looks_like_choices", "read_choices"]

QUESTIONS = ("question", "query", "stem", "question_stem", "题目", "问题")
CONTEXTS = ("context", "ctx", "prompt", "sentence", "goal", "premise", "startphrase", "sent1")
PASSAGES = ("passage", "article", "support", "background", "story", "context", "premise", "文章", "材料")
OPTIONS = ("choices", "options", "endings", "candidates", "选项")
ANSWERS = ("answer", "answerkey", "answer_key", "answer_index", "answer_idx", "gold", "label", "target",
           "correct", "correct_option", "答案")  # fmt: skip
_NUMBERED = re.compile(
    r"(?:option|choice|ending|candidate|answer|ans|opt|op|sol|选项)[_ ]?(\d|[a-j])", re.IGNORECASE
)
_LETTERED = re.compile(r"^\s*\(?([A-Z])[.:)]\s+(\S.*?)\s*$", re.MULTILINE)
_ANSWER_CUE = re.compile(r"\s*(Answer|答案)\s*[:：]\s*$")
_BLANK = re.compile(r"(?<!\w)_+(?!\w)")  # an option that fills a blank does not continue the sentence
_FROM_ONE = Text("the answers count the options from 1", "答案从 1 开始计数")
_SHAPES = "{question, choices, answer}, {context, endings, label}, {input, ideal}"


def looks_like_choices(table: Table, columns: Columns) -> bool:
    """Whether the columns are those of multiple-choice questions."""
    if columns.options or columns.answer:
        return True
    if {"input", "ideal"} <= set(table.columns):
        return True
    if by_name(table, OPTIONS) is not None and by_name(table, (*QUESTIONS, *CONTEXTS)) is not None:
        return True
    return len(_option_columns(table)) > 1 or _lettered_questions(table)


def read_choices(table: Table, columns: Columns) -> tuple[Choices, tuple[Text, ...]]:
    """The questions and what was guessed. Raises `DataError`, naming the row."""
    if {"input", "ideal"} <= set(table.columns) and not columns.options:
        rows, how = [_from_chat(*row) for row in _rows(table, "input", "ideal")], _guess("input", "ideal")
    elif not columns.options and by_name(table, OPTIONS) is None and not _option_columns(table):
        question, answer = _need(table, columns.context, QUESTIONS), _need(table, columns.answer, ANSWERS)
        rows, how = [_from_lettered(*row) for row in _rows(table, question, answer)], _guess(question, answer)
    else:
        rows, how = _from_fields(table, columns)
    contexts = checked_texts([context for context, _, _ in rows], table.where, "question")
    group = columns.group or by_name(table, ("group", "passage_id", "group_id"))
    choices = Choices(
        table.name,
        tuple(context.rstrip() for context in contexts),
        tuple(options for _, options, _ in rows),
        tuple(answer for _, _, answer in rows),
        None if group is None else tuple(str(v) for v in table.columns[group]),
    )
    return choices, how


def _from_fields(
    table: Table, columns: Columns
) -> tuple[list[tuple[str, tuple[str, ...], int]], tuple[Text, ...]]:
    answer = _need(table, columns.answer, ANSWERS)
    asked = columns.context or by_name(table, QUESTIONS) or _need(table, None, CONTEXTS)
    passage = by_name(table, [name for name in PASSAGES if name != asked.lower()])
    name = columns.options or by_name(table, OPTIONS)
    apart = {} if name else _option_columns(table)
    found = []
    for i, where in enumerate(table.where):
        raw = table.columns[name][i] if name else {m: table.columns[c][i] for m, c in apart.items()}
        found.append(_options(raw, where))
    answers, from_one = _from_zero(table.columns[answer], [options for options, _ in found])
    rows = []
    for i, (where, (options, marks)) in enumerate(zip(table.where, found, strict=True)):
        context = checked_texts([table.columns[asked][i]], [where], "question")[0].strip()
        question = asked.lower() in QUESTIONS or _BLANK.search(context)
        before = table.columns[passage][i] if passage and question else None
        rows.append((
            _as_question(context, before) if question else context,
            options,
            _answer(answers[i], options, marks, where),
        ))  # fmt: skip
    how = _guess(asked, answer, name or ", ".join(apart.values()), passage or "")
    return rows, (*how, *([_FROM_ONE] if from_one else []))


def _option_columns(table: Table) -> dict[str, str]:
    """Columns that hold one option each, by their letter or number: A, B, … or option1, option2, …

    Empty where there are fewer than two.
    """
    letters = {c: c for c in "ABCDEFGHIJ" if c in table.columns}
    if len(letters) > 1:
        return letters
    numbered = {m[1].upper(): column for column in table.columns if (m := _NUMBERED.fullmatch(column))}
    complete = len(numbered) > 1 and by_name(table, ANSWERS) and by_name(table, (*QUESTIONS, *CONTEXTS))
    marks = sorted(numbered) if complete else []
    return {chr(ord("A") + i): numbered[mark] for i, mark in enumerate(marks)}


def _from_zero(answers: Sequence[Any], options: Sequence[Sequence[str]]) -> tuple[Sequence[Any], bool]:
    """Answers that count the options from 1 as indices: all are numbers, none is 0, one is as large as
    its question has options, and they are not the options themselves."""
    numbers = [str(value).strip() for value in answers]
    if not all(number.isdecimal() for number in numbers):
        return answers, False
    counts = [int(number) for number in numbers]
    last = any(n == len(texts) for n, texts in zip(counts, options, strict=True))
    texts_given = all(
        isinstance(a, str) and n in o for a, n, o in zip(answers, numbers, options, strict=True)
    )
    if min(counts) < 1 or not last or texts_given:
        return answers, False
    return [n - 1 for n in counts], True


def _from_chat(where: str, messages: Any, ideal: Any) -> tuple[str, tuple[str, ...], int]:
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise _bad("the input is not a list of messages", where, messages)
    last = messages[-1]
    content = last.get("content") if isinstance(last, Mapping) else None
    return _from_lettered(where, content, ideal)


def _from_lettered(where: str, question: Any, answer: Any) -> tuple[str, tuple[str, ...], int]:
    """ "stem\\nA. one\\nB. two\\nAnswer:" -> the stem, the options, the answer."""
    if not isinstance(question, str):
        raise _bad("the question is not text", where, question)
    found = _option_lines(question)
    if found is None:
        raise _bad("the question has no option lines A, B, …", where, question)
    marks = [m[1] for m in found]
    body = _ANSWER_CUE.sub("", question)
    ends = [*(m.start() for m in found[1:]), len(body)]
    options, _ = _options([body[m.start(2) : end] for m, end in zip(found, ends, strict=True)], where)
    return _as_question(question[: found[0].start()].strip()), options, _answer(answer, options, marks, where)


def _option_lines(question: str) -> list[re.Match[str]] | None:
    """The last run of lines A, B, C, … ("I. …" of a list inside the stem is not an option)."""
    found = list(_LETTERED.finditer(question))
    starts = [i for i, match in enumerate(found) if match[1] == "A"]
    if not starts:
        return None
    run = found[starts[-1] :]
    in_order = [m for i, m in enumerate(run) if m[1] == chr(ord("A") + i)]
    return in_order if len(in_order) >= 2 else None


def _lettered_questions(table: Table) -> bool:
    question, answer = by_name(table, QUESTIONS), by_name(table, ANSWERS)
    if question is None or answer is None:
        return False
    values = table.columns[question]
    return all(isinstance(v, str) and _option_lines(v) is not None for v in values[:20])


def _as_question(stem: str, passage: Any = None) -> str:
    before = f"{passage.strip()}\n" if isinstance(passage, str) and passage.strip() else ""
    return f"{before}Question: {stem}\nAnswer:"


def _options(raw: Any, where: str) -> tuple[tuple[str, ...], list[str]]:
    """Option texts and the marks that an answer may use for them."""
    marks = [chr(ord("A") + i) for i in range(26)]
    if isinstance(raw, Mapping) and "text" in raw:
        marks = [str(mark) for mark in raw.get("label") or marks]
        raw = raw["text"]
    elif isinstance(raw, Mapping):
        marks, raw = [str(key) for key in raw], list(raw.values())
    if isinstance(raw, str) or not isinstance(raw, Sequence):
        raise _bad("the options are not a list", where, raw)
    texts = checked_texts(list(raw), [where] * len(raw), "option")
    options = tuple(text.strip() for text in texts)
    if len(options) < 2:
        raise _bad("a question has fewer than two options", where, list(options))
    return options, marks[: len(options)]


def _answer(value: Any, options: tuple[str, ...], marks: Sequence[str], where: str) -> int:
    """The index of the right option from a mark ("B"), an index (0-based) or the option's text."""
    index = _answer_index(value, options, marks, where)
    if options.count(options[index]) > 1:
        raise _bad("the right option stands among the options twice", where, list(options))
    return index


def _answer_index(value: Any, options: tuple[str, ...], marks: Sequence[str], where: str) -> int:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _bad("the answer is missing or not an index, a letter or an option", where, value)
    text = str(value).strip()
    mark = text.strip("().:")
    if isinstance(value, str) and text not in options and mark not in marks:
        mark = mark.upper()
    if isinstance(value, str) and mark in marks:
        return list(marks).index(mark)
    if isinstance(value, str) and text in options:
        return options.index(text)
    if text.isdecimal():
        index = int(value)
        if 0 <= index < len(options):
            return index
    raise DataError(
        "the answer is none of the options",
        got=f"{where}: {value}",
        allowed=[*marks, f"0 … {len(options) - 1}", *options],
        next_step="correct the answer of this row (indices count from 0)",
    )


def _need(table: Table, named: str | None, names: Sequence[str]) -> str:
    found = named or by_name(table, names)
    if found is None:
        raise DataError(
            "a column of the multiple-choice questions is missing",
            got=", ".join(table.columns),
            allowed=f"one of: {', '.join(names)}; shapes: {_SHAPES}",
            next_step="add the column, or name it with --context, --options or --answer",
        )
    return found


def _rows(table: Table, first: str, second: str) -> list[tuple[str, Any, Any]]:
    return list(zip(table.where, table.columns[first], table.columns[second], strict=True))


def _guess(question: str, answer: str, options: str = "", passage: str = "") -> tuple[Text, ...]:
    listed = f", options {options}" if options else ", options from its lettered lines"
    listed_zh = f"，选项 {options}" if options else "，选项取自其中的字母行"
    if passage:
        listed, listed_zh = f"{listed}, passage {passage}", f"{listed_zh}，文章 {passage}"
    return (
        Text(
            f"read as multiple choice: question {question}{listed}, answer {answer}; "
            "the options' texts, not their letters, are compared",
            f"按选择题读取：题目 {question}{listed_zh}，答案 {answer}；比较的是选项文本而不是字母",
        ),
    )


def _bad(what: str, where: str, value: Any) -> DataError:
    return DataError(
        what, got=f"{where}: {value}", allowed=f"rows like {_SHAPES}", next_step="correct or remove this row"
    )
