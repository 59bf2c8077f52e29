"""Keys and tokens in text that would be published: by their known shapes, and by the values this process holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from agent.redaction import CUT, redact, secret_values, without_shapes

SHAPES: Mapping[str, str] = {
    # What a patch is refused for, so narrower than agent.redaction's shapes, which are cut out of text.
    # The issuers' own documentation of their tokens' forms, as far as they have a form that nothing else has.
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255}|v1\.[0-9a-f]{40})\b",
    "GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "AWS access key": r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b",
    "Google API key": r"\bAIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])",
    "Google OAuth token": r"\bya29\.[A-Za-z0-9_-]{30,}",
    "Anthropic key": r"\bsk-ant-[A-Za-z0-9_-]{20,}",
    "OpenAI key": r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{32,}",
    "Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "Slack webhook": r"\bhooks\.slack\.com/services/T[A-Za-z0-9_/]{20,}",
    "Stripe key": r"\b[rs]k_live_[A-Za-z0-9]{16,}",
    "npm token": r"\bnpm_[A-Za-z0-9]{36}\b",
    "PyPI token": r"\bpypi-[A-Za-z0-9_-]{50,}",
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{34,}\b",
    "JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:[^-]*-----END [A-Z0-9 ]*-----)?",
    "password in a URL": r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"<>]{1,100}:[^\s/@'\"<>{}$]{6,100}@(?=[A-Za-z0-9])",
}
_ANY = re.compile("|".join(f"(?:{shape})" for shape in SHAPES.values()))


def secrets_of(environ: Mapping[str, str], *more: str | None) -> list[str]:
    """The values that must not be published: of variables named like secrets, and `more` (a token that `gh` gave)."""
    return sorted({*secret_values(environ), *filter(None, more)}, key=len, reverse=True)


def cut_out(text: str, secrets: Sequence[str]) -> str:
    """`text` with every secret replaced, by value and by shape: also by those that a patch may well hold."""
    cut: str = without_shapes(redact(text, secrets))
    return _ANY.sub(CUT, cut)


def found_in(text: str, secrets: Sequence[str]) -> str | None:
    """What kind of secret a text holds, without telling it; None when it holds none that is known."""
    if any(secret in text for secret in secrets):
        return "the value of a secret of this environment"
    return next((kind for kind, shape in SHAPES.items() if re.search(shape, text)), None)
