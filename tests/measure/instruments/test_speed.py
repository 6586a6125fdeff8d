"""Latency, throughput and energy: of models that take a known time, and of real ones."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tiku.artefact import open_artefact, write
from tiku.core.errors import TooNoisy
from tiku.core.instrument import Workbench
from tiku.core.protocol import Protocol
from tiku.core.recipe import Recipe
from tiku.core.subject import Serve
from tiku.core.text import Text
from tiku.data.labelled_texts import LabelledTexts
from tiku.data.prose import Prose
from tiku.measure import energy_nvml
from tiku.measure.clock import time_pairs, warm_up
from tiku.measure.energy import WATTS_PER_CORE, CpuTimeSource, EnergySource
from tiku.measure.instruments import latency, throughput_and_energy
from tiku.measure.instruments._energy import source_for
from tiku.measure.instruments.generation import INSTRUMENT as GENERATION
from tiku.measure.instruments.latency import INSTRUMENT as LATENCY
from tiku.measure.instruments.throughput_and_energy import INSTRUMENT as THROUGHPUT
from tiku.testing import tiny_classifier, tiny_language_model, tiny_texts

# the machine of a test may be busy: a noisy control is the subject of a test of its own
CALM = Protocol(latency_pairs=10, throughput_pairs=5, throughput_items=16, bootstrap=300, max_aa=1e9)


class Stage:
    """Time that passes only while a model works, also for the energy source: results are exact."""

    def __init__(self) -> None:
        self.now_ns = 0

    def clock(self) -> int:
        return self.now_ns

    def seconds(self) -> float:
        return self.now_ns * 1e-9


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage()
    for module in (latency, throughput_and_energy):
        monkeypatch.setattr(module, "time_pairs", functools.partial(time_pairs, clock=made.clock))
        monkeypatch.setattr(module, "warm_up", functools.partial(warm_up, clock=made.clock))
    monkeypatch.setattr(
        throughput_and_energy, "source_for", lambda _, base=None: (CpuTimeSource(made.seconds), ())
    )
    return made


@dataclass
class Timed:
    """A model that takes `seconds(text)` for each item, and notes what it was asked."""

    stage: Stage
    seconds: Callable[[str], float]
    labels: tuple[str, ...] = ("bad", "good")
    task: str = "text-classification"
    family: str = "text-classification"
    folder: Path = Path()
    serve: Serve = field(default_factory=Serve)
    session: Any = field(default_factory=lambda: SimpleNamespace(device="cpu"))
    asked: list[list[str]] = field(default_factory=list)

    def predict(self, inputs: Any) -> np.ndarray:
        self.asked.append(list(inputs))
        self.stage.now_ns += round(1e9 * sum(self.seconds(text) for text in inputs))
        return np.zeros((len(inputs), 2), np.float32)

    def encode(self, inputs: Any) -> list[dict[str, list[int]]]:
        return [{"input_ids": [1] * len(text.split())} for text in inputs]

    def close(self) -> None:
        pass


def texts(count: int = 60) -> LabelledTexts:
    made = tuple(f"{i} {text}" for i, text in enumerate(tiny_texts(count)))
    return LabelledTexts("made", made, np.arange(count) % 2, ("bad", "good"))


def bench(candidate: Any, base: Any = None, **more: Any) -> Workbench:
    return Workbench(candidate, base, (texts(),), more.pop("protocol", CALM), **more)


def per_word(stage: Stage, milliseconds: float, **more: Any) -> Timed:
    """Longer texts take longer."""
    return Timed(stage, lambda text: 1e-3 * milliseconds * len(text.split()), **more)


def test_latency_recovers_the_ratio_of_two_models_and_says_which_is_better(stage: Stage) -> None:
    reading = LATENCY.measure(bench(per_word(stage, 0.2), per_word(stage, 0.5)))
    words = sorted(len(text.split()) for text in texts().texts)
    for name in ("p50_latency", "p95_latency"):
        found, compared = reading.metrics[name], reading.against_base[name]
        assert found.unit == "s" and found.n == 72 and found.low <= found.value <= found.high
        assert 0.0002 * words[0] <= found.low and found.high <= 0.0002 * words[-1]
        assert (compared.scale, compared.verdict) == ("ratio", "better")
        assert (compared.effect, compared.low, compared.high) == pytest.approx((0.4, 0.4, 0.4))
        assert (compared.value, compared.base) == pytest.approx((found.value, 2.5 * found.value))
    assert reading.metrics["p50_latency"].value < reading.metrics["p95_latency"].value
    back = LATENCY.measure(bench(per_word(stage, 0.5), per_word(stage, 0.2))).against_base
    assert back["p50_latency"].verdict == "worse" and back["p50_latency"].effect == pytest.approx(2.5)
    same = LATENCY.measure(bench(per_word(stage, 0.5), per_word(stage, 0.5))).against_base
    assert same["p50_latency"].verdict == same["p95_latency"].verdict == "equivalent"


def test_latency_times_single_requests_drawn_from_the_data_the_same_for_both(stage: Stage) -> None:
    candidate, base = per_word(stage, 1), per_word(stage, 1)
    LATENCY.measure(bench(candidate, base))
    assert all(len(request) == 1 for request in candidate.asked + base.asked)
    assert {r[0] for r in candidate.asked} == {r[0] for r in base.asked} == set(texts().texts)


def test_latency_lets_each_model_answer_some_requests_in_a_row_after_one_that_is_not_timed(
    stage: Stage,
) -> None:
    calls: list[str] = []

    def noting(name: str) -> Timed:
        def seconds(text: str) -> float:
            calls.append(name)
            return 0.001

        return Timed(stage, seconds)

    LATENCY.measure(bench(noting("candidate"), noting("base")))
    turns = [len(list(run)) for name, run in itertools.groupby(calls) if name == "candidate"]
    warming, *timed = turns
    assert warming < 7 and all(run in (7, 14) for run in timed)  # two turns may follow each other
    assert sum(timed) == 12 * 7  # 72 requests, six to a turn, and one to warm the caches


def test_latency_leaves_a_quantile_without_an_interval_out_of_the_comparison_and_says_so(
    stage: Stage,
) -> None:
    reading = LATENCY.measure(bench(per_word(stage, 1), per_word(stage, 1)))
    p99 = reading.metrics["p99_latency"]
    assert p99.low is None and "p99_latency" not in reading.against_base
    (why,) = reading.warnings
    assert "p99_latency" in why.en and "p99_latency" in why.zh and "thorough" in why.en
    alone = LATENCY.measure(bench(per_word(stage, 1), protocol=replace(CALM, latency_pairs=400)))
    assert alone.metrics["p99_latency"].low is not None
    assert alone.warnings == () and alone.against_base == {}


def test_latency_keeps_the_times_the_report_draws(stage: Stage) -> None:
    details = LATENCY.measure(bench(per_word(stage, 1), per_word(stage, 2))).details
    assert np.array(details["base_seconds"]) == pytest.approx(2 * np.array(details["seconds"]))
    assert len(details["seconds"]) == 72 and details["batch_size"] == 1
    assert details["aa_deviation"] == pytest.approx(0)
    assert LATENCY.measure(bench(per_word(stage, 1))).details["base_seconds"] is None


def test_throughput_and_energy_describe_the_same_rounds_of_work(stage: Stage) -> None:
    slow, fast = per_word(stage, 0.9), per_word(stage, 0.3)
    reading = THROUGHPUT.measure(bench(fast, slow))
    whole = next(asked for asked in fast.asked if len(asked) == reading.details["items_per_round"])
    seconds = 0.3e-3 * sum(len(text.split()) for text in whole)
    rate, energy = reading.metrics["throughput"], reading.metrics["energy_per_1000"]
    assert (rate.unit, rate.value) == ("1/s", pytest.approx(len(whole) / seconds, rel=1e-6))
    assert rate.low <= rate.value <= rate.high
    low, taken, high = WATTS_PER_CORE  # one core is busy all the time
    expected = 1000 / len(whole) * seconds
    assert (energy.low, energy.value, energy.high) == pytest.approx(
        (low * expected, taken * expected, high * expected), rel=1e-6
    )
    assert (energy.unit, energy.how) == ("J", "modelled")
    for name, ratio in (("throughput", 3.0), ("energy_per_1000", 1 / 3)):
        compared = reading.against_base[name]
        assert (compared.scale, compared.verdict) == ("ratio", "better")
        assert (compared.effect, compared.low, compared.high) == pytest.approx((ratio,) * 3, rel=1e-6)
        assert compared.value == reading.metrics[name].value
    back = THROUGHPUT.measure(bench(slow, fast)).against_base
    assert back["throughput"].verdict == back["energy_per_1000"].verdict == "worse"


def test_throughput_keeps_what_the_report_draws(stage: Stage) -> None:
    details = THROUGHPUT.measure(bench(per_word(stage, 1), per_word(stage, 2))).details
    assert np.array(details["base_seconds"]) == pytest.approx(2 * np.array(details["seconds"]))
    assert np.array(details["base_joules"]) == pytest.approx(2 * np.array(details["joules"]))
    assert len(details["seconds"]) == len(details["joules"]) == 5
    assert details["energy_source"] == "CPU time"
    assert "assumed" in details["energy_note"]["en"] and "假设" in details["energy_note"]["zh"]


class Still(EnergySource):
    """A counter that does not move, as some virtual machines have."""

    name, how = "still", "counter"

    def read(self) -> float:
        return 0.0

    def used(self, before: float, after: float) -> tuple[float, float, float]:
        return 0.0, 0.0, 0.0

    def note(self) -> Text:
        return Text("a counter", "计数器")


def test_a_counter_that_does_not_move_leaves_the_throughput_and_no_energy_of_zero(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput_and_energy, "source_for", lambda _, base=None: (Still(), ()))
    reading = THROUGHPUT.measure(bench(per_word(stage, 1), per_word(stage, 2)))
    assert set(reading.metrics) == {"throughput"} == set(reading.against_base)
    (why,) = reading.warnings
    assert "energy is not measured" in why.en and "未测能耗" in why.zh


def test_a_device_without_a_counter_leaves_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise OSError(name)

    monkeypatch.setattr(energy_nvml.ctypes, "CDLL", missing)
    source, warnings = source_for(per_word(Stage(), 1, session=SimpleNamespace(device="cuda:0")))
    assert source is None
    assert "NVML" in warnings[0].en and "未测能耗" in warnings[0].zh


def test_rounds_hold_the_mix_of_lengths_of_the_data_and_shrink_where_a_model_is_slow(stage: Stage) -> None:
    quick = per_word(stage, 0.01)
    details = THROUGHPUT.measure(bench(quick, protocol=replace(CALM, throughput_items=30))).details
    assert details["items_per_round"] == 30 and len(details["seconds"]) == 5
    whole = max(quick.asked, key=len)
    assert len(set(whole)) == 30
    all_words, drawn = (np.array([len(t.split()) for t in group]) for group in (texts().texts, whole))
    assert drawn.mean() == pytest.approx(all_words.mean(), rel=0.05)
    heavy = Timed(stage, lambda text: 0.05)
    slow = THROUGHPUT.measure(bench(heavy, protocol=replace(CALM, throughput_items=2_000)))
    assert slow.details["items_per_round"] == 80  # 4 seconds of it
    heavier = THROUGHPUT.measure(bench(Timed(stage, lambda text: 9.0), heavy))
    assert heavier.details["items_per_round"] == 16  # never fewer; the slower of the two decides


@pytest.mark.parametrize("instrument", [LATENCY, THROUGHPUT])
def test_a_machine_that_disagrees_with_itself_is_too_noisy(instrument: Any, stage: Stage) -> None:
    seen: dict[str, int] = {}

    def every_second_time_slow(text: str) -> float:
        seen[text] = seen.get(text, 0) + 1
        return 0.001 if seen[text] % 2 else 0.003

    model = Timed(stage, every_second_time_slow)
    with pytest.raises(TooNoisy):
        instrument.measure(bench(model, protocol=replace(CALM, max_aa=0.10)))


@pytest.mark.parametrize("instrument", [LATENCY, THROUGHPUT])
def test_it_refuses_language_models_and_missing_data_with_a_reason(instrument: Any) -> None:
    assert instrument.supports(bench(per_word(Stage(), 1)))
    for refused in (
        bench(per_word(Stage(), 1, task="causal-lm")), Workbench(per_word(Stage(), 1), None, (), CALM),
    ):  # fmt: skip
        no = instrument.supports(refused)
        assert not no and no.reason.en and no.reason.zh


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real artefact that batches by eight, sorted by length."""
    subject = replace(tiny_classifier(), serve=Serve(batch_size=8, sort_by_length=True))
    folder = tmp_path_factory.mktemp("speed") / "built"
    write(subject, folder, recipe=Recipe(), examples=tiny_texts(4))
    return open_artefact(folder, threads=1, device="cpu")


def test_a_real_artefact_is_timed_with_its_own_serve_settings(opened: Any) -> None:
    shapes: list[tuple[int, ...]] = []
    run = opened.session.run

    def noted(inputs: Any) -> Any:
        shapes.append(next(iter(inputs.values())).shape)
        return run(inputs)

    opened.session.run = noted
    try:
        reading = THROUGHPUT.measure(bench(opened, protocol=replace(CALM, throughput_items=32)))
        assert {batch for batch, _ in shapes[-4:]} == {8}
        assert len({tokens for _, tokens in shapes[-4:]}) > 1  # sorted: batches of their own lengths
        shapes.clear()
        LATENCY.measure(bench(opened))
        assert {batch for batch, _ in shapes} == {1}
    finally:
        opened.session.run = run
    assert reading.details["serve"] == {
        "batch_size": 8, "token_budget": None, "sort_by_length": True, "threads": None,
    }  # fmt: skip
    assert set(reading.metrics) == {"throughput", "energy_per_1000"}


def test_generation_is_timed_by_its_parts(tmp_path: Path) -> None:
    folder = tmp_path / "language"
    write(tiny_language_model(), folder, recipe=Recipe(), examples=tiny_texts(4))
    model = open_artefact(folder, threads=1, device="cpu")
    prose = Prose("made", tuple(tiny_texts(200)), tuple(map(str, range(200))))
    plan = replace(CALM, decode_tokens=4, throughput_pairs=4)
    reading = GENERATION.measure(Workbench(model, model, (prose,), plan))
    assert set(reading.metrics) == {metric.name for metric in GENERATION.metrics} == set(reading.against_base)
    for name, found in reading.metrics.items():
        assert found.low <= found.value <= found.high, name
        assert reading.against_base[name].value == pytest.approx(found.value), name
    details = reading.details
    assert details["decode_tokens"] == 4 and details["prompts"] == 4
    assert all(len(steps) == 3 for steps in details["step_seconds"] + details["base_step_seconds"])
    means = np.array(details["step_seconds"]).mean(axis=1)
    assert reading.metrics["time_per_token"].value == pytest.approx(np.exp(np.log(means).mean()))
    first = reading.metrics["time_to_first_token"].value
    assert reading.metrics["prefill_throughput"].value == pytest.approx(details["prompt_tokens"] / first)
    assert reading.metrics["tokens_per_second"].value < 4 / first  # the other tokens take time too
