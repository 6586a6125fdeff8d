"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from tiku.core.errors import OutOfSpace
from tiku.core.files import atomic_folder, refused_by_disk, write_json, write_text


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


def test_a_full_disk_is_told_from_other_errors_however_deep_it_lies(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    wrapped = RuntimeError("the export failed")
    wrapped.__cause__ = full
    told_in_words = RuntimeError('Os { code: 28, kind: StorageFull, message: "No space left on device" }')
    assert all(refused_by_disk(error, tmp_path) for error in (full, wrapped, told_in_words))
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory")
    elsewhere = OSError(errno.EROFS, "Read-only file system", "/a/cache")
    assert not any(refused_by_disk(error, tmp_path) for error in (missing, elsewhere, ValueError("no")))


def test_an_error_of_the_block_itself_is_not_taken_for_the_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "a"):
        (tmp_path / "nowhere").read_bytes()
    with pytest.raises(OutOfSpace) as caught, atomic_folder(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(tmp_path / "a") in (caught.value.got or "")
