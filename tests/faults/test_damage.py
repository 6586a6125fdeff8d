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
    "harms",
    [
        ((OTHER, "build", cut), (CHOSEN, "build", flip)),
        ((BASE, "build", flip), (OTHER, "build", flip)),
        ((BASE, "arrays.npz", cut),),
    ],
    ids=["builds", "base", "arrays"],
)
def test_damaged_trials_are_noticed_and_done_again(
    reference: Reference, out: Path, harms: tuple[tuple[str, str, Callable[[Path], None]], ...]
) -> None:
    again = set()
    for recipe, name, harm in harms:
        folder = trial(out, recipe)
        path = folder / name
        harm(largest(path) if path.is_dir() else path)
        again.add(folder.name)
    told, begun = run_again(reference, out)
    for recipe, _, _ in harms:
        title = "base" if recipe == BASE else recipe.removeprefix("finetune + ")
        assert f"{title}: damaged on the disk" in told
    assert len(harms) == sum("damaged" in w["en"] for w in read_result(out)["warnings"])
    # What was confirmed has changed with the chosen build or the base, so it is confirmed anew.
    confirmed = {name for name, seen in events(out).items() if "measured" in seen and "built" not in seen}
    assert begun == dict.fromkeys(again | confirmed, 1)


def test_a_truncated_outcome_is_measured_again_and_torn_files_cost_nothing(
    reference: Reference, out: Path
) -> None:
    folder, torn = trial(out, OTHER), trial(out, CHOSEN)
    cut(folder / "result.json")
    tear(torn / "events.jsonl")
    cut(torn / "trial.json")
    tear(folder / "events.jsonl")
    _, begun = run_again(reference, out)
    confirmed = next(
        name for name, seen in events(out).items() if seen.count("built") == 0 and "measured" in seen
    )
    assert begun.pop(folder.name) == 1
    assert events(out)[folder.name].count("built") == 1  # the build was whole
    assert set(begun) <= {confirmed}
    assert json.loads((torn / "trial.json").read_text())["id"] == torn.name


def test_a_build_damaged_before_it_was_measured_is_built_again(reference: Reference, out: Path) -> None:
    folder = trial(out, OTHER)
    (folder / "result.json").unlink()
    flip(largest(folder / "build"))
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
