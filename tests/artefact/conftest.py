"""One artefact of each task for the whole folder; tests copy before they damage."""

import shutil

import pytest

from tiku.artefact import write
from tiku.core.recipe import Recipe
from tiku.testing import tiny_classifier, tiny_language_model, tiny_texts


@pytest.fixture(scope="session")
def classifier():
    return tiny_classifier()


@pytest.fixture(scope="session")
def _classifier_artefact(tmp_path_factory, classifier):
    folder = tmp_path_factory.mktemp("built") / "classifier"
    write(classifier, folder, recipe=Recipe(), examples=tiny_texts(8))
    return folder


@pytest.fixture
def artefact(tmp_path, _classifier_artefact):
    return shutil.copytree(_classifier_artefact, tmp_path / "artefact")


@pytest.fixture(scope="session")
def language_model():
    return tiny_language_model()


@pytest.fixture(scope="session")
def language_artefact(tmp_path_factory, language_model):
    folder = tmp_path_factory.mktemp("built") / "language"
    write(language_model, folder, recipe=Recipe(), examples=tiny_texts(8))
    return folder
