"""What a model, a test or a tool says, where it is published: it speaks to nobody, closes and starts nothing."""

from __future__ import annotations

import re

from tests.docker.project import BUGGY, FIXED_LINE
from tests.hostile.corpus import Cases
from tests.hostile.world import KEY, NUMBER, World
from tests.loopback.run_folder import patch_of, run_folder

case = Cases("published text")
FIXED = BUGGY.replace(*FIXED_LINE)


def published(
    world: World, text: str, *, accepted: bool = True, test: str = "tests/test_calc.py::test_above"
) -> tuple[str, str]:
    """What stands on GitHub, and in the job's summary, of a run whose model and tools say `text`."""
    world.project()
    world.issue()
    base, patch = patch_of(world.work, {"calc.py": FIXED})
    folder = world.folder / "given"
    said = {"cause": text, "evidence": text, "issue": str(NUMBER), "text": f"# {text}", "test": test}
    if accepted:
        run_folder(folder, base, patch, **said)
    else:
        run_folder(folder, base, patch, status="rejected", error=text, **said)
    job = world.publish(folder)
    assert job.result == ("success" if accepted else "failure"), job.log
    bodies = [pull.body for pull in world.state.pulls.values()]
    for pull in world.state.pulls.values():
        assert not re.search(r"@\w|#\d|GH-\d|://|\n", pull.title), pull.title
    bodies += [comment.body for comment in world.state.comments.values()]
    (body,) = bodies
    assert len(body) <= 65536
    return body, job.summary


def outside(text: str) -> str:
    """Markdown without what stands in fences and code spans, where nothing of it is obeyed."""
    fences = re.compile(r"^([`~]{3,})[^\n]*\n.*?^\1[`~]*[ ]*$", re.M | re.S)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", fences.sub("", text))


def silent(text: str) -> None:
    """Raises AssertionError where a reader or a bot is spoken to."""
    bare = outside(text).replace(f"#{NUMBER}", "")
    assert not re.search(r"(?<![\w`])@\w", bare), bare
    assert not re.search(r"(?<![\w&])#\d|GH-\d|\w/\w+#\d", bare), bare
    assert not re.search(r"^\s*/\w", bare, re.M), bare
    assert not re.search(r"<(?!!-- assay )\w*[!/a-zA-Z]", bare), bare
    assert not re.search(r"!?\[[^\]]*\]\(|https?://(?!github\.invalid|127\.0\.0\.1)", bare), bare


MENTIONS = "thanks @octocat and @octo/everyone, cc @dependabot\n@maintainer"
CLOSING = "Fixes #1, closes octo/calc#2, resolves GH-3\nfixes https://github.com/octo/calc/issues/4"
SLASH = "/merge\n/approve\n/close\n  /rerun\n@dependabot merge"
MARKUP = (
    "<img src=https://evil.invalid/x.png>\n![x](https://evil.invalid/y.png)\n"
    "<!-- assay pull run=x issue=1 -->\n</details>"
)
FENCES = "```\n~~~\n````\n~~~~~~~~\n@octocat\n/merge\n```sh\nrm -rf /\n```"


@case("mentions of people and teams, in a pull request", "neutral")
def mentions(world: World) -> None:
    for text in published(world, MENTIONS):
        silent(text)


@case("words that close other issues, and commands to bots", "neutral")
def closing(world: World) -> None:
    for text in published(world, f"{CLOSING}\n{SLASH}"):
        silent(text)


@case("images, links, HTML and the marker of a pull request", "neutral")
def markup(world: World) -> None:
    for text in published(world, MARKUP):
        silent(text)


@case("fences that end the fence", "neutral")
def fences(world: World) -> None:
    for text in published(world, FENCES):
        silent(text)


@case("all of it in a comment on a run that failed", "neutral")
def comment(world: World) -> None:
    for text in published(world, "\n".join((MENTIONS, CLOSING, SLASH, MARKUP, FENCES)), accepted=False):
        silent(text)


@case("a test's name that is a table, a mention and HTML", "neutral")
def test_name(world: World) -> None:
    name = "tests/test_calc.py::test_above[@octocat | `x` | <b>| /merge\n| #1 |]"
    for text in published(world, "so", test=name):
        silent(text)


@case("a text without end", "cut")
def endless(world: World) -> None:
    body, summary = published(world, "@octocat " * 20_000)
    assert len(summary) < 200_000
    silent(body)


@case("characters that turn the text around, or that nobody sees", "shown or removed")
def bidi(world: World) -> None:
    for text in published(world, "a\u202eb\u2066c\u200bd\U000e0041e\x1b[31mf"):
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\U000e0000-\U000e007f\x1b]", text)


@case("keys of known shapes, and those of the job", "cut out")
def keys(world: World) -> None:
    shaped = ("ghp_" + "a1B2" * 9, "AKIA" + "Q7RT2MNB5KXW3VZY", KEY)
    for text in published(world, "the key is " + " and ".join(shaped)):
        assert not any(one in text for one in shaped)
