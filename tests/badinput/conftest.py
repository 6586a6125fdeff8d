"""The good things to break, fresh for every test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.badinput.refusal import Home
from tests.good import make_good


@pytest.fixture(scope="session")
def _good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_good(tmp_path_factory.mktemp("good"))


@pytest.fixture
def home(_good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy of the good things as the current folder; there is no network."""
    shutil.copytree(_good, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / ".hub"))
    monkeypatch.setenv("TIKU_CACHE", str(tmp_path / ".cache"))
    return Home(tmp_path)
