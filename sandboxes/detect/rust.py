"""What a Rust repository says of its own set-up."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from sandboxes.detect.steps import Part, Step
from sandboxes.detect.tree import Repository

VARIABLES = {"CARGO_HOME": "/opt/env/cargo", "CARGO_NET_OFFLINE": "true", "CARGO_TERM_COLOR": "never"}
HAVE = (1, 85)
"""What Debian's newest packages of Rust are at least (rustc-web of bookworm, November 2026)."""
CLEAN = (
    "members=$(cargo metadata --offline --format-version 1 | python3 -c "
    '\'import json, sys; print(*(w for p in json.load(sys.stdin)["packages"] '
    'if p["source"] is None for w in ("-p", p["name"] + "@" + p["version"])))\') && '
    "cargo clean --offline $members && rm -rf target/*/incremental && touch target/.dependencies"
)
"""Of what was compiled only the dependencies stay: the repository's own packages are compiled where they are tested.
The mark says so to finish_setup.py, which keeps nothing without it."""


def rust_part(repository: Repository) -> Part | None:
    """What to do, or None for a repository without a Cargo.toml of its own."""
    folder = repository.folder_with(("Cargo.toml",), ("Cargo.lock",))
    if folder is None:
        return None
    here = repository.below(folder)
    warnings: list[str] = []
    asked = _asked(here)
    if asked > HAVE:
        version = ".".join(map(str, asked))
        warnings.append(
            f"the project asks for Rust {version}, and Debian's packages may have {HAVE[0]}.{HAVE[1]}: "
            f"where it does not compile, --image rust:{version} is the way"
        )
    locked = "Cargo.lock" in here.manifests
    return Part(
        language="Rust",
        folder=folder,
        toolchains=("rust",),
        steps=(
            Step(
                "fetching crates",
                ("cargo fetch --locked", "cargo fetch") if locked else ("cargo fetch",),
                ("Cargo.lock does not fit Cargo.toml, and was written anew",) if locked else (),
            ),
            Step(
                "compiling the dependencies once",
                (f"cargo test --workspace --no-run && {CLEAN}",),
                needed=False,
                seconds=900,
            ),
        ),
        summary=f"Rust, crates by {'Cargo.lock' if locked else 'Cargo.toml'}",
        mend="name an image that has Rust and the crates, --image rust:1, or vendor them (`cargo vendor`)",
        variables=VARIABLES,
        while_set_up={"CARGO_NET_OFFLINE": "false", "CARGO_INCREMENTAL": "0"},
        warnings=tuple(warnings),
    )


def _asked(repository: Repository) -> tuple[int, ...]:
    """The version of Rust that the manifests ask for, (major, minor); () for none."""
    manifest = _toml(repository.text("Cargo.toml"))
    package = _table(manifest, "package") or _table(_table(manifest, "workspace"), "package")
    toolchain = repository.text("rust-toolchain.toml") or repository.text("rust-toolchain")
    channel = _table(_toml(toolchain), "toolchain").get("channel") or toolchain.strip()
    found = [
        (int(match[1]), int(match[2]))
        for said in (package.get("rust-version"), channel)
        if isinstance(said, str) and (match := re.match(r"(\d+)\.(\d+)", said))
    ]
    return max(found, default=())


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _table(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}
