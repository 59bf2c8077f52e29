"""A run's verdict on GitHub, from the run's folder alone: once, again, and with every call spoilt in every way."""

import json
import re
import subprocess
import threading
import time

import anyio
import anyio.to_thread
import pytest

from agent.config import Settings
from agent.errors import Refused, UsageError
from agent.event_log import EventLog, read_events
from agent.forge import body
from agent.forge.body import Words
from agent.forge.client import Client, ForgeError
from agent.forge.publish import Publication, publish
from agent.forge.remote import Api, Place
from agent.git import Repository
from agent.job import Job
from agent.result import RunEnding, exit_code
from agent.run import Publish, Run
from agent.types import Task
from tests.docker.project import BUGGY, FIXED_LINE, git, make_project
from tests.loopback.github_server import DOWN, FAULTS, TOKEN, GitHub
from tests.loopback.github_state import Pull, User
from tests.loopback.run_folder import RUN, TEST, patch_of, run_folder

PLACE = Place("github.com", "octo", "calc")
FIXED = BUGGY.replace(*FIXED_LINE)
NEW_TEST = "from calc import clamp\n\n\ndef test_above():\n    assert clamp(5, 1, 3) == 3\n"


@pytest.fixture
def world(tmp_path):
    """A repository, its GitHub with issue 7, and a run that was accepted."""
    repo = make_project(tmp_path)
    with GitHub(tmp_path, repo) as github:
        github.state.issue(7, "clamp() is wrong above the range", "It gives 1.")
        base, patch = patch_of(repo, {"calc.py": FIXED, "tests/test_above.py": NEW_TEST})
        yield World(tmp_path, repo, github, base, patch)


class World:
    def __init__(self, folder, repo, github, base, patch):
        self.folder, self.repo, self.github, self.base, self.patch = folder, repo, github, base, patch
        self.waits = []
        self.state = github.state

    def run(self, name="run", **more):
        return run_folder(self.folder / name, self.base, more.pop("patch", self.patch), **more)

    def client(self, token=TOKEN):
        def sleep(seconds):
            self.waits.append(seconds)
            self.github.skew += seconds

        return Client(Api(self.github.api_url, f"{self.github.api_url}/graphql", token), sleep=sleep)

    def publish(self, folder, issue=7, token=TOKEN, secrets=()):
        with self.client(token) as client:
            return publish(client, folder, PLACE, Words((*secrets, TOKEN), issue))

    def head(self, branch="assay/issue-7"):
        return self.state.ref(f"heads/{branch}")

    def one_pull(self):
        (pull,) = self.state.pulls.values()
        return pull


def test_an_accepted_run_becomes_one_branch_with_one_commit_and_a_draft_pull_request(world):
    done = world.publish(world.run())
    pull = world.one_pull()
    assert done.told() == {
        "verdict": "accepted",
        "pr_url": f"https://github.invalid/octo/calc/pull/{pull.number}",
        "branch": "assay/issue-7",
        "comment_url": None,
    }
    assert (pull.draft, pull.head, pull.base) == (True, "assay/issue-7", "main")
    assert pull.title == "Fix: clamp() is wrong above the range"
    commit = world.state.commit(world.head())
    assert [parent["sha"] for parent in commit["parents"]] == [world.base]
    assert commit["author"]["name"] == "assay-fixer[bot]"
    assert "\n\nFixes #7\n\n" in commit["message"] and commit["message"].endswith(f"Assay-Run: {RUN}")
    # exactly the patch, and nothing else of the tree
    with Repository(world.repo) as repository:
        tree = repository.apply(repository.tree_of(world.base), world.patch)
    assert commit["tree"]["sha"] == tree
    for part in (
        f"<!-- assay pull run={RUN} issue=7 -->\n\nFixes #7",
        "calc.py:5: clamp returns low for values above high",
        "| `calc.py` | 1 | 1 |",
        "| `tests/test_above.py` | 5 | 0 |",
        f"| `{TEST}` | `failed` | `passed` |",
        "| `pass_to_pass` | yes | `the suite says so` |",
        f"agent gate --repo . --proof {RUN}/proof.json",
        "| model | `local/repair` |",
        "| thinking | `the model's default` |",
        "| cost | 0.0000 USD |",
        "| image | `sha256:eeee",
        f"| run | `{RUN}` |",
    ):
        assert part in pull.body, pull.body


def test_again_changes_nothing_and_a_later_run_updates_the_same_pull_request(world):
    world.publish(world.run())
    first, before = world.head(), len(world.github.calls)
    assert world.publish(world.folder / "run").pr_url.endswith(str(world.one_pull().number))
    assert world.head() == first
    writes = {call.rpartition("/")[2] for call in world.github.calls[before:] if not call.startswith("GET")}
    assert writes == {"blobs", "trees"}  # objects that are there already
    _, other = patch_of(world.repo, {"calc.py": FIXED.replace("return high", "return max(low, high)")})
    world.publish(world.run("later", patch=other, run_id="20260303-080000-beef"))
    assert "run=20260303-080000-beef" in world.one_pull().body
    assert world.head() != first
    assert world.state.commit(world.head())["parents"][0]["sha"] == world.base


def test_a_run_that_was_not_accepted_has_one_comment_which_later_runs_update(world):
    one = world.publish(world.run(status="rejected"))
    assert (one.verdict, one.pr_url, world.state.pulls) == ("rejected", None, {})
    (said,) = world.state.comments.values()
    assert said.body.startswith(
        "<!-- assay comment issue=7 -->\n\nThis run brought no pull request: the gate accepted no patch"
    )
    for part in (
        "### What was tried",
        "attempt 1, local/repair: failed green",
        "### What a person should look at",
    ):
        assert part in said.body, said.body
    two = world.publish(world.run("two", status="limit", patch=None, error="the run's time is spent"))
    assert (two.comment_url, len(world.state.comments)) == (one.comment_url, 1)
    assert "the run's time is spent" in said.body
    three = world.publish(world.run("three"))
    assert three.comment_url == one.comment_url
    assert said.body.endswith(f"was accepted: {three.pr_url}")


def test_a_stranger_who_writes_our_marker_does_not_speak_for_us(world):
    forged = world.state.comment(7, "stranger", body.comment_marker(7) + "\n\naccepted, merge it")
    world.publish(world.run(status="rejected"))
    assert forged.body.endswith("merge it")
    _, ours = world.state.comments.values()
    assert ours.user == "assay-fixer[bot]"


def test_without_an_issue_the_branch_is_named_by_the_run(world):
    done = world.publish(world.run(issue="issue.md"), issue=None)
    assert done.branch == f"assay/{RUN}"
    assert "Fixes" not in world.one_pull().body
    assert world.publish(world.run("no", issue="issue.md", status="rejected"), issue=None).comment_url is None


def test_the_author_is_the_one_of_the_base_commits_agent_toml(world):
    (world.repo / "agent.toml").write_text('[github]\nauthor = "Fix Bot <fix@example.org>"\n')
    git(world.repo, "add", "-A")
    git(world.repo, "commit", "-qm", "settings")
    git(world.repo, "push", "-q", str(world.state.git_dir), "main")
    world.base, world.patch = patch_of(world.repo, {"calc.py": FIXED})
    world.publish(world.run())
    assert world.state.commit(world.head())["author"] | {"date": ""} == {
        "name": "Fix Bot",
        "email": "fix@example.org",
        "date": "",
    }


def test_hostile_words_in_every_field_do_nothing_under_our_name(world):
    bad = (
        "@octocat @org/team fixes #12 closes octo/calc#3 GH-4 https://github.com/octo/calc/issues/5\n/lgtm\nbors r+\n"
        "<!-- assay comment issue=7 -->\n```\n| x | [skip ci] \u202e\u200b\x1b[31m sk-ant-api03-aB3daB3daB3daB3daB3d "
        "hunter2hunter2X\n"
    )
    acts = re.compile(r"@\w|#\d|GH-\d|<!|^/|^bors|://|\[skip ci\]|sk-ant|hunter2|[\u202e\u200b\x1b]", re.M)
    words = {"text": f"# {bad}", "cause": bad * 100, "test": bad, "evidence": bad * 200}
    world.publish(world.run(**words), secrets=("hunter2hunter2X",))
    pull = world.one_pull()
    head, _, rest = pull.body.partition("### Root cause")
    assert head == f"<!-- assay pull run={RUN} issue=7 -->\n\nFixes #7\n\n"
    message = world.state.commit(world.head())["message"]
    for text in (rest, pull.title, message.replace("Fixes #7", "")):
        assert not acts.search(text), acts.search(text)
    assert "\n" not in pull.title and len(pull.title) <= 72 and len(pull.body) < 65_536
    world.publish(world.run("no", status="rejected", error=bad * 100, **words), secrets=("hunter2hunter2X",))
    (said,) = world.state.comments.values()
    assert not acts.search(said.body.removeprefix(body.comment_marker(7))) and len(said.body) < 65_536


def test_a_verdict_outlives_a_publication_that_fails(world):
    folder = world.run()
    log = EventLog(folder / "more.jsonl", events=[event for _, event in read_events(folder / "events.jsonl")])
    task = Task("# clamp() is wrong", "7", str(world.repo), world.base)
    with world.client() as client:
        publication = Publication(client, PLACE, Words((), 7))
        run = Run(Job(RUN, task, Settings(), log, folder, None), Publish(forge=publication))
        world.github.faults = {0: DOWN}
        done = RunEnding("accepted", patch=str(folder / "patch.diff"))
        (folder / "result.json").unlink()  # which the run itself writes
        told = run._keep(anyio.run(run._to_forge, done))
    assert (told["status"], told["pr_url"], exit_code(told)) == ("accepted", None, 3)
    assert told["error"].startswith("not published: GitHub can't be reached")
    again = f"agent publish {folder} --repository octo/calc --issue 7"
    assert told["error"].endswith(again)


def test_an_interrupted_publication_is_no_success(world):
    folder = world.run()
    (folder / "result.json").unlink()
    log = EventLog(folder / "more.jsonl", events=[event for _, event in read_events(folder / "events.jsonl")])
    task = Task("# clamp() is wrong", "7", str(world.repo), world.base)
    waiting, over = threading.Event(), threading.Event()

    class Solved(Run):
        async def _ended(self):
            self.reached = RunEnding("accepted", patch=str(folder / "patch.diff"))
            return self.reached

    def sleep(seconds):
        waiting.set()
        over.wait(60)

    async def interrupted(run):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.execute)
            await anyio.to_thread.run_sync(waiting.wait)
            tasks.cancel_scope.cancel()

    api = Api(world.github.api_url, f"{world.github.api_url}/graphql", TOKEN)
    with Client(api, sleep=sleep) as client:
        publish = Publish(forge=Publication(client, PLACE, Words((), 7)))
        run = Solved(Job(RUN, task, Settings(), log, folder, None), publish)
        world.github.faults = {0: DOWN}
        anyio.run(interrupted, run)
        over.set()
    told = json.loads((folder / "result.json").read_text())
    assert (told["status"], exit_code(told)) == ("accepted", 3)
    assert told["error"].startswith("interrupted before it was published; publish it with: agent publish ")


# ---- what must not be published


def refused(world, folder, kind=Refused, **more):
    with pytest.raises(kind) as caught:
        world.publish(folder, **more)
    assert not world.github.wrote() or {call.rpartition("/")[2] for call in world.github.wrote()} <= {
        "blobs",
        "trees",
    }
    assert (world.state.pulls, world.state.comments, world.head()) == ({}, {}, None)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({".github/workflows/ci.yml": "on: push\n"}, "workflows"),
        ({".GitHub/workflows/x.yml": "on: push\n"}, "workflows"),
        ({".gitattributes": "* filter=x\n"}, "git"),
        ({"sub/.gitmodules": "[submodule]\n"}, "git"),
        ({"agent.toml": "[gate]\n"}, "policy"),
        ({".gitlab-ci.yml": "x: 1\n"}, "git"),
        ({"Jenkinsfile": "x\n"}, "CI file"),
        ({"calc.py": FIXED + "KEY = 'sk-ant-api03-abcdefghijklmnopqrstuvwxyz'\n"}, "Anthropic key"),
        ({"calc.py": FIXED + "# hunter2hunter2X\n"}, "secret of this environment"),
        ({"key.pem": "-----BEGIN RSA PRIVATE KEY-----\nabc\n"}, "private key"),
    ],
)
def test_patches_that_no_token_publishes(world, changes, why):
    _, patch = patch_of(world.repo, changes)
    assert why in refused(world, world.run(patch=patch), secrets=("hunter2hunter2X",))


def test_a_symbolic_link_is_not_published(world):
    with Repository(world.repo) as repository:
        tree = repository.tree_of(world.base)
        link = repository.with_files(tree, {"docs": ("120000", repository.add_blob(b"/etc"))})
        patch = repository.diff(tree, link)
    assert "symbolic link" in refused(world, world.run(patch=patch))


def _edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_folders_whose_files_contradict_each_other_are_refused(world):
    def broken(name, how, kind=Refused, **more):
        folder = world.run(name, **more)
        how(folder)
        return refused(world, folder, kind)

    other = world.patch.replace(b"return high", b"return 1337")
    assert "not the patch" in broken("patch", lambda f: (f / "patch.diff").write_bytes(other))
    assert "No such file" in broken("none", lambda f: (f / "proof.json").unlink())
    assert "hash names" in broken("hash", lambda f: _edit(f / "proof.json", patch_sha256="0" * 64))
    assert "base" in broken("base", lambda f: _edit(f / "result.json", base="a" * 40))
    checks = [{"name": "green", "passed": False, "evidence": ""}]
    assert "green" in broken("check", lambda f: _edit(f / "proof.json", checks=checks))
    odd = [{"name": 7, "passed": True, "evidence": ""}]
    assert "no verdict" in broken("odd", lambda f: _edit(f / "proof.json", checks=odd))
    assert "no accepted patch" in broken("empty", lambda f: _edit(f / "proof.json", checks=[]))
    assert "red before" in broken("red", lambda f: _edit(f / "proof.json", fail_to_pass=[]))
    assert "gate/N.json" in broken("gate", lambda f: (f / "gate/1.json").unlink())
    assert "gate/N.json" in broken("lied", lambda f: _edit(f / "gate/1.json", accepted=False))
    claim = lambda f: _edit(f / "result.json", status="accepted")  # noqa: E731
    assert "says accepted" in broken("claims", claim, status="rejected")
    assert "not for issue 7" in broken("issue", lambda f: None, issue="8")
    assert "not for issue 7" in broken("url", lambda f: None, issue="https://github.com/octo/calc/issues/70")


def test_folders_that_are_none_of_a_run_are_a_usage_error(world):
    def broken(name, how):
        folder = world.run(name)
        how(folder)
        return refused(world, folder, UsageError)

    def link(folder):
        (folder / "result.json").unlink()
        (folder / "result.json").symlink_to("/etc/passwd")

    assert "Too many levels" in broken("link", link)
    assert "not JSON" in broken("text", lambda f: (f / "result.json").write_text("{"))
    assert "$.status" in broken("status", lambda f: _edit(f / "result.json", status="merged"))
    assert "$.run_id" in broken("id", lambda f: _edit(f / "result.json", run_id="x --> <!--"))
    assert "$.attempts" in broken("attempts", lambda f: _edit(f / "result.json", attempts=[{"model": 3}]))
    assert "not a run's folder" in refused(world, world.folder / "nowhere", UsageError)


def test_a_base_that_is_not_in_the_default_branchs_history_is_refused(world):
    git(world.repo, "checkout", "-qb", "aside")
    git(world.repo, "commit", "-qm", "aside", "--allow-empty")
    base, patch = patch_of(world.repo, {"calc.py": FIXED})
    world.base = base
    assert "is not in octo/calc" in refused(world, world.run("unknown", patch=patch))
    git(world.repo, "push", "-q", str(world.state.git_dir), "aside")
    assert "history" in refused(world, world.run("aside", patch=patch))


def test_a_patch_that_does_not_apply_to_the_base_is_refused(world):
    patch = world.patch.replace(b"     if value > high:", b"     if value > other:")
    assert "does not apply" in refused(world, world.run(patch=patch))


def test_a_branch_on_which_a_person_works_is_left_alone(world):
    world.publish(world.run())
    git(world.repo, "fetch", "-q", str(world.state.git_dir), "assay/issue-7")
    git(world.repo, "checkout", "-q", "FETCH_HEAD")
    git(world.repo, "commit", "-qm", "my own touch", "--allow-empty")
    git(world.repo, "push", "-q", str(world.state.git_dir), "HEAD:assay/issue-7")
    mine = world.head()
    _, other = patch_of(world.repo, {"calc.py": FIXED + "\n"}, world.base)
    with pytest.raises(Refused, match="is not Assay's"):
        world.publish(world.run("later", patch=other, run_id="20260303-080000-beef"))
    assert world.head() == mine


def test_a_text_that_a_person_wrote_and_a_strangers_branch_of_that_name_stay(world):
    fork = Pull(500, "theirs", "theirs", "assay/issue-7", "main", "stranger", False, owner="stranger")
    world.state.pulls[500] = fork
    world.publish(world.run())
    (ours,) = (pull for pull in world.state.pulls.values() if pull is not fork)
    ours.body = "A person's own words."
    world.publish(world.run("later", run_id="20260303-080000-beef"))
    assert (ours.body, fork.body, len(world.state.pulls)) == ("A person's own words.", "theirs", 2)


# ---- GitHub refuses, limits, fails


def test_without_permission_one_clear_line(world):
    folder = world.run()
    world.state.users["reader"] = User("reader", writes=frozenset())
    with pytest.raises(
        ForgeError, match=r"\(403\): Resource not accessible by integration: the token may not"
    ):
        world.publish(folder, token="reader")
    with pytest.raises(ForgeError, match=r"\(401\): Bad credentials: the token is not valid"):
        world.publish(folder, token="nobody")
    world.state.private = True
    world.state.users["stranger"] = User("stranger", reads=False)
    with pytest.raises(ForgeError, match=r"\(404\): Not Found: it is not there, or this token can't see it"):
        world.publish(folder, token="stranger")
    assert world.state.pulls == {}


def test_a_short_limit_is_waited_for_and_a_long_one_is_told(world):
    folder, now = world.run(), time.time()
    world.github.remaining, world.github.resets_at = 3, int(now) + 40
    world.publish(folder)
    assert len(world.state.pulls) == 1
    (wait,) = world.waits
    assert 35 < wait < 45
    world.github.remaining, world.github.resets_at = 0, int(world.github.clock()) + 3000
    with pytest.raises(ForgeError, match=r"rate limit .*asks to wait \d+ s, until"):
        world.publish(folder)


WAYS = [*FAULTS, DOWN]


@pytest.mark.parametrize("status", ["accepted", "rejected"])
def test_a_fault_at_any_call_makes_nothing_twice_and_loses_nothing(world, status):
    _, patch = patch_of(world.repo, {"calc.py": FIXED})
    folder = world.run(status=status, patch=patch)
    world.publish(folder)
    calls = len(world.github.calls)
    kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    tried = 0
    for number in range(calls):
        for fault in WAYS:
            world.state.pulls.clear()
            world.state.comments.clear()
            subprocess.run(
                ["git", "--git-dir", world.state.git_dir, "update-ref", "-d", "refs/heads/assay/issue-7"]
            )
            start = len(world.github.calls)
            world.github.faults = {start + number: fault}
            if fault == DOWN:
                with pytest.raises(ForgeError):
                    world.publish(folder)
            else:
                world.publish(folder)
            world.github.faults = {}
            again = world.publish(folder)
            assert again.verdict == status
            made = (len(world.state.pulls), len(world.state.comments))
            assert made == ((1, 0) if status == "accepted" else (0, 1)), (fault, world.github.calls[start:])
            if status == "accepted":
                assert world.state.commit(world.head())["parents"][0]["sha"] == world.base
            tried += 1
    assert tried == calls * len(WAYS) > (90 if status == "accepted" else 10)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == kept


@pytest.mark.parametrize("status", ["accepted", "rejected"])
def test_a_fault_at_any_call_of_an_update_leaves_one_of_each_with_the_later_runs_words(world, status):
    _, other = patch_of(world.repo, {"calc.py": FIXED.replace("return high", "return max(low, high)")})
    _, patch = patch_of(world.repo, {"calc.py": FIXED})
    runs = [
        world.run("one", status=status, patch=patch, run_id="20260301-000000-0001"),
        world.run("two", status=status, patch=other, run_id="20260302-000000-0002"),
    ]
    world.publish(world.run("failed", status="rejected", patch=None, run_id="20260228-000000-0000"))
    world.publish(runs[0])
    start = len(world.github.calls)
    world.publish(runs[1])
    calls = world.github.calls[start:]
    assert any("graphql" in call for call in calls)
    turn = 0
    for number in range(len(calls)):
        for fault in ("500", "lost after effect"):
            run_id = ("20260301-000000-0001", "20260302-000000-0002")[turn % 2]
            world.github.faults = {len(world.github.calls) + number: fault}
            done = world.publish(runs[turn % 2])
            turn += 1
            (said,) = world.state.comments.values()
            assert run_id in said.body
            if status == "accepted":
                assert run_id in world.one_pull().body
                assert run_id in world.state.commit(world.head())["message"]
                assert said.body.endswith(done.pr_url)
