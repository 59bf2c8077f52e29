import subprocess
import sys

import pytest


def test_add(run):
    assert run("add", "Hallo", "Welt") == (0, "  1   Hallo Welt\n")
    assert run("add", "noch", "eins")[1].startswith("  2 ")


def test_list(store, run):
    assert run("list")[1].splitlines() == [
        "  3   Äpfel #einkauf #obst",
        "  2   Brief schreiben",
        "  1   Milch kaufen #einkauf",
    ]


@pytest.mark.parametrize("limit, count", [("1", 1), ("2", 2), ("9", 3)])
def test_limit(store, run, limit, count):
    assert len(run("list", "--limit", limit)[1].splitlines()) == count


def test_tag(store, run):
    assert len(run("list", "--tag", "einkauf")[1].splitlines()) == 2


def test_done(store, run):
    assert run("done", "2") == (0, "")
    assert len(run("list")[1].splitlines()) == 2
    assert "x Brief" in run("find", "brief")[1]


def test_remove(store, run):
    assert run("remove", "1")[0] == 0
    assert run("remove", "1")[0] == 1


def test_usage():
    done = subprocess.run([sys.executable, "-m", "zettel", "--nope"], capture_output=True)
    assert done.returncode != 0
