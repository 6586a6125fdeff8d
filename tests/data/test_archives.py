"""Archives made here, good and bad: what is copied out, and what is refused."""

import gzip
import hashlib
import io
import os
import stat
import tarfile
import zipfile

import pytest

from tiku.core.errors import DataError
from tiku.data.archives import Archive, Member, unpack

CONTENT = os.urandom(1_200_000)
SHA = hashlib.sha256(CONTENT).hexdigest()


def _zip(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = 0 if info is content else len(content)
            archive.addfile(info, None if info is content else io.BytesIO(content))
    return path


def _link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def _unpacked(archive, folder, path="pkg/data.bin"):
    folder.mkdir(exist_ok=True)
    unpack(archive, [Member(path, "data.bin", SHA)], folder)
    return (folder / "data.bin").read_bytes()


def _refused(archive, folder, path="pkg/data.bin"):
    with pytest.raises(DataError) as caught:
        _unpacked(archive, folder, path)
    assert caught.value.got and caught.value.allowed and caught.value.next_step
    return str(caught.value)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_member_of_every_kind_of_tar_is_copied(tmp_path, mode):
    made = _tar(tmp_path / "a.tar", {"pkg/other": b"x", "pkg/data.bin": CONTENT}, mode)
    assert _unpacked(made, tmp_path / "out") == CONTENT
    assert os.listdir(tmp_path / "out") == ["data.bin"]


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_member_of_every_kind_of_zip_is_copied(tmp_path, method):
    made = _zip(tmp_path / "a.whl", {"pkg/data.bin": CONTENT, "pkg/__init__.py": b"1/0"}, compression=method)
    assert _unpacked(made, tmp_path / "out") == CONTENT


def test_member_of_an_archive_inside_an_archive_is_copied(tmp_path):
    inner = _tar(tmp_path / "inner.tar.gz", {"./deep/data.bin": CONTENT}).read_bytes()
    made = _zip(tmp_path / "a.zip", {"pkg/inner.tar.gz": inner})
    assert _unpacked(made, tmp_path / "out", "pkg/inner.tar.gz!deep/data.bin") == CONTENT


@pytest.mark.parametrize("name", ["../evil", "pkg/../../evil", "/tmp/evil", "..\\evil", "\\evil"])
@pytest.mark.parametrize("make", [_zip, _tar])
def test_path_that_leads_out_is_refused_even_beside_the_member(tmp_path, name, make):
    made = make(tmp_path / "a", {"pkg/data.bin": CONTENT, name: b"evil"})
    assert "leads out of the archive" in _refused(made, tmp_path / "out")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_member_of_a_tar_that_is_a_link_or_device_is_refused(tmp_path, kind):
    (tmp_path / "secret").write_bytes(CONTENT)
    target = str(tmp_path / "secret") if kind == tarfile.SYMTYPE else "pkg/real"
    made = _tar(
        tmp_path / "a.tar", {"pkg/real": CONTENT, "pkg/data.bin": _link("pkg/data.bin", target, kind)}
    )
    assert "is a link, a folder or a device" in _refused(made, tmp_path / "out")


def test_member_of_a_zip_that_is_a_link_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("pkg/data.bin")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert "is a link" in _refused(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("make", [_zip, _tar])
def test_bomb_stops_at_the_limit(tmp_path, make, monkeypatch):
    monkeypatch.setattr("tiku.data.archives._MOST_BYTES", 2_000_000)
    options = {"compression": zipfile.ZIP_DEFLATED} if make is _zip else {}
    made = make(tmp_path / "a", {"pkg/data.bin": bytes(30_000_000)}, **options)
    assert made.stat().st_size < 100_000
    assert "larger than 2,000,000 bytes" in _refused(made, tmp_path / "out")
    assert (tmp_path / "out" / "data.bin").stat().st_size <= 2_000_000


def test_bomb_inside_an_archive_stops_at_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("tiku.data.archives._MOST_BYTES", 2_000_000)
    made = _zip(tmp_path / "a.zip", {"x.tar": bytes(30_000_000)}, compression=zipfile.ZIP_DEFLATED)
    assert "larger than 2,000,000 bytes" in _refused(made, tmp_path / "out", "x.tar!pkg/data.bin")


def test_another_content_is_refused_with_both_hashes(tmp_path):
    made = _zip(tmp_path / "a.zip", {"pkg/data.bin": b"other"})
    told = _refused(made, tmp_path / "out")
    assert SHA in told and hashlib.sha256(b"other").hexdigest() in told


def _flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes(b ^ 0xFF for b in content[middle : middle + 50]) + content[middle + 50 :]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-100], lambda b: b[: len(b) // 2], _flip, lambda b: b"", lambda b: b"text"]
)
@pytest.mark.parametrize(
    ("make", "options"),
    [
        (_zip, {"compression": zipfile.ZIP_DEFLATED}), (_zip, {"compression": zipfile.ZIP_LZMA}),
        (_tar, {"mode": "w"}),
        (_tar, {"mode": "w:gz"}), (_tar, {"mode": "w:bz2"}), (_tar, {"mode": "w:xz"}),
    ],
)  # fmt: skip
def test_damaged_archive_is_refused_and_never_a_traceback(tmp_path, make, options, damage):
    made = make(tmp_path / "a", {"pkg/data.bin": CONTENT[:400_000]}, **options)
    made.write_bytes(damage(made.read_bytes()))
    _refused(made, tmp_path / "out")


def test_encrypted_member_is_refused(tmp_path):
    made = _zip(tmp_path / "a.zip", {"pkg/data.bin": CONTENT[:1000]})
    content = bytearray(made.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag of encryption, set twice
        content[content.index(signature) + offset] |= 1
    made.write_bytes(content)
    assert "encrypted" in _refused(made, tmp_path / "out")


def test_missing_member_is_refused_by_name(tmp_path):
    for made in (_zip(tmp_path / "a.zip", {"pkg/b": b""}), _tar(tmp_path / "a.tar", {"pkg/b": b""})):
        assert "pkg/data.bin" in _refused(made, tmp_path / "out")


def test_gzip_of_no_archive_is_refused(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(CONTENT))
    assert "cannot be used" in _refused(tmp_path / "a.gz", tmp_path / "out")


def test_folder_in_the_cache_changes_with_version_hash_and_members():
    one = Archive("a==1", "0" * 64, 1, (Member("x", "x", "1" * 64),))
    others = [
        Archive("a==2", "0" * 64, 1, one.members),
        Archive("a==1", "f" * 64, 1, one.members),
        Archive("a==1", "0" * 64, 1, (Member("x", "x", "2" * 64),)),
        Archive("a==1", "0" * 64, 1, (Member("x", "y", "1" * 64),)),
    ]
    assert len({a.folder_name for a in (one, *others)}) == 5
    assert one.folder_name == Archive("a==1", "0" * 64, 99, one.members).folder_name
