"""Weight files checked before anything reads them: safetensors only, whole, and inside the folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tiku.core.errors import ModelError
from tiku.core.hashing import hash_file, hash_of

__all__ = ["check_weights", "fingerprint_folder", "tensor_dtypes", "weight_files"]

_INDEX = "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".joblib")
_PROCESSOR_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
    "sentence_bert_config.json",
)  # fmt: skip


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder. Raises `ModelError` when there are none, when the index
    names a file outside the folder, or when the weights are a pickle."""
    single, index = folder / "model.safetensors", folder / _INDEX
    if single.is_file():
        return [single]
    if index.is_file():
        return _indexed_files(index)
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLES)
    if pickles:
        raise ModelError(
            "these weights are a pickle, which can run code when it is loaded; tiku does not unpickle",
            got=", ".join(pickles),
            allowed="model.safetensors",
            next_step="convert them where you trust them: AutoModel.from_pretrained(folder)"
            ".save_pretrained(new_folder) writes safetensors",
        )
    raise ModelError(
        "the model folder holds no weights",
        got=f"{folder}: {', '.join(sorted(p.name for p in folder.iterdir())[:8])}",
        allowed=f"model.safetensors, or {_INDEX} with its parts",
        next_step="save the model with model.save_pretrained(folder)",
    )


def check_weights(folder: Path) -> None:
    """Open every weight file and check its header against its size. Raises `ModelError`."""
    from safetensors import SafetensorError, safe_open

    for path in weight_files(folder):
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(
                "the weight file is damaged: its header and its bytes do not fit together",
                got=f"{path.name} ({path.stat().st_size} bytes): {error}",
                allowed="a whole safetensors file",
                next_step="copy or download the file again and compare its SHA-256",
            ) from error


def tensor_dtypes(folder: Path) -> list[str]:
    """The number formats the file stores ("F32", "BF16", …), sorted."""
    return sorted({entry["dtype"] for path in weight_files(folder) for entry in _header(path)})


def fingerprint_folder(folder: Path) -> str:
    """SHA-256 over weights, config and processor files (names and contents, not where they lie)."""
    files = [folder / "config.json", *weight_files(folder)]
    files += [folder / name for name in _PROCESSOR_FILES if (folder / name).is_file()]
    return hash_of({path.name: hash_file(path) for path in files})


def _header(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return (entry for name, entry in header.items() if name != "__metadata__")


def _indexed_files(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            "the index of the weight files cannot be read",
            got=f"{index.name}: {error}",
            allowed='a JSON object with "weight_map"',
            next_step="save the model again with model.save_pretrained(folder)",
        ) from error
    for name in names:
        if Path(str(name)).name != name or not str(name).endswith(".safetensors"):
            raise ModelError(
                "the index of the weight files names a file outside the folder or not in safetensors",
                got=name,
                allowed="plain names of .safetensors files in the same folder",
                next_step="distrust this model; if you know who wrote it, save it again",
            )
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing or not names:
        raise ModelError(
            "weight files that the index names are missing",
            got=", ".join(missing) or "an empty weight_map",
            allowed=f"all {len(names)} parts",
            next_step="copy or download the missing parts",
        )
    return [index.parent / name for name in names]
