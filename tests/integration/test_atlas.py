"""`agent atlas` on a small sample in MCP Atlas's form, its tool server and a provider on loopback."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from agent.cli.dispatch import run
from tests.loopback.atlas_server import AtlasServer
from tests.loopback.openai_server import KEY, Answer, ChatDialect, Fault
from tests.loopback.server import Server

FILES = {"Barber Shop.csv": "Customer,Paid\nAda,12\nBob,30\n", "notes.txt": "The shop opened in 1987.\n"}
READ, LIST, ADD = "filesystem_read_text_file", "filesystem_list_directory", "calculator_calculate"
# as the data set has them: names or objects, in JSON; other columns stand beside
TASKS = [
    ("t1", "What is the first word of /data/Barber Shop.csv?", json.dumps([READ, LIST])),
    ("t2", "What was paid\nin all?", json.dumps([{"name": READ, "requiredParams": ["path"]}, {"name": ADD}])),
    ("t3", "Ask the oracle.", json.dumps([READ, "oracle_ask"])),
]
LIVES = "openai/gpt-5.4-mini"


def call(name, **arguments):
    return {"tool_calls": [{"name": name, "arguments": arguments}], "usage": {"input": 100, "output": 10}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_HOME", str(tmp_path / "home"))
    (tmp_path / "data").mkdir()
    for name, text in FILES.items():
        (tmp_path / "data" / name).write_text(text)
    write_tasks(tmp_path, TASKS)
    return tmp_path


@pytest.fixture
def server(folder):
    with AtlasServer(folder / "data") as made:
        yield made


def write_tasks(folder, tasks):
    with (folder / "tasks.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("TASK", "PROMPT", "ENABLED_TOOLS", "GTFA_CLAIMS"))
        rows.writerows((*task, '["a claim"]') for task in tasks)


def script(folder, *attempts):
    lines = [
        json.dumps(one)
        for number, replies in enumerate(attempts, 1)
        for one in ({"attempt": number}, *replies)
    ]
    (folder / "script.jsonl").write_text("\n".join(lines) + "\n")


def atlas(server, *more, model="scripted/script.jsonl", out="out"):
    words = ["atlas", "tasks.csv", "--server", server if isinstance(server, str) else server.url]
    return run([*words, "--model", model, "--out", out, *more])


def rows(folder, out="out"):
    with (folder / out / "answers.csv").open(newline="") as file:
        return {row["task_id"]: row for row in csv.DictReader(file)}


def test_questions_are_answered_with_tools_in_the_form_that_the_grader_takes(folder, server, capsys):
    script(
        folder,
        [call(READ, path="/data/Barber Shop.csv"), {"text": "It is **Customer**."}],
        [
            call(READ, path="/data/barber.csv"),  # fails, as tools do
            call(ADD, numbers="[12, 30]"),  # a list as text, mended
            {"text": "42"},
        ],
    )
    assert atlas(server) == 1  # one lacks its tools
    found = rows(folder)
    assert {name: row["response"] for name, row in found.items()} == {"t1": "It is **Customer**.", "t2": "42"}
    history = json.loads(found["t2"]["raw_conversation_history"])
    assert [one["role"] for one in history] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert history[0]["content"] == "What was paid\nin all?"
    asked = history[1]["tool_calls"][0]
    assert asked["function"] == {"name": READ, "arguments": '{"path": "/data/barber.csv"}'}
    assert history[2]["tool_call_id"] == asked["id"]
    assert "No such file" in history[2]["content"][0]["text"]
    assert history[4]["content"] == [{"type": "text", "text": "42"}]
    assert [one["tool_args"] for one in server.calls if one["tool_name"] == ADD] == [{"numbers": [12, 30]}]
    said = capsys.readouterr().out
    assert (
        "2  answered" in said and "1  left out: the server lacks tools of theirs, such as oracle_ask" in said
    )
    assert "tool calls: 3, of which 1 failed" in said and "tokens: 300 in, 30 out" in said


def test_a_provider_sees_the_tools_by_their_own_names_and_its_cost_is_counted_and_bounded(
    folder, server, monkeypatch, capsys
):
    write_tasks(folder, TASKS[:2])
    answers = [Answer(tool_calls=[(READ, {"path": "/data/notes.txt"})]), Answer("Customer"), Answer("42")]
    with Server(ChatDialect("vllm"), answers) as provider:
        for name, value in provider.environ.items():
            monkeypatch.setenv(name, value)
        (folder / "home").mkdir()
        (folder / "home/models.toml").write_text(
            '[models."openai/m"]\napi = "chat"\nwindow = 100000\nmax_output = 1000\n'
            "prices = { input = 1, output = 2 }\n"
        )
        assert atlas(server, "--budget", "1", "--workers", "1", model="openai/m") == 0
        assert [tool["function"]["name"] for tool in provider.requests[0]["tools"]] == [READ, LIST]
    said = capsys.readouterr().out
    cost = sum(json.loads(line)["cost_usd"] for line in lines(folder)[1:])
    assert cost > 0 and f"cost: {cost:.4f} USD" in said
    with Server(ChatDialect("vllm"), []) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.environ["OPENAI_BASE_URL"])
        assert atlas(server, "--budget", "0.000001", model="openai/m", out="poor") == 4
        assert provider.requests == []
    captured = capsys.readouterr()
    assert "0  answered" in captured.out and "budget" in captured.err


def lines(folder, out="out"):
    return (folder / out / "answers.jsonl").read_text().splitlines()


def test_what_was_answered_is_not_asked_again_and_a_torn_line_is_none(folder, server, capsys):
    script(folder, [{"text": "one"}], [{"text": "two"}])
    write_tasks(folder, TASKS[:2])
    assert atlas(server) == 0
    whole = lines(folder)
    (folder / "out/answers.jsonl").write_text("\n".join([*whole[:2], whole[2][:40]]))
    assert atlas(server) == 2
    assert "--resume goes on" in capsys.readouterr().err
    kept = json.loads(whole[1])["task"]
    script(folder, *([{"text": "again"}] if name != kept else [{"text": "twice"}] for name in ("t1", "t2")))
    assert atlas(server, "--resume") == 0
    told = {name: row["response"] for name, row in rows(folder).items()}
    assert told == {"t1": "one", "t2": "two"} | {name: "again" for name in ("t1", "t2") if name != kept}
    assert len(lines(folder)) == 3
    assert atlas(server, "--resume", model=LIVES) == 2
    assert "it holds the answers of scripted/script.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("replies", "more", "fault"),
    [
        ([call(READ, path="/data/notes.txt")] * 3, ("--turns", "2"), "no answer after 2 turns, 2 tool calls"),
        ([call(READ, path="/data/notes.txt")] * 3, ("--calls", "1"), "no answer after 1 turns, 1 tool calls"),
        ([{"text": "I will not.", "stop": "refusal"}], (), "no answer: refusal: I will not."),
    ],
)
def test_no_answer_is_told_as_none(folder, server, replies, more, fault):
    write_tasks(folder, TASKS[:1])
    script(folder, replies)
    assert atlas(server, *more) == 1
    assert rows(folder)["t1"]["response"].startswith(f"ERROR: {fault}")


def test_what_a_tool_sends_is_bounded_text(folder, server):
    tools = ["images_draw", "flood_flood", READ]
    write_tasks(folder, [("t1", "Draw.", json.dumps(tools))])
    script(
        folder,
        [
            call("images_draw", what="a cat"),
            call("flood_flood"),
            call("other_tool"),
            call(READ),
            {"text": "done"},
        ],
    )
    assert atlas(server) == 0
    history = json.loads(rows(folder)["t1"]["raw_conversation_history"])
    image, flood, other, unfit = (one["content"][0]["text"] for one in history if one["role"] == "tool")
    assert image.strip() == "[1 parts that are no text were left out]"
    assert "answered with more than 8,388,608 bytes" in flood
    assert f"there is no tool other_tool; there are {', '.join(tools)}" in other
    assert unfit == f"Failed to call tool '{READ}': 'path'"


def test_a_key_of_the_host_is_neither_kept_nor_sent(folder, server, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "k3y-of-the-host-9f8e7d")
    (folder / "data/notes.txt").write_text("k3y-of-the-host-9f8e7d\n")
    write_tasks(folder, TASKS[:1])
    script(
        folder, [call(READ, path="/data/notes.txt"), {"text": "k3y-of-the-host-9f8e7d", "expect": "[secret]"}]
    )
    assert atlas(server) == 0
    assert "k3y-of-the-host" not in (folder / "out/answers.csv").read_text() + "".join(lines(folder))


def test_a_provider_that_is_down_ends_it_and_leaves_its_tasks_open(folder, server, monkeypatch, capsys):
    write_tasks(folder, [(f"t{number}", "Well?", json.dumps([READ])) for number in range(6)])
    faults = [Fault(401, message="Incorrect API key provided")] * 3
    with Server(ChatDialect("vllm"), faults) as provider:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", provider.environ["OPENAI_BASE_URL"])
        assert atlas(server, "--workers", "1", model="openai/m") == 5
        assert len(provider.requests) == 3
    assert "6  not answered yet: --resume goes on" in capsys.readouterr().out
    assert rows(folder) == {}


def test_an_interrupted_run_is_gone_on_with(folder, server):
    script(folder, [{"text": "one"}], [{"text": "two"}])
    write_tasks(folder, TASKS[:2])
    with Server(ChatDialect("vllm"), [Answer("late", slow=30)]) as provider:
        words = ["atlas", "tasks.csv", "--server", server.url, "--model", "openai/m", "--out", "out"]
        process = subprocess.Popen(
            [sys.executable, "-m", "agent", *words, "--workers", "1"],
            env={**os.environ, **provider.environ},
            stderr=subprocess.PIPE,
            text=True,
        )
        while not provider.requests and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; --resume goes on" in err
    assert rows(folder) == {}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("TASK,PROMPT\nt1,Well?\n", "no column ENABLED_TOOLS"),
        ("PROMPT,ENABLED_TOOLS\nWell?,a\n", "no column TASK"),
        ('TASK,PROMPT,ENABLED_TOOLS\nt1,Well?,"[1]"\n', "line 2: ENABLED_TOOLS must be a list of tool names"),
        (
            'TASK,PROMPT,ENABLED_TOOLS\nt1,Well?,"[""a"\n',
            "line 2: ENABLED_TOOLS must be a list of tool names",
        ),
        ("TASK,PROMPT,ENABLED_TOOLS\nt1,Well?,a\nt1,Well?,a\n", "line 3: there are two tasks 't1'"),
        ("TASK,PROMPT,ENABLED_TOOLS\n,Well?,a\n", "line 2: a task needs its TASK"),
        ('TASK,PROMPT,ENABLED_TOOLS\nt1,"Well?,a\n', "no CSV"),
        ("TASK,PROMPT,ENABLED_TOOLS\n", "it holds no task"),
    ],
)
def test_a_file_that_is_none_is_one_clear_line(folder, text, fault, capsys):
    script(folder, [{"text": "one"}])
    (folder / "tasks.csv").write_text(text)
    assert atlas("http://127.0.0.1:9") == 2
    err = capsys.readouterr().err
    assert fault in err and len(err.splitlines()) == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "no url", "http://[::1"])
def test_a_server_that_is_not_there_is_one_clear_line(folder, url, capsys):
    script(folder, [{"text": "one"}])
    assert atlas(url) == 3
    captured = capsys.readouterr()
    assert "name the address of MCP Atlas's tool server" in captured.err


def test_a_server_of_another_kind_is_one_clear_line(folder, capsys):
    script(folder, [{"text": "one"}])
    with Server(ChatDialect("vllm"), []) as other:
        assert atlas(other.environ["OPENAI_BASE_URL"].removesuffix("/v1")) == 3
    assert "no list of tools (HTTP 404)" in capsys.readouterr().err


def test_a_model_that_answers_no_questions_is_a_usage_error(folder, capsys):
    assert atlas("http://127.0.0.1:9", model="local/repair") == 2
    assert "it repairs code and answers no questions" in capsys.readouterr().err
