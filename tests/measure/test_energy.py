"""Energy sources on made-up counters: wrap-around, what is counted, what is assumed, never a silent zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiku.core.errors import CannotMeasure
from tiku.core.metric import Metric
from tiku.core.text import Text
from tiku.measure import energy_nvml
from tiku.measure.clock import PairedTimes, Schedule, time_pairs
from tiku.measure.energy import (
    WATTS_PER_CORE,
    CpuTimeSource,
    RaplSource,
    SumSource,
    energy_source,
    measure_idle,
    rapl_support,
)
from tiku.measure.energy_nvml import NvmlSource
from tiku.measure.instruments._energy import energy_measured, energy_ratio, energy_reading

RANGE_UJ = 262_143_328_850  # what Intel parts report
ENERGY = Metric("energy_per_1000", "J", "lower", Text("Energy", "能耗"), scale="ratio", margin=0.05)


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Powercap:
    """A folder like /sys/class/powercap, with the zones of a machine with two packages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for zone, name in (
            ("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram"),
            ("intel-rapl:1", "package-1"), ("intel-rapl:1:0", "dram"), ("intel-rapl:2", "psys"),
        ):  # fmt: skip
            self.add(zone, name)

    def add(self, zone: str, name: str, limit: int = RANGE_UJ) -> None:
        folder = self.root / zone
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text(f"{limit}\n")
        self.set(zone, 0)

    def set(self, zone: str, microjoules: int) -> None:
        (self.root / zone / "energy_uj").write_text(f"{microjoules}\n")


@pytest.fixture
def powercap(tmp_path: Path) -> Powercap:
    return Powercap(tmp_path / "powercap")


def test_rapl_adds_packages_and_memory_and_leaves_out_what_lies_inside_or_overlaps(
    powercap: Powercap,
) -> None:
    hands = Hands()
    source = RaplSource(powercap.root, clock=hands)
    before = source.read()
    powercap.set("intel-rapl:0", 5_000_000)
    powercap.set("intel-rapl:0:1", 700_000)  # memory of package 0
    powercap.set("intel-rapl:1", 2_000_000)
    powercap.set("intel-rapl:1:0", 300_000)
    powercap.set("intel-rapl:0:0", 4_000_000)  # cores: counted in the package already
    powercap.set("intel-rapl:2", 90_000_000)  # the whole platform
    hands.now = 1.0
    assert source.used(before, source.read()) == pytest.approx((8.0, 8.0, 8.0))
    assert "4 domains" in source.note().en and "4 个域" in source.note().zh
    assert source.how == "counter"


def test_a_counter_that_wraps_around_gives_what_was_used_and_not_a_negative_number(
    powercap: Powercap,
) -> None:
    hands = Hands()
    source = RaplSource(powercap.root, clock=hands)
    powercap.set("intel-rapl:0", RANGE_UJ - 1_500_000)
    before = source.read()
    powercap.set("intel-rapl:0", 2_500_000)
    hands.now = 1.0
    assert source.used(before, source.read())[0] == pytest.approx(4.0)


def test_so_long_a_piece_that_a_counter_may_have_wrapped_twice_is_refused(tmp_path: Path) -> None:
    powercap, hands = Powercap(tmp_path / "powercap"), Hands()
    powercap.add("intel-rapl:3", "package-3", limit=60_000_000)  # 60 J: at 1,000 W that is 0.06 s
    source = RaplSource(powercap.root, clock=hands)
    before = source.read()
    hands.now = 0.05
    assert source.used(before, source.read())[0] == 0
    hands.now = 0.5
    with pytest.raises(CannotMeasure, match="wrapped twice"):
        source.used(before, source.read())


def test_idle_power_is_measured_and_subtracted(powercap: Powercap) -> None:
    hands, idle_watts = Hands(), 30.0

    def rest(seconds: float) -> None:
        hands.now += seconds
        powercap.set("intel-rapl:0", round(hands.now * idle_watts * 1e6))

    watts = measure_idle(RaplSource(powercap.root, clock=hands), 0.5, sleep=rest)
    assert watts == pytest.approx(30.0, rel=1e-6)
    source = RaplSource(powercap.root, idle_watts=watts, clock=hands)
    before = source.read()
    hands.now += 2.0
    powercap.set("intel-rapl:0", round((hands.now * idle_watts + 50.0) * 1e6))  # the work added 50 J
    assert source.used(before, source.read())[0] == pytest.approx(50.0, rel=1e-6)
    assert "30.0 W" in source.note().en and "30.0 W" in source.note().zh


def test_no_counter_says_why_and_so_does_one_that_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = rapl_support(tmp_path / "nothing")
    assert not none and "virtual" in none.reason.en and "虚拟机" in none.reason.zh
    powercap = Powercap(tmp_path / "powercap")
    assert rapl_support(powercap.root)

    def refuse(path: Path, *args: object, **kwargs: object) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, *args, **kwargs)

    original = Path.read_text
    monkeypatch.setattr(Path, "read_text", refuse)
    locked = rapl_support(powercap.root)
    assert not locked and "chmod" in locked.reason.en and "energy_uj" in locked.reason.zh


def test_half_made_zones_are_passed_over(powercap: Powercap) -> None:
    (powercap.root / "intel-rapl:7").mkdir()
    (powercap.root / "intel-rapl:7" / "name").write_text("package-7\n")  # no counter below it
    assert rapl_support(powercap.root)
    assert "4 domains" in RaplSource(powercap.root).note().en


def test_without_a_counter_cpu_time_is_modelled_with_an_interval_and_the_assumption_is_printed() -> None:
    hands = Hands()
    source = CpuTimeSource(hands)
    before = source.read()
    hands.now = 8.0
    low, taken, high = WATTS_PER_CORE
    assert low < taken < high
    assert source.used(before, source.read()) == pytest.approx((8 * taken, 8 * low, 8 * high))
    assert source.how == "modelled"
    for text in (source.note().en, source.note().zh):
        assert all(f"{watts:g} W" in text for watts in (taken, high)) and f"{low:g}" in text


def test_the_best_source_here_is_the_counter_where_it_can_be_read_and_else_the_model(tmp_path: Path) -> None:
    assert isinstance(energy_source(root=tmp_path / "nothing"), CpuTimeSource)
    found = energy_source(root=Powercap(tmp_path / "powercap").root)
    assert isinstance(found, RaplSource) and found.how == "counter"


def test_nvml_counts_millijoules_of_the_board_above_idle() -> None:
    hands, board = Hands(), [1_000_000]
    source = NvmlSource(lambda: board[0], idle_watts=40.0, clock=hands)
    before = source.read()
    board[0] += 300_000
    hands.now = 2.0
    assert source.used(before, source.read()) == pytest.approx((220.0, 220.0, 220.0))
    assert "40.0 W" in source.note().en and "40.0 W" in source.note().zh and source.how == "counter"


def test_a_gpu_without_the_library_or_without_a_counter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(energy_nvml.ctypes, "CDLL", missing)
    with pytest.raises(CannotMeasure, match="cannot be reached") as caught:
        NvmlSource.open("cuda")
    assert "libnvidia-ml.so.1" in caught.value.parts()["allowed"]

    class OldDriver:
        def nvmlInit_v2(self) -> int:  # noqa: N802 - the library\'s own name
            return 0

        def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: object) -> int:  # noqa: N802 - the library\'s own name
            return 0

        def nvmlDeviceGetTotalEnergyConsumption(self, handle: object, value: object) -> int:  # noqa: N802 - the library\'s own name
            return 3  # NVML_ERROR_NOT_SUPPORTED

    monkeypatch.setattr(energy_nvml.ctypes, "CDLL", lambda name: OldDriver())
    monkeypatch.setattr(energy_nvml, "gpu_uuid", lambda device: "GPU-1")
    with pytest.raises(CannotMeasure, match="NVML error 3"):
        NvmlSource.open("cuda")


def test_two_sources_add_up_and_the_sum_is_only_as_good_as_its_weaker_part() -> None:
    hands, board = Hands(), [0]
    both = SumSource((NvmlSource(lambda: board[0], clock=hands), CpuTimeSource(hands)))
    before = both.read()
    board[0], hands.now = 10_000, 2.0
    low, taken, high = WATTS_PER_CORE
    assert both.used(before, both.read()) == pytest.approx((10 + 2 * taken, 10 + 2 * low, 10 + 2 * high))
    assert both.how == "modelled" and both.name == "NVML + CPU time"
    assert "NVML" in both.note().en and "CPU" in both.note().zh


def _joules(per_round: float, spread: float = 0.02, rounds: int = 9) -> np.ndarray:
    rng = np.random.default_rng(0)
    taken = per_round * np.exp(spread * rng.standard_normal(rounds))
    return np.stack([taken, 0.4 * taken, 2.4 * taken], axis=1)


def test_the_interval_of_modelled_energy_holds_what_the_assumption_allows() -> None:
    modelled = energy_measured(_joules(50.0), CpuTimeSource())
    assert modelled.how == "modelled" and modelled.low < 0.4 * 50.0 and modelled.high > 2.4 * 50.0
    counted = energy_measured(_joules(50.0), RaplSource(Path("/nowhere")))
    assert counted.how == "counter" and 48.0 < counted.low < counted.value < counted.high < 52.0
    assert counted.value == pytest.approx(modelled.value)


def test_the_assumed_watts_cancel_in_a_ratio() -> None:
    ratio = energy_ratio(_joules(50.0), 0.5 * _joules(50.0))
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5))


@pytest.mark.parametrize("used", [0.0, -3.0])
def test_work_that_draws_no_more_than_idle_is_a_reason_and_never_a_zero(used: float) -> None:
    joules = _joules(50.0)
    joules[3] = used
    times = PairedTimes(np.ones(9), np.ones(9), 0.0, joules, _joules(50.0))
    reading = energy_reading(ENERGY, times, 10.0, CpuTimeSource())
    assert reading.metrics == {} and reading.against_base == {}
    (why,) = reading.warnings
    assert "idle" in why.en and why.zh.startswith("未测能耗")


def test_a_reading_scales_to_the_work_asked_for_and_compares_in_pairs() -> None:
    times = PairedTimes(np.ones(9), np.ones(9), 0.0, 0.7 * _joules(50.0), _joules(50.0))
    reading = energy_reading(ENERGY, times, 1000 / 128, CpuTimeSource())
    found, compared = reading.metrics["energy_per_1000"], reading.against_base["energy_per_1000"]
    assert found.unit == "J" and found.value == pytest.approx(compared.value)
    assert compared.base == pytest.approx(np.exp(np.log(_joules(50.0)[:, 0]).mean()) * 1000 / 128)
    assert compared.verdict == "better" and compared.effect == pytest.approx(0.7)


def test_an_energy_source_is_a_gauge_of_the_clock() -> None:
    hands = Hands()

    def work(pair: int) -> None:
        hands.now += 0.25

    times = time_pairs(
        work, None, Schedule(4), clock=lambda: round(hands.now * 1e9), gauge=CpuTimeSource(hands)
    )
    assert times.candidate_used[:, 0] == pytest.approx(np.full(4, 0.25 * WATTS_PER_CORE[1]))
