# ruff: noqa: E501 - one row per case reads as a table
"""Artefacts and inputs that `predict` and `verify` must not use."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.badinput.refusal import Case, Home, case, check, table
from tests.command import run


def _harmed(home: Home, harm: Callable[[Path], object]) -> list[object]:
    harm(home.path / "artefact")
    return ["predict", "artefact", "a warm film"]


def _manifest(**changes: Any) -> Callable[[Path], object]:
    def harm(folder: Path) -> None:
        path = folder / "artefact.json"
        value = {**json.loads(path.read_text(encoding="utf-8")), **changes}
        path.write_text(json.dumps(value), encoding="utf-8")

    return harm


def _started_with(name: str, setting: object) -> tuple[Callable[[Path], object], str]:
    def harm(folder: Path) -> None:
        serve = json.loads((folder / "artefact.json").read_text(encoding="utf-8"))["serve"]
        _manifest(serve={**serve, "environment": {name: setting}})(folder)

    return harm, "settings that could run code"


def _flip(folder: Path) -> None:
    path = folder / "model" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _text(home: Home, content: str | bytes, name: str = "in.txt") -> list[object]:
    return ["predict", "artefact", home.write(name, content)]


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "tampered weights": (_flip, "changed after it was built"),
    "cut weights": (lambda a: os.truncate(a / "model" / "model.safetensors", 100), "cut short"),
    "file too much": (lambda a: (a / "run.sh").write_text("x"), "files it does not list"),
    "file missing": (lambda a: (a / "README.md").unlink(), "files of the artefact are missing"),
    "link out": (lambda a: os.symlink("/etc/passwd", a / "model" / "users"), "a symbolic link"),
    "no manifest": (lambda a: (a / "artefact.json").unlink(), "there is no artefact here"),
    "manifest is no JSON": (lambda a: (a / "artefact.json").write_text("{"), "artefact.json is not valid JSON"),
    "manifest is no UTF-8": (lambda a: (a / "artefact.json").write_bytes(b'{"schema": "\xff"}'), "artefact.json is not valid JSON"),
    "manifest of another schema": (_manifest(schema="tiku.artefact/9"), "another schema version"),
    "manifest without files": (_manifest(files=None), "does not have the fields"),
    "unknown runtime": (_manifest(runtime="abacus"), "no runtime of the name"),
    "unknown family": (_manifest(family="abacus"), "no model family of the name"),
    "path escape": (_manifest(files={"../../secret": {"sha256": "", "bytes": 1}}), "outside its folder"),
    "preloads a file": _started_with("LD_PRELOAD", "/tmp/evil.so"),
    "preloads two": _started_with("LD_PRELOAD", "libjemalloc.so.2:./evil.so"),
    "preloads with a space": _started_with("LD_PRELOAD", "libjemalloc.so.2 evil.so"),
    "import path": _started_with("PYTHONPATH", "/tmp/evil"),
    "allocator size that is none": _started_with("MALLOC_ARENA_MAX", "2\n3"),
    "allocator size as a number": _started_with("MALLOC_ARENA_MAX", [2]),
}  # fmt: skip

CASES = [
    *(case(name, lambda h, harm=harm: _harmed(h, harm), says) for name, (harm, says) in HARMS.items()),
    case("no such artefact", lambda h: ["predict", "nowhere", "a film"], "no such artefact folder", "tiku exam"),
    case("a model folder", lambda h: ["predict", "model", "a film"], "there is no artefact here"),
    case("a file", lambda h: ["predict", "reviews.csv", "a film"], "no such artefact folder"),
    case("device not here", lambda h: ["predict", "artefact", "a film", "--device", "tpu"], "no such device here", "got: tpu"),
    case("no input", lambda h: ["predict", "artefact"], "tiku predict needs INPUT"),
    case("input file missing", lambda h: ["predict", "artefact", "nowhere.csv"], "no such file or folder", "echo TEXT"),
    case("input path missing", lambda h: ["predict", "artefact", "data/nowhere"], "no such file or folder"),
    case("input empty", lambda h: ["predict", "artefact", ""], "is empty"),
    case("input blank", lambda h: ["predict", "artefact", "  "], "is empty"),
    case("input file empty", lambda h: _text(h, ""), "the file is empty"),
    case("input file blank", lambda h: _text(h, " \n\n"), "the file is empty"),
    case("input file binary", lambda h: _text(h, b"a\0b"), "NUL bytes"),
    case("input file no UTF-8", lambda h: _text(h, b"fine\n\xff\n"), "not valid UTF-8", "line 2"),
    case("input file UTF-16", lambda h: _text(h, "a film".encode("utf-16")), "UTF-16"),
    case("input of an unknown kind", lambda h: _text(h, "x", "in.xlsx"), "files of this kind are not read"),
    case("input folder", lambda h: ["predict", "artefact", "model"], "no data that can be read"),
    case("table without texts", lambda h: _text(h, '{"n": 1}\n', "in.jsonl"), "no column holds texts", "--text COLUMN"),
    case("table with a text missing", lambda h: _text(h, '{"text": "a"}\n{"text": null}\n', "in.jsonl"), "in.jsonl:2: None", "a text in every row"),
    case("table, column misspelt", lambda h: ["predict", "artefact", "reviews.csv", "--text", "txet"], "did you mean text?"),
    case("column for a plain text", lambda h: ["predict", "artefact", "a film", "--text", "text"], "no such file or folder"),
    case("JSON line broken", lambda h: _text(h, '{"text": "a"}\n{"text"\n', "in.jsonl"), "not valid JSON", "line 2"),
]  # fmt: skip


@table(CASES)
def test_artefacts_and_inputs_that_cannot_be_used_are_refused(home: Home, row: Case) -> None:
    check(home, row)


@table(case(name, lambda h, harm=harm: _harmed(h, harm), says) for name, (harm, says) in HARMS.items())
def test_verify_fails_and_names_the_damage(home: Home, row: Case) -> None:
    row.arrange(home)
    told, as_json = run("verify", "artefact"), run("verify", "artefact", "--json")
    assert told.code == as_json.code == 1 and "Traceback" not in told.err
    assert row.says[0] in told.out + told.err
    found = as_json.json()
    assert found["ok"] is False and row.says[0] in found["error"]["what"] and found["error"]["next"]


def test_empty_standard_input_is_refused(home: Home) -> None:
    told = run("predict", "artefact", "-", stdin=b"")
    assert told.code == 2 and "standard input is empty" in told.err and told.out == ""


def test_pickle_inside_an_artefact_is_never_opened(home: Home) -> None:
    from tiku.core.hashing import hash_file

    path = home.path / "artefact" / "model" / "extra.pkl"
    path.write_bytes(b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.")
    manifest = home.path / "artefact" / "artefact.json"
    value = json.loads(manifest.read_text(encoding="utf-8"))
    value["files"]["model/extra.pkl"] = {"sha256": hash_file(path), "bytes": path.stat().st_size}
    manifest.write_text(json.dumps(value), encoding="utf-8")
    check(home, Case("pickle", lambda h: ["predict", "artefact", "a film"], ("holds a pickle",)))
    assert not (home.path / "ran").exists()
