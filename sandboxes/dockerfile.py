"""What a build is sent: the files that its context holds, and the Dockerfile with our mark on each of its stages."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, BinaryIO

from sandboxes import owner
from sandboxes.devcontainer import Build, NotUsable

NAME = ".assay.Dockerfile"
"""What the Dockerfile is called in the context."""
LARGEST = 1 << 20
"""Bytes of a Dockerfile or a .dockerignore."""
MOST_PATTERNS = 1000
KIND = "build"
CERTIFICATES = ".assay.certificates.pem"
CERTIFICATE_VARIABLES = (
    "SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
)  # fmt: skip
OURS = (
    f"LABEL {owner.CACHE}={KIND}",
    f"COPY {CERTIFICATES} /{CERTIFICATES}",
    "ARG " + " ".join(f"{name}=/{CERTIFICATES}" for name in CERTIFICATE_VARIABLES),
)
"""What each stage begins with; the last two where there are certificates."""


def write_context(tree_tar: Path, build: Build, certificates: bytes, target: BinaryIO) -> tuple[str, str]:
    """Write the tar of a build's context; returns the hash of all that the image is made from, and the Dockerfile as
    the engine gets it.

    Only the tree's files go into it, and of them only what .dockerignore leaves. Raises NotUsable.
    """
    with tarfile.open(tree_tar, "r:", encoding="utf-8", errors="surrogateescape") as tree:
        text = _content(tree, build.dockerfile)
        if text is None:
            raise NotUsable(f"the commit has no {build.dockerfile}")
        folder = f"{build.context}/" if build.context else ""
        ignored = ignoring(_content(tree, f"{folder}.dockerignore") or b"")
        made = hashlib.sha256(json.dumps([build.target, sorted(build.args.items())]).encode())
        with tarfile.open(
            fileobj=target, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
        ) as tar:
            there = not folder
            for member in tree:
                there = there or member.name.startswith(folder)
                name = member.name.removeprefix(folder)
                if not member.name.startswith(folder) or not name or ignored(name):
                    continue
                if name.partition("/")[0] in (NAME, CERTIFICATES):
                    continue
                file = tree.extractfile(member) if member.isreg() else None
                member.name, member.mtime = name, 0
                said = json.dumps([name, member.type.decode(), member.mode, member.linkname, member.size])
                made.update(said.encode())
                tar.addfile(member, _Hashed(file, made) if file else None)
            if not there:
                raise NotUsable(f"the commit has no folder {build.context}")
            marked = with_marks(text.decode("utf-8", "surrogateescape"), bool(certificates))
            ours = {NAME: marked.encode("utf-8", "surrogateescape"), CERTIFICATES: certificates}
            for name, data in ours.items():
                if data:
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
            end = tar.offset
    # without the usual padding: what the engine does not read makes it reset the connection, answer and all
    target.truncate(end + 2 * tarfile.BLOCKSIZE)
    made.update(ours[NAME])
    return made.hexdigest(), marked


class _Hashed:
    """A file whose content is hashed as it is read."""

    def __init__(self, file: IO[bytes], made: hashlib._Hash) -> None:
        self._file = file
        self._made = made

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._made.update(data)
        return data


def _content(tree: tarfile.TarFile, path: str) -> bytes | None:
    """A regular file's content, None when there is none. Raises NotUsable for what can't be read as one."""
    try:
        member = tree.getmember(path)
    except KeyError:
        return None
    file = tree.extractfile(member) if member.isreg() else None
    if file is None or member.size > LARGEST:
        raise NotUsable(f"{path} is no regular file, or larger than {LARGEST >> 20} MB")
    return file.read()


def with_marks(text: str, certificates: bool) -> str:
    """A Dockerfile whose images all have our label, also those that a failed build leaves; with `certificates`, its
    commands know the certificates that stand in the context."""
    ours = OURS if certificates else OURS[:1]
    escape = re.match(r"(?:\s*#\s*\w+\s*=.*\n)*?\s*#\s*escape\s*=\s*`\s*(?:\n|\Z)", text, re.I)
    more = re.compile(r"`[ \t\r]*\Z" if escape else r"\\[ \t\r]*\Z")
    lines: list[str] = []
    instruction = ""
    for line in text.split("\n"):
        lines.append(line)
        if line.lstrip().startswith("#") or (instruction and not line.strip()):
            continue  # also between the lines of one instruction
        instruction += line
        if more.search(line):
            continue
        if re.match(r"\s*FROM\s", instruction, re.I):
            lines += ours
        instruction = ""
    return "\n".join(lines) + "\n"


def own_lines(fault: str, marked: str) -> str:
    """What the engine says of a line of the marked Dockerfile, with the number that it has in the repository's."""

    def own(match: re.Match[str]) -> str:
        return f"line {sum(line not in OURS for line in marked.split(chr(10))[: int(match[1])])}"

    return re.sub(r"\bline ([0-9]{1,7})\b", own, fault, count=1)


def ignoring(dockerignore: bytes) -> Callable[[str], bool]:
    """Whether a .dockerignore leaves out a path of the context. The last pattern that fits decides; what is below a
    fitting folder fits as well.

    docker-py has this too, by regular expressions that a hostile file can make run for years.
    """
    patterns: list[tuple[bool, list[re.Pattern[str] | None]]] = []
    for line in dockerignore.decode("utf-8", "surrogateescape").removeprefix("\ufeff").splitlines():
        words = line.strip()
        if words.startswith("#"):
            continue
        keeps = words.startswith("!")
        parts: list[str] = []
        for part in words.removeprefix("!").strip().split("/"):
            if part == "..":
                parts = parts[:-1]
            elif part not in ("", "."):
                parts.append(part)
        if parts:
            patterns.append((keeps, [None if part == "**" else _pattern(part) for part in parts]))
    if len(patterns) > MOST_PATTERNS:
        raise NotUsable(f".dockerignore has more than {MOST_PATTERNS} patterns")

    def ignored(path: str) -> bool:
        parts, left_out = path.split("/"), False
        for keeps, pattern in patterns:
            if keeps == left_out and _fits(pattern, parts):
                left_out = not keeps
        return left_out

    return ignored


def _pattern(part: str) -> re.Pattern[str]:
    try:
        return re.compile(fnmatch.translate(part.replace("[^", "[!")))
    except re.error as error:
        raise NotUsable(f".dockerignore has the pattern {part!r}: {error}") from error


def _fits(pattern: Sequence[re.Pattern[str] | None], parts: Sequence[str]) -> bool:
    """Whether a pattern fits a path, or a folder above it; None (`**`) stands for any number of folders."""
    at = {0}
    for word in pattern:
        if word is None:
            at = set(range(min(at), len(parts) + 1)) if at else at
        else:
            at = {n + 1 for n in at if n < len(parts) and word.match(parts[n])}
    return bool(at)
