"""The page stands alone, runs nothing, and shows hostile text as text."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from agent.evaluate.figures import summary
from agent.evaluate.page import page
from tests.unit.evaluate.lines import evaluation, line, told

HOSTILE = "<script>alert(1)</script>\"'&\u202e"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        if tag not in ("meta", "line", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    assert not tags.open
    return tags


def test_hostile_names_are_text_and_nothing_is_asked_for():
    found = told(
        [
            line(f"case {HOSTILE}", f"model {HOSTILE}", name=HOSTILE, right=False),
            line(f"case {HOSTILE}", "other", "environment"),
        ]
    )
    html = page(summary(found), found, [f"changed {HOSTILE}"], f"# {HOSTILE}")
    tags = read(html)
    assert not tags.seen & {"script", "img", "iframe", "link", "object", "form", "a"} and not tags.addresses
    assert "\u202e" not in html and "<script" not in html
    assert "accepted, yet wrong" in html


def test_the_policy_allows_the_style_sheet_and_nothing_else():
    found = evaluation(a="xx.", b="x..")
    html = page(summary(found), found)
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in html
    assert not re.search(r"\sstyle=|\son\w+=", html)


def test_each_model_is_in_each_drawing():
    found = evaluation(a="xx.", b="x..")
    html = page(summary(found), found)
    read(html)
    assert html.count("<svg") == 3
    for drawing in html.split("<svg")[1:]:
        assert ">1: a" in drawing and ">2: b" in drawing


def test_an_evaluation_without_an_answer_has_a_page_too():
    found = evaluation(a="??")
    html = page(summary(found), found)
    read(html)
    assert "2 runs say nothing of the model" in html
