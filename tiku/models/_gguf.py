"""GGUF: de-quantised once into a cached transformers folder, with what the file says about its grid."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from tiku.core.errors import MissingExtra, ModelError
from tiku.core.files import atomic_folder, user_path, write_json
from tiku.core.hashing import hash_file
from tiku.core.locking import locked

__all__ = ["check_file", "converted_folder", "weights_grid"]

_MAGIC = b"GGUF"
_NOTE = "gguf.json"
_DIGIT_BY_DIGIT = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell"})
_FORMAT = 2  # raise when the conversion changes, so that old caches are not read


def converted_folder(source: str, cache: Path) -> tuple[Path, dict[str, Any]]:
    """(folder with safetensors and tokenizer, facts about the file). Converts on the first call.

    The folder lies in `cache`, named by the file's SHA-256. Of several processes that ask at once, one
    converts and the others wait. Raises `ModelError`.
    """
    path = user_path(source)
    check_file(path)
    folder = cache / "gguf" / f"{hash_file(path)[:32]}-{_FORMAT}"
    if not (folder / _NOTE).is_file():
        with locked(folder.with_suffix(".lock")):
            if not (folder / _NOTE).is_file():
                _write(path, folder)
    facts: dict[str, Any] = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    return folder, facts


def _write(path: Path, folder: Path) -> None:
    reader = _read(path)
    words = _word_splitting(reader)
    with atomic_folder(folder) as staging:
        _convert(path, staging, words)
        _drop_tokens_of_its_own(staging / "tokenizer.json", _count_tokens(reader))
        write_json(staging / _NOTE, {"weights_grid": _grid(reader), "word_splitting": words})


def weights_grid(path: Path) -> list[dict[str, Any]]:
    """Number formats of the file's tensors, the largest share of weights first.

    Each entry: `format` (GGML name), `bits` per weight on the grid, `block` (weights that share one
    scale), `share` of all weights. A model read from such a file already lies on that grid.
    Raises `ModelError` when the file is damaged.
    """
    check_file(path)
    return _grid(_read(path))


def _grid(reader: Any) -> list[dict[str, Any]]:
    from gguf import GGML_QUANT_SIZES

    counts: Counter[Any] = Counter()
    for tensor in reader.tensors:
        counts[tensor.tensor_type] += int(tensor.n_elements)
    total = sum(counts.values())
    return [
        {"format": kind.name, "bits": _bits(kind.name), "block": GGML_QUANT_SIZES[kind][0],
         "share": round(count / total, 6)}
        for kind, count in counts.most_common()
    ]  # fmt: skip


def _word_splitting(reader: Any) -> str:
    """How the file says text is split before merging ("smollm", "llama-bpe", …); "" when it does not."""
    field = reader.get_field("tokenizer.ggml.pre")
    return "" if field is None else str(field.contents())


def _count_tokens(reader: Any) -> int | None:
    """How many tokens the file names; None when it names none."""
    field = reader.get_field("tokenizer.ggml.tokens")
    return None if field is None else len(field.data)


def _drop_tokens_of_its_own(path: Path, count: int | None) -> None:
    """transformers gives every byte-level tokenizer an <|endoftext|>, for which a network that has none
    (Llama 3) holds no embedding."""
    if count is None or not path.is_file():
        return
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["added_tokens"] = [token for token in stored["added_tokens"] if token["id"] < count]
    path.write_text(json.dumps(stored, ensure_ascii=False), encoding="utf-8")


def _read(path: Path) -> Any:
    """The opened GGUF file: metadata fields and mapped tensors."""
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise MissingExtra(
            "reading GGUF files needs the package gguf", next_step="pip install gguf", got=path.name
        ) from error
    try:
        reader = GGUFReader(path)
    except Exception as error:  # the reader maps the file and trips over whatever is cut or wrong
        raise ModelError(
            "the GGUF file is damaged or cut short",
            got=f"{path.name} ({path.stat().st_size} bytes): {error}",
            allowed="a whole GGUF file of version 2 or 3",
            next_step="copy or download the file again and compare its SHA-256",
        ) from error
    if not reader.tensors:
        raise ModelError(
            "the GGUF file holds no tensors",
            got=path.name,
            allowed="a model",
            next_step="choose the file that holds the weights, not only a vocabulary",
        )
    return reader


def _bits(kind: str) -> int:
    match = re.search(r"\d+", kind)  # Q4_1, IQ2_XS, TQ1_0, F16, BF16, MXFP4
    return int(match[0]) if match else 0


def check_file(path: Path) -> None:
    """Raise `ModelError` unless the file is there and begins as a GGUF file does."""
    if not path.is_file():
        raise ModelError(
            "there is no GGUF file at this path",
            got=path,
            allowed="a .gguf file",
            next_step="check the path; relative paths start at the current folder",
        )
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != _MAGIC:
        raise ModelError(
            "this is not a GGUF file",
            got=f"{path.name} begins with {magic!r}",
            allowed=f"a file that begins with {_MAGIC!r}",
            next_step="download the file again; a saved error page is a common cause",
        )


def _convert(path: Path, folder: Path, words: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from tiku.models._huggingface import first_line, quiet

    try:
        with quiet(), contextlib.redirect_stderr(io.StringIO()):  # bars that no setting turns off
            where = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
            tokenizer = AutoTokenizer.from_pretrained(path.parent, **where)
            module = AutoModelForCausalLM.from_pretrained(
                path.parent,
                dtype=torch.float32,
                quantization_config=GgufConfig(dequantize=True),
                **where,
            )
            _split_words(tokenizer, words)
            tokenizer.save_pretrained(folder)
            module.save_pretrained(folder)
    except Exception as error:
        raise ModelError(
            "transformers cannot read this GGUF file",
            got=f"{path.name}: {first_line(error)}",
            allowed="architectures and formats of transformers' GGUF support",
            next_step="give the original folder of the model in safetensors",
        ) from error


def _split_words(tokenizer: Any, words: str) -> None:
    """transformers splits as GPT-2 does wherever it does not know `tokenizer.ggml.pre`. In place."""
    from tokenizers import pre_tokenizers

    if words in _DIGIT_BY_DIGIT:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
