"""The indexer as a process of its own, from the host's side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from agent.orientation.files import Sources
from agent.orientation.symbols import LANGUAGES

if TYPE_CHECKING:
    from agent.git import Repository
    from agent.orientation.ranking import Question

START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from agent.orientation.indexer import main; main()"
)
LIBRARIES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""All of the environment that it gets: some Pythons need them to start."""
MAX_ANSWER = 1024 * 1024
"""Bytes."""
OUTLINE_SECONDS = 30.0


class Unmapped(Exception):
    """There is no map or outline; the text says why."""


class Indexer:
    """One process. May be fed from one thread and killed from another."""

    def __init__(self) -> None:
        # Isolated: neither the folder that the user is in nor PYTHONPATH may put a module in the way.
        path = [entry for entry in sys.path if entry]
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", START, json.dumps(path)],
                stdin=pipe,
                stdout=pipe,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in LIBRARIES if name in os.environ},
                cwd="/",
                start_new_session=True,  # Ctrl-C on a terminal is not for it
            )
        except OSError as error:
            raise Unmapped(f"Python could not be started: {error.strerror}") from None

    def send(self, frame: Mapping[str, Any], data: bytes = b"") -> None:
        assert self._process.stdin is not None
        head = json.dumps({**frame, "bytes": len(data)} if data else frame)
        try:
            self._process.stdin.write(head.encode() + b"\n" + data)
        except (OSError, ValueError) as error:
            raise Unmapped(self._fate()) from error

    def answer(self) -> str:
        """The answer to the last frame; the process has then ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
            text = self._process.stdout.read(MAX_ANSWER)
        except (OSError, ValueError):
            text = b""
        if self._process.wait() != 0:
            raise Unmapped(self._fate())
        self.kill()
        return text.decode("utf-8", "replace")

    def kill(self) -> None:
        """End it, whatever it does. May be called twice."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError, ValueError):  # what was not yet written goes nowhere
                    pipe.close()

    def _fate(self) -> str:
        self.kill()
        return f"the process that parses it ended (exit code {self._process.returncode})"


class RepositoryMap:
    """The map of one tree. Parsing begins with `begin`, in a thread and a process beside all else; `ask` then waits
    only for what is left of it."""

    def __init__(
        self, repository: Repository, tree: str, is_product: Callable[[], Callable[[str], bool]]
    ) -> None:
        self._repository, self._tree, self._is_product = repository, tree, is_product
        self._indexer: Indexer | None = None
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._fault = ""
        self._closed = False

    def begin(self) -> None:
        self._thread.start()

    async def ask(self, question: Question, tokens: int, seconds: float) -> str:
        """The map's text, within so many tokens. Raises Unmapped when it can't be had in time."""
        answer = ""
        with anyio.move_on_after(seconds) as scope:
            answer = await anyio.to_thread.run_sync(self._asked, question, tokens, abandon_on_cancel=True)
        if scope.cancelled_caught:
            self.close()
            raise Unmapped(f"the repository was not parsed in {seconds:.0f} s")
        return answer

    def close(self) -> None:
        """End the process, also in the midst of its work. May be called twice."""
        self._closed = True
        while True:
            if self._indexer is not None:
                self._indexer.kill()
            self._thread.join(0.1)
            if not self._thread.is_alive():
                return

    def _feed(self) -> None:
        try:
            self._indexer = Indexer()
            is_product = self._is_product()
            # The product comes first: should there be too much, tests are what is left out.
            sources = Sources(self._repository, self._tree)
            for path, data in sources.read(frozenset(LANGUAGES), lambda path: not is_product(path)):
                if self._closed:
                    return
                self._indexer.send({"file": path, "product": is_product(path)}, data)
        except Exception as error:  # whatever it is, a run goes on without a map
            self._fault = str(error) or type(error).__name__

    def _asked(self, question: Question, tokens: int) -> str:
        self._thread.join()
        if self._fault or self._indexer is None:
            raise Unmapped(self._fault or "nothing was parsed")
        self._indexer.send({"ask": asdict(question), "tokens": tokens})
        return self._indexer.answer()


async def outlined(path: str, source: bytes) -> str:
    """The outline of one text, parsed in a process of its own. Raises Unmapped."""

    def ask() -> str:
        indexer.send({"outline": path}, source)
        return indexer.answer()

    indexer = Indexer()
    try:
        with anyio.fail_after(OUTLINE_SECONDS):
            return await anyio.to_thread.run_sync(ask, abandon_on_cancel=True)
    except TimeoutError:
        raise Unmapped(f"not parsed in {OUTLINE_SECONDS:.0f} s") from None
    finally:
        indexer.kill()
