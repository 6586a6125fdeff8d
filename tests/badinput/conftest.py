"""Small good things to break: a model, data, a language model, an artefact, a result, a recipe."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.badinput.refusal import Home
from tests.report.builder import build_result
from tests.tiny import write_csv, write_model


@pytest.fixture(scope="session")
def _good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiku.artefact import write
    from tiku.core import registry
    from tiku.core.recipe import Recipe
    from tiku.report.schema import write_result
    from tiku.testing import tiny_classifier, tiny_language_model, tiny_texts

    folder = tmp_path_factory.mktemp("good")
    write_model(folder / "model", steps=0)
    write_csv(folder / "reviews.csv", 60)
    registry.get("models", "causal-lm").save(tiny_language_model(), folder / "decoder")
    write(tiny_classifier(), folder / "artefact", recipe=Recipe(), examples=tiny_texts(8))
    write_result(build_result(), folder / "result.json")
    (folder / "base.yaml").write_text("steps: []\n", encoding="utf-8")
    return folder


@pytest.fixture
def home(_good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy of the good things as the current folder; there is no network."""
    shutil.copytree(_good, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / ".hub"))
    monkeypatch.setenv("TIKU_CACHE", str(tmp_path / ".cache"))
    return Home(tmp_path)
