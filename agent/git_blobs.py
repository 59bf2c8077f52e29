"""The bytes of blobs, by one `git cat-file` that lives as long as its repository is open."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from agent.errors import EnvironmentFault
from agent.git_command import environment, not_run, printable


class BlobTooLarge(EnvironmentFault):
    """A file is longer than what is read into memory: a patch's fault when the patch made it so."""

    def __init__(self, sha: str, size: int, limit: int) -> None:
        super().__init__(f"blob {sha} has {size} bytes; the limit is {limit}")
        self.sha, self.size, self.limit = sha, size, limit


class Blobs:
    """Those of the object store in `own`/repo, which is told of as that of `path`. May be used by several threads."""

    def __init__(self, own: Path, path: Path) -> None:
        self._own, self._path = own, path
        self._batch: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def read(self, sha: str, limit: int) -> bytes:
        """A blob's bytes. Raises BlobTooLarge when there are more than `limit`, EnvironmentFault when it is missing
        or not a blob."""
        with self._lock:
            stream, size = self._request(sha)
            if size > limit:
                self.close()
                raise BlobTooLarge(sha, size, limit)
            data = stream.read(size)
            stream.read(1)
        return data

    @contextmanager
    def stream(self, sha: str) -> Iterator[tuple[IO[bytes], int]]:
        """A blob as a stream, and its size; all of it must be read within the block. Raises EnvironmentFault."""
        with self._lock:
            stream, size = self._request(sha)
            yield stream, size
            stream.read(1)

    def close(self) -> None:
        """End the process; the next request starts another one. May be called twice."""
        if self._batch is not None:
            self._batch.kill()
            self._batch.communicate()
            self._batch = None

    def _request(self, sha: str) -> tuple[IO[bytes], int]:
        """Ask for a blob: the stream it comes on (then a newline), and its size."""
        if self._batch is None:
            variables = {**environment(self._own), "GIT_DIR": str(self._own / "repo")}
            pipe = subprocess.PIPE
            try:
                self._batch = subprocess.Popen(
                    ["git", "cat-file", "--batch"],
                    stdin=pipe,
                    stdout=pipe,
                    stderr=subprocess.DEVNULL,
                    cwd=self._own,
                    env=variables,
                    start_new_session=True,
                )
            except OSError as error:
                raise not_run(error, self._own) from None
        stdin, stdout = self._batch.stdin, self._batch.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write(sha.encode("ascii") + b"\n")
            stdin.flush()
            header = stdout.readline().split()
        except OSError:
            header = []
        if len(header) != 3 or header[1] != b"blob":
            self.close()
            raise EnvironmentFault(
                f"{self._path} has no blob {printable(sha)}; a partial clone? `git fetch --refetch`"
            )
        return stdout, int(header[2])
