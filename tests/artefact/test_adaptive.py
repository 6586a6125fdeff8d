"""Batches under a memory limit: on a process whose memory is known in advance, and on real ones."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiku.artefact import adaptive, open_artefact, write
from tiku.artefact.adaptive import AdaptiveBatches, ran_out
from tiku.core.errors import TikuError
from tiku.core.recipe import Recipe
from tiku.methods.serving.adaptive_batch import AdaptiveBatch
from tiku.testing import tiny_classifier, tiny_context, tiny_language_model, tiny_texts

MB = 1_000_000


class Machine:
    """A process of 100 MB whose batches take `per_token` bytes for each padded token, and which has no more
    than `wall` bytes in all: what a batch wants beyond that fails, as it would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, per_token: float, wall: float = 1e18) -> None:
        self.per_token, self.wall, self.peak = per_token, wall, 100 * MB
        self.batches: list[list[int]] = []
        self.lengths: list[int] = []
        monkeypatch.setattr(adaptive, "resident_bytes", lambda pid=None: 100 * MB)
        monkeypatch.setattr(adaptive, "peak_bytes", lambda pid=None: int(self.peak))
        monkeypatch.setattr(adaptive, "address_room", lambda pid=None: None)

    def answer(self, batch: list[int]) -> None:
        wanted = 100 * MB + self.per_token * len(batch) * max(self.lengths[i] for i in batch)
        if wanted > self.wall:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes")
        self.peak = max(self.peak, wanted)
        self.batches.append(batch)

    def run(self, lengths: list[int], **settings: float) -> AdaptiveBatches:
        self.lengths = lengths
        batches = AdaptiveBatches(settings)
        batches.run(lengths, self.answer)
        return batches


LENGTHS = [int(n) for n in np.random.default_rng(0).integers(4, 200, size=400)]


@pytest.mark.parametrize("predicted", [0.0, 2_000.0, 10_000.0, 50_000.0])
def test_every_request_is_answered_once_within_the_limit_whatever_was_predicted(
    monkeypatch: pytest.MonkeyPatch, predicted: float
) -> None:
    machine = Machine(monkeypatch, per_token=10_000)
    found = machine.run(LENGTHS, limit_mb=150, token_bytes=predicted)
    assert sorted(i for batch in machine.batches for i in batch) == list(range(400))
    assert machine.peak <= 150 * MB and found.report["over_limit"] == 0
    # 0.9 x 50 MB / 10 kB: 4,500 padded tokens, and the fit comes that far
    assert max(len(b) * max(LENGTHS[i] for i in b) for b in machine.batches) > 2_800


def test_batch_may_take_what_it_is_given_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, per_token=10_000)
    machine.run(LENGTHS, batch_mb=20, token_bytes=10_000)
    assert 115 * MB < machine.peak <= 120 * MB


def test_longest_come_first_and_batches_at_most_double(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, per_token=10)
    machine.run(LENGTHS, limit_mb=10_000, token_bytes=10, largest=64)
    costs = [len(b) * max(LENGTHS[i] for i in b) for b in machine.batches[1:]]
    assert costs[0] == max(LENGTHS)
    assert all(b <= 2 * max(costs[: i + 1]) for i, b in enumerate(costs[1:]))
    assert max(map(len, machine.batches)) == 64


def test_memory_that_ends_earlier_than_promised_halves_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, per_token=10_000, wall=120 * MB)
    found = machine.run(LENGTHS, limit_mb=10_000, token_bytes=10_000)
    assert sorted(i for batch in machine.batches for i in batch) == list(range(400))
    assert found.report["backed_off"] >= 1 and machine.peak <= 120 * MB


def test_one_request_that_does_not_fit_is_an_error_with_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, per_token=10_000, wall=101 * MB)
    with pytest.raises(TikuError, match="no room for a request of 199 tokens"):
        machine.run(LENGTHS, limit_mb=150, token_bytes=10_000)
    with pytest.raises(TikuError, match="no room for the model itself"):
        machine.run([5, 6], limit_mb=90)


def test_other_errors_are_not_taken_for_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, per_token=1)
    monkeypatch.setattr(machine, "answer", lambda batch: [][1])
    with pytest.raises(IndexError):
        machine.run(LENGTHS, limit_mb=150)
    assert ran_out(MemoryError()) and ran_out(RuntimeError("std::bad_alloc")) and not ran_out(KeyError("x"))


def _wide_classifier() -> Any:
    """A classifier whose activations, not whose weights, take the memory: 16 KB for each token and layer."""
    from transformers import BertConfig, BertForSequenceClassification

    subject = tiny_classifier()
    given = {**subject.module.config.to_dict(), "intermediate_size": 4_096}
    module = BertForSequenceClassification(BertConfig(**given)).eval()
    return replace(subject, module=module)


_UNDER_A_LIMIT = """
import json, resource, sys
from tiku.artefact import open_artefact
from tiku.artefact.adaptive import ran_out
from tiku.testing import tiny_texts
fixed, adaptive = (open_artefact(folder, threads=1) for folder in sys.argv[1:])
texts = tiny_texts(600, seed=4)
fixed.predict(texts[:1]), adaptive.predict(texts[:1])
size = int(next(l for l in open("/proc/self/status") if l.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + 160_000_000, resource.RLIM_INFINITY))
try:
    fixed.predict(texts)
    died = False
except Exception as error:
    died = ran_out(error)
    del error
logits = adaptive.predict(texts).tolist()
print(json.dumps({"died": died, "logits": logits, "report": dict(adaptive.batch_report)}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sets a limit on the address space")
def test_process_under_a_limit_finishes_what_a_fixed_batch_cannot(tmp_path: Path) -> None:
    subject, context = _wide_classifier(), tiny_context(tmp_path)
    fixed = replace(subject, serve=replace(subject.serve, batch_size=600))
    for name, one in (("fixed", fixed), ("adaptive", AdaptiveBatch(largest=600).apply(subject, context))):
        write(one, tmp_path / name, recipe=Recipe(), examples=tiny_texts(4))
    command = [sys.executable, "-c", _UNDER_A_LIMIT, str(tmp_path / "fixed"), str(tmp_path / "adaptive")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["died"] and 1 < told["report"]["largest_batch"] < 600
    opened = open_artefact(tmp_path / "fixed", threads=1)
    np.testing.assert_allclose(told["logits"], opened.predict(tiny_texts(600, seed=4)), atol=1e-5)
    opened.close()


def test_prediction_of_a_pass_is_near_what_the_process_takes(tmp_path: Path) -> None:
    subject = AdaptiveBatch().apply(_wide_classifier(), tiny_context(tmp_path))
    settings = subject.serve.memory
    # one layer holds its input and both sides of the activation at its height: 4,096 floats twice
    assert 2 * 4_096 * 4 <= settings["token_bytes"] + 48 * settings["pair_bytes"] < 4 * 4_096 * 4


def test_language_model_answers_as_many_at_once_as_its_caches_have_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = tiny_language_model()
    prompts = tiny_texts(6, seed=1)
    answers, slots = [], []
    for name, one in (
        ("plain", subject),
        ("roomy", AdaptiveBatch().apply(subject, tiny_context(tmp_path))),
        ("tight", AdaptiveBatch(largest=2).apply(subject, tiny_context(tmp_path))),
    ):
        write(one, tmp_path / name, recipe=Recipe(), examples=prompts)
        opened = open_artefact(tmp_path / name, threads=1)
        answers.append([made.tokens for made in opened.complete(prompts, 6, past_end=True)])
        slots.append(opened.cache_report.get("slots"))
        opened.close()
    assert answers[0] == answers[1] == answers[2]
    assert slots == [None, 6, 2]


def test_language_model_halves_its_slots_when_memory_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = AdaptiveBatch().apply(tiny_language_model(), tiny_context(tmp_path))
    write(subject, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(4))
    opened, prompts = open_artefact(tmp_path / "a", threads=1), tiny_texts(6, seed=1)
    whole, real = opened.complete(prompts, 5), opened.session.rows

    def rows(longest: list[int]) -> Any:
        if len(longest) > 2:
            raise MemoryError
        return real(longest)

    monkeypatch.setattr(opened.session, "rows", rows)
    assert [m.tokens for m in opened.complete(prompts, 5)] == [m.tokens for m in whole]
    assert opened.cache_report["backed_off"] == 2  # 6 to 3 to 1: one alone needs no rows
    opened.close()


def test_limit_below_the_weights_and_batches_decided_elsewhere_are_refused() -> None:
    subject = _wide_classifier()
    too_low = AdaptiveBatch(limit_mb=1).supports(subject)
    assert not too_low and "weights alone take" in too_low.reason.en
    budget = replace(subject, serve=replace(subject.serve, token_budget=64))
    assert not AdaptiveBatch().supports(budget)
    drafted = replace(tiny_language_model(), serve=replace(subject.serve, speculation="prompt-lookup"))
    assert not AdaptiveBatch().supports(drafted)
