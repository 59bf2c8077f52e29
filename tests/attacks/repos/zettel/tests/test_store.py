import pytest

from zettel import Note, Store


def test_saved(store, path):
    assert [note.text for note in Store(path).notes][1] == "Brief schreiben"


def test_numbers_go_on(store):
    store.remove(3)
    assert store.add("neu").id == 3
    store.remove(1)
    assert store.add("neu").id == 4


def test_get(store):
    assert store.get(2).text == "Brief schreiben"
    assert store.get(99) is None


@pytest.mark.parametrize("text, tags", [("x", []), ("#a #b", ["a", "b"]), ("a#b", ["b"]), ("#über", ["über"])])
def test_tags(text, tags):
    assert Note.new(1, text).tags == tags


def test_line():
    assert Note(7, "x", True).line() == "  7 x x"
