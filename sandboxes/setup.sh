#!/usr/bin/env bash
# Make what is missing on this machine: .venv with the agent in it, and, where this user may, a running Docker engine.
# Where there can be none, bubblewrap is enough, unless ENGINE_NEEDED is set.
# Says exactly what to install where it may not. Safe to run again; then it does nothing but check.
# Arguments: further programs that must be there, as PROGRAM:PACKAGE.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 3; }
may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }
install_packages() {
    say "installing $*"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } \
        >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "apt-get could not install: $*"; }
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

missing=()
for wanted in "$@"; do
    if ! command -v "${wanted%%:*}" >/dev/null; then
        may_install || fail "${wanted%%:*} is needed: install ${wanted##*:} with your package manager"
        missing+=("${wanted##*:}")
    fi
done
if [ "${#missing[@]}" -gt 0 ]; then install_packages "${missing[@]}"; fi

# --- git, Python and the virtual environment
python=""
find_python() {
    for candidate in python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            return 0
        fi
    done
    return 1
}
if ! find_python; then
    if may_install; then install_packages python3 python3-venv; fi
    find_python || fail "Python 3.11 or newer with venv is needed: install python3.11 and python3.11-venv"
fi
if ! command -v git >/dev/null; then
    may_install || fail "git is needed: install it with your package manager"
    install_packages git
fi
wanted=$(sha256sum pyproject.toml | cut -d' ' -f1)
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ] || ! .venv/bin/python -c 'import agent, docker' 2>/dev/null; then
    say "installing the agent into .venv"
    "$python" -m venv --clear .venv
    .venv/bin/python -m pip install -q --disable-pip-version-check -e '.[dev]' >"$log" 2>&1 \
        || { tail -n 20 "$log" >&2; fail "pip could not install the agent into .venv"; }
    printf '%s' "$wanted" >.venv/installed
fi

# --- what makes the sandboxes: the Docker engine, else bubblewrap
engine_answers() {
    .venv/bin/python -c 'import docker; docker.from_env(timeout=10).ping()' 2>"$log"
}
no_engine() {
    found=$(.venv/bin/agent doctor 2>/dev/null || true)
    if [ -z "${ENGINE_NEEDED:-}" ] && grep -q '^ok .*bubblewrap: .*a sandbox starts' <<<"$found"; then
        say "$*; until then bubblewrap makes the sandboxes"
        exit 0
    fi
    fail "$*; where Docker can't be had, install bubblewrap"
}
if ! engine_answers; then
    if [ -n "${DOCKER_HOST:-}" ]; then
        no_engine "no Docker engine answers at DOCKER_HOST: start it, or unset DOCKER_HOST"
    fi
    if grep -q 'PermissionError\|Permission denied' "$log"; then
        no_engine "this user may not use Docker: run 'sudo usermod -aG docker $(id -un)' and log in again"
    fi
    if ! command -v dockerd >/dev/null; then
        may_install || no_engine "Docker is needed: install it (https://docs.docker.com/engine/install/) and start it"
        install_packages docker.io iptables
    fi
    [ "$(id -u)" = 0 ] || no_engine "the Docker engine is not running: start it with 'sudo systemctl start docker'"
    say "starting the Docker engine"
    if [ -d /run/systemd/system ]; then
        systemctl start docker || no_engine "the Docker engine did not start: see 'journalctl -u docker'"
    else
        setsid nohup dockerd >/var/log/dockerd.log 2>&1 </dev/null &
    fi
    for _ in $(seq 60); do
        if engine_answers; then break; fi
        sleep 1
    done
    engine_answers || { tail -n 5 /var/log/dockerd.log >&2 2>/dev/null; no_engine "the Docker engine did not start"; }
fi
# Where no registry can be reached, the base image is made of distribution packages: that needs debootstrap.
if may_install && ! command -v debootstrap >/dev/null; then
    install_packages debootstrap
fi
