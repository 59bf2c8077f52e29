"""Tasks of a batch whose issues are on GitHub."""

import json

from tests.docker.project import agent, git, make_project
from tests.loopback.github_server import TOKEN, GitHub


def test_issues_are_read_by_their_number_and_one_that_is_not_there_is_told(tmp_path):
    repo = make_project(tmp_path)
    git(repo, "remote", "add", "origin", "https://github.com/octo/calc.git")
    # No sandbox can be had here, so that the first one ends once its issue was read.
    tasks = [
        {"id": "there", "repo": "repo", "issue_number": 7, "image": "no-such-image:1"},
        {"id": "not there", "repo": "repo", "issue_number": 8},
    ]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    with GitHub(tmp_path, repo) as github:
        github.state.issue(7, "clamp() is wrong", "It gives 1.")
        given = ["batch", "tasks.jsonl", "--out", "out", "--model", "local/repair"]
        done = agent(tmp_path, *given, **github.environ, DOCKER_HOST="unix:///nowhere.sock")
    assert done.returncode == 1, done.stderr
    text = (tmp_path / "out/results.jsonl").read_text()
    told = {result["id"]: result for result in map(json.loads, text.splitlines())}
    assert told["there"]["status"] == "environment"
    assert "no issue 8 in octo/calc" in told["not there"]["error"]
    assert told["not there"]["status"] == "invalid"
    log = (tmp_path / "home/runs" / told["there"]["run"]["run_id"] / "events.jsonl").read_text()
    started = json.loads(log.splitlines()[0])
    assert "clamp() is wrong" in started["issue"] and "It gives 1." in started["issue"]
    assert TOKEN not in text + log + done.stderr
