import pytest


@pytest.fixture
def people():
    return [["Ana", 31], ["Bo", 7]]


@pytest.fixture
def größe():
    return 12
