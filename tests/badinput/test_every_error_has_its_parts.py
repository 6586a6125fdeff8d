"""Every error that tiku raises on purpose says what was got or allowed, and the next step."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tiku
from tiku.core import errors
from tiku.core.errors import BadInput, DataError, TikuError

_KINDS = {name for name in errors.__all__ if name[0].isupper()}
_MODULES = sorted(Path(str(tiku.__file__)).parent.rglob("*.py"))


def _raised(path: Path) -> Iterator[tuple[int, set[str | None]]]:
    """Line and keywords of every call that makes such an error."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _KINDS:
            yield node.lineno, {keyword.arg for keyword in node.keywords}


def test_every_error_in_the_source_names_got_or_allowed_and_the_next_step() -> None:
    lacking = [
        f"{path}:{line}"
        for path in _MODULES
        for line, given in _raised(path)
        if "next_step" not in given or not {"got", "allowed"} & given
    ]
    assert lacking == []


def test_the_scan_sees_the_errors() -> None:
    assert sum(1 for path in _MODULES for _ in _raised(path)) > 200


def test_parts_are_one_printable_line_each() -> None:
    error = BadInput("a\x1b[31m", got="b\nc", allowed=["d\x07", "e"], next_step="f\u202eg")
    assert error.parts() == {
        "what": "a\\x1b[31m", "got": "b\\nc", "allowed": "d\\x07, e", "next": "f\\u202eg",
    }  # fmt: skip


def test_chinese_text_and_its_wide_spaces_stay_readable() -> None:
    assert BadInput("影评　为空", got="文件.csv").parts() == {"what": "影评　为空", "got": "文件.csv"}


def test_long_values_are_cut_where_reading_stops() -> None:
    parts = BadInput("x", got="g" * 5000, allowed=(f"c{i}" for i in range(5000))).parts()
    assert len(parts["got"]) == 201 and parts["got"].endswith("…")
    assert len(parts["allowed"]) == 1201 and parts["allowed"].startswith("c0, c1, c2")


def test_value_that_stands_for_gigabytes_is_quoted_at_once() -> None:
    bomb: list[object] = ["x"] * 9
    for _ in range(30):
        bomb = [bomb] * 9  # 9 ** 31 words when written out
    assert len(BadInput("x", got=bomb).parts()["got"]) <= 201


@pytest.mark.parametrize("kind", sorted(_KINDS))
def test_error_survives_the_way_between_processes(kind: str) -> None:
    import pickle

    made: TikuError = getattr(errors, kind)("what", got="got\n", allowed=["a", "b"], next_step="next")
    back = pickle.loads(pickle.dumps(made))
    assert type(back) is type(made) and back.parts() == made.parts() and back.exit_code == made.exit_code


def test_bad_input_is_told_apart_by_its_exit_code() -> None:
    assert DataError("x").exit_code == 2 and errors.CannotMeasure("x").exit_code == 3
    assert errors.OutOfSpace("x").exit_code == 3 and errors.MissingExtra("x").exit_code == 2
