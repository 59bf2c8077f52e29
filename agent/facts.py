"""What an attempt starts with besides the issue: facts of the base commit, and what earlier attempts have proved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from agent.git import EXECUTABLE, REGULAR
from agent.git_blobs import BlobTooLarge
from agent.hypotheses import Base
from agent.root_cause import Rejection
from agent.types import Task, ToolCall

if TYPE_CHECKING:
    from agent.gate import Runner
    from agent.git import Repository
    from agent.toolbox import Opening, Toolbox


def base_of(repository: Repository, tree: str) -> Base:
    """What is known of the files of a base commit's tree."""
    from agent.gate.paths import Paths, python_files
    from agent.spectrum import SETTINGS

    files = repository.files(tree)
    settings = {
        path: repository.blob(files[path][1])
        for path in SETTINGS
        if path in files and files[path][0] in (REGULAR, EXECUTABLE)
    }
    paths = Paths(files, python_files(settings))

    def lines(path: str) -> int:
        if files[path][0] not in (REGULAR, EXECUTABLE):
            return 0
        try:
            text = repository.blob(files[path][1])
        except BlobTooLarge:
            return 0
        return 0 if b"\0" in text else text.count(b"\n") + (not text.endswith(b"\n"))

    return Base(frozenset(files), lines, lambda path: paths.kind(path) == "product")


def proven_tests(repository: Repository, base: str, rejections: Sequence[Rejection]) -> dict[str, str]:
    """Texts of the test files of the last rejected patch whose own test the gate has seen fail on the base commit."""
    for rejection in reversed(rejections):
        verdict = rejection.verdict
        if verdict is None or rejection.patch is None or not verdict.proven_tests:
            continue
        if any(check.name in ("repeat", "scan") and not check.passed for check in verdict.checks):
            continue  # it is flaky, or may deceive
        files = repository.files(repository.apply(repository.tree_of(base), rejection.patch))
        data = {
            path: repository.blob(files[path][1])
            for path in verdict.proven_tests
            if files[path][0] in (REGULAR, EXECUTABLE)
        }
        try:
            texts = {path: text.decode() for path, text in data.items()}
            "".join(texts).encode()
        except UnicodeError:  # no tool call can carry it
            continue
        return texts
    return {}


async def lay(toolbox: Toolbox | Opening, tests: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Put tests into the workspace, as a part of the attempt's patch: the paths that were, and why others were not."""
    laid: list[str] = []
    faults: list[str] = []
    for path, text in sorted(tests.items()):
        call = ToolCall("laid", "write_file", {"path": path, "content": text})
        written = await toolbox.call(call, timeout=300)
        if written.is_error:
            faults.append(f"{path} could not be laid into the workspace: {written.text[:300]}")
        else:
            laid.append(path)
    return laid, faults


async def suspects_of(
    runner: Runner, task: Task, failing: Sequence[str], tests: Mapping[str, str]
) -> tuple[str, str]:
    """Which lines of the base only failing tests run, as text, and why there is none: of the tests `failing`, or of
    those `tests` that were shown red. Hidden tests are in neither."""
    from agent.spectrum import spectrum, told

    repository = runner.repository
    tree = repository.tree_of(task.base)
    if tests:
        blobs = {path: (REGULAR, repository.add_blob(text.encode())) for path, text in tests.items()}
        tree = repository.with_files(tree, blobs)
        failing = [path for path in tests if path.endswith(".py")]
    if not failing:
        return "", ""
    found = await spectrum(runner, tree, failing, issue=task.issue)
    return told(found), found.reason
