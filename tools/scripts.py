"""Scripts of package.json: the command line that `npm test` and the like stand for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath

from tools import runners
from tools.runners import SCRIPT, Run, find_run
from tools.shellwords import edited

MAX_DEPTH = 5
"""Scripts that run one another."""

Read = Callable[[str], str]
"""Gives the text of a file of the repository; raises OSError or KeyError when it is not there."""


class NoScript(ValueError):
    """package.json has no such script."""


def resolved(command: str, read: Read) -> tuple[str, Run | None]:
    """`command` with its script written out, and the run of a runner in that; as it is where no script runs one.

    Raises NoScript, and NotASuite when a script runs several runners.
    """
    line, found = command, find_run(command)
    for _ in range(MAX_DEPTH):
        if found is None or found.runner != SCRIPT:
            return line, found
        folder = PurePosixPath(found.folder)
        text = _written_out(found, folder, read)
        inner = find_run(text)
        if inner is None:
            return command, None
        line = edited(line, [(found.words[0].start, found.words[-1].end, text)])
        found = find_run(line)
        if found is not None:
            found = replace(found, folder=str(folder / inner.folder))
    return command, None


def _written_out(run: Run, folder: PurePosixPath, read: Read) -> str:
    name, more = runners.script_of(run)
    try:
        scripts = json.loads(read(str(folder / "package.json")))["scripts"]
        # As package managers do: what is to come before, then the script with the arguments.
        text = " && ".join(str(scripts[key]) for key in (f"pre{name}", name) if key in scripts)
        scripts[name]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise NoScript(f"package.json has no script {name!r}: {type(error).__name__}: {error}") from error
    ups = ["../" * i for i in range(len(folder.parts) + 1)]
    path = ":".join(f"$PWD/{up}node_modules/.bin" for up in ups)
    return f'(export PATH="{path}:$PATH"; {text} {more}\n)'
