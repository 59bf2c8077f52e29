import pytest

from zettel import Store
from zettel.cli import main


@pytest.fixture
def path(tmp_path):
    return tmp_path / "notizen.json"


@pytest.fixture
def run(path, capsys):
    """Run a command; its exit code and output."""

    def call(*words):
        code = main(["--file", str(path), *words])
        return code, capsys.readouterr().out

    return call


@pytest.fixture
def store(path):
    store = Store(path)
    for text in ("Milch kaufen #einkauf", "Brief schreiben", "Äpfel #einkauf #obst"):
        store.add(text)
    store.save()
    return store
