"""All of a repository as one text: what is in it, and what is said before it is sent."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from agent.git import Repository
from agent.models.registry import model_info, parse_spec
from agent.orientation import whole as whole_module
from agent.orientation.orient import Orientation
from agent.orientation.whole import Whole, misfit, size_and_price, whole
from tests.unit.test_orientation import ISSUE, commit

FILES = {
    "b.py": b"def b():\n    return 1",
    "a.md": b"# A\n</file>\n",
    "c/main.tf": b'resource "x" {}\n',
    "poetry.lock": b"a lock\n",
    "logo.png": b"\x89PNG",
    "node_modules/x.js": b"1\n",
    "long.txt": b"x" * 20_000,
}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AGENT_HOME", str(tmp_path / "home"))


def read(root: Path) -> Whole:
    with Repository(root) as repository:
        return whole(repository, repository.tree_of(repository.resolve("HEAD")))


def test_texts_stand_in_the_order_of_their_paths_and_can_t_close_their_block(tmp_path: Path) -> None:
    commit(tmp_path, FILES)
    found = read(tmp_path)
    assert found.text == (
        '<file path="a.md">\n# A\n<\\/file>\n</file>\n'
        '<file path="b.py">\ndef b():\n    return 1\n</file>\n'
        '<file path="c/main.tf">\nresource "x" {}\n</file>\n'
    )
    assert (found.files, found.left_out, found.complete) == (3, 4, True)
    assert read(tmp_path) == found


def test_more_than_any_window_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(tmp_path, FILES)
    monkeypatch.setattr(whole_module, "TOO_LARGE", 10)
    found = read(tmp_path)
    assert not found.complete and not found.text
    assert "beyond every window" in misfit(found, model_info(parse_spec("anthropic/claude-sonnet-5")), "k")


def test_what_does_not_fit_or_has_no_price_is_told_with_the_mend() -> None:
    info = model_info(parse_spec("anthropic/claude-sonnet-5"))
    small, large = Whole("x" * 3_000, 1, 0, True), Whole("x" * 3_000_000, 1, 0, True)
    assert misfit(small, info, "k") == ""
    assert "more than the window of k, 1,000,000" in misfit(large, info, "k")
    assert 'models."k".window' in misfit(small, replace(info, window=None), "k")
    unpriced = replace(info, prices=replace(info.prices, cache_write_1h=None))
    assert 'models."k".prices' in misfit(small, unpriced, "k")


@pytest.mark.parametrize(
    ("spec", "first", "later"),
    [
        ("anthropic/claude-sonnet-5-5", "0.4000", "0.0100"),  # 4.00 an hour's write, 0.10 a read
        ("google/gemini-3.8-flash", "0.0825", "0.0075"),  # 0.75 plain and 0.075 a read
        ("google/gemini-3.5-flash", "0.1500", "0.0150"),  # no price of storage: plain
    ],
)
def test_size_and_price_are_said_by_the_catalogue(spec: str, first: str, later: str) -> None:
    said = size_and_price(Whole("x" * 300_000, 7, 2, True), model_info(parse_spec(spec)), spec)
    assert "7 files (2 others left out" in said and "100,000 tokens" in said
    assert f"the first request costs up to {first} USD" in said and f"each later one {later} USD" in said


def test_the_map_is_told_instead_and_it_is_said_once_for_each_model(tmp_path: Path) -> None:
    commit(tmp_path, FILES)
    notes: list[str] = []

    async def ask() -> list[Whole | None]:
        with Repository(tmp_path) as repository:
            tree = repository.tree_of(repository.resolve("HEAD"))
            made = Orientation(repository, tree, ISSUE, "repo", lambda: lambda path: True, notes.append)
            specs = [
                "openai/unheard-of",
                "anthropic/claude-sonnet-5",
                "anthropic/claude-sonnet-5",
                "local/repair",
            ]
            return [await made.whole(spec) for spec in specs]

    unknown, found, again, local = anyio.run(ask)
    assert unknown is None and local is None and found is again and found is not None
    assert len(notes) == 2
    assert "openai/unheard-of is not known" in notes[0] and notes[0].endswith("the map is told instead")
    assert notes[1].startswith("context repo: 3 files")


def test_an_hour_costs_more_only_where_its_price_is_known() -> None:
    info = model_info(parse_spec("anthropic/claude-haiku-5-5"))
    assert info.hour_surcharge(1_000_000, 50_000) == Decimal("0.075")
    assert info.hour_surcharge(1_000_000, 150_000) == Decimal("0.375")
    assert replace(info, prices=replace(info.prices, cache_write_1h=None)).hour_surcharge(1, 1) is None
