"""`artefact.json` (schema `tiku.artefact/1`): what an artefact is, and the hash of every file in it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tiku.core.errors import ArtefactError
from tiku.core.hashing import hash_file
from tiku.core.startup import unsafe
from tiku.core.subject import Numerics, Serve

__all__ = [
    "MANIFEST",
    "MODEL",
    "SCHEMA",
    "FileEntry",
    "Manifest",
    "check_files",
    "list_files",
    "read_manifest",
]

SCHEMA = "tiku.artefact/1"
MANIFEST = "artefact.json"
MODEL = "model"  # the folder with the runtime's files and the processor's

_REBUILD = "build the artefact again, or copy it again from where it was built"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
_PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class FileEntry:
    """A file's SHA-256 (64 hex digits) and size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """The content of artefact.json. `check` says how the stored reference outputs were obtained and
    how far another run may be from them; `measurements` holds what the exam found, if it was one."""

    task: str
    family: str
    runtime: str
    tiku: str
    files: Mapping[str, FileEntry]
    runtime_options: Mapping[str, Any] = field(default_factory=dict)
    numerics: Numerics = field(default_factory=Numerics)
    serve: Serve = field(default_factory=Serve)
    labels: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    check: Mapping[str, Any] = field(default_factory=dict)
    measurements: Mapping[str, Any] = field(default_factory=dict)
    schema: str = SCHEMA


def read_manifest(folder: Path) -> Manifest:
    """Read and check artefact.json. Raises `ArtefactError`."""
    value = _read_json(folder)
    schema = value.get("schema")
    if schema != SCHEMA:
        raise ArtefactError(
            "this artefact has another schema version",
            got=schema,
            allowed=SCHEMA,
            next_step="open it with the tiku that wrote it, or build it again",
        )
    try:
        return _parse(value)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ArtefactError(
            f"{MANIFEST} does not have the fields of {SCHEMA}",
            got=f"{type(error).__name__}: {error}",
            allowed="the file as tiku wrote it",
            next_step=_REBUILD,
        ) from error


def check_files(folder: Path, manifest: Manifest, *, hashes: bool = True) -> None:
    """Every listed file is there, whole and (with `hashes`) unchanged; none is a pickle, a link or extra.

    Raises `ArtefactError` naming the first file that is not.
    """
    present = list_files(folder)
    _refuse(sorted(set(manifest.files) - set(present)), "files of the artefact are missing")
    _refuse(
        sorted(set(present) - set(manifest.files) - {MANIFEST}), "the artefact holds files it does not list"
    )
    for name, entry in manifest.files.items():
        _check_file(folder / name, name, entry, hashes=hashes)


def list_files(folder: Path) -> list[str]:
    """Relative paths with forward slashes, sorted. Raises `ArtefactError` at a symbolic link."""
    found = []
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            if path.is_symlink():
                raise ArtefactError(
                    "the artefact holds a symbolic link",
                    got=path.relative_to(folder),
                    allowed="plain files and folders",
                    next_step="copy the artefact with its links resolved",
                )
        found += [Path(root, name).relative_to(folder).as_posix() for name in files]
    return sorted(found)


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtefactError(
            "there is no artefact here" if folder.is_dir() else "there is no such artefact folder",
            got=folder,
            allowed=f"a folder with {MANIFEST}",
            next_step="check the path; `tiku exam` and `tiku apply` write artefacts",
        )
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise ArtefactError(
            f"{MANIFEST} is not valid JSON",
            got=f"{path}: {error}",
            allowed="a JSON object",
            next_step=_REBUILD,
        ) from error
    if not isinstance(value, dict):
        raise ArtefactError(f"{MANIFEST} is not a JSON object", got=path, allowed="{…}", next_step=_REBUILD)
    return value


def _parse(value: Mapping[str, Any]) -> Manifest:
    files = {_safe(name): FileEntry(**entry) for name, entry in value["files"].items()}
    if not all(isinstance(e.bytes, int) and isinstance(e.sha256, str) for e in files.values()):
        raise ValueError("files: each entry has sha256 (text) and bytes (a whole number)")
    texts = {key: value[key] for key in ("task", "family", "runtime", "tiku")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("task, family, runtime and tiku are text")
    return Manifest(
        **texts,
        files=files,
        runtime_options=dict(value["runtime_options"]),
        numerics=Numerics(**value["numerics"]),
        serve=_harmless(Serve(**value["serve"])),
        labels=tuple(value["labels"]),
        facts=dict(value["facts"]),
        check=dict(value["check"]),
        measurements=dict(value["measurements"]),
    )


def _safe(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise ArtefactError(
            "the artefact lists a file outside its folder",
            got=name,
            allowed="relative paths inside the artefact",
            next_step="do not use this artefact unless you know who wrote it",
        )
    return name


def _harmless(serve: Serve) -> Serve:
    if found := unsafe(serve.environment):
        raise ArtefactError(
            "the artefact asks to be started with settings that could run code",
            got=", ".join(found),
            allowed="sizes for the C library's allocator, the bare name of an installed library",
            next_step="do not use this artefact unless you know who wrote it",
        )
    return serve


def _check_file(path: Path, name: str, entry: FileEntry, *, hashes: bool) -> None:
    size = path.stat().st_size
    if size != entry.bytes:
        raise ArtefactError(
            "a file of the artefact is cut short"
            if size < entry.bytes
            else "a file of the artefact has grown",
            got=f"{name}: {size} bytes",
            allowed=f"{entry.bytes} bytes",
            next_step=_REBUILD,
        )
    if hashes and hash_file(path) != entry.sha256:
        raise ArtefactError(
            "a file of the artefact was changed after it was built",
            got=f"{name}: SHA-256 differs",
            allowed=entry.sha256,
            next_step=_REBUILD,
        )
    with path.open("rb") as file:
        start = file.read(2)
    weights_of_ir = (
        path.suffix == ".bin" and path.with_suffix(".xml").is_file()
    )  # raw numbers: any first bytes
    if not weights_of_ir and (path.suffix in _PICKLES or start in _PICKLE_STARTS):
        raise ArtefactError(
            "the artefact holds a pickle, which can run code when it is loaded",
            got=name,
            allowed="safetensors, ONNX, OpenVINO IR, JSON, text, npz of plain arrays",
            next_step="do not use this artefact unless you know who wrote it",
        )


def _refuse(names: list[str], what: str) -> None:
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise ArtefactError(what, got=shown, allowed="the files listed in artefact.json", next_step=_REBUILD)
