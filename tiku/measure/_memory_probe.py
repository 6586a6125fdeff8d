"""Run as a program in a fresh process: serve an artefact and print this process's memory as JSON.

`python -m tiku.measure._memory_probe ARTEFACT INPUTS [--decode-tokens N]`
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tiku.core import registry
from tiku.core.errors import TikuError
from tiku.core.startup import insist
from tiku.core.subject import Predictor
from tiku.measure.instruments._generation import Generator, whole_prompt
from tiku.measure.instruments._requests import LANGUAGE_TASK, length_of
from tiku.measure.memory import MemoryUse, peak_bytes, read_inputs, reset_peak, resident_bytes


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 with one line of JSON, or the error's own code with its text on stderr."""
    parser = argparse.ArgumentParser()
    parser.add_argument("artefact", type=Path)
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--decode-tokens", type=int, default=0)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    try:
        use = _measure(options)
    except TikuError as error:
        print(" | ".join(error.parts().values()), file=sys.stderr)
        return error.exit_code
    print(json.dumps(asdict(use)))
    return 0


def _measure(options: argparse.Namespace) -> MemoryUse:
    from tiku.artefact.manifest import read_manifest
    from tiku.artefact.predictor import open_artefact

    inputs = read_inputs(options.inputs)
    insist(read_manifest(options.artefact).serve.environment)
    _import_libraries(options.artefact)
    libraries = resident_bytes()
    model = open_artefact(options.artefact, options.threads, options.device, check_hashes=False)
    _serve_little(model, inputs)
    gc.collect()
    loaded, load_peak = resident_bytes(), peak_bytes()
    separate = reset_peak()
    _serve(model, inputs, options)
    served = peak_bytes()
    return MemoryUse(
        peak=max(load_peak, served),
        libraries=libraries,
        weights=max(0, loaded - libraries),
        activations=max(0, served - loaded),
        load_transient=max(0, load_peak - served) if separate else 0,
        **_accelerator(),
    )


def _import_libraries(artefact: Path) -> None:
    """Import what the artefact's runtime and processor need, so that it is not taken for weights."""
    from tiku.artefact.manifest import MODEL, read_manifest

    manifest = read_manifest(artefact)
    registry.get("runtimes", manifest.runtime).import_for(artefact / MODEL)
    registry.get("models", manifest.family).load_processor(artefact / MODEL)


def _serve_little(model: Predictor, inputs: Sequence[Any]) -> None:
    """One short request: it maps lazily loaded weights and fills the kernels' own buffers."""
    if model.task == LANGUAGE_TASK:
        Generator(model, [whole_prompt(model, inputs[0], context=16, decode_tokens=2)])(0)
    else:
        model.predict([min(inputs, key=length_of)])


def _serve(model: Predictor, inputs: Sequence[Any], options: argparse.Namespace) -> None:
    if model.task != LANGUAGE_TASK:
        model.predict(inputs)
        return
    for text in inputs:
        Generator(model, [whole_prompt(model, text, options.context, options.decode_tokens)])(0)


def _accelerator() -> dict[str, int | None]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    return {
        "gpu_allocated": torch.cuda.max_memory_allocated(),
        "gpu_reserved": torch.cuda.max_memory_reserved(),
    }


if __name__ == "__main__":
    sys.exit(main())
