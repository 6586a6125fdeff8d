"""Writing files so that a crash, a full disk or a kill leaves the old file or the new one, whole."""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tiku.core.errors import OutOfSpace
from tiku.core.hashing import canonical

__all__ = [
    "atomic_folder", "read_only", "refused_by_disk", "user_path", "write_bytes", "write_json", "write_text",
]  # fmt: skip

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
_FULL_BYTES = 64 * 1024  # less than this left is a full disk


def user_path(text: str | Path) -> Path:
    """A path as a user writes it: "~" is the home; "~name" of nobody stays as it is and will not exist."""
    return Path(os.path.expanduser(text))


def refused_by_disk(error: BaseException, folder: Path) -> bool:
    """Whether an error, or one it came from, is the disk refusing a write: full, over quota, read-only.

    Read-only counts where `folder` is: another place that may not be written is no fault of the disk.
    Libraries in other languages hide the number, so their words are read too.
    """
    seen: BaseException | None = error
    while seen is not None:
        number, words = seen.errno if isinstance(seen, OSError) else None, str(seen).lower()
        if isinstance(seen, OutOfSpace) or number in _DISK or "no space left on device" in words:
            return True
        if (number == errno.EROFS or "read-only file system" in words) and read_only(folder):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def read_only(folder: Path) -> bool:
    """Whether the file system of a folder is mounted read-only."""
    return sys.platform != "win32" and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def write_bytes(path: Path, content: bytes) -> None:
    """Write temp -> fsync -> rename. Raises `OutOfSpace` when the folder refuses."""
    with _refusal_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_text(path: Path, content: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """`write_text` of JSON; dataclasses are reduced, NaN is refused."""
    write_text(path, json.dumps(canonical(value), ensure_ascii=False, indent=1, allow_nan=False) + "\n")


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder that appears under `path` only when the block ends well; an old one is replaced.

    The block's own errors pass, unless the disk refused a write: that is `OutOfSpace`.
    """
    import shutil

    with _refusal_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield staging
        with _refusal_explained(path):
            _put_in_place(staging, path)
    except BaseException as error:
        # Some writers cut a file short on a full disk without a word, and fail later.
        full = shutil.disk_usage(path.parent).free < _FULL_BYTES
        shutil.rmtree(staging, ignore_errors=True)
        told = isinstance(error, OutOfSpace) or not isinstance(error, Exception)
        if not told and (full or refused_by_disk(error, path.parent)):
            raise _out_of_space(path, os.strerror(errno.ENOSPC) if full else str(error)) from error
        raise


def _put_in_place(staging: Path, path: Path) -> None:
    import shutil

    os.chmod(staging, 0o755)
    if path.exists():
        retired = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
        os.replace(path, retired)
        os.replace(staging, path)
        shutil.rmtree(retired, ignore_errors=True)
    else:
        os.replace(staging, path)
    _sync_folder(path.parent)


@contextmanager
def _refusal_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise _out_of_space(path, os.strerror(error.errno)) from error


def _out_of_space(path: Path, why: str) -> OutOfSpace:
    return OutOfSpace(
        "could not write",
        got=f"{path}: {why}",
        next_step="free space or choose another folder with --out",
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
