"""The exam's best encoder artefact against int8 as two libraries document it, on natural lengths.

`python -m bench.encoder_int8 [EXAM]` (out/exam unless EXAM says otherwise). Both peers start from the exam's
trained base and get the same threads:

- Optimum's ONNX Runtime int8: `AutoQuantizationConfig.avx512_vnni(is_static=False)`. Optimum's exporters need
  other releases of transformers than tiku's, so onnxruntime.quantization is called with the arguments that
  this config stands for (those that Optimum writes beside the models it quantises).
- OpenVINO with NNCF: `nncf.quantize` for a transformer, 300 samples of the calibration split.

Each runs as documented, in batches of 32 in the order of the file, and at its best: sorted by length, in
the fastest of several batch sizes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench._pairs import Row
from bench.encoder_throughput import Answer, artefact_answer, in_turns, start, timed_part

_BATCH = 32
_SIZES = (4, 8, 16, 32, 64)
_SAMPLES = 300  # as many as NNCF's documentation takes
_OPTIMUM_OPERATORS = ["Conv", "MatMul", "Attention", "LSTM", "Gather", "Transpose", "EmbedLayerNormalization"]

Run = Callable[[Mapping[str, Any]], Any]


def _optimum(model: Any, tokenizer: Any, threads: int, folder: Path) -> Run:
    """Dynamic int8 in ONNX Runtime."""
    import onnxruntime
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    example = tokenizer(["a text", "another, longer text"], padding=True, return_tensors="pt")
    names, axes = list(example), {0: "batch", 1: "tokens"}
    torch.onnx.export(
        _Logits(model, names).module, tuple(example.values()), str(folder / "model.onnx"), dynamo=False,
        input_names=names, output_names=["logits"], opset_version=18,
        dynamic_axes={name: axes for name in names} | {"logits": {0: "batch"}},
    )  # fmt: skip
    quantize_dynamic(
        folder / "model.onnx", folder / "int8.onnx", op_types_to_quantize=_OPTIMUM_OPERATORS,
        per_channel=False, reduce_range=False, weight_type=QuantType.QInt8,
        extra_options={"WeightSymmetric": True, "ActivationSymmetric": False, "EnableSubgraph": False},
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / "int8.onnx", options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, dict(inputs))[0]


def _nncf(model: Any, tokenizer: Any, threads: int, samples: Sequence[str]) -> Run:
    """Static int8 in OpenVINO, in the precision that the plugin chooses for the rest."""
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    example = dict(tokenizer(["a text", "another, longer text"], padding=True, return_tensors="pt"))
    converted = openvino.convert_model(
        _Logits(model, list(example)).module, example_input=tuple(example.values())
    )
    for port, name in zip(converted.inputs, example, strict=True):
        port.get_tensor().set_names({name})

    def encoded(text: str) -> dict[str, Any]:
        return dict(tokenizer(text, truncation=True, return_tensors="np"))

    quantised = nncf.quantize(
        converted,
        nncf.Dataset(list(samples), encoded),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=_SAMPLES,
    )
    compiled = openvino.compile_model(quantised, "CPU", {"INFERENCE_NUM_THREADS": threads})
    return lambda inputs: compiled(dict(inputs))[0]


class _Logits:
    """`module(*inputs in the order of names)` returns the logits alone, as both exporters want it."""

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        import torch

        class Module(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, *inputs: Any) -> Any:
                return self.model(**dict(zip(names, inputs, strict=True))).logits

        self.module = Module().eval()


def _in_file_order(run: Run, tokenizer: Any, labels: Sequence[str], size: int) -> Answer:
    def answer(texts: Sequence[str]) -> list[str]:
        found: list[str] = []
        for first in range(0, len(texts), size):
            batch = list(texts[first : first + size])
            inputs = tokenizer(batch, padding=True, truncation=True, return_tensors="np")
            found += [labels[number] for number in run(inputs).argmax(axis=1)]
        return found

    return answer


def _sorted(run: Run, tokenizer: Any, labels: Sequence[str], size: int) -> Answer:
    """The texts by their length in characters; the answers in the order that was given."""
    plain = _in_file_order(run, tokenizer, labels, size)

    def answer(texts: Sequence[str]) -> list[str]:
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        found = dict(zip(order, plain([texts[i] for i in order]), strict=True))
        return [found[i] for i in range(len(texts))]

    return answer


def _best(run: Run, tokenizer: Any, labels: Sequence[str], texts: Sequence[str]) -> tuple[int, Answer]:
    """The batch size with the least time of two, sorted."""
    seconds = {}
    for size in _SIZES:
        answer = _sorted(run, tokenizer, labels, size)
        seconds[size] = min(_seconds(answer, texts) for _ in range(2))
    print(f"peer, seconds by batch size: {seconds}", file=sys.stderr)
    size = min(seconds, key=lambda one: seconds[one])
    return size, _sorted(run, tokenizer, labels, size)


def _seconds(answer: Answer, texts: Sequence[str]) -> float:
    begun = time.perf_counter()
    answer(texts)
    return time.perf_counter() - begun


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters and NNCF print tables and warn about every number they see."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def rows(exam: Path, pairs: int, threads: int) -> list[Row]:
    """Two peers, each as documented and at its best."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from bench.encoder_quality import of_exam

    base, splits = of_exam(exam)
    folder = base.folder / "model"
    base.close()
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    labels = [model.config.id2label[number] for number in range(model.config.num_labels)]
    ours, kind = artefact_answer(exam / "artefact", threads)
    part = timed_part(splits.test.inputs())[:128]
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        with _quiet():
            samples = splits.calibration.inputs()[:_SAMPLES]
            peers = {
                "onnxruntime": ("Optimum's", _optimum(model, tokenizer, threads, Path(scratch))),
                "nncf": ("OpenVINO and NNCF's", _nncf(model, tokenizer, threads, samples)),
            }
        for package, (name, run) in peers.items():
            plain = _in_file_order(run, tokenizer, labels, _BATCH)
            size, best = _best(run, tokenizer, labels, part)
            for answer, how in (
                (plain, f"batches of {_BATCH} in the order of the file"),
                (best, f"sorted, batches of {size}, the fastest of {', '.join(map(str, _SIZES))}"),
            ):
                case = f"{threads} threads: {kind}, against {name} int8 ({how})"
                found.append(in_turns(case, ours, answer, splits, peer_package=package, pairs=pairs))
    return found


if __name__ == "__main__":
    start("encoder_int8", rows)
