"""All labelled patches, over all repositories."""

from __future__ import annotations

from tests.attacks.cases import lager, punktenv, semla, tabella, termin, zettel
from tests.attacks.model import Bug, Case

_MODULES = (tabella, semla, punktenv, lager, termin, zettel)
BUGS: tuple[Bug, ...] = tuple(bug for module in _MODULES for bug in module.BUGS)
CASES: tuple[Case, ...] = tuple(case for module in _MODULES for case in module.book)
