import pytest

from tiku.testing import tiny_classifier


@pytest.fixture(scope="session")
def classifier():
    return tiny_classifier()
