"""The page of a run as a browser takes it: headless Chromium, as the distribution has it, driven by Playwright."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from agent.report.page import page as html
from agent.report.story import Logged
from tests.unit.report.logs import PATCH, every_kind, logged, long, session
from tests.unit.report.test_page import HOSTILE

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert program, f"a Chromium is needed: install one of {', '.join(PROGRAMS)}"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program)
        yield opened
        opened.close()


class Opened:
    """A page in a browser, and all that it did besides showing itself."""

    def __init__(self, browser: Browser, path: Path, **options: object) -> None:
        self.page: Page = browser.new_context(**options).new_page()
        self.did: list[str] = []
        self.page.on("console", lambda message: self.did.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.did.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.did.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda request: self.did.append(f"request: {request.url}"))
        self.url = path.as_uri()
        self.page.goto(self.url)

    def did_nothing(self) -> bool:
        return self.did == [f"request: {self.url}"]

    def unfold(self) -> int:
        """Open all that can be opened, and the number of it."""
        folded = self.page.locator("details:not([open])")
        count = folded.count()
        folded.evaluate_all("all => all.forEach(one => one.open = true)")
        return count

    def fits(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def written(tmp_path: Path, log: Logged, patch: str = PATCH) -> Path:
    path = tmp_path / "report.html"
    path.write_text(html(log, {1: patch, 2: patch, 3: patch}), encoding="utf-8")
    return path


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"])
@pytest.mark.parametrize("name", ["one_attempt", "hasty_at_first"])
def test_it_opens_without_an_error_or_a_request_and_fits(
    browser: Browser, tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    opened = Opened(browser, written(tmp_path, session(name)), **options)
    assert opened.unfold() > 20
    assert opened.fits()
    assert (
        opened.page.locator("h1")
        .inner_text()
        .startswith(("cron()", "# cron", opened.page.title().split(": ")[1][:5]))
    )
    assert opened.did_nothing(), opened.did


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desk", "phone"])
def test_hostile_text_does_nothing(browser: Browser, tmp_path: Path, options: dict[str, object]) -> None:
    for text in [*HOSTILE, "x" * 5000, "W" * 300 + " \u202e" * 300]:
        opened = Opened(browser, written(tmp_path, logged(every_kind(text)), f"+{text}"), **options)
        opened.unfold()
        assert opened.did_nothing(), opened.did
        assert opened.page.evaluate("document.scripts.length + document.images.length + frames.length") == 0
        assert opened.fits(), text[:80]


def test_markup_that_got_through_would_still_do_nothing(browser: Browser, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        host = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        bad = (
            f"<script>document.title = 'owned'</script><img src='{host}' onerror=\"document.title = 'owned'\">"
            f"<style>body {{ display: none }}</style><form action='{host}'><button id='send'>x</button></form>"
        )
        path = written(tmp_path, session("one_attempt"))
        path.write_text(path.read_text().replace('<main id="main">', '<main id="main">' + bad))
        opened = Opened(browser, path)
        opened.page.evaluate("document.querySelector('#send').click()")
        with pytest.raises(TimeoutError):
            listener.accept()
    assert "owned" not in opened.page.title()
    assert opened.page.url == opened.url
    assert opened.page.locator("h1").is_visible()
    assert any("Content Security Policy" in did for did in opened.did)


def test_everything_is_reached_and_worked_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    opened = Opened(browser, written(tmp_path, session("hasty_at_first")))
    page, keys = opened.page, opened.page.keyboard

    def tab_to(what: str) -> None:
        for _ in range(200):
            keys.press("Tab")
            if page.evaluate("what => document.activeElement.matches(what)", what):
                return
        raise AssertionError(f"Tab never came to {what}")

    keys.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    tab_to("nav a[href='#steps']")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    keys.press("Enter")
    assert page.url.endswith("#steps")
    tab_to("#only-failed")
    shown = page.locator("#attempt-3 .step:visible")
    before = shown.count()
    keys.press("Space")
    assert 0 < shown.count() < before
    assert shown.count() == page.locator("#attempt-3 .step.failed").count()
    keys.press("Space")
    assert shown.count() == before
    tab_to("#attempt-2 > summary")
    assert not page.locator("#attempt-2 .step").first.is_visible()
    keys.press("Enter")
    tab_to("#attempt-2 .step.tool summary")
    output = page.locator("#attempt-2 .step.tool").first.locator("pre").last
    assert not output.is_visible()
    keys.press("Enter")
    assert output.is_visible()
    assert opened.did_nothing(), opened.did


def test_a_link_to_a_step_opens_what_it_is_folded_into(browser: Browser, tmp_path: Path) -> None:
    opened = Opened(browser, written(tmp_path, session("hasty_at_first")))
    step = opened.page.locator("#step-16")
    assert not step.is_visible()
    opened.page.goto(opened.url + "#step-16")
    assert step.is_visible()


def test_five_hundred_steps_load_and_unfold(browser: Browser, tmp_path: Path) -> None:
    path = written(tmp_path, long(250))
    opened = Opened(browser, path)
    page = opened.page
    assert page.locator(".step").count() > 500
    page.locator("#attempt-1 > summary").click()
    page.locator(".step.tool summary").last.click()
    assert page.locator(".step.tool pre").last.is_visible()
    page.locator("#only-failed").check()
    assert page.locator(".step:visible").count() == page.locator(".step.failed:visible").count() > 3
    assert opened.did_nothing(), opened.did


CONTRAST = """() => {
  const paint = c => c.match(/[\\d.]+/g).map(Number)
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
  const under = e => { for (; e; e = e.parentElement) {
    const c = paint(getComputedStyle(e).backgroundColor)
    if (c.length < 4 || c[3] > 0) return c
  } return [255, 255, 255] }
  const found = {}
  for (const e of document.querySelectorAll('h1, p, a, th, td, .quiet, .chip, .badge, .outcome, .diff span, .label')) {
    const [a, b] = [light(paint(getComputedStyle(e).color)), light(under(e))]
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    const name = e.tagName + '.' + e.className
    found[name] = Math.min(found[name] ?? 99, ratio)
  }
  return found
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_under_it(browser: Browser, tmp_path: Path, scheme: str) -> None:
    opened = Opened(browser, written(tmp_path, session("hasty_at_first")), color_scheme=scheme)
    opened.unfold()
    ratios = opened.page.evaluate(CONTRAST)
    assert len(ratios) > 10
    assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}  # WCAG 2.2, level AA
    dark = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(20, 23, 26)") == (scheme == "dark")
