"""Writes an artefact: a folder with the model, its processor, its recipe and the proof that they fit.

::

    artefact.json   what it is, how it is served, and the SHA-256 of every other file
    recipe.yaml     the steps that made it
    model/          the runtime's files and the processor's, loadable without tiku
    check.npz       reference outputs
    README.md       how to load it without tiku
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tiku.artefact.check import make_reference, write_reference
from tiku.artefact.manifest import MANIFEST, MODEL, FileEntry, Manifest, list_files, read_manifest
from tiku.artefact.predictor import open_session
from tiku.artefact.readme import readme_text
from tiku.artefact.recipe_file import write_recipe
from tiku.core import registry
from tiku.core.errors import ArtefactError
from tiku.core.files import atomic_folder, write_json, write_text
from tiku.core.hashing import hash_file
from tiku.core.recipe import Recipe
from tiku.core.subject import Subject
from tiku.version import __version__

__all__ = ["refuse_foreign", "write"]

_RECIPE = "recipe.yaml"
_README = "README.md"


def write(
    subject: Subject,
    folder: Path | str,
    *,
    recipe: Recipe,
    examples: Sequence[Any],
    measurements: Mapping[str, Any] | None = None,
) -> Manifest:
    """Build the subject in its runtime and write the artefact; the folder appears whole or not at all.

    `examples` are inputs of the model's kind (up to 8 are used): the built model answers them, the
    answers are compared with the torch module's and stored. An older artefact at `folder` is
    replaced; a folder that holds anything else is refused. Raises `ArtefactError`, `ModelError`,
    `MissingExtra`, `OutOfSpace`.
    """
    folder = Path(folder)
    refuse_foreign(folder)
    with atomic_folder(folder) as staging:
        manifest = _write_model(subject, staging)
        session = open_session(staging, manifest)
        try:
            reference = make_reference(subject, session, examples)
        finally:
            session.close()
        write_reference(reference, staging)
        write_recipe(recipe, staging / _RECIPE)
        manifest = dataclasses.replace(manifest, check=reference.facts, measurements=measurements or {})
        write_text(staging / _README, readme_text(manifest, recipe))
        manifest = dataclasses.replace(manifest, files=_entries(staging))
        write_json(staging / MANIFEST, manifest)
        return read_manifest(staging)


def _write_model(subject: Subject, staging: Path) -> Manifest:
    runtime = registry.get("runtimes", subject.runtime)
    model = staging / MODEL
    model.mkdir()
    built = runtime.save(subject, model)
    registry.get("models", subject.family).save_processor(subject, model)
    return Manifest(
        task=subject.task,
        family=subject.family,
        runtime=subject.runtime,
        tiku=__version__,
        files={},
        runtime_options=dict(subject.runtime_options),
        numerics=subject.numerics,
        serve=subject.serve,
        labels=subject.labels,
        facts={**subject.facts, **({"built": dict(built)} if built else {})},
    )


def _entries(staging: Path) -> dict[str, FileEntry]:
    """Hash and size of every file, after each has reached the disk."""
    entries = {}
    for name in list_files(staging):
        path = staging / name
        with path.open("rb") as file:
            os.fsync(file.fileno())
        os.chmod(path, 0o644)
        entries[name] = FileEntry(hash_file(path), path.stat().st_size)
    return entries


def refuse_foreign(folder: Path) -> None:
    """Raise `ArtefactError` where `write` would write over something else."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise ArtefactError(
            "this folder holds something that is not an artefact; nothing was written over",
            got=folder,
            allowed="a new folder, an empty one, or an older artefact",
            next_step="choose another folder with --out",
        )
    if folder.exists() and not folder.is_dir():
        raise ArtefactError(
            "an artefact is a folder, and this is a file",
            got=folder,
            allowed="a folder",
            next_step="choose another",
        )
