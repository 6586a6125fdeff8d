"""`forecast`: the memory a model will take, told from its config and the header of its weights alone."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from tiku.core.errors import CannotMeasure, ModelError
from tiku.core.files import user_path
from tiku.core.text import Language, Text
from tiku.core.units import format_quantity
from tiku.measure.checkup import aligned
from tiku.models import resolve
from tiku.models._live_memory import Pass, imagined, run
from tiku.models._source import is_gguf, is_reference, read_config, resolve_folder
from tiku.models._weights import weight_files
from tiku.weightfiles.listing import stored_tensors

__all__ = ["Forecast", "forecast", "libraries_here"]

_AUTO = {"causal-lm": "AutoModelForCausalLM", "text-classification": "AutoModelForSequenceClassification"}
_BATCH = {"causal-lm": 1, "text-classification": 32}
_TOKENS = 512  # or the model's own limit where that is less
_WIDENED = ("F16", "BF16", "F8_E4M3", "F8_E5M2", "F64")

_LIBRARIES = """
import sys, torch, transformers
from tiku.core import registry
from tiku.measure.memory import resident_bytes
getattr(transformers, sys.argv[1], None)
if sys.argv[3]:
    from pathlib import Path
    registry.get("models", sys.argv[2]).load_processor(Path(sys.argv[3]))
print(resident_bytes())
"""


@dataclass(frozen=True)
class Forecast:
    """What the torch runtime will hold in float32, in bytes of resident memory.

    `file` is what is stored; `weights` what they take once read; `load_transient` what reading needs above
    that; `cache` the keys and values of `batch` sequences of `tokens` tokens; `activations` everything else
    of one pass over them, all that is held at once at its height; `libraries` the interpreter with torch,
    transformers and the tokenizer, read on this machine.

    glibc keeps up to half of the freed activations for itself; on two models of 23 and 135 million parameters
    the measured peak was between 1.0 and 1.25 of the predicted one.
    """

    model: str
    task: str
    architecture: str
    parameters: int
    batch: int
    tokens: int
    file: int
    weights: int
    load_transient: int
    cache_per_token: float
    cache: int
    activations: int
    libraries: int
    available: int

    @property
    def peak(self) -> int:
        """The highest of loading and of serving."""
        return self.libraries + self.weights + max(self.load_transient, self.cache + self.activations)

    @property
    def fits(self) -> bool:
        """Whether the peak is within the memory that is free now."""
        return self.peak <= self.available

    def to_json(self) -> dict[str, Any]:
        """Plain values, the peak and whether it fits among them."""
        return {**asdict(self), "peak": self.peak, "fits": self.fits}

    def lines(self, language: Language) -> list[str]:
        """What people read."""
        rows = [
            (title, f"{format_quantity(count, 'byte')}{note[language]}")
            for title, count, note in self._parts()
        ]
        named = [
            (Text("model", "模型"), f"{self.model} ({self.architecture})"),
            (Text("request", "请求"), f"{self.batch} × {self.tokens} tokens, float32, torch"),
        ]
        return aligned([*named, *rows, (Text("verdict", "结论"), self._verdict[language])], language)

    def _parts(self) -> list[tuple[Text, float, Text]]:
        none = Text("", "")
        each = Text(
            f" ({format_quantity(self.cache_per_token, 'byte')} per token and sequence)",
            f"（每序列每词元 {format_quantity(self.cache_per_token, 'byte')}）",
        )
        return [
            (Text("file", "文件"), self.file, none),
            (Text("weights", "权重"), self.weights, none),
            (Text("more while loading", "加载时另需"), self.load_transient, none),
            (Text("key/value cache", "键值缓存"), self.cache, each),
            (Text("activations", "激活"), self.activations, none),
            (Text("libraries", "库"), self.libraries, none),
            (Text("peak", "峰值"), self.peak, none),
            (Text("free now", "当前可用"), self.available, none),
        ]

    @property
    def _verdict(self) -> Text:
        if self.fits:
            return Text("fits", "放得下")
        short = format_quantity(self.peak - self.available, "byte")
        return Text(f"does not fit: {short} short", f"放不下：差 {short}")


def forecast(
    model: str, *, batch: int | None = None, tokens: int | None = None, libraries: int | None = None
) -> Forecast:
    """Predict; nothing is loaded, and no weight is read. `model` is a folder, a hub id or a GGUF file.
    `libraries` are their bytes where they are known; otherwise a fresh process imports them.

    Raises `ModelError` for what cannot be read, `CannotMeasure` for an architecture whose pass cannot be
    followed without running it.
    """
    import transformers

    task = _task(model)
    config, stored = _read(model)
    folder = None if is_gguf(model) else resolve_folder(model)
    batch = batch or _BATCH[task]
    tokens = _length(config, tokens)
    with imagined(getattr(transformers, _AUTO[task]), config) as module:
        whole = run(module, batch, tokens, keep_cache=task == "causal-lm")
        per_token = _per_token(module, batch, tokens, whole) if whole.cache else 0.0
        parameters = sum(p.numel() for p in module.parameters())
        held = sum(t.nbytes for t in (*module.parameters(), *module.buffers()))
        architecture = type(module).__name__
    widened = 0 if folder is None else sum(size for dtype, size in stored if dtype in _WIDENED)
    return Forecast(
        model=model, task=task, architecture=architecture, parameters=parameters, batch=batch, tokens=tokens,
        file=sum(size for _, size in stored), weights=held, load_transient=widened,
        cache_per_token=per_token, cache=whole.cache, activations=whole.peak - whole.cache,
        libraries=libraries or libraries_here(architecture, task, folder),
        available=psutil.virtual_memory().available,
    )  # fmt: skip


def libraries_here(architecture: str, family: str, folder: Path | None = None) -> int:
    """Resident bytes of a fresh process that has imported torch, transformers and one architecture, and
    holds the tokenizer of a folder. Raises `CannotMeasure`."""
    done = subprocess.run(
        [sys.executable, "-c", _LIBRARIES, architecture, family, str(folder or "")],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotMeasure(
            "a fresh process could not import the libraries and read the tokenizer",
            got=(done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1],
            next_step="run python -c 'import torch, transformers'",
        )
    return int(done.stdout.split()[-1])


def _task(model: str) -> str:
    if is_reference(model):
        raise ModelError(
            "a function must be called to know its model, and that would load it",
            got=model,
            allowed="a folder, a hub id or a .gguf file",
            next_step="save the model into a folder, or measure it: tiku ask memory",
        )
    return resolve(model).task


def _read(model: str) -> tuple[Any, list[tuple[str, int]]]:
    """(config, (number type, bytes) of each stored tensor). Raises `ModelError`."""
    if is_gguf(model):
        return _read_gguf(user_path(model))
    from tiku.models._huggingface import load_config

    folder = resolve_folder(model)
    declared = read_config(folder)
    if "quantization_config" in declared:
        raise CannotMeasure(
            "the weights are stored in few bits, and what they take depends on the kernels that read them",
            got=declared["quantization_config"],
            next_step="measure it instead: tiku ask memory MODEL --data DATA",
        )
    stored = [_sized(*entry) for path in weight_files(folder) for entry in stored_tensors(path).values()]
    return load_config(folder, declared), stored


def _sized(dtype: str, shape: tuple[int, ...]) -> tuple[str, int]:
    from tiku.weightfiles._header import ITEM_BYTES

    return dtype, math.prod(shape) * ITEM_BYTES[dtype]


def _read_gguf(path: Path) -> tuple[Any, list[tuple[str, int]]]:
    from transformers import AutoConfig

    from tiku.models._gguf import _read as read_gguf
    from tiku.models._gguf import check_file
    from tiku.models._huggingface import explained, quiet

    check_file(path)
    stored = [(tensor.tensor_type.name, int(tensor.n_bytes)) for tensor in read_gguf(path).tensors]
    with quiet(), explained(path, "transformers cannot read this GGUF file"):
        config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
    return config, stored


def _length(config: Any, tokens: int | None) -> int:
    """The asked length, or a usual one. Raises `ModelError` above the model's own limit."""
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(limit, int) or limit <= 0:
        return tokens or _TOKENS
    if tokens is not None and tokens > limit:
        raise ModelError(
            "the model has no positions for so many tokens",
            got=tokens,
            allowed=f"1 … {limit}",
            next_step="ask for fewer tokens",
        )
    return tokens or min(_TOKENS, limit)


def _per_token(module: Any, batch: int, tokens: int, whole: Pass) -> float:
    """How the cache grows with each token of one sequence; a recurrent state does not grow."""
    half = max(1, tokens // 2)
    if half == tokens:
        return whole.cache / batch
    before = run(module, batch, half, keep_cache=True)
    return (whole.cache - before.cache) / (batch * (tokens - half))
