"""From an artefact back to a `Subject`, and its facts without opening anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiku.artefact.manifest import MODEL, check_files, read_manifest
from tiku.artefact.predictor import cores
from tiku.core import registry
from tiku.core.errors import ArtefactError
from tiku.core.family import Family
from tiku.core.runtime import Runtime
from tiku.core.subject import Subject

__all__ = ["load_subject", "read_facts"]

_WITH_MODULE = ("torch", "torch-compile")  # runtimes that keep the module's own weights


def load_subject(folder: Path | str) -> Subject:
    """The subject an artefact was written from, on the CPU in eval mode. Raises `ArtefactError`.

    Only runtimes that keep the torch weights can be taken back; an exported graph cannot.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest.runtime not in _WITH_MODULE:
        raise ArtefactError(
            "an exported graph cannot be turned back into a module that methods could change",
            got=manifest.runtime,
            allowed=_WITH_MODULE,
            next_step="start from the artefact of the torch runtime",
        )
    check_files(folder, manifest)
    family: Family = registry.get("models", manifest.family)
    torch_runtime: Runtime = registry.get("runtimes", "torch")
    session: Any = torch_runtime.open(
        folder / MODEL,
        task=manifest.task,
        options={"keep_codes": True, "compute": manifest.runtime_options.get("compute")},
        threads=manifest.serve.threads or cores(),
        device="cpu",
    )
    return Subject(
        task=manifest.task,
        family=manifest.family,
        module=session.module,
        processor=family.load_processor(folder / MODEL),
        labels=manifest.labels,
        runtime=manifest.runtime,
        runtime_options=manifest.runtime_options,
        numerics=manifest.numerics,
        serve=manifest.serve,
        facts=manifest.facts,
    )


def read_facts(folder: Path | str) -> dict[str, Any]:
    """What is known about a build, as JSON values: the subject's facts, the check, the serving settings."""
    manifest = read_manifest(Path(folder))
    total = sum(entry.bytes for entry in manifest.files.values())
    return {**manifest.facts, "check": dict(manifest.check), "bytes": total, "runtime": manifest.runtime}
