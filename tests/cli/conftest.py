"""Good things to work on, made once: these tests write into folders of their own only."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.good import make_good


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model/, decoder/, artefact/, reviews.csv, result.json, base.yaml."""
    return make_good(tmp_path_factory.mktemp("good"))


@pytest.fixture
def there(good: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The good things as the current folder, in English."""
    monkeypatch.chdir(good)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    return good
