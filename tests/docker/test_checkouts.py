"""Images of benchmarks, by name: tools and gate work in their environment, on the repository, without the fix."""

from __future__ import annotations

import json

import anyio
import pytest

from sandboxes.docker import Docker
from sandboxes.errors import SetupFailed
from tests.docker.benchmark_image import FILES, HIDDEN, ISSUE, MENDED, build, labelled, make_repository, named
from tests.docker.project import agent, script
from tests.docker.sandbox_tools import RUN, environment_of

pytestmark = pytest.mark.docker

SWE = "swebench/sweb.eval.x86_64.assay_1776_calc-1:latest"
MULTI = "mswebench/assay_m_calc:pr-1"
LABELLED = "assay-test-labelled:1"
LOOK = r"""
python -c 'import calc, sys; print(calc.__file__, calc.WHEN, sys.prefix, sep="\n")'
echo "$CONDA_DEFAULT_ENV"; readlink /testbed; cat /root/tool; ls -A /testbed /home
echo "history: $(grep -rls 'nobody may see' /testbed/ /workspace /opt/env /home)"
"""


def test_a_sandbox_of_such_an_image_has_its_environment_and_the_repository_and_nothing_of_the_fix(tmp_path):
    async def main():
        image = await build()
        docker = await Docker.connect()
        files = {name: text.encode() for name, text in FILES.items()}
        with named(image, SWE, MULTI, LABELLED):
            labelled(image, LABELLED)
            for name in (SWE, MULTI, LABELLED):
                environment = await environment_of(docker, tmp_path, files, image=name)
                async with docker.sandbox(environment, run_id=RUN) as sandbox:
                    await sandbox.put_tree(tmp_path / "tree.tar")
                    said = (await sandbox.run(LOOK, timeout=60)).output.decode().splitlines()
                assert said[:6] == [
                    "/workspace/src/calc/__init__.py",
                    "when the image was made",
                    "/opt/miniconda3/envs/testbed",
                    "testbed",
                    "/workspace",
                    "there",
                ]
                assert "history: " in said
                assert not {".git"} & set(said) and (name != MULTI or not {"fix.patch", "run.sh"} & set(said))
            # Without a name or a label that tells of a checkout, an image is taken as it is.
            environment = await environment_of(docker, tmp_path, files, image=image)
            async with docker.sandbox(environment, run_id=RUN) as sandbox:
                done = await sandbox.run(LOOK, timeout=60)
                assert "history: /testbed/.git/" in done.output.decode()
            with (
                named("debian:none" if False else image, "x/sweap-images:t"),
                pytest.raises(SetupFailed) as fault,
            ):
                await environment_of(docker, tmp_path, files, image="x/sweap-images:t")
            assert "has no checkout in /app" in str(fault.value)

    anyio.run(main)


def test_an_instance_is_evaluated_in_the_image_that_its_set_made_for_it(tmp_path):
    repo, base = make_repository(tmp_path)
    instance = {
        "instance_id": "assay__calc-1",
        "repo": f"file://{repo}",
        "base_commit": base,
        "problem_statement": ISSUE,
        "test_patch": HIDDEN,
    }
    missing = {
        **instance,
        "instance_id": "assay__calc-2",
        "image": "registry.invalid/sweb.eval.x86_64.c:latest",
    }
    (tmp_path / "cases.jsonl").write_text(json.dumps(instance) + "\n" + json.dumps(missing) + "\n")
    model = script(tmp_path, MENDED)
    with named(anyio.run(build), SWE):
        given = ["--model", model, "--attempts", "1", "--instance-images"]
        done = agent(tmp_path, "eval", "cases.jsonl", "--out", "out", *given)
    found = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    by_case = {one["case"]["evaluation"]["case"]: one for one in found}
    one, other = by_case["assay__calc-1"], by_case["assay__calc-2"]
    assert one["status"] == "accepted", done.stderr + json.dumps(one)
    assert one["run"]["hidden_tests"]["right"] is True, one["run"]["hidden_tests"]
    assert other["status"] == "environment" and other["error"].count("\n") == 0
    assert "cannot pull the image registry.invalid/sweb.eval.x86_64.c:latest" in other["error"]
    [predicted] = [json.loads(line) for line in (tmp_path / "out/predictions.jsonl").read_text().splitlines()]
    assert predicted["instance_id"] == "assay__calc-1" and "return high" in predicted["model_patch"]
