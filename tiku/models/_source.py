"""Where a model comes from: a folder, a hub id, a GGUF file or `module:function`; and its config."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tiku.core.errors import ModelError
from tiku.core.files import user_path
from tiku.core.registry import closest

__all__ = [
    "declared_length",
    "is_gguf",
    "is_hub_id",
    "is_reference",
    "peek_config",
    "read_config",
    "resolve_folder",
]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
_HUB_TIMEOUT_S = 10
_SOURCES = "a folder that transformers wrote, a hub id (owner/name), a .gguf file, or module:function"


def is_hub_id(source: str) -> bool:
    """Whether the source reads like `owner/name` and is no path that exists here."""
    return bool(_HUB_ID.fullmatch(source)) and not source.endswith(".gguf") and not Path(source).exists()


def is_reference(source: str) -> bool:
    """Whether the source reads like `package.module:function`."""
    return bool(_REFERENCE.fullmatch(source)) and not Path(source).exists()


def is_gguf(source: str) -> bool:
    """Whether the source names a GGUF file (by its ending; the content is checked when it is read)."""
    return source.lower().endswith(".gguf")


def resolve_folder(source: str) -> Path:
    """The local folder that holds config and weights; a hub id is fetched into the hub's own cache.

    Raises `ModelError` when there is no such folder and no way to fetch it.
    """
    if is_hub_id(source):
        return _fetch(source)
    path = user_path(source)
    if not path.exists():
        raise ModelError(
            "there is no model at this path", got=source, allowed=_SOURCES, next_step=_near(path)
        )
    if not path.is_dir():
        raise ModelError(
            "a model is a folder, and this is a file",
            got=source,
            allowed=_SOURCES,
            next_step="give the folder that holds config.json",
        )
    return _transformer_part(path)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json as a mapping. Raises `ModelError` when it is missing, unreadable or not a model's."""
    path = folder / "config.json"
    if not path.is_file():
        found = sorted(entry.name for entry in folder.iterdir())[:8]
        raise ModelError(
            "the model folder has no config.json",
            got=f"{folder}: {', '.join(found) or 'empty'}",
            allowed="config.json, model.safetensors and the tokenizer's files",
            next_step="save model and tokenizer with their save_pretrained(folder)",
        )
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise ModelError(
            "config.json is not valid JSON",
            got=f"{path}: {error}",
            allowed="a JSON object",
            next_step="write it again with model.config.save_pretrained(folder)",
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ModelError(
            "config.json does not say which architecture the model has",
            got=f"{path}: model_type is {config.get('model_type') if isinstance(config, dict) else 'absent'}",
            allowed='a JSON object with "model_type", for example "bert" or "llama"',
            next_step="write it again with model.config.save_pretrained(folder)",
        )
    return config


def peek_config(source: str) -> dict[str, Any] | None:
    """The config of a local folder, or None where there is none that can be read."""
    path = user_path(source)
    if not path.is_dir():
        return None
    try:
        return read_config(_transformer_part(path))
    except ModelError:
        return None


def declared_length(folder: Path) -> int | None:
    """The `max_seq_length` a sentence-transformers folder declares, or None."""
    path = folder / "sentence_bert_config.json"
    try:
        value = json.loads(path.read_bytes()).get("max_seq_length")
    except (OSError, ValueError, AttributeError):
        return None
    return value if isinstance(value, int) and value > 0 else None


def _transformer_part(folder: Path) -> Path:
    """Older sentence-transformers folders keep the transformer in a subfolder named by modules.json."""
    listing = folder / "modules.json"
    if (folder / "config.json").is_file() or not listing.is_file():
        return folder
    try:
        paths = [Path(module["path"]) for module in json.loads(listing.read_bytes())]
    except (ValueError, KeyError, TypeError):
        return folder
    inside = [folder / path for path in paths if (folder / path).resolve().is_relative_to(folder.resolve())]
    return next((path for path in inside if (path / "config.json").is_file() and path != folder), folder)


def _near(path: Path) -> str:
    siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    return closest(path.name, siblings) or "check the path; relative paths start at the current folder"


def _fetch(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=_HUB_FILES, etag_timeout=_HUB_TIMEOUT_S))
    except (GatedRepoError, RepositoryNotFoundError) as error:
        raise ModelError(
            "the hub has no model of this name that you may read",
            got=hub_id,
            allowed=_SOURCES,
            next_step="check the name, and log in to the hub for gated models",
        ) from error
    except Exception as error:  # the hub client raises network, cache and validation errors of many libraries
        raise ModelError(
            "there is no such folder here, and the model hub cannot be reached",
            got=f"{hub_id} ({str(error).splitlines()[0] if str(error) else type(error).__name__})",
            allowed=_SOURCES,
            next_step="download the model where there is a network and give its folder",
        ) from error
