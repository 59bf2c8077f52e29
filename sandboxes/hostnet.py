"""What of the host's network settings a set-up needs: proxies, the CA bundle, pip's index."""

from __future__ import annotations

import os


def proxy_variables() -> dict[str, str]:
    """The host's proxy variables, in both spellings that programs look for."""
    found = {}
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        value = os.environ.get(name) or os.environ.get(name.upper())
        if value:
            found[name] = found[name.upper()] = value
    return found
