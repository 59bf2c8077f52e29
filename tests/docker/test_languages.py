"""Small real projects in several languages: each is set up by what its own files say, and its suite runs offline."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from pathlib import Path

import anyio
import pytest

from agent.cli.inputs import repository_settings, with_test_command
from agent.gate import Runner
from agent.git import Repository
from sandboxes.docker import Docker
from sandboxes.errors import SetupFailed
from tests.docker.gate_harness import project
from tests.docker.runners_image import LIMITS
from tests.docker.sandbox_tools import environment_of
from tests.docker.test_runners import CARGO, GO, GO_TESTS, RUST, RUST_BELOW

pytestmark = pytest.mark.docker

NUMBERS = {
    "6": "sha512-Wu1VHeILBK8KAWJUAiSZQX94GmOE45Rg6/538fKwiloUu21KncEkYGPqob2oSZ5mUT73vLGrHQjKw3KMPwfDzg==",
    "7": "sha512-41Cifkg6e8TylSpdtTpeLVMqvSBEVzTttHvERD741+pnZ8ANv0004MRL43QKPDlK9cGvNp6NZWZUBlbGXYxxng==",
    "odd": "sha512-CQpnWPrDwmP1+SMHXZhtLtJv90yiyVfluGsX5iNCVkrhQtU3TQHsUWPG9wkdk9Lgd5yNpAg9jQEo90CBaXgWMA==",
}
TEST = """\
const { it } = require('node:test');
const assert = require('node:assert');
it('is odd', () => assert(require('is-odd')(3)));
it('has the version of the lock file', () => assert.strictEqual(
  require(require.resolve('is-number/package.json', { paths: [require.resolve('is-odd')] })).version, '6.0.0'));
"""
PACKAGE = {
    "name": "y",
    "private": True,
    "scripts": {"test": "node --test"},
    "dependencies": {"is-odd": "3.0.1"},
}
NPM_LOCK = {
    "name": "y", "lockfileVersion": 3, "requires": True,
    "packages": {
        "": {"name": "y", "dependencies": {"is-odd": "3.0.1"}},
        "node_modules/is-number": {"version": "6.0.0", "integrity": NUMBERS["6"]},
        "node_modules/is-odd": {
            "version": "3.0.1", "integrity": NUMBERS["odd"], "dependencies": {"is-number": "^6.0.0"},
        },
    },
}  # fmt: skip
YARN_CLASSIC = f"""\
# yarn lockfile v1


is-number@^6.0.0:
  version "6.0.0"
  integrity {NUMBERS["6"]}

is-odd@3.0.1:
  version "3.0.1"
  integrity {NUMBERS["odd"]}
  dependencies:
    is-number "^6.0.0"
"""
YARN = """\
__metadata:
  version: 8
  cacheKey: 10c0

"is-number@npm:^6.0.0":
  version: 6.0.0
  resolution: "is-number@npm:6.0.0"
  checksum: 10c0/5da4c68401529675c575878d2760d66f18eaef4b014858577f6003daf66488d7fe4eae684b1e8574e3fa1bb447c6c6c\
56b8491d2b4b3239da2d32e5f6f218008
  languageName: node
  linkType: hard

"is-odd@npm:3.0.1":
  version: 3.0.1
  resolution: "is-odd@npm:3.0.1"
  dependencies:
    is-number: "npm:^6.0.0"
  checksum: 10c0/89ee2e353c5a3f3bd400c79db1c307a5b3506198ee8169d521e533a9b1d8a08fc95f21a919c084e98845b4286d7ffe30\
9778da03744dfe66c3c1763ab1a030c6
  languageName: node
  linkType: hard

"y@workspace:.":
  version: 0.0.0-use.local
  resolution: "y@workspace:."
  dependencies:
    is-odd: "npm:3.0.1"
  languageName: unknown
  linkType: soft
"""
PNPM_LOCK = f"""\
lockfileVersion: '9.0'
settings:
  autoInstallPeers: true
  excludeLinksFromLockfile: false
importers:
  .: {{}}
  packages/a:
    dependencies:
      is-odd:
        specifier: 3.0.1
        version: 3.0.1
  packages/b:
    dependencies:
      a:
        specifier: workspace:*
        version: link:../a
      is-number:
        specifier: 7.0.0
        version: 7.0.0
packages:
  is-number@6.0.0:
    resolution: {{integrity: {NUMBERS["6"]}}}
  is-number@7.0.0:
    resolution: {{integrity: {NUMBERS["7"]}}}
  is-odd@3.0.1:
    resolution: {{integrity: {NUMBERS["odd"]}}}
snapshots:
  is-number@6.0.0: {{}}
  is-number@7.0.0: {{}}
  is-odd@3.0.1:
    dependencies:
      is-number: 6.0.0
"""
MEMBERS = {
    "packages/a/index.js": "exports.odd = require('is-odd');\n",
    "packages/b/test/b.test.js": """\
const { it } = require('node:test');
const assert = require('node:assert');
it('uses its neighbour', () => assert(require('a').odd(3)));
it('has a version of its own', () => assert.strictEqual(require('is-number/package.json').version, '7.0.0'));
it('finds the neighbour as it is in the workspace', () =>
  assert.strictEqual(require.resolve('a'), '/workspace/packages/a/index.js'));
""",
}
A = {"name": "a", "version": "1.0.0", "main": "index.js", "dependencies": {"is-odd": "3.0.1"}}


def set_up(folder: Path, files: dict[str, object]) -> tuple[dict[str, str], tuple[str, ...], str]:
    """Outcomes of the suite that is detected, the set-up's warnings, and what it says it did."""
    made = project(
        folder, {name: text if isinstance(text, str) else json.dumps(text) for name, text in files.items()}
    )

    async def run() -> dict[str, str]:
        with Repository(made.path) as repository:
            base = repository.resolve("HEAD")
            settings, _ = with_test_command(repository_settings(repository, base), repository, base)
            docker = await Docker.connect()
            runner = Runner(
                docker,
                repository,
                made.environment,
                settings.test,
                240,
                "test-languages",
                lambda line: None,
                LIMITS,
            )
            return (await runner.baseline(base)).outcomes

    outcomes = anyio.run(run)
    return outcomes, made.environment.warnings, made.environment.summary


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"package.json": PACKAGE, "package-lock.json": NPM_LOCK}, "npm by package-lock.json"),
        ({"package.json": PACKAGE, "yarn.lock": YARN_CLASSIC}, "yarn by yarn.lock"),
        (
            {"package.json": {**PACKAGE, "packageManager": "yarn@4.9.2"}, "yarn.lock": YARN},
            "yarn by yarn.lock",
        ),
    ],
    ids=["npm", "yarn 1", "yarn 4"],
)
def test_the_packages_of_the_lock_file_are_there(tmp_path: Path, files: dict[str, object], said: str) -> None:
    outcomes, warnings, summary = set_up(tmp_path, {**files, "test/y.test.js": TEST})
    assert outcomes == {
        "test/y.test.js::is odd": "passed",
        "test/y.test.js::has the version of the lock file": "passed",
    }
    assert warnings == ()
    assert said in summary


def test_a_workspace_of_pnpm(tmp_path: Path) -> None:
    b = {"name": "b", "version": "1.0.0", "dependencies": {"a": "workspace:*", "is-number": "7.0.0"}}
    files: dict[str, object] = {
        "package.json": {"name": "root", "private": True, "scripts": {"test": "node --test"}},
        "pnpm-workspace.yaml": "packages:\n  - packages/*\n",
        "pnpm-lock.yaml": PNPM_LOCK,
        "packages/a/package.json": A,
        "packages/b/package.json": b,
    }
    outcomes, warnings, summary = set_up(tmp_path, {**files, **MEMBERS})
    assert set(outcomes.values()) == {"passed"}
    assert len(outcomes) == 3
    assert warnings == ()
    assert "pnpm by pnpm-lock.yaml" in summary


def test_a_workspace_of_npm_beside_python(tmp_path: Path) -> None:
    """The front end's packages are there too, and neither takes the other's place."""
    files = {
        "setup.py": "from setuptools import setup\nsetup(name='x', py_modules=['x'])\n",
        "x.py": "",
        "test_x.py": """\
import subprocess

def test_both():
    import x
    done = subprocess.run(["node", "--test"], cwd="web", capture_output=True, text=True)
    assert "pass 3" in done.stdout, done.stdout + done.stderr
    assert subprocess.run(["touch", "web/node_modules/.cache"]).returncode == 0
""",
        "web/package.json": json.dumps({"name": "w", "private": True, "workspaces": ["packages/*"]}),
        "web/packages/a/package.json": json.dumps(A),
        "web/packages/b/package.json": json.dumps(
            {"name": "b", "version": "1.0.0", "dependencies": {"a": "1.0.0", "is-number": "7.0.0"}}
        ),
        **{f"web/{name}": text.replace("/workspace/", "/workspace/web/") for name, text in MEMBERS.items()},
    }
    outcomes, warnings, summary = set_up(tmp_path, dict(files))
    assert outcomes == {"test_x.py::test_both": "passed"}
    assert warnings == ()
    assert "the project, pytest" in summary
    assert "packages with npm in web" in summary


def test_packages_that_cannot_be_had_are_told_with_the_mend(tmp_path: Path) -> None:
    files = {
        "package.json": json.dumps({"dependencies": {"is-odd": "99.0.0"}}).encode(),
        "f": str(tmp_path).encode(),
    }

    async def main() -> None:
        with pytest.raises(
            SetupFailed, match=r"No matching version found for is-odd@99\.0\.0.*--image node:22"
        ) as told:
            await environment_of(await Docker.connect(), tmp_path, files)
        assert "is-odd@99.0.0" in told.value.log

    anyio.run(main)


DEP = "module example.com/dep\n\ngo 1.19\n"
"""A module on a registry that is a folder of the repository."""


def test_go_with_a_module_of_a_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", "file:///workspace/registry")
    monkeypatch.setenv("GOSUMDB", "off")
    versions = tmp_path / "repo" / "registry" / "example.com" / "dep" / "@v"
    versions.mkdir(parents=True)
    with zipfile.ZipFile(versions / "v1.0.0.zip", "w") as archive:
        archive.writestr("example.com/dep@v1.0.0/go.mod", DEP)
        archive.writestr("example.com/dep@v1.0.0/dep.go", "package dep\n\nconst Three = 3\n")
    files: dict[str, object] = {
        "go.mod": "module example.com/calc\n\ngo 1.19\n\nrequire example.com/dep v1.0.0\n",
        "go.sum": go_sum(versions / "v1.0.0.zip"),
        "registry/example.com/dep/@v/v1.0.0.mod": DEP,
        "registry/example.com/dep/@v/v1.0.0.info": '{"Version": "v1.0.0"}',
        "calc/calc.go": GO,
        "calc/calc_test.go": GO_TESTS.replace(
            'import "testing"', 'import ("testing"; "example.com/dep")'
        ).replace("Clamp(2, 1, 3)", "Clamp(2, 1, dep.Three)"),
    }
    outcomes, warnings, summary = set_up(tmp_path, files)
    assert outcomes == {"calc/calc_test.go::TestInside": "passed"}
    assert warnings == ()
    assert "Go for go.mod, which asks for 1.19, modules downloaded" in summary


def go_sum(archive: Path) -> str:
    """The lines of go.sum for the module: hashes of the lists of their files' hashes."""

    def h1(files: dict[str, bytes]) -> str:
        lines = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
        return "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()

    with zipfile.ZipFile(archive) as opened:
        content = {name: opened.read(name) for name in opened.namelist()}
    return f"example.com/dep v1.0.0 {h1(content)}\nexample.com/dep v1.0.0/go.mod {h1({'go.mod': DEP.encode()})}\n"


VENDORED = {
    ".cargo/config.toml": '[source.crates-io]\nreplace-with = "here"\n[source.here]\ndirectory = "third"\n',
    "third/low/Cargo.toml": '[package]\nname = "low"\nversion = "0.1.0"\nedition = "2021"\n',
    "third/low/src/lib.rs": "pub fn low() -> i32 { 1 }\n",
    "third/low/.cargo-checksum.json": '{"files": {}, "package": null}',
}


def test_rust_compiles_what_is_patched_and_not_its_dependencies(tmp_path: Path) -> None:
    files: dict[str, object] = {
        **VENDORED,
        "Cargo.toml": CARGO + '[dependencies]\nlow = "0.1"\n',
        "src/lib.rs": RUST + "\npub fn low() -> i32 { low::low() }\n",
        "tests/api.rs": RUST_BELOW,
    }
    outcomes, warnings, _ = set_up(tmp_path, files)
    assert outcomes == {"src/lib.rs::tests::inside": "passed", "tests/api.rs::below": "passed"}
    assert warnings == ()

    async def run() -> bytes:
        docker = await Docker.connect()
        made = {name: str(text).encode() for name, text in files.items()}
        environment = await environment_of(docker, tmp_path, made)
        async with docker.sandbox(environment, run_id="test-languages", limits=LIMITS) as sandbox:
            await sandbox.put_tree(tmp_path / "tree.tar")
            await sandbox.put_file(
                "/workspace/src/lib.rs", RUST.replace("if v < low { return low; }", "").encode()
            )
            return (await sandbox.run("cargo test", timeout=240)).output

    said = anyio.run(run).decode()
    assert "Compiling calc" in said
    assert "Compiling low" not in said
    assert "below ... FAILED" in said
