"""A stand-in for a benchmark's image, since none can be pulled in tests: the layout, with a small project in it.

As SWE-bench's: a checkout in /testbed with all of its history, an environment `testbed` that `activate` puts on PATH,
and the project installed in it as a link. As Multi-SWE-bench's: the fix and its tests beside the checkout.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandboxes.types import Limits
from tests.docker.built_image import built_image
from tests.docker.project import BUGGY, CAUSE, FIXED_LINE, RED, SEE, SUBMIT, TESTS, call, git

ISSUE = "clamp(5, 1, 3) gives 1; it should give 3."
FILES = {
    "src/calc/__init__.py": f"from calc._built import WHEN\n\n\n{BUGGY}",
    "setup.py": """\
from pathlib import Path

from setuptools import setup

Path("src/calc/_built.py").write_text("WHEN = 'when the image was made'\\n")
setup(name="calc", version="1", package_dir={"": "src"}, packages=["calc"])
""",
    "tests/test_calc.py": TESTS,
    ".gitignore": "_built.py\n*.egg-info\n",
}
"""A package that works as it was built in the image alone: a module of it is no part of the repository."""
HIDDEN = f"""\
--- a/tests/test_calc.py
+++ b/tests/test_calc.py
@@ -11,3 +11,7 @@ def test_below():

 def test_mean():
     assert mean([1, 2, 3]) == 2
+
+
+{RED.strip().splitlines()[0]}
+    {RED.strip().splitlines()[1].strip()}
"""
ACTIVATE = """\
[ "$1" = testbed ] || return 1
export CONDA_DEFAULT_ENV=testbed CONDA_PREFIX=/opt/miniconda3/envs/testbed PATH=/opt/miniconda3/envs/testbed/bin:$PATH
PS1="(testbed) ${PS1-}"
"""
FIX = call("edit_file", path="src/calc/__init__.py", old=FIXED_LINE[0], new=FIXED_LINE[1])
PROVE = call(
    "write_file",
    path="tests/test_above.py",
    content="from calc import clamp\n\n\ndef test_above():\n    assert clamp(5, 1, 3) == 3\n",
)
UNDERSTOOD = [
    call("shell", command=SEE),
    call("root_cause", **{**CAUSE["arguments"], "where": ["src/calc/__init__.py:8"]}),  # type: ignore[dict-item]
]
MENDED = [[*UNDERSTOOD, PROVE, FIX], [call("shell", command=SEE)], [SUBMIT]]
"""What a scripted model does about it; without the test in it, nothing is proved."""
UNPROVED = [[*UNDERSTOOD, FIX], [call("shell", command=SEE)], [SUBMIT]]
LIMITS = Limits(memory_mb=2048, lifetime_seconds=600)


def make_repository(folder: Path) -> tuple[Path, str]:
    """The project's repository and its commit that has the bug, which is not the newest one."""
    repo = folder / "calc"
    for name, text in FILES.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(text)
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "base")
    base = git(repo, "rev-parse", "HEAD").strip()
    product = repo / "src/calc/__init__.py"
    product.write_text(product.read_text().replace(*FIXED_LINE))
    git(repo, "commit", "-qam", "the fix, which nobody may see")
    return repo, base


async def build() -> str:
    """The image, by a name of its own."""
    script = ["set -e", "mkdir -p /opt/miniconda3/bin /testbed/src/calc /testbed/tests"]
    script += ["python3 -m venv /opt/miniconda3/envs/testbed"]
    script += ["/opt/miniconda3/envs/testbed/bin/pip install -q --no-cache-dir pytest 'setuptools<81' wheel"]
    files = {f"/testbed/{name}": text for name, text in FILES.items()}
    files |= {
        "/opt/miniconda3/bin/activate": ACTIVATE,
        "/home/fix.patch": "the fix\n",
        "/home/run.sh": "true\n",
    }
    for path, text in files.items():
        script += [f"cat > {path} << 'END_OF_FILE'", text.removesuffix("\n"), "END_OF_FILE"]
    script += [
        "cd /testbed && git init -q && git add -A",
        "git -c user.name=t -c user.email=t@localhost commit -qm 'the fix, which nobody may see'",
        "/opt/miniconda3/envs/testbed/bin/pip install -q --no-build-isolation --no-deps --no-use-pep517 -e .",
        "chmod -R 777 /testbed && chmod 700 /root && echo there > /root/tool",
    ]
    return await built_image("assay-test-benchmark", "\n".join(script), ("PIP_CERT",), LIMITS)


@contextmanager
def named(image: str, *names: str) -> Iterator[None]:
    """The image under names of a benchmark's, for the time of a test."""
    for name in names:
        subprocess.run(["docker", "tag", image, name], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["docker", "rmi", *names], check=True, capture_output=True)


def labelled(image: str, name: str) -> None:
    """The image once more, with a label in place of a telling name."""
    dockerfile = f"FROM {image}\nLABEL assay.checkout=/testbed\n"
    subprocess.run(
        ["docker", "build", "-q", "-t", name, "-"], input=dockerfile.encode(), check=True, capture_output=True
    )
