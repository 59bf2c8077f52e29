"""A recorded run made again, without its model: tools and gate answer as they did."""

import json
import shutil
from pathlib import Path

import pytest

from tests.docker.project import agent, make_project

pytestmark = pytest.mark.docker
RECORDED = Path(__file__).parent / "recorded"
DATE = "2026-01-01T00:00:00Z"


def test_a_recorded_run_comes_to_the_same_and_a_forged_record_is_parted_from(tmp_path, monkeypatch):
    for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
        monkeypatch.setenv(name, DATE)  # so that the base commit is the recorded one
    repo = make_project(tmp_path)
    done = agent(tmp_path, "replay", str(RECORDED), "--repo", str(repo), "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["same"]) == (0, True), told
    assert told["compared"] == {"results": 13, "verdicts": 2}
    assert told["differences"] == []

    forged = tmp_path / "forged"
    shutil.copytree(RECORDED, forged)
    log = forged / "events.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if '"verdict_reached"' in line)
    lines[place] = lines[place].replace('"accepted":false', '"accepted":true')
    log.write_text("".join(lines[: place + 1]))  # the rest was not recorded
    parted = agent(tmp_path, "replay", str(forged), "--repo", str(repo))
    assert parted.returncode == 1
    assert (
        "attempt 1, verdict\n  then: accepted" in parted.stdout and "now:  verdict: rejected" in parted.stdout
    )
