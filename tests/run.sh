#!/usr/bin/env bash
# All checks: style, types, import rules, and every test, those with a Docker engine too. Further arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# the page of a run is opened in the Chromium that is here, or else in Debian's smallest one
browser=chromium-headless-shell
for program in chromium chromium-browser google-chrome; do
    if command -v "$program" >/dev/null; then browser=$program; fi
done
# the tools are tested on the host too, and both drivers
ENGINE_NEEDED=1 sandboxes/setup.sh rg:ripgrep busybox:busybox bwrap:bubblewrap "$browser:$browser"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/lint-imports
.venv/bin/python -m pytest --durations=25 --durations-min=10 "$@"
