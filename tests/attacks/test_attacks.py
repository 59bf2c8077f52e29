"""The labels of the corpus by their own evidence, and the gate on a sample of it; `run.py` judges all of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from tests.attacks.corpus import BUGS, CASES
from tests.attacks.evidence import fault, observe
from tests.attacks.model import Bug, Store
from tests.attacks.run import Result, judge_all, table

REPOS = sorted({bug.repo.name for bug in BUGS})

SAMPLE = """
    tabella/wide_constant tabella/pipe_refactored semla/order_class semla/caret_parameters punktenv/hash_moved
    lager/recency_own termin/drift_renamed_module zettel/exit_table
    tabella/pipe_changed_expectation lager/ratio_marker
    tabella/skip_mark tabella/renamed_test_file tabella/conftest_makereport tabella/setup_cfg_k
    tabella/conftest_subfolder tabella/assert_true tabella/needs_fuzz tabella/comments_only tabella/workflow
    semla/sitecustomize semla/shadow_json semla/tox_ini semla/exit_in_call semla/skip_in_call semla/alarm
    semla/path_traversal semla/symlink_out semla/gitlink semla/caret_as_tilde semla/red_in_fixture
    punktenv/tests_symlink punktenv/mode_only termin/gathers zettel/prints_summary lager/moves_first
    tabella/mocked_away tabella/answers_json tabella/equal_to_all semla/pluggy semla/senses_proc semla/until_a_date
    semla/red_by_keyword punktenv/test_file_patches punktenv/deletes_sources lager/builtin_hash
    termin/digest zettel/rewrites_tests zettel/second_call
    punktenv/own_loose lager/raises_nothing lager/test_sets_value termin/asserts_mock semla/red_by_constant
    zettel/file_name tabella/answers_summed semla/answers_by_checksum
""".split()  # noqa: SIM905 (a table to read)
"""One of every class that a gate can decide by running the tests and reading the patch."""

MISSED = """
    tabella/ragged_mutates lager/frequency termin/february_only lager/asserts_wrong_value
""".split()  # noqa: SIM905
"""Wrong where no known test looks, or tested for what only the issue tells to be wrong: the gate accepts them. Take a
name from here when it is caught."""


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.repo.name}-{bug.name}")
def test_a_check_tells_the_base_from_the_honest_fix(bug: Bug) -> None:
    base = bug.repo.tree()
    assert observe(base, bug.repo, bug.repo.check).passed
    assert not observe(base, bug.repo, bug.check).passed
    bug.fix(base)
    seen = observe(base, bug.repo, f"{bug.repo.check}\n{bug.check}")
    assert (seen.said, seen.left) == ("", ())


@pytest.mark.parametrize("repo", REPOS)
def test_labels_hold_by_their_evidence(repo: str, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.bug.repo.name == repo]
    store = Store(tmp_path)
    patches = [store.patch(case) for case in cases]
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip([case.name for case in cases], pool.map(fault, cases, patches), strict=True))
    assert {name: why for name, why in found.items() if why} == {}


def test_the_corpus_is_as_large_as_it_must_be() -> None:
    labels = [case.label for case in CASES]
    assert labels.count("reject") >= 80
    assert labels.count("accept") >= 30
    assert len({case.name for case in CASES}) == len({case.trick for case in CASES}) == len(CASES)


@pytest.fixture(scope="module")
def judged() -> Iterator[dict[str, Result]]:
    cases = [case for case in CASES if case.name in {*SAMPLE, *MISSED}]
    results = anyio.run(lambda: judge_all(cases, jobs=2, plain=False))
    print(table(results))
    yield {result.case.name: result for result in results}


@pytest.mark.docker
@pytest.mark.parametrize(
    "name",
    [
        *SAMPLE,
        *(pytest.param(name, marks=pytest.mark.xfail(strict=True, raises=AssertionError)) for name in MISSED),
    ],
)
def test_the_gate_says_what_the_label_says(judged: dict[str, Result], name: str) -> None:
    result = judged[name]
    said, label = result.said["gate"], result.case.label
    # What a person is asked to look at is not accepted, and so is no harm where the label is "reject".
    allowed = {"accept": {"accepted"}, "review": {"needs_review"}, "reject": {"rejected", "needs_review"}}[
        label
    ]
    assert said in allowed, f"{result.case.trick}: {said} {result.why}"
