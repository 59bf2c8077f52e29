"""A folder of Gradle's caches for one sandbox: what Gradle writes to is the sandbox's own, the rest is not copied."""

import subprocess
import sys

from sandboxes import inside

DIST = "wrapper/dists/gradle-8.5-bin/abc/gradle-8.5"
PACKAGE = "caches/modules-2/files-2.1/junit/junit/4.13.2/0123/junit-4.13.2.pom"


def test_what_gradle_writes_to_is_copied_and_the_rest_linked(tmp_path):
    kept, home = tmp_path / "kept", tmp_path / "home"
    files = (
        "gradle.properties", "caches/modules-2/modules-2.lock", "caches/8.5/lib/x.jar", PACKAGE, f"{DIST}/lib/y.txt",
        f"{DIST}-bin.zip.lck", "jdks/temurin/bin/java",
    )  # fmt: skip
    for name in files:
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        (kept / name).write_text(name)
    command = [sys.executable, "-I", "-c", inside.source("lay_gradle"), kept, home]
    for _ in range(2):  # two calls at a time come to the same
        subprocess.run(command, check=True)
    assert [(home / name).read_text() for name in files] == list(files)
    links = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_symlink())
    assert links == ["caches/8.5/lib/x.jar", PACKAGE, "jdks/temurin", DIST]
    (home / "caches/modules-2/modules-2.lock").write_text("mine")
    assert (kept / "caches/modules-2/modules-2.lock").read_text() == "caches/modules-2/modules-2.lock"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "kept"]
