"""Bad input: one clear line, the right exit code, and nothing left behind. No engine is needed to be told so."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.docker.project import agent, command, environment, git, make_project, script


def refused(folder, *args, **more):
    """The one line on stderr of a command that is refused as a usage error before it did anything."""
    done = agent(folder, *args, **more)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert not (folder / "home").exists()
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def fix_refused(folder, *args, issue="issue.md", model=None, **more):
    model = model or script(folder, [[]])
    return refused(folder, "fix", "--repo", "repo", "--issue", issue, "--model", model, *args, **more)


PATCH = "--- a/calc.py\n+++ b/calc.py\n@@ -1 +1 @@\n-def clamp(value, low, high):\n+def clamp(value, low, high, *_):\n"


def shell(folder, line, *args, prefix=(), **more):
    """Run the command by way of a shell, which `line` is for: "$@" stands for the command in it."""
    words = ["bash", "-c", line, "bash", *command(*args)]
    return subprocess.run(
        [*prefix, *words],
        capture_output=True,
        text=True,
        env=environment(folder, **more),
        cwd=folder,
        timeout=120,
    )


@pytest.fixture
def folder(tmp_path):
    make_project(tmp_path)
    return tmp_path


def test_faults_of_the_command_line_are_named_with_their_mend(folder):
    (folder / "empty.md").write_text(" \n")
    (folder / "big.md").write_text("x" * 2_000_000)
    assert "No such file" in fix_refused(folder, issue="none.md")
    assert "is empty" in fix_refused(folder, issue="empty.md")
    assert "longer than" in fix_refused(folder, issue="big.md")
    assert "no remote named origin" in fix_refused(folder, issue="123")
    assert "a pull request" in fix_refused(folder, issue="https://github.com/a/b/pull/1")
    assert "no token" in fix_refused(folder, "--pr", issue="https://github.com/a/b/issues/1")
    assert "no remote named origin" in fix_refused(folder, "--pr")
    assert "only an issue on GitHub" in fix_refused(folder, "--as-of", "2026-01-01T00:00:00Z")
    assert "not allowed with" in fix_refused(folder, "--pr", "--branch", "x")
    assert "nowhere" in fix_refused(folder, "--base", "nowhere")
    assert "-rf" in fix_refused(folder, "--base=-rf")
    assert "attempts must be a number above 0" in fix_refused(folder, "--attempts", "0")
    assert "models.best_of must be from 1 to 16" in fix_refused(folder, "--best-of", "0")
    assert "more than once" in fix_refused(folder, "--test", "go test ./a && go test ./b")
    assert "--output" in fix_refused(folder, "--output", "no/such/folder/x.diff")
    (folder / "fifo.diff").symlink_to("fifo")
    os.mkfifo(folder / "fifo")
    assert "not a regular file" in fix_refused(folder, "--output", "fifo.diff")
    assert "is empty" in fix_refused(folder, "--fail-to-pass", "")
    assert "above 0" in fix_refused(folder, "--minutes", "inf")
    assert "invalid dollars value: 'much'" in fix_refused(folder, "--budget", "much")
    for usd in ("0", "nan", "inf", "-1"):
        assert "usd must be dollars above 0" in fix_refused(folder, f"--budget={usd}")
    assert "tokens must be a number above 0" in fix_refused(folder, "--tokens", "0")
    assert "beside branch main" in fix_refused(folder, "--branch", "main/x")
    assert "not a branch name" in fix_refused(folder, "--branch", "a..b")
    assert "exists already" in fix_refused(folder, "--branch", "main")
    assert "known are" in fix_refused(folder, model="antropic/claude")
    assert "ANTHROPIC_API_KEY" in fix_refused(folder, model="anthropic/claude-sonnet-5")
    assert "script" in fix_refused(folder, model="scripted/none.jsonl")
    assert "not allowed with" in fix_refused(folder, "--json", "--stream-json")


def gate_refused(folder, *args, repo="repo", patch="fix.diff"):
    (folder / "fix.diff").write_text(PATCH)
    (folder / "empty.diff").write_text(" \n")
    return refused(folder, "gate", "--repo", repo, "--patch", patch, *args)


def test_faults_of_the_gate_s_command_line_are_told_before_anything_is_set_up(folder):
    git(folder, "init", "-q", "unborn")
    assert "--patch empty.diff: the file is empty" in gate_refused(folder, patch="empty.diff")
    assert "has no commit yet: commit something first" in gate_refused(folder, repo="unborn")
    assert "path is empty" in gate_refused(folder, repo="")
    assert "File name too long" in gate_refused(folder, repo="x" * 5000)
    assert "image must be the name of an image" in gate_refused(folder, "--image", "")
    assert "image must be the name of an image" in gate_refused(folder, "--image", "\udcff")
    for refuse in (gate_refused, fix_refused):
        assert "the base commit has no Dockerfile no/where" in refuse(folder, "--dockerfile", "no/where")
        assert "must be a path in the repository" in refuse(folder, "--dockerfile", "/etc/passwd")
        assert "not allowed with argument" in refuse(folder, "--dockerfile", "x", "--image", "y")
    assert "--test-patch" in gate_refused(folder, "--test-patch", "")
    assert "image must be" in fix_refused(folder, "--image", "\udcff")


def test_a_current_folder_that_is_gone_is_said(folder):
    (folder / "fix.diff").write_text(PATCH)
    line = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
    done = shell(folder, line, "gate", "--patch", str(folder / "fix.diff"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "the current folder is gone" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_test_patch_that_does_not_apply_is_told_at_once(folder):
    (folder / "tests.diff").write_text("--- a/no.py\n+++ b/no.py\n@@ -1 +1 @@\n-a\n+b\n")
    assert "--test-patch" in fix_refused(folder, "--test-patch", "tests.diff")
    (folder / "fix.diff").write_text(PATCH)
    gate = refused(folder, "gate", "--repo", "repo", "--patch", "fix.diff", "--test-patch", "tests.diff")
    assert "--test-patch" in gate


def test_a_folder_that_is_no_repository_is_named(folder):
    (folder / "plain").mkdir()
    line = refused(folder, "fix", "--repo", "plain", "--issue", "issue.md", "--model", script(folder, [[]]))
    assert "plain" in line
    assert "repository" in line


def test_a_fault_in_agent_toml_of_the_base_is_named_and_the_work_tree_s_one_is_not_read(folder):
    repo = folder / "repo"
    (repo / "agent.toml").write_text("[budget]\nturnz = 1\n")
    git(repo, "add", "agent.toml")
    git(repo, "commit", "-q", "-m", "settings")
    assert "did you mean turns" in fix_refused(folder)
    (repo / "agent.toml").write_text("[budget]\nturns = 1\n")
    assert "did you mean turns" in fix_refused(folder)


def test_dollars_are_refused_where_a_price_on_the_ladder_is_unknown(folder):
    ladder = ["--model", "local/repair", "--model", "openai/unheard-of"]
    key = {"OPENAI_API_KEY": "a-key-of-nobody"}
    said = fix_refused(folder, "--budget", "0.50", *ladder, **key)
    assert "price of openai/unheard-of is not known" in said
    assert 'write `models."openai/unheard-of".prices = {' in said and "models.toml" in said
    repo = folder / "repo"
    (repo / "agent.toml").write_text("[budget]\nusd = 0.5\n")
    git(repo, "add", "agent.toml")
    git(repo, "commit", "-q", "-m", "settings")
    assert "price of openai/unheard-of is not known" in fix_refused(folder, *ladder, **key)


def test_the_user_s_own_limit_for_a_day_holds_too_and_its_faults_are_named(folder):
    home = folder / "home"
    home.mkdir()

    def told(text):
        (home / "budget.toml").write_text(text)
        model = ["--model", "openai/unheard-of"]
        issue = ["--repo", "repo", "--issue", "issue.md"]
        done = agent(folder, "fix", *issue, *model, OPENAI_API_KEY="a-key-of-nobody")
        assert (done.returncode, done.stdout) == (2, "")
        assert [path.name for path in home.iterdir()] == ["budget.toml"]
        return done.stderr

    assert "the day's limit ($AGENT_HOME/budget.toml) can't be kept" in told("usd_per_day = 2\n")
    assert "budget.toml: unknown key usd" in told("usd = 2\n")
    doctor = agent(folder, "doctor", DOCKER_HOST="unix:///no/such/socket")
    assert "MISSING  spent today:" in doctor.stdout and "known here: usd_per_day" in doctor.stdout


def test_an_unknown_or_ambiguous_run_is_said(folder):
    done = agent(folder, "show", "nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert "agent runs" in done.stderr
    assert agent(folder, "runs").stdout == ""


def test_without_an_engine_the_exit_code_says_environment_and_the_result_says_so_too(folder):
    done = agent(
        folder,
        *["fix", "--repo", "repo", "--issue", "issue.md", "--model", script(folder, [[]]), "--json"],
        *["--sandbox", "docker"],
        DOCKER_HOST="unix:///no/such/socket",
        CI="true",
    )
    assert done.returncode == 3
    result = json.loads(done.stdout)
    assert result["status"] == "environment"
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert {one["run_id"] for one in told} == {result["run_id"]}
    assert {"run_started", "phase_started"} <= {one["kind"] for one in told}
    page = (folder / "home" / "runs" / result["run_id"] / "report.html").read_text()
    assert result["error"][:40] in page and page.endswith("</html>")
    doctor = agent(folder, "doctor", DOCKER_HOST="unix:///no/such/socket")
    assert doctor.returncode == 3
    assert "DOCKER_HOST" in doctor.stdout


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:abc", "tcp://:99999"])
def test_an_engine_s_address_that_is_none_is_named(folder, address):
    (folder / "fix.diff").write_text(PATCH)
    words = ["gate", "--repo", "repo", "--patch", "fix.diff", "--sandbox", "docker"]
    gate = agent(folder, *words, DOCKER_HOST=address)
    issue = ["--issue", "issue.md", "--model", script(folder, [[]]), "--sandbox", "docker"]
    fix = agent(folder, "fix", "--repo", "repo", *issue, DOCKER_HOST=address)
    doctor = agent(folder, "doctor", DOCKER_HOST=address)
    assert (gate.returncode, fix.returncode, doctor.returncode) == (3, 3, 3)
    assert "is no address of a Docker engine: set DOCKER_HOST" in gate.stderr
    assert "is no address of a Docker engine: set DOCKER_HOST" in fix.stdout
    assert "MISSING  engine" in doctor.stdout
    assert "runs: kept in" in doctor.stdout
    assert "Traceback" not in gate.stderr + fix.stderr + doctor.stderr
    assert not list((folder / "home" / "runs").glob("*/internal-error.txt"))


def test_doctor_tells_a_user_without_a_name_and_a_home_all_its_findings(folder):
    program = (
        "import os, sys; os.getuid = lambda: 54321; from agent.cli import main; sys.exit(main(['doctor']))"
    )
    variables = environment(folder, DOCKER_HOST="unix:///no/such/socket")
    variables = {name: value for name, value in variables.items() if name not in ("HOME", "AGENT_HOME")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=variables)
    assert done.returncode == 3, done.stderr
    assert "MISSING  runs:" in done.stdout
    assert "set AGENT_HOME" in done.stdout
    assert "temporary files" in done.stdout
    assert done.stderr == ""


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a disk without a free byte."""
    disk = tmp_path / "full"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can mount a disk")
    try:
        (disk / "runs").mkdir()
        with pytest.raises(OSError, match="No space left"):
            (disk / "filler").write_bytes(bytes(1 << 20))
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_for_runs_is_said(folder, full_disk):
    issue = ["--issue", "issue.md", "--model", script(folder, [[]])]
    fix = agent(folder, "fix", "--repo", "repo", *issue, AGENT_HOME=str(full_disk))
    assert (fix.returncode, fix.stdout) == (3, "")
    assert "no space left" in fix.stderr.lower()
    assert "AGENT_HOME" in fix.stderr
    assert len(fix.stderr.strip().splitlines()) == 1
    doctor = agent(folder, "doctor", AGENT_HOME=str(full_disk), DOCKER_HOST="unix:///no/such/socket")
    assert f"can't be kept in {full_disk}/runs: No space left" in doctor.stdout


STARTED = {
    "v": 1, "n": 0, "at": "2026-11-30T08:00:00.000+00:00",
    "type": "run_started", "run_id": "r", "issue_source": "-", "issue": "title", "repo": "/r", "base": "0",
    "models": [], "test_command": "", "fail_to_pass": [], "limits": {},
}  # fmt: skip


def logs(folder, **files):
    for name, text in files.items():
        (folder / "home" / "runs" / name).mkdir(parents=True)
        (folder / "home" / "runs" / name / "events.jsonl").write_text(text)


BROKEN = {
    "nested": '{"type": "note", "text": ' + "[" * 50_000 + "]" * 50_000 + "}\n\n",
    "list": "[1, 2]\n",
    "types": json.dumps({**STARTED, "issue": 3, "base": 4}) + "\n",
    "result": json.dumps(STARTED) + "\n" + json.dumps({"type": "run_ended", "result": [3]}) + "\n",
    "cost": json.dumps({"type": "run_ended", "result": {"status": {}, "cost_usd": "x", "error": 3}}) + "\n",
    "binary": "\0\x7f\n",
}


def test_a_broken_log_hides_no_other_run(folder):
    logs(folder, good=json.dumps(STARTED) + "\n", **BROKEN)
    listed = agent(folder, "runs")
    assert (listed.returncode, listed.stderr) == (0, "")
    rows = {line.split()[0]: line.split()[1] for line in listed.stdout.splitlines()}
    assert rows == {"good": "unfinished", **dict.fromkeys(BROKEN, "unreadable"), "result": "unfinished"}
    data = [json.loads(line) for line in agent(folder, "runs", "--json").stdout.splitlines()]
    assert {row["run_id"]: row["status"] for row in data} == rows


@pytest.mark.parametrize("full", [[], ["--full"], ["--html"]])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_log_is_shown_up_to_its_fault(folder, name, full):
    logs(folder, **BROKEN)
    done = agent(folder, "show", name, *full)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "of this agent" in done.stderr


def test_an_output_that_breaks_is_told_of_once_and_a_reader_that_leaves_is_not(folder):
    logs(folder, **{f"run-{n:04}": json.dumps(STARTED) + "\n" for n in range(100)})
    for line in ('"$@" | head -1; exit ${PIPESTATUS[0]}', '"$@" | true; exit ${PIPESTATUS[0]}'):
        done = shell(folder, line, "runs")
        assert (done.returncode, done.stderr) == (0, "")
    for line in ('"$@" > /dev/full', '"$@" >&-'):
        done = shell(folder, line, "runs")
        assert done.returncode == 3
        assert done.stderr in (
            "agent: could not write to stdout: no space left\n",
            "agent: could not write to stdout: it is closed\n",
        )
        done = shell(folder, line, "show", "run-0001")
        assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
    for line in ('"$@" 2> /dev/full', '"$@" 2>&-', '"$@" >&- 2>&-'):
        assert shell(folder, line, "show", "nothing").returncode == 2


def test_ctrl_c_while_the_program_is_loaded_is_one_line(folder):
    program = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
from agent.cli import main
sys.meta_path.insert(0, Interrupt())
sys.exit(main(["runs"]))
"""
    for name in ("agent.cli.dispatch", "agent.cli.runs", "agent.config"):
        done = subprocess.run(
            [sys.executable, "-c", program, name], capture_output=True, text=True, env=environment(folder)
        )
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "agent: interrupted\n")


def test_ctrl_c_in_code_that_python_makes_of_text_ends_with_130_too(folder):
    program = """
import sys, types
from agent.cli import main
sys.modules["agent.cli.dispatch"] = types.SimpleNamespace(run=lambda argv: exec("raise KeyboardInterrupt"))
sys.exit(main([]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(folder)
    )
    assert (done.returncode, done.stderr) == (130, "agent: interrupted\n")


@pytest.mark.parametrize("ignored", [False, True])
def test_a_hangup_interrupts_but_where_it_is_ignored(folder, ignored):
    program = """
import anyio
from agent.cli.signals import run_async
async def work():
    print("ready", flush=True)
    try:
        await anyio.sleep(1)
    finally:
        print("cleaned up", flush=True)
try:
    run_async(work)
except KeyboardInterrupt:
    print("interrupted")
"""
    process = subprocess.Popen(
        ["bash", "-c", ("trap '' HUP; " if ignored else "") + 'exec "$@"', "bash", sys.executable, "-c", program],
        stdout=subprocess.PIPE, text=True, env=environment(folder),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGHUP)
    rest, _ = process.communicate(timeout=60)
    assert rest.split("\n")[:-1] == ["cleaned up"] + ([] if ignored else ["interrupted"])
