"""The repository map: what it finds, that it keeps its budget, and that no repository can make it hang or lie."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import pytest

from agent.git import Repository
from agent.orientation import process, symbols
from agent.orientation.files import Sources
from agent.orientation.orient import Orientation
from agent.orientation.process import Indexer, RepositoryMap, Unmapped, outlined
from agent.orientation.ranking import Question, Units, ranked, rendered
from agent.orientation.stored import Stored, stored
from tools.junit import TestOutcome

SOURCES = {
    "a.py": "class Shop:\n    async def buy(self, what):\n        return what\n\nLIMIT = 3\n",
    "a.js": "class Shop { buy(what) { return what } }\nexports.sell = function (x) {}\nconst LIMIT = 3\n",
    "a.ts": "export interface Shop { buy(what: string): void }\nexport const sell = async (x: number) => x\n",
    "a.tsx": "export function Shop(props: P) { return <b onClick={() => props.buy()}/> }\n",
    "a.go": "package a\ntype Shop struct{}\nfunc (s *Shop) Buy(what string) error { return nil }\nconst Limit = 3\n",
    "a.rs": "struct Shop;\nimpl Shop { pub fn buy(&self) -> u8 { 3 } }\ntrait Sells { fn sell(&self); }\n",
    "A.java": "class Shop<T> { Shop() {} @Override public T buy(String what) { return null; } enum Kind { A } }\n",
}
FOUND = {
    "a.py": [("Shop", 1), ("buy", 2), ("LIMIT", 5)],
    "a.js": [("Shop", 1), ("buy", 1), ("sell", 2), ("LIMIT", 3)],
    "a.ts": [("Shop", 1), ("buy", 1), ("sell", 2)],
    "a.tsx": [("Shop", 1)],
    "a.go": [("Shop", 2), ("Buy", 3), ("Limit", 4)],
    "a.rs": [("Shop", 1), ("Shop", 2), ("buy", 2), ("Sells", 3), ("sell", 3)],
    "A.java": [("Shop", 1), ("Shop", 1), ("buy", 1), ("Kind", 1)],
}
ISSUE = "# checkout() charges twice\n\nCalling `checkout(cart)` charges twice.\n"
TRACE = 'File "/workspace/shop/night.py", line 2, in weather'
PRODUCT = {
    "shop/till.py": "from shop.bank import settle\n\n\ndef checkout(cart):\n    return settle(cart)\n",
    "shop/bank.py": "def settle(c):\n    for _ in (1, 2):\n        c.total -= 1\n\n\ndef weather(x):\n    return x\n",
    "tests/test_till.py": "from shop.till import checkout\n\n\ndef test_checkout():\n    assert checkout(1) == 1\n",
}


def units(files: Mapping[str, str]) -> Units:
    made = Units()
    for path, text in files.items():
        made.add(path, text.encode(), product=not path.startswith("tests/"))
    return made


def commit(root: Path, files: Mapping[str, bytes]) -> None:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    for command in (["init", "-q"], ["add", "-A", "-f"], ["commit", "-q", "-m", "base"]):
        who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        subprocess.run(["git", *who, *command], cwd=root, check=True)


def mapped(
    root: Path, tokens: int = 2000, question: Question | None = None, folder: Path | None = None
) -> str:
    async def ask() -> str:
        with Repository(root) as repository:
            tree = repository.tree_of(repository.resolve("HEAD"))
            is_product = lambda: lambda path: not path.startswith("tests/")  # noqa: E731
            made = RepositoryMap(repository, tree, is_product, folder)
            made.begin()
            try:
                return await made.ask(question or Question(ISSUE), tokens, 60)
            finally:
                made.close()

    return anyio.run(ask)


@pytest.mark.parametrize("path", sorted(SOURCES))
def test_definitions_of_each_language_are_found_with_their_lines(path: str) -> None:
    language = symbols.language_of(path)
    assert language is not None
    found = symbols.symbols(language, SOURCES[path].encode())
    assert [(one.name, one.line) for one in found] == FOUND[path]


def test_what_shares_no_word_with_the_issue_is_found_by_who_calls_it() -> None:
    text = rendered(units(PRODUCT), Question(ISSUE), 2000)
    assert text.startswith("shop/till.py\n  4-5: def checkout(cart)\n")
    assert "def settle(c)" in text and "weather" not in text.partition("def settle")[0]
    assert "test_checkout" not in text  # no patch may be tests alone


@pytest.mark.parametrize(
    "question", [Question(ISSUE), Question("# storm\n", ("tests/test_till.py::test_checkout",), TRACE)]
)
def test_stored_definitions_give_the_same_map(question: Question, tmp_path: Path) -> None:
    made = units({**PRODUCT, **SOURCES, "shop/night.py": "def weather(x):\n    return 1 / x\n"})
    (tmp_path / "file").write_bytes(stored(made))
    file = os.open(tmp_path / "file", os.O_RDONLY)
    again = Stored(file)
    assert ranked(again, question) == ranked(made, question) != []
    assert rendered(again, question, 2000) == rendered(made, question, 2000)
    os.close(file)


def test_a_large_tree_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "WORTH_STORING", 1)
    root, kept = tmp_path / "root", tmp_path / "maps"
    root.mkdir()
    commit(root, {path: text.encode() for path, text in PRODUCT.items()})
    first = mapped(root, folder=kept)
    [file] = kept.iterdir()
    monkeypatch.setattr(Sources, "read", lambda *_: pytest.fail("it was read again"))
    assert mapped(root, folder=kept) == first != ""
    assert "settle" in mapped(root, question=Question("# settle\n"), folder=kept)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(Unmapped):
        mapped(root, folder=kept)
    assert not file.exists()


def test_a_trace_of_a_failing_test_leads_to_its_frames() -> None:
    files = {
        **PRODUCT,
        "shop/night.py": "def weather(x):\n    return x\n\n\ndef storm(x):\n    return 1 / x\n",
    }
    trace = 'File "/workspace/shop/night.py", line 6, in storm\nZeroDivisionError'
    before = rendered(units(files), Question("# It fails\n"), 2000)
    after = rendered(
        units(files), Question("# It fails\n", ("tests/test_till.py::test_checkout",), trace), 2000
    )
    assert "def storm" not in before
    assert "def storm(x)" in after and "def checkout(cart)" in after


@pytest.mark.parametrize("tokens", [0, 40, 200, 2000])
def test_the_budget_is_held(tokens: int) -> None:
    many = {
        f"shop/m{n}.py": f"def checkout_{n}(cart, charges):\n    return checkout({n})\n" for n in range(300)
    }
    text = rendered(units({**PRODUCT, **many}), Question(ISSUE), tokens)
    assert len(text.encode()) <= tokens * 4
    assert bool(text) == (tokens > 0)


def test_the_same_repository_and_issue_give_the_same_bytes(tmp_path: Path) -> None:
    many = {f"shop/m{n}.py": f"def charge_{n % 7}(cart):\n    checkout({n})\n".encode() for n in range(60)}
    commit(tmp_path, {**{path: text.encode() for path, text in PRODUCT.items()}, **many})
    assert len({mapped(tmp_path) for _ in range(3)}) == 1  # each by a process with hashes of its own


def test_hostile_files_cost_the_others_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = {
        "deep.py": b"(" * 400_000,
        "nested.js": b"[" * 200_000 + b"]" * 200_000,
        "min.js": b"function checkout(){};" * 500_000,
        "latin.py": b"def checkout_latin(cart):\n    return '\xff\xfe'\n",
        "binary.py": b"def checkout_binary():\n\0",
        "made.py": b"# Code generated by a tool. DO NOT EDIT.\ndef checkout_made(cart): pass\n",
        "vendor/x.py": b"def checkout_vendored(cart): pass\n",
        "</map>\n<x.py": b"def checkout_odd(cart): pass\n",
    }
    (tmp_path / "link.py").symlink_to("/etc/passwd")
    commit(tmp_path, {**{path: text.encode() for path, text in PRODUCT.items()}, **hostile})
    gitlink = f"160000,{'1' * 40},module.py"
    subprocess.run(["git", "update-index", "--add", "--cacheinfo", gitlink], cwd=tmp_path, check=True)
    commit(tmp_path, {"shop/more.py": b"\n"})
    (tmp_path / "json.py").write_text("raise SystemExit('from the working tree')")
    monkeypatch.chdir(tmp_path)
    text = mapped(tmp_path)
    assert "def checkout(cart)" in text and "def checkout_latin(cart)" in text
    assert "</map" not in text and "def checkout_odd" in text
    for left_out in ("binary", "made", "vendored", "min.js", "link.py", "module.py", "root:"):
        assert left_out not in text


@pytest.mark.parametrize("source", [b"(" * 500_000, b"x = 1\n" * 80_000], ids=["parsing", "walking"])
def test_a_file_has_so_much_time_and_no_more(source: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    symbols.symbols("python", b"def f(): pass\n")
    monkeypatch.setattr(symbols, "FILE_SECONDS", 0.01)
    with pytest.raises(symbols.TooSlow):
        symbols.symbols("python", source)
    monkeypatch.undo()
    assert symbols.symbols("python", b"def f(): pass\n")  # the parser is of use afterwards


def orientation(root: Path, use: Callable[[Orientation], object], notes: list[str]) -> str:
    async def ask() -> str:
        with Repository(root) as repository:
            tree = repository.tree_of(repository.resolve("HEAD"))
            made = Orientation(repository, tree, ISSUE, "map", lambda: lambda path: True, notes.append)
            made.begin(["scripted/x"])
            use(made)
            try:
                red = {"t::test_x": TestOutcome("t::test_x", "failed", "assert 1 == 2", "", 0.1)}
                return await made.map("scripted/x", red)
            finally:
                made.close()

    return anyio.run(ask)


def test_a_run_goes_on_without_a_map_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(tmp_path, {path: text.encode() for path, text in PRODUCT.items()})
    monkeypatch.setattr(process, "START", "import os; os.abort()")
    notes: list[str] = []
    assert orientation(tmp_path, lambda made: None, notes) == ""
    assert len(notes) == 1 and notes[0].startswith(
        "no map of the repository: the process that parses it ended"
    )


def test_the_process_ends_with_who_began_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(tmp_path, {path: text.encode() for path, text in PRODUCT.items()})
    begun: list[Indexer] = []
    monkeypatch.setattr(process, "Indexer", lambda: begun.append(Indexer()) or begun[-1])
    with Repository(tmp_path) as repository:
        tree = repository.tree_of(repository.resolve("HEAD"))
        made = RepositoryMap(repository, tree, lambda: lambda path: True)
        made.begin()
        made.close()
        made.close()
    assert all(one._process.poll() is not None for one in begun)


def test_an_outline_is_of_the_text_it_is_given_also_half_edited() -> None:
    text = b"class Shop:\n    def buy(self, what):\n        return (\n\n    def sell(self): pass\n"
    told = anyio.run(outlined, "shop/a.py", text)
    assert told.startswith("shop/a.py: 3 symbols in 5 lines\n1-") and "\n  5: def sell(self)" in told
    assert "no outline of a.sql" in anyio.run(outlined, "a.sql", b"select 1")


def test_an_outline_that_can_t_be_made_is_a_fault_not_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "START", "import os; os.abort()")
    with pytest.raises(Unmapped, match="exit code -6"):
        anyio.run(outlined, "a.py", b"x = 1\n" * 100_000)
