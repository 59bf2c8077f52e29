#!/usr/bin/env bash
# All checks: style, types, import rules, and every test, those with a Docker engine too. Further arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# the page of a run is opened in the Chromium that is here, or else in Debian's smallest one
browser=chromium-headless-shell
for program in chromium chromium-browser google-chrome; do
    if command -v "$program" >/dev/null; then browser=$program; fi
done
# Podman's service is tested where it is installed, or can be: with its own network and init, which it only recommends
podman=()
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    podman=(/usr/lib/podman/netavark:netavark catatonit:catatonit podman:podman)
fi
# the tools are tested on the host too, and both drivers
ENGINE_NEEDED=1 sandboxes/setup.sh rg:ripgrep busybox:busybox bwrap:bubblewrap "$browser:$browser" "${podman[@]}"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/lint-imports
# The tests with an engine wait for it much of the time, so the others run beside them. 5: none was chosen.
others=$(mktemp)
.venv/bin/python -m pytest -m "not docker" "$@" >"$others" 2>&1 &
beside=$!
trap 'kill "$beside" 2>/dev/null || true; rm -f "$others"' EXIT
code=0
.venv/bin/python -m pytest -m docker --durations=25 --durations-min=10 "$@" || code=$?
beside_code=0
wait "$beside" || beside_code=$?
cat "$others"
for ended in "$code" "$beside_code"; do
    if [ "$ended" != 0 ] && [ "$ended" != 5 ]; then exit "$ended"; fi
done
if [ "$code" = 5 ] && [ "$beside_code" = 5 ]; then exit 5; fi
