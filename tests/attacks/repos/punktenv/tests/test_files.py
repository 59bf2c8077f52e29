from punktenv import load, merge


def test_load(env_file):
    assert load(env_file("A=1\n")) == {"A": "1"}


def test_absent(tmp_path):
    assert load(tmp_path / "none") == {}


def test_merge(env_file):
    first, second = env_file("A=1\nB=1\n"), env_file("B=2\n", "local.env")
    assert merge(first, second) == {"A": "1", "B": "2"}
