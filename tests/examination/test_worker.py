"""What a worker tells while it works."""

from __future__ import annotations

from pathlib import Path

from tiku.examination.ledger import TrialFolder
from tiku.examination.worker import _Reporter


def notes(folder: TrialFolder) -> list[str]:
    return [event["note"] for event in folder.events()]


def test_a_short_stage_does_not_hide_the_note_of_the_next(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    report = _Reporter(folder)
    for position, name in enumerate(("size", "quality", "latency")):
        report(position, 3, name)
    assert notes(folder) == ["size", "quality", "latency"]


def test_a_flood_of_progress_becomes_a_trickle_of_events(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    report = _Reporter(folder)
    for step in range(10_000):
        report(step, 10_000, f"step {step}")
    report(10_000, 10_000, "the end")
    told = notes(folder)
    assert told[-1] == "the end"
    assert len(told) < 200
