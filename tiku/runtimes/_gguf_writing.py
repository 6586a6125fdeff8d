"""A language model as one GGUF file: tensors, hyper-parameters and tokenizer, as llama.cpp reads them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.core.subject import Subject
from tiku.core.verdict import Support
from tiku.runtimes._compressed_tensors import quantised_layers
from tiku.runtimes._gguf_architecture import (
    Architecture,
    architecture_of,
    as_llama_cpp_rotates,
    hyperparameters,
    mappable,
    rotary_factors,
    tensors,
)
from tiku.runtimes._gguf_blocks import as_blocks, storable
from tiku.runtimes._gguf_tokenizer import write_tokenizer

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from numpy.typing import NDArray

__all__ = ["describable", "write_gguf"]

_FLOATS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "BF16": 32}


def describable(subject: Subject) -> Support:
    """Whether GGUF has a place for the model and its number formats. Cheap."""
    if fits := mappable(subject.module):
        return storable(quantised_layers(subject.module))
    return fits


def write_gguf(subject: Subject, path: Path) -> None:
    """Write a subject that is `describable`. Matrices keep their number format, vectors are float32.

    Raises `ModelError`.
    """
    from gguf import GGMLQuantizationType, GGUFWriter

    module = subject.module
    known = architecture_of(module)
    assert known is not None, "only what is describable is written"
    writer = GGUFWriter(path, known.name)
    hyperparameters(writer, module.config)
    write_tokenizer(writer, subject.processor, module.config.vocab_size)
    kinds: Counter[str] = Counter()
    for name, kind, rows in _stored_tensors(module, known):
        writer.add_tensor(name, rows, raw_dtype=GGMLQuantizationType[kind])
        kinds[kind] += rows.nbytes
    writer.add_file_type(_FILE_TYPES[kinds.most_common(1)[0][0]])
    writer.add_quantization_version(2)
    _write(writer)


def _stored_tensors(module: Any, known: Architecture) -> list[tuple[str, str, NDArray[Any]]]:
    """(GGUF's name, number format, rows)."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    arch = next(one for one in MODEL_ARCH if one.name.lower() == known.name)
    names = get_tensor_name_map(arch, module.config.num_hidden_layers)
    found = []
    for name, part in tensors(module):
        kind, rows = _rows(name, part)
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert stored is not None, name
        found.append((stored, kind, as_llama_cpp_rotates(known, module.config, name, rows)))
    factors = rotary_factors(module)
    return found if factors is None else [*found, ("rope_freqs.weight", "F32", factors)]


def _rows(name: str, part: Any) -> tuple[str, NDArray[Any]]:
    """(number format, numbers (O, I) or blocks as bytes)."""
    import torch

    if hasattr(part, "in_features"):
        return as_blocks(name, part)
    tensor = part if part.ndim > 1 else part.float()
    kind = _FLOATS[str(tensor.dtype).removeprefix("torch.")]
    if kind == "BF16":  # NumPy has no such numbers
        return kind, tensor.contiguous().view(torch.uint8).numpy()
    return kind, tensor.numpy()


def _write(writer: GGUFWriter) -> None:
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
