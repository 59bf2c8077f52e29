"""Real packages: each is taken from its registry, set up as any repository is, and its suite run as a baseline.

    python -m tests.benchmarks.packages --folder DIR [--kind pypi|npm|go|rust]... [--only NAME]...

A line of JSON each goes to DIR/results.jsonl; packages that have one there are not run again. At the end the table is
printed, as Markdown. "Good" is a suite that runs, and of whose tests 95 % pass or are skipped.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import anyio

from agent.cli.inputs import with_test_command
from agent.config import repository_settings
from agent.environment import TOOLS
from agent.errors import EnvironmentFault, UsageError
from agent.gate import Runner
from agent.git import Repository
from sandboxes.containers import container, new_name
from sandboxes.docker import Docker, Sandbox
from sandboxes.errors import SandboxError
from sandboxes.hostnet import HostNetwork
from sandboxes.images import CAPABILITIES, SYSTEM_PATH, ensure_base_image
from sandboxes.toolbox import ensure_toolbox
from sandboxes.toolchains import ensure_toolchains
from sandboxes.types import Limits
from tests.benchmarks.packages_list import GO, NPM, PYPI, RUST

KINDS = {"pypi": PYPI, "npm": NPM, "go": GO, "rust": RUST}
LIMITS = Limits(memory_mb=2048, pids=512, lifetime_seconds=1800)
GOOD = 0.95
SECONDS = 1800
"""For a suite; the sandbox of one lives for two hours."""
DEBIAN = """
apt-get -o APT::Sandbox::User=root update -qq
cd /tmp && apt-get -o APT::Sandbox::User=root download -qq {{name}}
dpkg-deb -x *.deb unpacked
found=$(find unpacked -name {mark} | awk '{{{{ print length($0), $0 }}}}' | sort -n | head -n 1 | cut -d ' ' -f 2)
top=$(dirname $found)
tar -czf /out/$(basename *.deb .deb).tar.gz -C $(dirname $top) $(basename $top)
"""
DOWNLOAD = {
    "pypi": "python3 -m venv /tmp/v && /tmp/v/bin/pip download -q --no-deps --no-binary {name} -d /out {name}",
    "npm": "cd /out && npm pack --silent {name}",
    "go": DEBIAN.format(mark="go.mod"),
    "rust": DEBIAN.format(mark="Cargo.toml"),
}


class NoDownload(Exception):
    """The registry did not give it, or it has no manifest."""


async def download(docker: Docker, kind: str, name: str) -> bytes:
    """The package's archive. What a package runs when it is downloaded, it runs in a container."""
    host = HostNetwork.read()
    engine = docker.engine
    base = await ensure_base_image(engine, print)
    toolbox, _ = await ensure_toolbox(engine, base, TOOLS, print)
    image = await ensure_toolchains(engine, base, ["node-22"] if kind == "npm" else [], toolbox, host, print)
    async with container(
        engine, image, name=new_name(), run_id="packages", user="0:0", command=["/bin/sleep", "1800"], limits=LIMITS,
        volumes={toolbox: ("/opt/toolbox", "ro")}, network="bridge", read_only=False, capabilities=CAPABILITIES,
    ) as id_:  # fmt: skip
        sandbox = Sandbox(engine, id_, user="0:0")
        await sandbox.put_file("/run/host.pem", host.certificates)
        names = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
        variables = {
            **host.variables,
            **dict.fromkeys(names, "/run/host.pem"),
            "PATH": SYSTEM_PATH,
            "HOME": "/root",
        }
        line = f"set -e; mkdir -p /out; {DOWNLOAD[kind].format(name=name)}"
        done = await sandbox.run(line, timeout=1500, cwd="/", env=variables)
        if done.exit_code != 0:
            raise NoDownload(done.output.decode("utf-8", "replace")[-2000:])
        stream, _ = await engine.call(engine.api.get_archive, id_, "/out")
        return b"".join(stream)


def unpack(archive: bytes, into: Path) -> str:
    """The package's own files, without the folder they are packed in; returns the archive's name."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        names = [m for m in tar if m.isreg() and re.search(r"\.(?:tgz|tar\.\w+|zip)$", m.name)]
        [member] = [m for m in names if ".debian." not in m.name]
        inner = tar.extractfile(member)
        assert inner is not None
        data = inner.read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extractall(into.with_suffix(".all"), filter="data")
    [top] = into.with_suffix(".all").iterdir()
    top.rename(into)
    return Path(member.name).name


def commit(folder: Path) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    for command in (("init", "-q"), ("add", "-A", "-f"), (*identity, "commit", "-q", "-m", "base")):
        subprocess.run(["git", "-C", str(folder), *command], check=True, capture_output=True)


async def measure(kind: str, name: str, folder: Path) -> dict[str, Any]:
    """Set one package up, and take its baseline."""
    docker = await Docker.connect()
    path = folder / kind / name.replace("/", "+")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (path / ".git").exists():
        archive = unpack(await download(docker, kind, name), path)
        (path.parent / f"{path.name}.from").write_text(archive)
        commit(path)
    row: dict[str, Any] = {
        "kind": kind,
        "name": name,
        "from": (path.parent / f"{path.name}.from").read_text(),
    }
    said: list[str] = []
    with Repository(path) as repository:
        base = repository.resolve("HEAD")
        tar = path.with_suffix(".base.tar")
        repository.write_tar(repository.tree_of(base), tar)
        started = time.monotonic()
        try:
            settings, row["tests"] = with_test_command(
                repository_settings(repository, base), repository, base
            )
            environment = await docker.environment(tar, tools_dir=TOOLS, log=said.append)
            row |= {"setup": environment.summary, "warnings": list(environment.warnings)}
            row["setup_seconds"] = round(time.monotonic() - started, 1)
            runner = Runner(docker, repository, environment, settings.test, SECONDS, "packages", said.append)
            run = (await runner.baseline(base)).run
            row["outcomes"] = dict(Counter(outcome.outcome for outcome in run.outcomes.values()))
            row["suite_seconds"] = round(run.seconds, 1)
            bad = [(test, one) for test, one in run.outcomes.items() if one.outcome in ("failed", "error")]
            row["failing"] = [f"{test}: {one.message[:200]}" for test, one in bad[:8]]
            if row["failing"]:
                row["tail"] = run.tail[-1500:]
        except (SandboxError, EnvironmentFault, UsageError) as error:
            row["error"] = str(error)
            row["log"] = [*said[-5:], *getattr(error, "log", "").splitlines()[-15:]]
    row["good"] = good(row)
    return row


def good(row: dict[str, Any]) -> bool:
    counts = Counter(row.get("outcomes") or {})
    fine = counts["passed"] + counts["skipped"]
    return bool(counts["passed"]) and fine >= GOOD * counts.total()


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| package | what | set up | tests | s | good |", "| --- | --- | --- | --- | --- | --- |"]
    for row in sorted(rows, key=lambda row: (list(KINDS).index(row["kind"]), row["name"])):
        counts = ", ".join(f"{n} {what}" for what, n in sorted((row.get("outcomes") or {}).items()))
        told = counts or row.get("error", "").split("\n")[0][:120]
        seconds = f"{row.get('setup_seconds', '')} + {row.get('suite_seconds', '')}"
        lines.append(
            f"| {row['from']} | {KINDS[row['kind']][row['name']]} | {row.get('setup', '')} | {told} | {seconds} | "
            f"{'yes' if row['good'] else 'no'} |"
        )
    for kind in KINDS:
        some = [row for row in rows if row["kind"] == kind]
        if some:
            lines.append(f"\n{kind}: {sum(row['good'] for row in some)} of {len(some)} good")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--only", action="append")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    results = args.folder / "results.jsonl"
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    have = {(row["kind"], row["name"]) for row in rows}
    for kind in args.kind or KINDS:
        for name in KINDS[kind]:
            if (kind, name) in have or (args.only and name not in args.only):
                continue
            try:
                row = anyio.run(measure, kind, name, args.folder)
            except NoDownload as error:
                print(f"could not download {name}: {error}")
                continue
            print(json.dumps(row), flush=True)
            with results.open("a") as file:
                file.write(json.dumps(row) + "\n")
            rows.append(row)
    print(table(rows))


if __name__ == "__main__":
    main()
