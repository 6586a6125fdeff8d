from __future__ import annotations

import pytest

from tiku.training import precision


@pytest.mark.parametrize(("speedup", "chosen"), [(2.1, "bf16"), (1.0, "fp32"), (0.005, "fp32")])
def test_bf16_is_chosen_only_where_it_was_measured_to_be_faster(
    speedup: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "bf16_speedup", lambda device: speedup)
    assert precision.choose_precision("auto", "cpu") == chosen


def test_a_stated_precision_is_taken_without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "bf16_speedup", lambda device: pytest.fail("measured"))
    assert [precision.choose_precision(p, "cpu") for p in ("fp32", "bf16")] == ["fp32", "bf16"]


def test_the_probe_gives_a_positive_ratio_here() -> None:
    assert precision.bf16_speedup("cpu") > 0
