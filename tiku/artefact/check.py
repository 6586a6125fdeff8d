"""Reference outputs: what the artefact answered when it was built, kept in `check.npz`.

The file holds token ids and logits (plain arrays, no text): `input/NAME` of shape (B, T) and `logits`
of shape (B, C); for a language model the logits of the last position, (B, V).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiku.core import registry
from tiku.core.drift import drift
from tiku.core.errors import ArtefactError, ModelError
from tiku.core.family import Family
from tiku.core.files import write_bytes
from tiku.core.subject import Numerics, Session, Subject

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CHECK",
    "Reference",
    "answers",
    "make_reference",
    "module_logits",
    "read_reference",
    "write_reference",
]

CHECK = "check.npz"
_EXAMPLES = 8
_MAX_TOKENS = 64
# Two units in the last place: another thread count moves it so.
_GRAIN = {"bf16": 2.0**-6, "int8-weight-only-bf16": 2.0**-6, "fp16": 2.0**-9}
_FP32_TOLERANCE = 1e-3  # relative to the largest logit: sums in another order, not another model


@dataclass(frozen=True)
class Reference:
    """`inputs` and the `logits` the built session gave; `facts` are JSON values: `max_abs_diff_to_module`
    (against the torch module in fp32), `batch_noise` (the same inputs one by one), `tolerance`."""

    inputs: Mapping[str, NDArray[np.int64]]
    logits: NDArray[np.float32]
    facts: Mapping[str, Any]


def make_reference(subject: Subject, session: Session, examples: Sequence[Any]) -> Reference:
    """Run the built session on examples, alone and in a batch, and against the module it came from.

    Raises `ModelError` when a model that should compute the same in fp32 does not, or when a classifier in
    fewer bits answers garbage (a language model's runtime looks at every position itself).
    """
    import numpy as np

    inputs = _encode(subject, examples)
    logits = answers(session, inputs, subject.task)
    own = module_logits(subject, inputs)
    alone = np.concatenate([answers(session, row, subject.task) for row in _rows(inputs)])
    scale = max(1.0, float(np.abs(logits).max()))
    away = float(np.abs(logits - own).max())
    noise = float(np.abs(logits - alone).max())
    if not np.isfinite(logits).all() or (
        subject.numerics.scheme == "fp32" and away > _FP32_TOLERANCE * scale
    ):
        raise ModelError(
            f"the model built for {subject.runtime} does not compute what the original computes",
            got=f"logits differ by up to {away:.3g}",
            allowed=f"at most {_FP32_TOLERANCE * scale:.3g} in float32",
            next_step="choose another runtime for this architecture",
        )
    facts: dict[str, Any] = {
        "examples": len(logits),
        "max_abs_diff_to_module": away,
        "batch_noise": noise,
        "tolerance": max(noise, _grain(subject.numerics) * scale),
    }
    if subject.task == "text-classification" and subject.numerics.scheme != "fp32":
        facts["away_from_module"] = drift(own, logits, subject.numerics.scheme, f" in {subject.runtime}")
    return Reference(inputs, logits, facts)


def _grain(numerics: Numerics) -> float:
    """How far the same model may be from itself, of the largest logit."""
    return _GRAIN.get(str(numerics.options.get("rest", numerics.scheme)), 1e-4)


def answers(session: Session, inputs: Mapping[str, NDArray[Any]], task: str) -> NDArray[np.float32]:
    """The session's logits, reduced to the last position for a language model."""
    return _reduced(session.run(inputs), task)


def module_logits(subject: Subject, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """What the torch module itself answers, in float32 on the CPU."""
    import torch

    with torch.inference_mode():
        output = subject.module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    logits: NDArray[np.float32] = getattr(output, "logits", output).float().numpy()
    return _reduced(logits, subject.task)


def write_reference(reference: Reference, folder: Path) -> None:
    """Write `check.npz`."""
    import numpy as np

    buffer = io.BytesIO()
    named = {f"input/{name}": array for name, array in reference.inputs.items()}
    np.savez(buffer, logits=reference.logits, **named)  # type: ignore[arg-type]
    write_bytes(folder / CHECK, buffer.getvalue())


def read_reference(folder: Path) -> Reference:
    """Read `check.npz`. Raises `ArtefactError`."""
    import numpy as np

    try:
        with np.load(folder / CHECK, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        logits = arrays.pop("logits")
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(
            "the reference outputs of this artefact cannot be read",
            got=f"{CHECK}: {error}",
            allowed="arrays named logits and input/NAME",
            next_step="build the artefact again",
        ) from error
    inputs = {name.removeprefix("input/"): array for name, array in arrays.items()}
    return Reference(inputs, logits, {})


def _reduced(logits: NDArray[np.float32], task: str) -> NDArray[np.float32]:
    return logits[:, -1] if task == "causal-lm" else logits


def _encode(subject: Subject, examples: Sequence[Any]) -> dict[str, NDArray[Any]]:
    family: Family = registry.get("models", subject.family)
    limit = min(subject.serve.max_length or _MAX_TOKENS, _MAX_TOKENS)
    encodings = family.encode(subject.processor, list(examples[:_EXAMPLES]), limit)
    if not encodings:
        raise ModelError(
            "an artefact needs examples to be checked on", got="none", allowed="one example or more",
            next_step="give examples",
        )  # fmt: skip
    if subject.task == "causal-lm":  # the last position is compared, so no row may end in padding
        encodings = [e for e in encodings if e["input_ids"]]
        width = min(len(e["input_ids"]) for e in encodings)
        encodings = [{name: ids[:width] for name, ids in e.items()} for e in encodings]
    return family.collate(subject.processor, encodings)


def _rows(inputs: Mapping[str, NDArray[Any]]) -> list[dict[str, NDArray[Any]]]:
    """Each input alone, its padding cut off."""
    import numpy as np

    mask = inputs.get("attention_mask")
    count = len(next(iter(inputs.values())))
    rows = []
    for i in range(count):
        kept = slice(None) if mask is None else np.flatnonzero(mask[i])
        rows.append({name: np.ascontiguousarray(array[i : i + 1, kept]) for name, array in inputs.items()})
    return rows
