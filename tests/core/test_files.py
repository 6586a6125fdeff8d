"""Files appear whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tiku.core.errors import OutOfSpace
from tiku.core.files import atomic_folder, write_json, write_text


def test_a_failed_block_leaves_the_old_folder_and_no_rubbish(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a") as staging:
        (staging / "one").write_text("1")
    with pytest.raises(ValueError, match="stop"), atomic_folder(tmp_path / "a") as staging:
        (staging / "two").write_text("2")
        raise ValueError("stop")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "one").read_text() == "1"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with atomic_folder(tmp_path / "a") as staging:
            (staging / name).write_text(name)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["two"]


def test_not_a_number_is_never_written(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1.5}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutOfSpace) as caught:
        write_text(tmp_path / "file" / "x.txt", "hello")
    assert str(tmp_path / "file") in (caught.value.got or "")
