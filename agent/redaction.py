"""What is secret and stays out of logs, reports and exports: values of the user's environment, and known shapes.

Values are cut out of everything, also of what a model sees. Shapes are cut where a run leaves the user's own files
(the lines on stderr, streamed events, the page, exports, `agent show`), not in the event log: a repository's tests may
hold keys made up for them, and a model that saw `[secret]` in their place could neither quote nor edit such a line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

CUT = "[secret]"

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.I)


def secret_values(environ: Mapping[str, str]) -> list[str]:
    """Values of environment variables that are secret by their name and look it.

    A plain word or a path is passed over: a database password "postgres" would else be cut out of the code that a
    model reads and writes.
    """
    return sorted(
        {v for k, v in environ.items() if _SECRET_NAME.search(k) and looks_secret(v)}, key=len, reverse=True
    )


def looks_secret(value: str) -> bool:
    kinds = (str.islower, str.isupper, str.isdigit)
    mixed = sum(any(kind(c) for c in value) for kind in kinds) > 1
    return not value.startswith(("/", "~")) and len(value) >= 8 and (mixed or len(value) >= 20)


def redact(value: Any, secrets: Sequence[str]) -> Any:
    """A copy of `value`, in lists and dicts, with every secret in its strings replaced; the keys of mappings stay."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, CUT)
        return value
    if isinstance(value, Mapping):
        return {key: redact(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, secrets) for item in value]
    return value


# By what must be in a text, in lower case, for the pattern to be tried: most texts have none of it. What is before a
# pattern's group `keep`, if it has one, stays. All patterns are bounded, or begin at the edge of a word and read each
# character once, so that hostile text costs no more than its length. Hashes of git, digests and UUIDs have none of
# these shapes: no pattern takes hexadecimal without a prefix of its own.
_EDGE = r"(?<![A-Za-z0-9_-])"
_MIXED = r"(?=[a-zA-Z_-]*[0-9])(?=[a-z0-9_-]*[A-Z])(?=[A-Z0-9_-]*[a-z])"
_SHAPES: Mapping[str, str] = {
    # providers of models: Anthropic and OpenAI (CSS classes as sk-toggleable__content have no digits and capitals),
    # OpenRouter, Google, Hugging Face
    "sk-": rf"{_EDGE}sk-(?:or-v1-[0-9a-f]{{32,}}|{_MIXED}[A-Za-z0-9_-]{{20,}})",
    "aiza": rf"{_EDGE}AIza[0-9A-Za-z_-]{{35}}",
    "gocspx-": rf"{_EDGE}GOCSPX-[0-9A-Za-z_-]{{20,}}",
    "ya29.": rf"{_EDGE}ya29\.[0-9A-Za-z_-]{{20,}}",
    "hf_": rf"{_EDGE}hf_[A-Za-z0-9]{{30,}}",
    # forges and package registries
    "gh": rf"{_EDGE}gh[pousr]_[A-Za-z0-9]{{36,}}",
    "github_pat_": rf"{_EDGE}github_pat_[A-Za-z0-9_]{{22,}}",
    "glpat-": rf"{_EDGE}glpat-[A-Za-z0-9_-]{{20,}}",
    "npm_": rf"{_EDGE}npm_[A-Za-z0-9]{{36}}",
    "pypi-age": rf"{_EDGE}pypi-AgE[A-Za-z0-9_-]{{50,}}",
    # clouds, payments, chat
    "akia": rf"{_EDGE}AKIA[0-9A-Z]{{16}}(?![0-9A-Z])",
    "asia": rf"{_EDGE}ASIA[0-9A-Z]{{16}}(?![0-9A-Z])",
    "aws": r"(?i:aws_?secret_?access_?key|aws_?session_?token)[\"']?\s{0,9}[:=]\s{0,9}[\"']?(?P<keep>)"
    r"[A-Za-z0-9/+=]{40,}",
    "k_live_": rf"{_EDGE}[rs]k_live_[0-9A-Za-z]{{16,}}",
    "k_test_": rf"{_EDGE}[rs]k_test_[0-9A-Za-z]{{16,}}",
    "xox": rf"{_EDGE}xox[abeoprs]-[A-Za-z0-9-]{{10,}}",
    "xapp-": rf"{_EDGE}xapp-[A-Za-z0-9-]{{10,}}",
    "hooks.slack.com": r"hooks\.slack\.com/services/(?P<keep>)[A-Za-z0-9/]{20,}",
    # whatever the kind: JSON web tokens, private keys (a torn one to its last line), headers, URLs
    "eyj": rf"{_EDGE}eyJ[A-Za-z0-9_-]{{8,}}\.eyJ[A-Za-z0-9_-]{{8,}}\.[A-Za-z0-9_-]{{8,}}",
    "private key": r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:[^-]|-(?!----)){0,20000}-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"|(?:(?:\s|\\[nr])*[A-Za-z0-9+/=]{20,})*)",
    "authorization": r"(?i:authorization)[\"']?\s{0,9}[:=]\s{0,9}[\"']?"
    r"(?:(?i:bearer|basic|token)\s{1,9}|(?=[A-Za-z._~+/=-]*[0-9]))(?P<keep>)[A-Za-z0-9._~+/=-]{8,}",
    "api-key": r"(?i:api-key)[\"']?\s{0,9}[:=]\s{0,9}[\"']?(?=[A-Za-z._~+/=-]*[0-9])(?P<keep>)[A-Za-z0-9._~+/=-]{8,}",
    "bearer": rf"{_EDGE}(?i:bearer)\s{{1,9}}(?P<keep>)(?=[A-Za-z._~+/=-]*[0-9])(?=[0-9._~+/=-]*[A-Za-z])"
    r"[A-Za-z0-9._~+/=-]{16,}",
    "basic": rf"{_EDGE}(?i:basic)\s{{1,9}}(?P<keep>)(?=[A-Za-z+/]*[0-9=])(?=[a-z0-9+/]*[A-Z])(?=[A-Z0-9+/]*[a-z])"
    r"[A-Za-z0-9+/]{16,}={0,2}",
    "://": r"(?<=://)[^\s/:@\"'<>]{0,256}:(?P<keep>)[^\s/@\"'<>]{1,1024}(?=@)",
    "=": r"[?&](?i:key|api_?key|token|access_token|client_secret|password|sig|signature)=(?P<keep>)[^\s&\"'<>#]{12,}",
}


@cache
def _patterns() -> Sequence[tuple[str, re.Pattern[str]]]:
    # Compiling them takes longer than many a command.
    return [(hint, re.compile(shape)) for hint, shape in _SHAPES.items()]


def _cut(found: re.Match[str]) -> str:
    kept = found.end("keep") if "keep" in found.re.groupindex else found.start()
    return found.string[found.start() : kept] + CUT


def without_shapes(value: Any) -> Any:
    """`value` without what has the shape of a known kind of key, token or password, also in the keys of mappings."""
    if isinstance(value, str):
        lowered = value.lower()
        for hint, pattern in _patterns():
            if hint in lowered:
                value = pattern.sub(_cut, value)
        return value
    if isinstance(value, Mapping):
        return {without_shapes(key): without_shapes(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_shapes(item) for item in value]
    return value
