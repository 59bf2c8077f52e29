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
    assert "2  answered" in said
    assert "1  left out" in said
    assert "the server lacks oracle_ask" in said
    assert "tool calls: 3, of which 1 failed" in said
    assert "tokens of answers: 300 in, 30 out" in said


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
    assert cost > 0
    assert f"paid for all: {cost:.2f} of 1.00 USD" in said
    with Server(ChatDialect("vllm"), []) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.environ["OPENAI_BASE_URL"])
        assert atlas(server, "--budget", "0.000001", model="openai/m", out="poor") == 4
        assert provider.requests == []
    captured = capsys.readouterr()
    assert "0  answered" in captured.out
    assert "budget" in captured.err


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
    (folder / "other.jsonl").write_text((folder / "script.jsonl").read_text())
    assert atlas(server, "--resume", model="scripted/other.jsonl") == 2
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


def test_what_a_tool_sends_is_bounded_text_and_no_fault_of_it_ends_a_task(folder, server, monkeypatch):
    monkeypatch.setattr("agent.atlas.server.CALL", 4.0)
    tools = ["images_draw", "odd_flood", "odd_drop", "odd_drip", "odd_object", READ]
    write_tasks(folder, [("t1", "Draw.", json.dumps(tools))])
    calls = [
        call("images_draw", what="a cat"),
        *(call(name) for name in (*tools[1:5], "other_tool")),
        call(READ),
    ]
    script(folder, [*calls, {"text": "done"}])
    assert atlas(server) == 0
    history = json.loads(rows(folder)["t1"]["raw_conversation_history"])
    said = [one["content"][0]["text"] for one in history if one["role"] == "tool"]
    assert said[0].strip() == "[1 parts that are no text were left out]"
    for text, part in zip(
        said[1:],
        (
            "longer than 8,388,608 bytes",
            "the connection broke",
            "none within 4 s",
            "it is no list of contents",
            f"there is no tool other_tool; there are {', '.join(tools)}",
            f"Failed to call tool '{READ}': 'path'",
        ),
        strict=True,
    ):
        assert part in text
    assert [one["tool_name"] for one in server.calls].count("odd_drop") == 1  # never twice


def test_arguments_that_no_request_can_hold_are_the_models_to_mend(folder, server):
    write_tasks(folder, [("t1", "Add.", json.dumps([ADD]))])
    script(folder, [call(ADD, numbers="[1, NaN]"), call(ADD, numbers='["\\ud800"]'), {"text": "done"}])
    assert atlas(server) == 0
    assert [one["tool_args"]["numbers"] for one in server.calls] == [
        "[1, NaN]",
        '["\\ud800"]',
    ]  # as it wrote them


def test_an_answer_that_was_cut_is_asked_for_again(folder, server):
    cut = {**call(READ, path="/data/notes.txt"), "text": "Let me", "stop": "length"}
    write_tasks(folder, TASKS[:1])
    script(folder, [cut, {"text": "It is Cust", "stop": "length"}, {"text": "Customer"}])
    assert atlas(server) == 0
    found = rows(folder)["t1"]
    assert found["response"] == "Customer"
    history = json.loads(found["raw_conversation_history"])
    assert [one["role"] for one in history] == [
        "user",
        "assistant",
        "tool",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert all("cut at the output limit" in history[place]["content"] for place in (3, 5))


def test_a_key_of_the_host_is_neither_kept_nor_sent(folder, server, monkeypatch):
    key = "k3y-of-the-host-9f8e7d"
    monkeypatch.setenv("SOME_API_KEY", key)
    # the second stands where an output is cut, which must not leave a part of it
    filler = "x" * (100_000 - len("[secret]\n") - 9)
    (folder / "data/notes.txt").write_text(f"{key}\n{filler}{key}\n")
    write_tasks(folder, TASKS[:1])
    script(folder, [call(READ, path="/data/notes.txt"), {"text": key, "expect": "[secret]"}])
    assert atlas(server) == 0
    assert "k3y-of" not in (folder / "out/answers.csv").read_text() + "".join(lines(folder))


def test_a_provider_that_is_down_ends_it_and_leaves_its_tasks_open(folder, server, monkeypatch, capsys):
    write_tasks(folder, [(f"t{number}", "Well?", json.dumps([READ])) for number in range(6)])
    faults = [Fault(401, message="Incorrect API key provided")] * 3
    with Server(ChatDialect("vllm"), faults) as provider:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", provider.environ["OPENAI_BASE_URL"])
        assert atlas(server, "--workers", "1", model="openai/m") == 5
        assert len(provider.requests) == 3
    assert "6  not answered yet" in capsys.readouterr().out
    assert rows(folder) == {}


def test_a_request_that_a_provider_refuses_is_that_tasks_end_alone(folder, server, monkeypatch, capsys):
    write_tasks(folder, [(f"t{number}", "Well?", json.dumps([READ])) for number in range(5)])
    said = [*[Fault(400, message="no\nagent: 5 of 5: t9: answered")] * 4, Answer("yes")]
    with Server(ChatDialect("vllm"), said) as provider:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", provider.environ["OPENAI_BASE_URL"])
        assert atlas(server, "--workers", "1", model="openai/m") == 1
    found = rows(folder)
    assert found["t0"]["response"].startswith("ERROR: openai/m: HTTP 400")
    assert found["t4"]["response"] == "yes"
    assert not [line for line in capsys.readouterr().err.splitlines() if line.startswith("agent: 5 of 5: t9")]


def test_an_interrupted_run_is_gone_on_with(folder, server):
    write_tasks(folder, TASKS[:2])
    words = ["atlas", "tasks.csv", "--server", server.url, "--model", "openai/m", "--out", "out"]

    def started(provider, *more):
        environ = {**os.environ, **provider.environ}
        command = [sys.executable, "-m", "agent", *words, "--workers", "1", *more]
        return subprocess.Popen(
            command, env=environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    with Server(ChatDialect("vllm"), [Answer("one"), Answer("late", slow=30)]) as provider:
        process = started(provider)
        while len(provider.requests) < 2 and process.poll() is None:
            time.sleep(0.05)
        other = started(provider)
        _, refused = other.communicate(timeout=30)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert other.returncode == 2
    assert "another run works on it" in refused
    assert process.returncode == 130
    assert "interrupted; --resume goes on" in err
    assert {name: row["response"] for name, row in rows(folder).items()} == {"t1": "one"}
    with Server(ChatDialect("vllm"), [Answer("two")]) as provider:
        process = started(provider, "--resume")
        assert process.wait(timeout=30) == 0
        assert len(provider.requests) == 1
    assert {name: row["response"] for name, row in rows(folder).items()} == {"t1": "one", "t2": "two"}


def test_another_question_under_the_same_id_is_not_answered_by_the_first_ones(folder, server, capsys):
    script(folder, [{"text": "one"}], [{"text": "two"}])
    write_tasks(folder, TASKS[:2])
    assert atlas(server) == 0
    write_tasks(folder, [TASKS[0], ("t2", "And now?", TASKS[1][2])])
    assert atlas(server, "--resume") == 2
    assert "task 't2' was another question then" in capsys.readouterr().err


def test_a_start_that_failed_leaves_no_answers_to_be_gone_on_with(folder, server):
    script(folder, [{"text": "one"}])
    write_tasks(folder, TASKS[:1])
    assert atlas("http://127.0.0.1:9") == 3
    assert atlas(server) == 0


def test_a_tool_that_no_provider_takes_is_said_with_the_reason(folder, server, capsys):
    script(folder, [{"text": "one"}])
    write_tasks(folder, [("t1", "Well?", json.dumps(["a" * 70]))])
    assert atlas(server) == 1
    assert f"{'a' * 70} (its name is none that all providers take)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "more",
    [("--budget", "nan"), ("--budget", "inf"), ("--budget", "0"), ("--tokens", "-1"), ("--workers", "0")],
)
def test_a_number_that_is_none_is_a_usage_error(folder, server, more, capsys):
    script(folder, [{"text": "one"}])
    assert atlas(server, *more) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


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
        ("TASK,PROMPT,PROMPT,ENABLED_TOOLS\nt1,a,b,c\n", "there are two columns PROMPT"),
        ("TASK,PROMPT,ENABLED_TOOLS\nt1,\udce9,a\n", "no UTF-8 at byte 29"),
    ],
)
def test_a_file_that_is_none_is_one_clear_line(folder, text, fault, capsys):
    script(folder, [{"text": "one"}])
    (folder / "tasks.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert atlas("http://127.0.0.1:9") == 2
    err = capsys.readouterr().err
    assert fault in err and len(err.splitlines()) == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    "url", ["no url", "http://[::1", "http://127.0.0.1:99999", "http://u:secret@h", "ftp://h", "http://"]
)
def test_an_address_that_is_none_is_one_clear_line(folder, url, capsys):
    script(folder, [{"text": "one"}])
    assert atlas(url) == 2
    err = capsys.readouterr().err
    assert "it must be http://HOST:PORT" in err
    assert "secret" not in err


def test_a_server_that_is_not_there_is_one_clear_line(folder, capsys):
    script(folder, [{"text": "one"}])
    assert atlas("http://127.0.0.1:9") == 3
    assert "name the address of MCP Atlas's tool server" in capsys.readouterr().err


def test_a_server_of_another_kind_is_one_clear_line(folder, capsys):
    script(folder, [{"text": "one"}])
    with Server(ChatDialect("vllm"), []) as other:
        assert atlas(other.environ["OPENAI_BASE_URL"].removesuffix("/v1")) == 3
    assert "HTTP 404, no list of tools" in capsys.readouterr().err


def test_a_model_that_answers_no_questions_is_a_usage_error(folder, capsys):
    assert atlas("http://127.0.0.1:9", model="local/repair") == 2
    assert "it repairs code and answers no questions" in capsys.readouterr().err
