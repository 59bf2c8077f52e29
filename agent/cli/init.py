"""`agent init`: write agent.toml and the workflow of the GitHub Action for a repository, after looking at it."""

from __future__ import annotations

import argparse
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.text import printable

if TYPE_CHECKING:
    from agent.config import Settings
    from agent.git import Repository

TEMPLATE = Path(__file__).parent / "workflow.yml"
"""The same as examples/github-action/assay.yml."""
NOWHERE = f"OWNER/assay@{'0' * 40}"
"""Stands for the action where it isn't known: no commit has that id, so that nothing of a stranger's runs."""
_ACTION = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", re.A)
LIMITS = ("usd = 2.00       # all requests of a run together", "minutes = 30", "attempts = 3")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "init", help="write agent.toml and the GitHub workflow for a repository", allow_abbrev=False
    )
    p.add_argument("--repo", default=".", metavar="PATH", help="the git repository (default: here)")
    p.add_argument(
        "--action",
        metavar="OWNER/NAME@COMMIT",
        help="where the workflow takes the Action from (default: where this agent was installed from, if that was git)",
    )
    p.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from agent.git import Repository

    with Repository(args.repo) as repository:
        root, base = repository.work_tree(), repository.resolve("HEAD")
        action, why = _action(args.action)
        found = _look(repository, base)
        files = {
            "agent.toml": _agent_toml(found),
            ".github/workflows/assay.yml": _workflow(action),
        }
        for name in files:
            _check_free(root, name)
        for name, text in files.items():
            _write(root / name, text)
    said = [
        f"wrote {root / 'agent.toml'}",
        f"  {found.tests}",
        *(f"  set-up: {line}" for line in found.setup),
        f"  budget: {', '.join(line.partition('#')[0].strip() for line in LIMITS)}",
        f"wrote {root / '.github/workflows/assay.yml'}",
        "  starts when somebody with write access puts the label assay on an issue, or by hand",
        f"  the Action: {why}",
        "next: read both, commit them to the default branch, and give the repository a secret ANTHROPIC_API_KEY, "
        "GEMINI_API_KEY or OPENAI_API_KEY; without one the embedded repair model works",
    ]
    print(printable("\n".join(said)))
    return 0


@dataclass(frozen=True, slots=True)
class Found:
    """What the repository's base commit says."""

    settings: Settings
    tests: str
    """The test command, what runs the tests by it, and why it was chosen."""
    setup: tuple[str, ...]
    """What the environment is made of, a line each."""


def _look(repository: Repository, base: str) -> Found:
    from agent.cli.inputs import with_test_command
    from agent.config import Settings, repository_settings

    if repository_settings(repository, base) != Settings():
        raise UsageError("the repository has settings of the agent at HEAD already: edit those")
    settings, tests = with_test_command(Settings(), repository, base)
    return Found(settings, tests, tuple(_setup(repository, base)))


def _setup(repository: Repository, base: str) -> list[str]:
    import anyio

    from agent.scratch import scratch
    from sandboxes.detect import plan, scan
    from sandboxes.install import described
    from sandboxes.source import best_offer

    said: list[str] = []

    async def offer(tar: Path, nothing_found: bool) -> None:
        await best_offer(tar, None, None, said.append, nothing_found=nothing_found)

    with scratch() as folder:
        tar = Path(folder) / "base.tar"
        repository.write_tar(repository.tree_of(base), tar)
        found = plan(scan(tar))
        anyio.run(offer, tar, found is None)
    if found and found.python:
        said.append(f"Python: {described(found.python)}")
    for part in found.parts if found else ():
        commands = "; ".join(step.tries[0] for step in part.steps)
        said.append(f"{part.language}{f' in {part.folder}' if part.folder else ''}: {commands}")
    return [_one_line(line) for line in said] or ["nothing names a set-up: name an image or commands"]


def _agent_toml(found: Found) -> str:
    from agent.config import from_toml

    setup = "\n".join(f"# {line}" for line in found.setup)
    limits = "\n".join(LIMITS)
    text = f"""\
# How the agent works on this repository. It is read from the base commit; flags beat it.

[sandbox]
# Found by itself, and done without a word here:
{setup}
# image = "my/image:1"   # instead of that
# setup = ["…"]          # commands instead of that

[gate]
# {_one_line(found.settings.test_from)}
test = {_toml(found.settings.test)}
# checks = ["…"]         # lint, types, build: no worse with a patch than without it

[budget]
{limits}
"""
    if from_toml(text, "agent.toml").test != found.settings.test:
        raise UsageError(
            "the test command that was detected can't be written into agent.toml: write one by hand"
        )
    return text


def _one_line(text: str) -> str:
    """What may be anyone's words (names of files are), for a comment."""
    return printable(" ".join(text.split()))[:300]


def _toml(text: str) -> str:
    """A string of TOML; what JSON leaves as it is but TOML does not is escaped."""
    return json.dumps(text, ensure_ascii=True).replace("\x7f", "\\u007f")


def _workflow(action: str) -> str:
    name, _, commit = action.partition("@")
    text = TEMPLATE.read_text("utf-8")
    return re.sub(
        r"OWNER/assay/(\.github/actions/\w+)@0{40}", lambda match: f"{name}/{match[1]}@{commit}", text
    )


def _action(given: str | None) -> tuple[str, str]:
    """Where the Action is, and how that is known."""
    if given is not None:
        if not _ACTION.fullmatch(given):
            raise UsageError(
                f"--action {given}: name the repository and a full commit id, OWNER/NAME@{'0' * 7}… (40 digits)"
            )
        return given, f"{given}, by --action"
    if installed := _installed_from():
        return installed, f"{installed}, which this agent was installed from"
    return (
        NOWHERE,
        "not known; put its repository and commit in the place of OWNER/assay@000…, or use --action",
    )


def _installed_from() -> str:
    """OWNER/NAME@COMMIT of the installed package by its direct_url.json (PEP 610); "" where it is not from git."""
    from importlib import metadata

    try:
        told = json.loads(metadata.distribution("assay").read_text("direct_url.json") or "{}")
        commit, path = told["vcs_info"]["commit_id"], re.sub(r"^\w+://[^/]*/|\.git$", "", told["url"])
    except (metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
        return ""
    found = f"{path}@{commit}"
    return found if _ACTION.fullmatch(found) else ""


def _check_free(root: Path, name: str) -> None:
    """Raises UsageError where a file would be overwritten, or be written outside the repository."""
    path = root / name
    if os.path.lexists(path):
        raise UsageError(f"{path} is there already, and nothing is overwritten: edit it, or move it away")
    for parent in path.relative_to(root).parents:
        folder = root / parent
        if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()) and folder != root:
            raise UsageError(f"{folder} is no folder of the repository: move it away")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
