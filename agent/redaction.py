"""What is secret and stays out of logs, reports and exports: values of the user's environment, and known shapes.

Values are cut out of everything, also of what a model sees. Shapes are cut where a run leaves the user's own files
(the lines on stderr, streamed events, the page, exports, `agent show`), not in the event log: a repository's tests may
hold keys made up for them, and a model that saw `[secret]` in their place could neither quote nor edit such a line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
    """`value` with every secret in its strings replaced; the keys of mappings stay."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, CUT)
        return value
    if isinstance(value, Mapping):
        return {key: redact(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, secrets) for item in value]
    return value


# What is before a pattern's group `keep`, if it has one, stays. All patterns are bounded, or begin at the edge of a
# word and read each character once, so that hostile text costs no more than its length. Hashes of git, digests and
# UUIDs have none of these shapes: no pattern takes hexadecimal without a prefix of its own.
_EDGE = r"(?<![A-Za-z0-9_-])"
_MIXED = r"(?=[a-zA-Z_-]*[0-9])(?=[a-z0-9_-]*[A-Z])(?=[A-Z0-9_-]*[a-z])"
_SHAPES = (
    # providers of models: Anthropic and OpenAI (CSS classes as sk-toggleable__content have no digits and capitals),
    # OpenRouter, Google, Hugging Face
    rf"{_EDGE}sk-{_MIXED}[A-Za-z0-9_-]{{20,}}",
    rf"{_EDGE}sk-or-v1-[0-9a-f]{{32,}}",
    rf"{_EDGE}AIza[0-9A-Za-z_-]{{35}}",
    rf"{_EDGE}GOCSPX-[0-9A-Za-z_-]{{20,}}",
    rf"{_EDGE}ya29\.[0-9A-Za-z_-]{{20,}}",
    rf"{_EDGE}hf_[A-Za-z0-9]{{30,}}",
    # forges and package registries
    rf"{_EDGE}gh[pousr]_[A-Za-z0-9]{{36,}}",
    rf"{_EDGE}github_pat_[A-Za-z0-9_]{{22,}}",
    rf"{_EDGE}glpat-[A-Za-z0-9_-]{{20,}}",
    rf"{_EDGE}npm_[A-Za-z0-9]{{36}}",
    rf"{_EDGE}pypi-AgE[A-Za-z0-9_-]{{50,}}",
    # clouds, payments, chat
    rf"{_EDGE}(?:AKIA|ASIA)[0-9A-Z]{{16}}(?![0-9A-Z])",
    r"(?i:aws_?secret_?access_?key|aws_?session_?token)(?:[\"']?\s{0,9}[:=]\s{0,9}[\"']?)(?P<keep1>)[A-Za-z0-9/+=]{40,}",
    rf"{_EDGE}[rs]k_(?:live|test)_[0-9A-Za-z]{{16,}}",
    rf"{_EDGE}xox[abeoprs]-[A-Za-z0-9-]{{10,}}",
    rf"{_EDGE}xapp-[A-Za-z0-9-]{{10,}}",
    r"hooks\.slack\.com/services/(?P<keep2>)[A-Za-z0-9/]{20,}",
    # whatever the kind: JSON web tokens, private keys (a torn one to its last line), headers, URLs
    rf"{_EDGE}eyJ[A-Za-z0-9_-]{{8,}}\.eyJ[A-Za-z0-9_-]{{8,}}\.[A-Za-z0-9_-]{{8,}}",
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:[^-]|-(?!----)){0,20000}-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"|(?:(?:\s|\\[nr])*[A-Za-z0-9+/=]{20,})*)",
    r"(?i:authorization|x-api-key|x-goog-api-key|api-key)[\"']?\s{0,9}[:=]\s{0,9}[\"']?"
    r"(?:(?i:bearer|basic|token)\s{1,9}|(?=[A-Za-z._~+/=-]*[0-9]))(?P<keep3>)[A-Za-z0-9._~+/=-]{8,}",
    rf"{_EDGE}(?i:bearer)\s{{1,9}}(?P<keep4>)(?=[A-Za-z._~+/=-]*[0-9])(?=[0-9._~+/=-]*[A-Za-z])"
    r"[A-Za-z0-9._~+/=-]{16,}",
    rf"{_EDGE}(?i:basic)\s{{1,9}}(?P<keep5>)(?=[A-Za-z+/]*[0-9=])(?=[a-z0-9+/]*[A-Z])(?=[A-Z0-9+/]*[a-z])"
    r"[A-Za-z0-9+/]{16,}={0,2}",
    r"(?<=://)[^\s/:@\"'<>]{0,256}:(?P<keep6>)[^\s/@\"'<>]{1,1024}(?=@)",
    r"[?&](?i:key|api_?key|token|access_token|client_secret|password|sig|signature)=(?P<keep7>)[^\s&\"'<>#]{12,}",
)
_ANY = re.compile("|".join(f"(?:{shape})" for shape in _SHAPES))


def _cut(found: re.Match[str]) -> str:
    kept = next((end for name in found.re.groupindex if (end := found.end(name)) >= 0), found.start())
    return found.string[found.start() : kept] + CUT


def without_shapes(value: Any) -> Any:
    """`value` without what has the shape of a known kind of key, token or password; the keys of mappings stay."""
    if isinstance(value, str):
        return _ANY.sub(_cut, value)
    if isinstance(value, Mapping):
        return {key: without_shapes(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_shapes(item) for item in value]
    return value
