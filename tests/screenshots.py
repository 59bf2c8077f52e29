"""Make the pictures in docs/: `python -m tests.screenshots`. Needs a Docker engine and a Chromium.

The run is a real one: the agent, its sandboxes and the gate, on the small project of the Docker tests; the model is a
loopback server that says what is written here. Its first attempt mends the test's case alone and is rejected.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.docker.project import ABOVE, CAUSE, FIXED_LINE, fix, make_project
from tests.integration.test_page_in_browser import PROGRAMS
from tests.loopback.anthropic_server import Answer, AnthropicServer

DOCS = Path(__file__).parent.parent / "docs"
RUN = ("run_tests", {"ids": [ABOVE]})
STATED = {**CAUSE["arguments"], "test": ABOVE, "observed": "assert 1 == 3"}  # type: ignore[dict-item]
HASTY = ("edit_file", {"path": "calc.py", "old": "    if value < low:\n        return low\n", "new": ""})
RIGHT = ("edit_file", {"path": "calc.py", "old": FIXED_LINE[0], "new": FIXED_LINE[1]})
FIRST = {**STATED, "cause": "the branch for low values is taken first", "where": ["calc.py:2-3"]}
ANSWERS = [
    Answer("I'll look at clamp() and at the test that fails.", [("read_file", {"path": "calc.py"}), RUN], slow=2),
    Answer("The first branch returns too early, so I take it out.", [("root_cause", FIRST), HASTY], slow=3),
    Answer("Now it is simpler.", [("shell", {"command": "python calc.py"}), ("submit", {"summary": "less"})], slow=2),
    Answer("That cause is ruled out: the test still fails.", [("read_file", {"path": "calc.py"}), RUN], slow=3),
    Answer("`value > high` holds for 5, and line 5 returns `low`.", [("root_cause", STATED), RIGHT], slow=4),
    Answer("All of the suite, to be sure.", [("run_tests", {})], slow=2),
    Answer("", [("submit", {"summary": "clamp() returns the upper bound for values above it"})], slow=2),
]  # fmt: skip
SHOTS = {
    "page-light": {"viewport": {"width": 1200, "height": 1500}, "color_scheme": "light"},
    "page-dark": {"viewport": {"width": 1200, "height": 1500}, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "color_scheme": "light"},
}


def main() -> None:
    with tempfile.TemporaryDirectory() as name, AnthropicServer(ANSWERS) as server:
        folder = Path(name)
        make_project(folder)
        model = "anthropic/claude-sonnet-5"
        code, result, stderr = fix(
            folder, model, "--fail-to-pass", ABOVE, "--attempts", "2", "--thinking", "off", **server.environ
        )
        assert code == 0, stderr
        page = folder / "home" / "runs" / str(result["run_id"]) / "report.html"
        program = next(filter(None, map(shutil.which, PROGRAMS)))
        DOCS.mkdir(exist_ok=True)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program)
            for shot, options in SHOTS.items():
                opened = browser.new_context(**options).new_page()
                opened.goto(page.as_uri())
                opened.screenshot(path=DOCS / f"{shot}.png")
            browser.close()


if __name__ == "__main__":
    main()
