"""Files of a finished exam are torn, cut or changed: it is noticed, and that trial alone is done again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.exams import events, read_result, recipe_of, verdicts
from tests.faults.conftest import FLAGS, Reference

BASE, CHOSEN, OTHER = "finetune", "finetune + int8-dynamic + onnxruntime", "finetune + onnxruntime"


@pytest.fixture
def out(reference: Reference, tmp_path: Path) -> Path:
    """A copy of the finished exam."""
    shutil.copytree(reference.out, tmp_path / "out")
    return tmp_path / "out"


def trial(out: Path, recipe: str) -> Path:
    ids = {recipe_of(t): t["id"] for t in read_result(out)["trials"]}
    return out / "trials" / ids[recipe]


def largest(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change one bit in the middle: the size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def tear(path: Path) -> None:
    """As a writer that was killed in the middle of its last line leaves it."""
    path.write_bytes(path.read_bytes() + b'{"event": "prog')


def run_again(reference: Reference, out: Path) -> tuple[str, dict[str, int]]:
    """stderr, and how often each trial was begun in this run."""
    before = events(out)
    done = reference.lab.run(out, *FLAGS)
    assert done.returncode == 0, done.stderr
    assert verdicts(read_result(out)) == reference.verdicts
    after = events(out)
    begun = {name: after[name].count("started") - before[name].count("started") for name in after}
    return done.stderr, {name: count for name, count in begun.items() if count}


@pytest.mark.parametrize(
    ("recipe", "name", "harm"),
    [
        (OTHER, "build", cut),
        (OTHER, "build", flip),
        (CHOSEN, "build", flip),
        (BASE, "build", flip),
        (BASE, "arrays.npz", cut),
    ],
    ids=["cut build", "changed build", "changed chosen build", "changed base", "cut arrays"],
)
def test_a_damaged_trial_is_noticed_and_done_again(
    reference: Reference, out: Path, recipe: str, name: str, harm: Callable[[Path], None]
) -> None:
    folder = trial(out, recipe)
    path = folder / name
    harm(largest(path) if path.is_dir() else path)
    told, begun = run_again(reference, out)
    assert f"{recipe.removeprefix('finetune + ') if recipe != BASE else 'base'}: damaged on the disk" in told
    confirmed = {name for name, seen in events(out).items() if "built" not in seen and "measured" in seen}
    again = {folder.name} | (confirmed if recipe in (BASE, CHOSEN) else set())
    assert begun == dict.fromkeys(again, 1)
    assert any("damaged" in w["en"] for w in read_result(out)["warnings"])


def test_a_truncated_outcome_is_measured_again_from_its_build(reference: Reference, out: Path) -> None:
    folder = trial(out, OTHER)
    cut(folder / "result.json")
    _, begun = run_again(reference, out)
    assert begun == {folder.name: 1}
    assert events(out)[folder.name].count("built") == 1


def test_torn_events_and_a_torn_specification_cost_nothing(reference: Reference, out: Path) -> None:
    folder = trial(out, OTHER)
    tear(folder / "events.jsonl")
    cut(folder / "trial.json")
    _, begun = run_again(reference, out)
    assert begun == {}
    assert json.loads((folder / "trial.json").read_text())["id"] == folder.name


def test_a_build_damaged_before_it_was_measured_is_built_again(reference: Reference, out: Path) -> None:
    folder = trial(out, OTHER)
    (folder / "result.json").unlink()
    flip(largest(folder / "build"))
    tear(folder / "events.jsonl")
    _, begun = run_again(reference, out)
    assert begun == {folder.name: 1}
    seen = events(out)[folder.name]
    assert seen.count("damaged") == 1 and seen.count("built") == 2


def test_a_damaged_result_of_the_exam_is_written_again(reference: Reference, out: Path) -> None:
    cut(out / "result.json")
    (out / "report.html").unlink()
    shutil.rmtree(out / "artefact")
    done = reference.lab.run(out, *FLAGS)
    assert done.returncode == 0, done.stderr
    assert verdicts(read_result(out)) == reference.verdicts
    assert (out / "report.html").exists() and (out / "artefact" / "artefact.json").exists()
