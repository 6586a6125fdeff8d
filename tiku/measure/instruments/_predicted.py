"""What was to be expected of a build's memory before it ran, for the requests it is measured with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiku.core.errors import TikuError
from tiku.core.instrument import Workbench
from tiku.core.subject import Predictor
from tiku.measure.instruments._requests import LANGUAGE_TASK
from tiku.measure.memory import MemoryUse

__all__ = ["predicted"]


def predicted(bench: Workbench, inputs: Sequence[Any], found: MemoryUse) -> dict[str, Any]:
    """The parts of `MemoryUse` as the config and the headers tell them, with the batch they are for; {} where
    they do not: other runtimes, weights in few bits, own modules. `libraries` are the measured ones."""
    from tiku.artefact.manifest import MODEL, read_manifest
    from tiku.measure.forecast import forecast

    model = bench.candidate
    try:
        manifest = read_manifest(model.folder)
        streamed = "resident_layers" in manifest.runtime_options
        if manifest.runtime != "torch" or manifest.numerics.scheme != "fp32" or streamed:
            return {}
        batch, tokens = _largest(model, inputs, bench.protocol.context)
        told = forecast(str(model.folder / MODEL), batch=batch, tokens=tokens, libraries=found.libraries)
    except TikuError:  # an architecture that cannot be followed, or a folder that is no transformers model
        return {}
    return {
        "peak": told.peak,
        "libraries": told.libraries,
        "weights": told.weights,
        "activations": told.activations + told.cache,
        "load_transient": max(0, told.load_transient - told.activations - told.cache),
        "batch": batch,
        "tokens": tokens,
    }


def _largest(model: Predictor, inputs: Sequence[Any], context: int) -> tuple[int, int]:
    """(sequences, tokens) of the batch with the most padded tokens."""
    from tiku.artefact.batching import plan_batches

    lengths = [len(next(iter(encoding.values()))) for encoding in model.encode(inputs)]
    if model.task == LANGUAGE_TASK:
        return 1, min(context, lengths[0])
    shapes = [(len(b), max(lengths[i] for i in b)) for b in plan_batches(lengths, model.serve)]
    return max(shapes, key=lambda shape: shape[0] * shape[1])
