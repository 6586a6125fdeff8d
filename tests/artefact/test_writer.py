"""What is written, that it is whole or not there, and that it can be taken back."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tiku.artefact import load_subject, open_artefact, read_facts, read_manifest, write
from tiku.core import registry
from tiku.core.errors import ArtefactError, ModelError
from tiku.core.recipe import Recipe
from tiku.core.subject import Serve
from tiku.testing import tiny_classifier, tiny_texts
from tiku.testing.clauses import weights_hash


def _readme_code(folder):
    text = (folder / "README.md").read_text("utf-8")
    return text.split("```python\n")[1].split("```")[0]


def _run_without_tiku(code, folder):
    blocked = "import sys\nsys.modules['tiku'] = None\n" + code
    done = subprocess.run([sys.executable, "-c", blocked], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino"])
def test_readme_snippet_runs_without_tiku_and_says_what_tiku_says(tmp_path, classifier, runtime):
    folder = tmp_path / runtime
    write(dataclasses.replace(classifier, runtime=runtime), folder, recipe=Recipe(), examples=tiny_texts(8))
    printed = _run_without_tiku(_readme_code(folder), folder).splitlines()
    opened = open_artefact(folder, threads=1)
    logits = opened.predict(["A first text.", "A second one."])
    opened.close()
    for line, row in zip(printed, logits, strict=True):
        label, _, numbers = line.partition(" ")
        assert label == classifier.labels[row.argmax()]
        np.testing.assert_allclose([float(x) for x in numbers.strip("[]").split()], row, atol=1e-4)


def test_readme_snippet_of_a_language_model_runs_without_tiku(language_artefact):
    printed = _run_without_tiku(_readme_code(language_artefact), language_artefact)
    opened = open_artefact(language_artefact, threads=1)
    continued = opened.generate(["Once upon a time"], 16)[0]
    opened.close()
    assert printed == continued + "\n"


def test_readme_speaks_both_languages(artefact):
    text = (artefact / "README.md").read_text("utf-8")
    assert "Load it without tiku" in text and "不用 tiku 加载" in text


def test_manifest_lists_every_file_and_says_how_it_is_served(tmp_path, classifier):
    serve = Serve(batch_size=7, token_budget=99, sort_by_length=True, threads=1, max_length=40)
    written = write(
        dataclasses.replace(classifier, serve=serve, facts={"epochs": 3}),
        tmp_path / "a",
        recipe=Recipe(),
        examples=tiny_texts(8),
        measurements={"accuracy": {"value": 0.5}},
    )
    assert read_manifest(tmp_path / "a") == written
    assert written.serve == serve
    assert written.measurements == {"accuracy": {"value": 0.5}}
    on_disk = {p.relative_to(tmp_path / "a").as_posix() for p in (tmp_path / "a").rglob("*") if p.is_file()}
    assert set(written.files) == on_disk - {"artefact.json"}
    assert read_facts(tmp_path / "a")["epochs"] == 3


def test_artefact_taken_back_has_the_same_weights_and_settings(artefact, classifier):
    subject = load_subject(artefact)
    assert weights_hash(subject.module) == weights_hash(classifier.module)
    assert (subject.task, subject.family, subject.labels) == (
        classifier.task,
        classifier.family,
        classifier.labels,
    )
    assert subject.module.training is False


def test_exported_graph_cannot_be_taken_back(tmp_path, classifier):
    write(
        dataclasses.replace(classifier, runtime="onnxruntime"),
        tmp_path / "a",
        recipe=Recipe(),
        examples=tiny_texts(8),
    )
    with pytest.raises(ArtefactError, match="exported graph"):
        load_subject(tmp_path / "a")


def test_older_artefact_is_replaced_as_a_whole(artefact):
    (artefact / "model" / "leftover.txt").write_text("old")
    write(tiny_classifier(seed=7), artefact, recipe=Recipe(), examples=tiny_texts(8))
    assert not (artefact / "model" / "leftover.txt").exists()
    assert weights_hash(load_subject(artefact).module) == weights_hash(tiny_classifier(seed=7).module)


def test_folder_with_something_else_in_it_is_not_written_over(tmp_path, classifier):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtefactError, match="nothing was written over"):
        write(classifier, tmp_path, recipe=Recipe(), examples=tiny_texts(8))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_runtime_that_breaks_while_saving_leaves_no_folder(tmp_path, classifier, monkeypatch):
    def fail(*args):
        raise ModelError("broken on purpose")

    monkeypatch.setattr(type(registry.get("models", "text-classification")), "save", fail)
    with pytest.raises(ModelError, match="on purpose"):
        write(classifier, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(8))
    assert list(tmp_path.iterdir()) == []


def test_build_that_computes_something_else_is_refused(tmp_path, classifier, monkeypatch):
    from tiku.runtimes._torch_session import TorchSession

    run = TorchSession.run
    monkeypatch.setattr(TorchSession, "run", lambda self, inputs: run(self, inputs) + 0.3)
    with pytest.raises(ModelError, match="does not compute what the original computes"):
        write(classifier, tmp_path / "a", recipe=Recipe(), examples=tiny_texts(8))


def test_artefact_without_examples_is_refused(tmp_path, classifier):
    with pytest.raises(ModelError, match="examples"):
        write(classifier, tmp_path / "a", recipe=Recipe(), examples=[])


def test_same_subject_gives_the_same_bytes(tmp_path, classifier):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        write(classifier, folder, recipe=Recipe(), examples=tiny_texts(8))
    one, two = ({k: v.sha256 for k, v in read_manifest(f).files.items()} for f in folders)
    assert one == two


def test_no_text_of_the_examples_is_kept(tmp_path, classifier):
    folder = tmp_path / "a"
    write(classifier, folder, recipe=Recipe(), examples=["a very private plot", *tiny_texts(7)])
    assert not any(b"private plot" in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_artefact_still_opens_after_it_was_moved(artefact, tmp_path):
    moved = shutil.move(artefact, tmp_path / "elsewhere")
    opened = open_artefact(moved, threads=1)
    assert opened.predict(["good"]).shape == (1, 2)
    assert json.loads((tmp_path / "elsewhere" / "artefact.json").read_text())["schema"] == "tiku.artefact/1"
    opened.close()
