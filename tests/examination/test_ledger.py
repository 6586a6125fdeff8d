"""The ledger: leases, torn files, identities."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tiku.core.measured import Measured
from tiku.core.protocol import Protocol
from tiku.core.recipe import Recipe
from tiku.core.result import Trial
from tiku.core.text import Text
from tiku.core.verdict import Comparison
from tiku.examination.ledger import Busy, Ledger, TrialFolder, TrialSpec, trial_id


def make(tmp_path: Path) -> TrialFolder:
    folder = TrialFolder(tmp_path / "trials" / "abc")
    folder.path.mkdir(parents=True)
    return folder


def test_a_trial_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    folder = make(tmp_path)
    trial = Trial(
        "abc", "base", Recipe(), "done", None,
        {"accuracy": Measured(0.5, 0.4, 0.6, 9, "1", "measured", "Wilson")},
        {"accuracy": Comparison(0.5, 0.5, "difference", 0.0, -0.1, 0.1, "cannot tell", None, "McNemar")},
        {"roc": [[0, 0], [1, 1]]}, (Text("a", "甲"),),
    )  # fmt: skip
    folder.write_result(trial)
    assert folder.result() == trial


def test_a_torn_result_counts_as_none_and_a_torn_event_is_left_out(tmp_path: Path) -> None:
    folder = make(tmp_path)
    folder.event("started")
    with (folder.path / "events.jsonl").open("a") as file:
        file.write('{"event": "pro')
    (folder.path / "result.json").write_text('{"id": "abc", "par')
    assert folder.result() is None
    assert [e["event"] for e in folder.events()] == ["started"]


def test_a_lease_is_held_once(tmp_path: Path) -> None:
    folder = make(tmp_path)
    with folder.lease(), pytest.raises(Busy), folder.lease():
        pass
    with folder.lease():
        assert folder.busy()
    assert not folder.busy()


def test_the_lease_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    folder = make(tmp_path)
    source = f"""
        import os, signal
        from pathlib import Path
        from tiku.examination.ledger import TrialFolder
        with TrialFolder(Path({str(folder.path)!r})).lease():
            os.kill(os.getpid(), signal.SIGKILL)
    """
    child = subprocess.run([sys.executable, "-c", textwrap.dedent(source)], check=False)
    assert child.returncode == -9
    assert (folder.path / "lease.json").exists()
    assert not folder.busy()
    with folder.lease():
        assert json.loads((folder.path / "lease.json").read_text())["pid"] == os.getpid()


def test_a_recycled_pid_is_not_taken_for_the_holder(tmp_path: Path) -> None:
    folder = make(tmp_path)
    with folder.lease():
        holder = json.loads((folder.path / "lease.json").read_text())
    holder["started"] -= 1000.0
    (folder.path / "lease.json").write_text(json.dumps(holder))
    assert not folder.busy()


def test_another_hosts_lease_goes_stale_without_a_heartbeat(tmp_path: Path) -> None:
    folder = make(tmp_path)
    lease = folder.path / "lease.json"
    lease.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": 0}))
    assert folder.busy()
    os.utime(lease, (0, 0))
    assert not folder.busy()


def test_the_identity_changes_with_each_thing_the_outcome_depends_on() -> None:
    ids = {
        trial_id("m", "d", Recipe(), Protocol()),
        trial_id("n", "d", Recipe(), Protocol()),
        trial_id("m", "e", Recipe(), Protocol()),
        trial_id("m", "d", Recipe(), Protocol(seed=1)),
        trial_id("m", "d", Recipe(), Protocol(), role="confirmation"),
    }
    assert len(ids) == 5
    assert trial_id("m", "d", Recipe(), Protocol()) == trial_id("m", "d", Recipe(()), Protocol(seed=0))


def test_the_ledger_lists_only_finished_trials(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    done, open_one = ledger.folder("done"), ledger.folder("open")
    for folder in (done, open_one):
        folder.path.mkdir()
        folder.write_spec(TrialSpec(folder.path.name, "trial", Recipe(), Protocol(), {}, None, None))
    done.write_result(Trial("done", None, Recipe(), "done"))
    assert list(ledger.results()) == ["done"]
    assert open_one.spec().protocol == Protocol()
