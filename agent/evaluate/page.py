"""The page of an evaluation: one file without script or request; all text in it is escaped, whoever wrote it.

Its policy allows its own style sheet, by its hash, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from agent.evaluate.answers import Answer
from agent.evaluate.plots import by_class, cost, survival
from agent.evaluate.table import compared, lost, names, percent, rows
from agent.text import printable

MAX_CASES = 2000
"""Rows of the table of cases."""


def page(
    told: Mapping[str, Any], found: Sequence[Answer], since: Sequence[str] = (), suggested: str = ""
) -> str:
    """`since` is what changed since an earlier evaluation, `suggested` the ladder, both as text."""
    return "".join(f"{line}\n" for line in _page(told, found, since, suggested))


def _page(
    told: Mapping[str, Any], found: Sequence[Answer], since: Sequence[str], suggested: str
) -> Iterator[str]:
    models, short = told["models"], names(list(told["models"]))
    policy = f"default-src 'none'; style-src '{_hash()}'; base-uri 'none'; form-action 'none'"
    title = f"Evaluation: {len(models)} models, {told['cases']} cases"
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">'
    yield f"<title>{text(title)}</title>\n<style>{_style()}</style>\n</head>\n<body>"
    yield f'<header><p class="brand">Assay</p><h1>{text(title)}</h1>'
    yield f'<p class="quiet">{told["runs"]} runs. Ranges beside a share are its 95 % interval.</p></header>\n<main>'
    yield from _section("Models", _models(models, short))
    yield from _section(
        "Beyond chance?", _lines(compared(told, short), "One model has no other to differ from.")
    )
    if since:
        yield from _section("Since the earlier evaluation", _lines(since))
    yield from _section("Cost against acceptance", cost(models, short))
    yield from _section("Survival over turns", survival(models, short))
    yield from _section("By task class", by_class(told["classes"], short))
    if suggested:
        yield from _section("Ladder and routes", [f"<pre>{text(suggested)}</pre>"])
    yield from _section("Cases", _cases(found, short))
    yield from _section("In no figure", _lines(lost(told, short), "Every run says something of its model."))
    yield "</main>\n</body>\n</html>"


def _section(name: str, body: Iterable[str]) -> Iterator[str]:
    yield f"<section><h2>{text(name)}</h2>"
    yield from body
    yield "</section>"


def _models(models: Mapping[str, Any], short: Mapping[str, str]) -> Iterator[str]:
    heads = "".join(f'<th scope="col" title="{text(model)}">{text(short[model])}</th>' for model in models)
    yield f'<div class="wide"><table><thead><tr><th scope="col">Figure</th>{heads}</tr></thead><tbody>'
    for name, values in rows(models):
        cells = "".join(f"<td>{text(value)}</td>" for value in values)
        yield f'<tr><th scope="row">{text(name)}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _cases(found: Sequence[Answer], short: Mapping[str, str]) -> Iterator[str]:
    by_case: dict[str, dict[str, list[Answer]]] = {}
    for one in found:
        by_case.setdefault(one.case, {}).setdefault(one.model, []).append(one)
    heads = "".join(f'<th scope="col">{text(name)}</th>' for name in short.values())
    yield f'<div class="wide"><table><thead><tr><th scope="col">Case</th>{heads}</tr></thead><tbody>'
    for case, mine in list(by_case.items())[:MAX_CASES]:
        cells = "".join(_cell(mine.get(model, [])) for model in short)
        yield f'<tr><th scope="row">{text(case)}</th>{cells}</tr>'
    yield "</tbody></table></div>"
    if len(by_case) > MAX_CASES:
        yield f'<p class="quiet">… and {len(by_case) - MAX_CASES:,} more: see results.jsonl.</p>'


def _cell(mine: Sequence[Answer]) -> str:
    """What a model made of a case: its statuses, and what hidden tests said of it."""
    counted = [one for one in mine if one.counts]
    if not counted:
        return f"<td>{text(', '.join(one.status for one in mine) or 'not run')}</td>"
    share = sum(one.accepted for one in counted) / len(counted)
    wrong = sum(one.accepted and one.right is False for one in counted)
    tone = "bad" if wrong or not share else "good" if share == 1 else "doubtful"
    said = counted[0].status.replace("_", " ") if len(counted) == 1 else f"{percent(share)} of {len(counted)}"
    return f'<td class="{tone}">{text(said + (", yet wrong" if wrong else ""))}</td>'


def _lines(lines: Iterable[str], none: str = "") -> Iterator[str]:
    found = [line for line in lines if line]
    if not found:
        yield f'<p class="quiet">{text(none)}</p>'
        return
    yield "<ul>"
    yield from (f"<li>{text(line)}</li>" for line in found)
    yield "</ul>"


def text(value: str) -> str:
    """As the page shows it: control and bidirectional characters spelled out, then escaped."""
    return escape(printable(value))


@cache
def _style() -> str:
    """That of a run's page, and what it has not."""
    sheets = (files(package).joinpath("page.css") for package in ("agent.report", "agent.evaluate"))
    return "".join(sheet.read_text("utf-8") for sheet in sheets)


def _hash() -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
