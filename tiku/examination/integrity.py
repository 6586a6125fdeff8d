"""Whether what a finished trial left on the disk is still what was measured."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from tiku.core.errors import ArtefactError
from tiku.examination.ledger import TrialFolder

__all__ = ["build_damage", "damage"]


def damage(folder: TrialFolder, *, thorough: bool = False) -> str | None:
    """What is wrong with the build or the kept arrays of a finished trial; None when all is well.

    Hashes are computed where a file changed after the outcome was written, or always if `thorough`;
    the rest is checked by name and size.
    """
    hashes = thorough or _touched(folder)
    if folder.spec().builds is None and (found := build_damage(folder, hashes=hashes)):
        return found
    return _array_damage(folder.arrays) if hashes or not folder.arrays.exists() else None


def build_damage(folder: TrialFolder, *, hashes: bool = True) -> str | None:
    """What is wrong with the build alone."""
    from tiku.artefact.manifest import check_files, read_manifest

    try:
        check_files(folder.build, read_manifest(folder.build), hashes=hashes)
    except (ArtefactError, OSError) as error:
        return "; ".join(error.parts().values()) if isinstance(error, ArtefactError) else str(error)
    return None


def _touched(folder: TrialFolder) -> bool:
    """Whether anything was written after the outcome; a copied folder counts as written anew."""
    outcome = (folder.path / "result.json").stat().st_ctime_ns
    paths = [folder.arrays, *(Path(root, n) for root, _, names in os.walk(folder.build) for n in names)]
    return any(path.exists() and path.stat().st_ctime_ns > outcome for path in paths)


def _array_damage(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as stored:
            broken = stored.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        return f"{path.name}: {error}"
    return broken and f"{path.name}: {broken} does not match its checksum"
