"""What the page of a run holds, as text. How a browser takes it: tests/integration/test_page_in_browser.py."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from agent import events
from agent.event_log import EventLog
from agent.report.page import diff_lines, page, write_page
from agent.report.steps import steps
from agent.report.story import tell
from tests.unit.report.logs import PATCH, every_kind, logged, long, result, session, verdict


class Page(HTMLParser):
    """Its elements, and the text that a reader gets."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.text += data


HOSTILE = [
    "<script>alert(1)</script>",
    "</pre></details></style><img src=x onerror=alert(1)>",
    "\"'><svg onload=alert(1)>",
    "<a href=\"javascript:alert(1)\" style='background:url(//x.example/y)'>x</a>",
    "{{ 7 * 7 }}{% include 'page.css' %}<!-- ]]> &lt;b&gt; &#60;i&#62;",
    "<meta http-equiv=refresh content='0;url=//x.example'><base href=//x.example/><iframe srcdoc='<b>'>",
    "\x1b]0;owned\x07\x1b[2J\x00\x9b\u202e\u2066\u200b\ufeff\udcff\u2028",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_wherever_it_stands(text: str) -> None:
    known = {tag for tag, _ in Page(page(logged(every_kind("plain")), {1: PATCH})).elements}
    made = page(logged(every_kind(text)), {1: f"+{text}\n-{text}"})
    seen = Page(made)
    assert {tag for tag, _ in seen.elements} <= known
    for tag, attributes in seen.elements:
        assert not any(name.startswith("on") or name in ("src", "style") for name in attributes), tag
        assert attributes.get("href", "#").startswith("#")
    assert "49" not in re.findall(r"7 \* 7|49", seen.text)
    assert (
        re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", made) is None
    )
    if text.isprintable():
        assert seen.text.count(text) > 20


def test_every_kind_of_event_but_bookkeeping_is_a_step() -> None:
    log = logged(every_kind("plain"))
    told = {step.number for step in steps(log)}
    left_out = {type(event).__name__ for data, event in log if data["n"] not in told}
    # the start and end are the page itself, money is drawn, and a call that returned is told at its return
    assert left_out == {"RunStarted", "RunEnded", "BudgetChanged", "ToolStarted", "WorkspaceKept"}


def test_the_page_s_policy_allows_its_style_sheet_alone() -> None:
    seen = Page(page(session("one_attempt"), {}))
    (policy,) = [a["content"] for tag, a in seen.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]{44}'; base-uri 'none'; form-action 'none'",
        policy or "",
    )
    assert not {"script", "link", "img", "iframe", "object", "form"} & {tag for tag, _ in seen.elements}


def test_a_run_that_needed_three_attempts_is_told_from_the_issue_to_the_verdict() -> None:
    text = " ".join(Page(page(session("hasty_at_first"), {3: PATCH})).text.split())
    for said in (
        "cron(): valid expressions are rejected",
        "`validators.cron` rejects day-of-week 7",
        "the weekday bound is 6 (75)",
        "refuted",
        "hidden tests: 49 failed with AssertionError",
        "+ return high",
        "Attempt 3 anthropic/claude-sonnet-5:max",
        "up to 15,552 tokens and 0.0326 USD a turn",
        "turn 1: 0 tokens from the cache",
        "attempt 2",
    ):
        assert said in text, said


def test_the_accepted_attempt_is_the_one_whose_proof_is_shown() -> None:
    story = tell(session("one_attempt"))
    assert story.decided is not None and story.decided.word == "accepted"
    assert story.cause is story.decided
    text = Page(page(session("one_attempt"), {})).text
    assert "shows the fix" in text and "confirmed" in text


def test_an_unfinished_run_and_one_that_ended_before_its_first_attempt_have_a_page() -> None:
    begun = session("hasty_at_first")[:20]
    text = Page(page(begun, {})).text
    assert "unfinished" in text and "did not return" not in text
    start = every_kind("plain")[0]
    assert "plain" in Page(page(logged([start]), {})).text
    ended = Page(page(logged([start, events.RunEnded(result("environment", "no engine answers"))]), {})).text
    assert "environment" in ended and "no engine answers" in ended


def test_a_call_that_never_returned_is_told() -> None:
    log = [pair for pair in session("hasty_at_first") if pair[0]["n"] < 16]
    assert log[-1][0]["type"] == "tool_started"
    assert [step.facts for step in steps(log) if step.bad] == [("did not return",)]


def test_a_clock_that_was_set_back_draws_nothing_outside_the_timeline() -> None:
    log = session("hasty_at_first")
    odd = [
        ({**data, "at": "2020-01-01T00:00:00+00:00"} if data["n"] % 3 else data, event) for data, event in log
    ]
    for _, attributes in Page(page(odd, {})).elements:
        for name in ("x", "y", "width", "height"):
            value = attributes.get(name)
            assert value is None or float(value) >= 0


def test_what_is_too_long_is_cut_in_the_middle_and_said() -> None:
    made = page(long(2, "start " + "x" * 500_000 + " end"), {})
    assert len(made) < 200_000
    assert "470,012 characters are left out here" in made and " end" in made
    assert "5,000 more lines" in page(session("one_attempt"), {1: "+line\n" * 9000})


def test_secrets_of_a_known_shape_are_cut_from_texts_and_patches(tmp_path: Path) -> None:
    key = "sk-ant-api03-" + "aB3" * 20
    log = EventLog(tmp_path / "events.jsonl")
    for before in ("key ", "x" * 150 + " ", "x" * 19_950 + " "):  # also where a text is cut
        for event in every_kind(f"{before}{key} end" + " more" * 5000):
            log.append(event)
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate" / "1.diff").write_text(f"+KEY = '{key}'\n")
    made = write_page(tmp_path).read_text()
    assert "sk-ant" not in made and "aB3aB3" not in made and "key [secret] end" in made


def test_it_is_written_into_the_run_s_folder_with_its_patches(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", ["hunter2hunter2"])
    for event in (every_kind("plain")[0], events.AttemptStarted(1, "local/repair", None, "s"),
                  events.VerdictReached(1, verdict())):  # fmt: skip
        log.append(event)
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate" / "1.diff").write_text(PATCH + "+hunter2hunter2\n")
    written = write_page(tmp_path, log.secrets).read_text()
    assert "return high" in written and "hunter2" not in written
    assert "counts no tokens" in written


def test_a_patch_is_coloured_by_its_marks_and_no_line_of_a_hunk_passes_for_a_head() -> None:
    patch = "diff --git a/x.sql b/x.sql\n--- a/x.sql\n+++ b/x.sql\n@@ -1,2 +1,2 @@\n--- drop it\n+++ keep it\n same\n"
    kinds = [line.kind for line in diff_lines(patch + patch)]
    assert kinds == ["file", "file", "file", "hunk", "removed", "added", ""] * 2
