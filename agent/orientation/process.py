"""The indexer as a process of its own, from the host's side."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

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
MAX_STORED = 512 * 1024 * 1024
"""Bytes of what is stored of one tree."""
WORTH_STORING = 512 * 1024
"""Bytes of source: fewer are parsed in less time than it takes to say so."""
STORE_SECONDS = 10.0
"""That the end of a run waits for it: 100,000 definitions take two."""
KEPT = 20
"""Trees that stay stored; of more, those that were not asked for longest go."""
OUTLINE_SECONDS = 30.0


class Unmapped(Exception):
    """There is no map or outline; the text says why."""


class Indexer:
    """One process. May be fed from one thread and killed from another."""

    def __init__(self, descriptors: Sequence[int] = ()) -> None:
        """The process has these of ours too."""
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
                pass_fds=descriptors,
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
        """The answer to the last frame. What is stored after it, if that was asked for, is to be read by `rest`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
            size = int(self._process.stdout.readline(20))
            text = self._process.stdout.read(min(size, MAX_ANSWER))
        except (OSError, ValueError):
            size, text = 1, b""
        if len(text) < min(size, MAX_ANSWER):
            self._process.wait()
            raise Unmapped(self._fate())
        return text.decode("utf-8", "replace")

    def rest(self, file: IO[bytes]) -> bool:
        """Write what comes after the answer; whether all of it came. The process has then ended."""
        assert self._process.stdout is not None
        total = 0
        try:
            while data := self._process.stdout.read(1 << 20):
                total += len(data)
                if total > MAX_STORED:
                    return False
                file.write(data)
            return self._process.wait() == 0
        except (OSError, ValueError):  # no space is left, or it was killed
            return False
        finally:
            self.kill()

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
        self,
        repository: Repository,
        tree: str,
        is_product: Callable[[], Callable[[str], bool]],
        folder: Path | None = None,
    ) -> None:
        """`folder` is where large trees are kept parsed, for the next run."""
        self._repository, self._tree, self._is_product = repository, tree, is_product
        self._file = folder / _name(tree) if folder else None
        self._stored = False
        self._size = 0
        self._indexer: Indexer | None = None
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._fault = ""
        self._closed = False
        self._storing = False

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
        """End the process, also in the midst of its work; but what it has begun to store it may end. May be called
        twice."""
        self._closed = True
        if self._storing:
            self._thread.join(STORE_SECONDS)
        while True:
            if self._indexer is not None:
                self._indexer.kill()
            self._thread.join(0.1)
            if not self._thread.is_alive():
                return

    def _feed(self) -> None:
        try:
            with suppress(OSError):
                self._begin_stored()
            if self._indexer is None:
                self._indexer = Indexer()
                self._feed_files(self._indexer)
        except Exception as error:  # whatever it is, a run goes on without a map
            self._fault = str(error) or type(error).__name__

    def _begin_stored(self) -> None:
        """Raises OSError where nothing is stored of the tree."""
        if self._file is not None:
            with self._file.open("rb") as file:
                os.utime(self._file)
                self._stored = True
                self._indexer = Indexer([file.fileno()])
                self._indexer.send({"stored": file.fileno()})

    def _feed_files(self, indexer: Indexer) -> None:
        is_product = self._is_product()
        # The product comes first: should there be too much, tests are what is left out.
        sources = Sources(self._repository, self._tree)
        for path, data in sources.read(frozenset(LANGUAGES), lambda path: not is_product(path)):
            if self._closed:
                return
            self._size += len(data)
            indexer.send({"file": path, "product": is_product(path)}, data)

    def _asked(self, question: Question, tokens: int) -> str:
        self._thread.join()
        if self._fault or self._indexer is None:
            raise Unmapped(self._fault or "nothing was parsed")
        store = self._file is not None and not self._stored and self._size >= WORTH_STORING
        try:
            self._indexer.send({"ask": asdict(question), "tokens": tokens, "store": store})
            answer = self._indexer.answer()
        except Unmapped:
            if self._stored and self._file is not None:  # what can't be read must not stay
                self._file.unlink(missing_ok=True)
            raise
        if store:
            self._storing = True
            self._thread = threading.Thread(target=self._store, daemon=True)
            self._thread.start()
        else:
            self._indexer.kill()
        return answer

    def _store(self) -> None:
        """Keep what the process has parsed, when nobody waits for it any more. Where that can't be, it is parsed
        again."""
        assert self._file is not None and self._indexer is not None
        part = self._file.with_suffix(f".{os.getpid()}.part")
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("wb") as file:
                    whole = self._indexer.rest(file)
                if whole:
                    part.replace(self._file)
            finally:
                part.unlink(missing_ok=True)
            for old in sorted(self._file.parent.glob("*.map"), key=os.path.getmtime, reverse=True)[KEPT:]:
                old.unlink(missing_ok=True)


def _name(tree: str) -> str:
    """By the tree, and the code that parses it."""
    code = sorted(Path(__file__).parent.glob("*.py"))
    told = [tree, [[path.name, (state := path.stat()).st_size, state.st_mtime_ns] for path in code]]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest() + ".map"


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
