"""What a set-up made in the workspace: what is kept there, and what moves beside the virtual environment."""

import json
import subprocess
import sys
import tarfile

from sandboxes import inside


def finish(tmp_path, tree):
    workspace, environment = tmp_path / "workspace", tmp_path / "env"
    environment.mkdir(exist_ok=True)
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            inside.source("finish_setup"),
            workspace,
            environment,
            tmp_path / "made.tar",
        ],
        input=json.dumps({"tree": tree, "secrets": ["s3cr3t"]}) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    names = []
    if (tmp_path / "made.tar").exists():
        with tarfile.open(tmp_path / "made.tar") as tar:
            names = sorted(tar.getnames())
    return json.loads(done.stdout), names


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def link(path, to):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)


def test_packages_of_node_move_and_their_links_still_hold(tmp_path):
    root = tmp_path / "workspace"
    write(root / "packages/a/index.js", "a")
    write(root / "node_modules/x/index.js", "x")
    write(root / "node_modules/x/node_modules/deep/index.js", "deep")
    link(root / "node_modules/.bin/x", "../x/index.js")
    link(root / "node_modules/a", "../packages/a")
    write(root / "node_modules/.pnpm/y@1/node_modules/y/index.js", "y")
    link(root / "packages/a/node_modules/y", "../../../node_modules/.pnpm/y@1/node_modules/y")
    link(root / "packages/a/node_modules/@me/self", "../../../a")
    _, names = finish(tmp_path, ["packages/a/index.js"])
    assert names == [
        "node_modules/.bin",
        "node_modules/.pnpm",
        "node_modules/a",
        "node_modules/x",
        "packages/a/node_modules/@me",
        "packages/a/node_modules/y",
    ]
    assert (root / "node_modules/.bin/x").read_text() == "x"
    assert (root / "node_modules/a/index.js").resolve() == root / "packages/a/index.js"
    assert (root / "packages/a/node_modules/@me/self/index.js").resolve() == root / "packages/a/index.js"
    y = (root / "packages/a/node_modules/y/index.js").resolve()
    assert y == tmp_path / "env/workspace/node_modules/.pnpm/y@1/node_modules/y/index.js"
    assert not (root / "node_modules").is_symlink()


def test_packages_that_the_repository_holds_itself_stay(tmp_path):
    write(tmp_path / "workspace/node_modules/own/index.js", "own")
    write(tmp_path / "workspace/node_modules/got/index.js", "got")
    _, names = finish(tmp_path, ["node_modules/own/index.js"])
    assert names == ["node_modules/got/index.js"]
    assert not (tmp_path / "env/workspace").exists()


def test_what_cargo_compiled_moves_and_a_folder_of_that_name_does_not(tmp_path):
    root = tmp_path / "workspace"
    write(root / "target/CACHEDIR.TAG")
    write(root / "target/.dependencies")
    write(root / "target/debug/.cargo-lock")
    write(root / "target/debug/deps/liblow-1.rlib", "low")
    write(root / "target/debug/.fingerprint/low-1/lib-low", "f")
    write(root / "other/target/report.txt", "mine")
    _, names = finish(tmp_path, [])
    assert names == [
        "other/target/report.txt",
        "target/debug/.fingerprint/low-1/lib-low",
        "target/debug/deps/liblow-1.rlib",
    ]
    assert (root / "target/debug/deps/liblow-1.rlib").read_text() == "low"
    assert not (root / "target/debug/deps").is_symlink()


def test_what_cargo_may_have_compiled_of_the_repository_itself_is_not_kept(tmp_path):
    root = tmp_path / "workspace"
    write(root / "target/CACHEDIR.TAG")
    write(root / "target/debug/deps/own-1")
    assert finish(tmp_path, ["src/lib.rs"])[1] == []
    assert not (tmp_path / "env/workspace").exists()


def test_a_secret_is_found_in_what_has_moved(tmp_path):
    write(tmp_path / "workspace/node_modules/x/npmrc", "token=s3cr3t")
    told, _ = finish(tmp_path, [])
    assert told["leaks"] == [str(tmp_path / "env/workspace/node_modules/x/npmrc")]
