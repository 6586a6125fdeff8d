"""What every refusal owes the user, checked in one place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import Outcome, run
from tests.tiny import sentences

__all__ = ["Case", "Home", "case", "check", "exam", "rows", "table"]

_OWN = (".cache", ".hub", "__pycache__")  # caches are no results


@dataclass(frozen=True)
class Home:
    """The current folder, with good things in it to break."""

    path: Path

    def write(self, name: str, content: str | bytes) -> str:
        """A file in the folder; its name."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return name

    def csv(self, rows: Iterable[Iterable[str]], header: str = "text,label", name: str = "bad.csv") -> str:
        """A CSV file of these rows."""
        return self.write(name, "\n".join([header, *(",".join(row) for row in rows)]) + "\n")

    def jsonl(self, rows: Iterable[object], name: str = "bad.jsonl") -> str:
        """A JSON Lines file of these objects."""
        return self.write(name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


@dataclass(frozen=True)
class Case:
    """A name, the arguments that meet the bad input, and fragments that the message must hold."""

    name: str
    arrange: Callable[[Home], Iterable[object]]
    says: tuple[str, ...]
    code: int = 2


def case(name: str, arrange: Callable[[Home], Iterable[object]], *says: str, code: int = 2) -> Case:
    """One row of a table."""
    return Case(name, arrange, says, code)


def table(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """The rows as a parametrised test; no name twice."""
    rows = list(cases)
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    return pytest.mark.parametrize("row", rows, ids=names)


def exam(data: object, *flags: object, model: object = "model") -> list[object]:
    """`tiku exam` on this data."""
    return ["exam", model, "--data", data, "--out", "out", "--budget", "quick", *flags]


def rows(count: int = 60, **changes: str) -> list[list[str]]:
    """Good (text, label) rows; `changes` replaces a label by another spelling."""
    return [[text, changes.get(label, label)] for text, label in sentences(count)]


def check(home: Home, row: Case) -> None:
    """Refused with the documented code, explained, and nothing was touched."""
    arguments = [str(a) for a in row.arrange(home)]
    before = _snapshot(home.path)
    told = run(*arguments)
    _explained(told, row)
    assert told.out == "", "nothing belongs on stdout"
    as_json = run(*arguments, "--json")
    _one_object(as_json, row)
    assert _snapshot(home.path) == before, "a refusal writes nothing and changes nothing"


def _explained(told: Outcome, row: Case) -> None:
    assert "Traceback" not in told.out + told.err
    assert told.code == row.code, told.err
    lines = told.err.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("error: "))
    parts = [line.split(":")[0].strip() for line in lines[start:]]
    assert parts[0] == "error" and parts[-1] == "next", told.err
    assert {"got", "allowed"} & set(parts), told.err
    for fragment in row.says:
        assert fragment in told.err, f"{fragment!r} is not said in:\n{told.err}"


def _one_object(told: Outcome, row: Case) -> None:
    value = told.json()
    assert told.code == value["exit_code"] == row.code
    parts = value["error"]
    assert parts["what"] and parts["next"] and (parts.get("got") or parts.get("allowed"))
    assert f"error: {parts['what']}\n" in told.err and f"next: {parts['next']}\n" in told.err


def _snapshot(folder: Path) -> dict[str, str]:
    files = (p for p in sorted(folder.rglob("*")) if not set(p.relative_to(folder).parts) & set(_OWN))
    return {str(p.relative_to(folder)): _identity(p) for p in files}


def _identity(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
