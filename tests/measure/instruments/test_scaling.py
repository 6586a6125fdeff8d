"""Passes of several lengths: what is timed, what is compared, and what is refused."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.measure.instruments.bench import PROTOCOL, bench_of, opened
from tests.measure.language.words import prose
from tiku.artefact import open_artefact, write
from tiku.core.errors import CannotMeasure
from tiku.core.instrument import Workbench
from tiku.core.recipe import Recipe
from tiku.core.subject import Serve
from tiku.data.labelled_texts import LabelledTexts
from tiku.measure.clock import time_pairs
from tiku.measure.instruments import scaling
from tiku.measure.instruments.scaling import INSTRUMENT
from tiku.measure.roofline import roofline
from tiku.testing import tiny_classifier, tiny_texts

CALM = replace(PROTOCOL, max_aa=1e9)  # the machine of a test may be busy


@dataclass
class Affine:
    """A model on a clock of its own: a pass takes `fixed + each * tokens` seconds."""

    clock: list[int]
    fixed: float
    each: float
    task: str = "text-classification"
    labels: tuple[str, ...] = ("bad", "good")
    serve: Serve = field(default_factory=Serve)
    processor: Any = field(default_factory=lambda: SimpleNamespace(model_max_length=512))

    @property
    def session(self) -> Any:
        return SimpleNamespace(run=self._run)

    def _run(self, inputs: dict[str, Any]) -> None:
        self.clock[0] += round(1e9 * (self.fixed + self.each * inputs["input_ids"].shape[1]))

    def encode(self, texts: list[str]) -> list[dict[str, list[int]]]:
        return [{"input_ids": list(range(len(text)))} for text in texts]


def labelled(texts: list[str]) -> LabelledTexts:
    return LabelledTexts("made", tuple(texts), np.arange(len(texts)) % 2, ("bad", "good"))


def test_costs_of_a_known_line_give_its_ratio_at_both_ends_and_its_turning_point(monkeypatch) -> None:
    clock = [0]
    monkeypatch.setattr(scaling, "time_pairs", functools.partial(time_pairs, clock=lambda: clock[0]))
    base, candidate = Affine(clock, 0.010, 0.0005), Affine(clock, 0.002, 0.0010)
    bench = Workbench(candidate, base, (labelled(["x" * 40] * 20),), PROTOCOL)
    found = INSTRUMENT.measure(bench)
    assert found.details["tokens"] == [4, 16, 64, 256]
    assert found.against_base["small_pass"].effect == pytest.approx(0.006 / 0.012)
    assert found.against_base["large_pass"].effect == pytest.approx(0.258 / 0.138)
    assert found.against_base["small_pass"].verdict == "better"
    assert found.against_base["large_pass"].verdict == "worse"
    assert found.details["turning_point"] == pytest.approx(0.006 * 256 / 0.258)


def test_a_classifier_of_short_texts_is_timed_up_to_its_limit(tmp_path: Path) -> None:
    subject = tiny_classifier()
    write(subject, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(4))
    model = open_artefact(tmp_path / "a", threads=1)
    found = INSTRUMENT.measure(Workbench(model, None, (labelled(tiny_texts(200)),), CALM))
    assert found.details["tokens"][0] == 4
    assert found.details["tokens"][-1] <= min(256, subject.processor.model_max_length)


def test_a_language_model_is_timed_from_one_token_to_256_and_the_machine_with_it(tmp_path: Path) -> None:
    model = opened(tmp_path / "a")
    bench = bench_of(model, prose(20, 40), protocol=CALM)
    assert INSTRUMENT.supports(bench)
    found = INSTRUMENT.measure(bench)
    assert found.details["tokens"] == [1, 4, 16, 64, 256]
    assert found.metrics["large_pass"].value > found.metrics["small_pass"].value > 0
    assert found.metrics["large_pass"].estimator.endswith("256 tokens")
    small, large = found.details["seconds"][0], found.details["seconds"][-1]
    assert found.details["turning_point"] == pytest.approx(256 * small / large)
    assert found.details["roofline"]["bytes_per_second"] > 1e8 and found.details["base_seconds"] is None


def test_a_short_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotMeasure, match="too little text"):
        INSTRUMENT.measure(bench_of(opened(tmp_path / "a"), prose(1, 4)))


def test_the_ridge_is_where_reading_a_float32_weight_takes_as_long_as_its_arithmetic() -> None:
    found = roofline(1, repetitions=3)
    tokens = found.ridge_tokens
    assert 4 / found.bandwidth.value == pytest.approx(2 * tokens / found.flops.value)
    assert found.bandwidth.low <= found.bandwidth.value <= found.bandwidth.high
