"""Bytes on disk counted exactly; memory of fresh processes with an honest spread."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.stats import t as student

from tests.measure.stats.simulation import assert_nominal
from tiku.artefact import open_artefact, write
from tiku.core.errors import CannotMeasure
from tiku.core.instrument import Workbench
from tiku.core.measured import Measured
from tiku.core.protocol import Protocol
from tiku.core.recipe import Recipe
from tiku.core.subject import Serve
from tiku.data.labelled_texts import LabelledTexts
from tiku.measure.instruments import peak_memory
from tiku.measure.instruments.peak_memory import INSTRUMENT as MEMORY
from tiku.measure.instruments.size import INSTRUMENT as SIZE
from tiku.measure.instruments.size import safetensors_parameters
from tiku.measure.memory import MemoryUse
from tiku.testing import tiny_classifier, tiny_texts

PLAN = Protocol(threads=1)


def texts(count: int = 40) -> LabelledTexts:
    made = tuple(tiny_texts(count))
    return LabelledTexts("made", made, np.arange(count) % 2, ("bad", "good"))


def in_folder(folder: Path, **more: Any) -> Any:
    """What these instruments look at: where the artefact lies, what it is for, how it is served."""
    return SimpleNamespace(folder=folder, task="text-classification", serve=Serve(), **more)


def artefact(folder: Path, **files: int) -> Any:
    (folder / "model").mkdir(parents=True)
    (folder / "README.md").write_text("not a part of the model")
    for name, size in files.items():
        (folder / "model" / name).write_bytes(b"x" * size)
    return in_folder(folder)


def test_size_is_the_sum_of_the_model_files_and_their_ratio_is_exact(tmp_path: Path) -> None:
    base, small = artefact(tmp_path / "a", weights=3_000, tokens=1_000), artefact(tmp_path / "b", weights=999)
    (small.folder / "model" / "deep").mkdir()
    (small.folder / "model" / "deep" / "graph").write_bytes(b"x")
    reading = SIZE.measure(Workbench(small, base, (), PLAN))
    found, compared = reading.metrics["artefact_size"], reading.against_base["artefact_size"]
    assert (found.value, found.low, found.high, found.unit) == (1_000, 1_000, 1_000, "byte")
    assert (compared.base, compared.value, compared.effect) == (4_000, 1_000, 0.25)
    assert (compared.low, compared.high, compared.verdict) == (0.25, 0.25, "better")
    assert reading.details["files"] == {"model/deep/graph": 1, "model/weights": 999}
    assert "parameters" not in reading.metrics  # nothing here tells them
    assert SIZE.measure(Workbench(base, small, (), PLAN)).against_base["artefact_size"].verdict == "worse"
    assert SIZE.measure(Workbench(base, None, (), PLAN)).against_base == {}


def test_parameters_are_counted_from_the_files_without_loading_them(tmp_path: Path) -> None:
    module = tiny_classifier().module
    write(tiny_classifier(), tmp_path / "real", recipe=Recipe(), examples=tiny_texts(2))
    found = SIZE.measure(Workbench(in_folder(tmp_path / "real"), None, (), PLAN)).metrics["parameters"]
    assert found.value == found.low == sum(weights.numel() for weights in module.parameters())
    path = tmp_path / "mixed.safetensors"
    tensors = {
        "weights": torch.zeros(3, 5), "half": torch.zeros(7, dtype=torch.bfloat16),
        "positions": torch.arange(11), "mask": torch.ones(13, dtype=torch.bool), "scalar": torch.tensor(1.0),
    }  # fmt: skip
    save_file(tensors, path)
    assert safetensors_parameters(path) == 3 * 5 + 7 + 1  # whole numbers and masks are no parameters


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"\xff" * 64, b"\x04\x00\x00\x00\x00\x00\x00\x00[1] "])
def test_a_damaged_safetensors_file_cannot_be_counted(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "broken" / "model"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CannotMeasure, match=r"model\.safetensors"):
        SIZE.measure(Workbench(in_folder(tmp_path / "broken"), None, (), PLAN))


def test_an_artefact_without_model_files_cannot_be_counted(tmp_path: Path) -> None:
    (tmp_path / "empty" / "model").mkdir(parents=True)
    with pytest.raises(CannotMeasure, match="no model files"):
        SIZE.measure(Workbench(in_folder(tmp_path / "empty"), None, (), PLAN))


_PARTS = ("libraries", "weights", "activations", "load_transient")


def use(peak: float) -> MemoryUse:
    return MemoryUse(int(peak), 200_000_000, 90_000_000, int(peak) - 290_000_000, 0)


class Probes:
    """Stands in for fresh processes: hands out peaks, and notes what would have been served."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **peaks: list[float]) -> None:
        self.served: dict[str, list[Any]] = {}
        self.left = {name: list(values) for name, values in peaks.items()}
        monkeypatch.setattr(peak_memory, "probe", self)

    def __call__(self, folder: Path, inputs: Any, **options: Any) -> MemoryUse:
        self.served.setdefault(folder.name, []).append((list(inputs), options))
        return use(self.left[folder.name].pop())


def test_the_base_is_probed_three_times_and_a_candidate_borrows_its_spread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base_peaks = [400e6, 404e6, 408e6]
    Probes(monkeypatch, base=base_peaks, candidate=[300e6])
    base, candidate = in_folder(tmp_path / "base"), in_folder(tmp_path / "candidate")
    first = MEMORY.measure(Workbench(base, None, (texts(),), PLAN))
    assert first.metrics["peak_memory"].n == 3 and first.against_base == {}
    reading = MEMORY.measure(Workbench(candidate, base, (texts(),), PLAN, base_arrays=first.arrays))
    found, compared = reading.metrics["peak_memory"], reading.against_base["peak_memory"]
    spread = np.log(base_peaks).std(ddof=1)
    half = student.ppf(0.975, 2) * spread
    assert (found.low, found.high) == pytest.approx((300e6 * math.exp(-half), 300e6 * math.exp(half)))
    assert compared.effect == pytest.approx(300e6 / math.exp(np.log(base_peaks).mean()))
    half = student.ppf(0.975, 2) * spread * math.sqrt(1 + 1 / 3)
    assert compared.high == pytest.approx(compared.effect * math.exp(half))
    assert compared.verdict == "better" and found.how == "measured" and found.unit == "byte"


def test_the_ratio_of_memory_covers_though_a_candidate_is_probed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def draw(rng: np.random.Generator) -> tuple[Measured, float]:
        base, candidate = (
            4e8 * np.exp(0.01 * rng.standard_normal(3)),
            3e8 * np.exp(0.01 * rng.standard_normal(1)),
        )
        Probes(monkeypatch, base=base.tolist(), candidate=candidate.tolist())
        bench = Workbench(in_folder(Path("candidate")), in_folder(Path("base")), (texts(),), PLAN)
        found = MEMORY.measure(bench).against_base["peak_memory"]
        return Measured(found.effect, found.low, found.high, 1, "1", "measured", found.test), 0.75

    assert_nominal(draw, 400, least=0.94, most=0.96)


def test_the_longest_requests_are_served_among_typical_ones_with_the_artefacts_own_batches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    probes = Probes(monkeypatch, base=[4e8] * 3)
    base = in_folder(tmp_path / "base")
    base.serve = Serve(batch_size=12)
    plan = replace(PLAN, threads=2, decode_tokens=5)
    MEMORY.measure(Workbench(base, None, (texts(200),), plan))
    inputs, options = probes.served["base"][0]
    assert len(inputs) == 24  # two batches of the artefact's own size
    by_length = sorted(texts(200).texts, key=len, reverse=True)
    assert inputs[:12] == by_length[:12]
    assert options["threads"] == 2 and options["decode_tokens"] == 5


def test_details_hold_the_split_of_the_middle_probe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Probes(monkeypatch, base=[410e6, 400e6, 405e6])
    details = MEMORY.measure(Workbench(in_folder(tmp_path / "base"), None, (texts(),), PLAN)).details
    assert details["split"]["peak"] == 405_000_000 and sorted(details["peaks"])[0] == 400_000_000
    assert sum(details["split"][part] for part in _PARTS) == 405_000_000
    assert details["split"]["gpu_allocated"] is None
    assert json.loads(json.dumps(details)) == details


def test_a_real_candidate_is_probed_in_a_fresh_process(tmp_path: Path) -> None:
    write(tiny_classifier(), tmp_path / "real", recipe=Recipe(), examples=tiny_texts(2))
    model = open_artefact(tmp_path / "real", threads=1, device="cpu")
    kept = {"peaks": np.array([600e6, 601e6, 602e6])}
    reading = MEMORY.measure(Workbench(model, model, (texts(),), PLAN, base_arrays=kept))
    found = reading.metrics["peak_memory"]
    assert found.low <= found.value <= found.high and found.n == 1
    assert found.value > 50e6 and reading.details["split"]["peak"] == pytest.approx(found.value)
    assert reading.against_base["peak_memory"].base == pytest.approx(601e6, rel=1e-3)
    told, split = reading.details["predicted"], reading.details["split"]
    assert told["libraries"] == split["libraries"]
    assert 0.5 < told["peak"] / split["peak"] < 2
    module = tiny_classifier().module
    held = sum(t.nbytes for t in (*module.parameters(), *module.buffers()))
    assert told["weights"] == held and sum(told[name] for name in _PARTS) == told["peak"]
    lengths = [len(e["input_ids"]) for e in model.encode(texts().texts)]
    assert told["batch"] == min(32, len(lengths)) and told["tokens"] == max(lengths)


def test_memory_refuses_what_has_nothing_to_serve() -> None:
    assert MEMORY.supports(Workbench(in_folder(Path()), None, (texts(),), PLAN))
    no = MEMORY.supports(Workbench(in_folder(Path()), None, (), PLAN))
    assert not no and no.reason.en and no.reason.zh
