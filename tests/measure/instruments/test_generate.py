"""The artefact's own generation, timed by forward passes: the answers are exact."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.measure.instruments.bench import bench_of, opened
from tests.measure.language.models import llama
from tests.measure.language.words import byte_level, prose
from tiku.core.instrument import Workbench
from tiku.core.protocol import Protocol
from tiku.measure.clock import time_pairs
from tiku.measure.energy import CpuTimeSource
from tiku.measure.instruments import generate
from tiku.measure.instruments.generate import INSTRUMENT

PLAN = Protocol(decode_tokens=16, max_aa=1e9, own_text=True)
LIMITS = (16, 16, 12, 12, 8, 8, 4, 4)


class Passes:
    """A clock on which each forward pass takes one second, and nothing else takes time."""

    def __init__(self) -> None:
        self.count = 0

    def clock(self) -> int:
        return self.count * 10**9

    def watch(self, model: Any) -> Any:
        for name in ("extend", "_forward_rows"):  # alone, and in a batch
            setattr(model.session, name, self._counted(getattr(model.session, name)))
        return model

    def _counted(self, call: Any) -> Any:
        def counted(*given: Any, **named: Any) -> Any:
            self.count += 1
            return call(*given, **named)

        return counted


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    made = Passes()
    monkeypatch.setattr(generate, "time_pairs", functools.partial(time_pairs, clock=made.clock))
    source = CpuTimeSource(lambda: float(made.count))
    monkeypatch.setattr(generate, "source_for", lambda _, base=None: (source, ()))
    return made


@pytest.fixture
def plain(tmp_path: Path, passes: Passes) -> Any:
    return passes.watch(opened(tmp_path / "plain"))


@pytest.fixture
def looked_up(tmp_path: Path, passes: Passes) -> Any:
    model = passes.watch(opened(tmp_path / "looked-up"))
    model.serve = replace(model.serve, speculation="prompt-lookup", draft_tokens=8)
    return model


def _bench(candidate: Any, base: Any = None) -> Workbench:
    return bench_of(candidate, prose(6, 60), base=base, protocol=PLAN)


def test_one_token_for_each_forward_pass_is_the_rate_of_plain_decoding(plain: Any) -> None:
    reading = INSTRUMENT.measure(_bench(plain))
    rate = reading.metrics["generated_tokens_per_second"]
    assert (rate.value, rate.low, rate.high, rate.n) == pytest.approx((1.0, 1.0, 1.0, 3))
    assert reading.against_base == {}
    details = reading.details
    assert (details["limits"], details["rounds"]) == (list(LIMITS), 3)
    assert details["seconds"] == [sum(LIMITS)] * 3 and details["base_seconds"] is None
    assert details["tokens_per_pass"] == 1.0 and details["acceptance_rate"] is None
    assert details["same_output"] is None


def test_drafts_that_stand_show_in_the_rate_and_the_text_is_the_same(plain: Any, looked_up: Any) -> None:
    reading = INSTRUMENT.measure(_bench(looked_up, plain))
    details = reading.details
    assert details["same_output"] is True and details["same_share"] == 1.0
    assert details["drafted"] > 0 and 0 < details["acceptance_rate"] < 1
    # tokens = passes + accepted drafts, on both sides
    tokens = 3 * sum(LIMITS)
    took = tokens - round(details["acceptance_rate"] * details["drafted"])
    assert sum(details["seconds"]) == took < tokens
    assert details["tokens_per_pass"] == pytest.approx(tokens / took)
    compared = reading.against_base["generated_tokens_per_second"]
    expected = np.exp(np.mean(np.log(sum(LIMITS) / np.array(details["seconds"]))))
    assert (compared.base, compared.value, compared.effect) == pytest.approx((1.0, expected, expected))
    joules = reading.against_base["energy_per_generated_token"]
    assert joules.effect == pytest.approx(1 / expected)
    assert details["base_costs"]["tokens_per_pass"] == 1.0


def test_another_model_is_seen_to_say_something_else(plain: Any, passes: Passes, tmp_path: Path) -> None:
    other = passes.watch(opened(tmp_path / "other", llama(seed=9, vocab=len(byte_level()))))
    details = INSTRUMENT.measure(_bench(other, plain)).details
    assert details["same_output"] is False and 0 <= details["same_share"] < 1


def test_a_short_context_leaves_room_for_what_is_generated(plain: Any) -> None:
    plain.processor.model_max_length = 24
    details = INSTRUMENT.measure(_bench(plain)).details
    assert details["limits"] == list(LIMITS) and details["prompt_tokens"] == 24 - 16


def test_requests_that_share_forward_passes_show_in_the_rate(
    plain: Any, passes: Passes, tmp_path: Path
) -> None:
    together = passes.watch(opened(tmp_path / "together"))
    together.serve = replace(together.serve, slots=3)
    reading = INSTRUMENT.measure(_bench(together, plain))
    details = reading.details
    assert details["same_output"] is True and details["base_costs"]["tokens_per_pass"] == 1.0
    # eight passes for the prompts give a token each; the others come three to a pass but at the end
    assert all(8 + 72 / 3 <= seconds <= 8 + 72 / 3 + 4 for seconds in details["seconds"])
    assert 0 < details["cache"]["padded_share"] < 1 and details["cache"]["most_used"] > 0


def test_what_decodes_token_by_token_is_timed_only_where_the_protocol_asks(
    plain: Any, looked_up: Any
) -> None:
    quiet = replace(PLAN, own_text=False)
    refused = INSTRUMENT.supports(replace(_bench(plain), protocol=quiet))
    assert not refused and "token by token" in refused.reason.en
    assert INSTRUMENT.supports(replace(_bench(looked_up), protocol=quiet))
    assert INSTRUMENT.supports(_bench(plain))


def test_classifiers_are_refused(plain: Any) -> None:
    plain.task = "text-classification"
    support = INSTRUMENT.supports(_bench(plain))
    assert not support and "language models" in support.reason.en
