"""The packages of `tests.benchmarks.packages`: chosen for variety, before any was set up. Names and versions only."""

from __future__ import annotations

PYPI = {
    "attrs": "hatchling, dependency groups",
    "cachetools": "setuptools, tox",
    "cleo": "Poetry, lock file",
    "click": "flit, dependency groups",
    "findpython": "PDM",
    "h11": "setup.py alone, tests in the package",
    "humanize": "hatch-vcs, extras",
    "itsdangerous": "flit, requirements folder",
    "markupsafe": "C extension",
    "marshmallow": "flit, extras",
    "more-itertools": "flit, unittest",
    "msgpack": "Cython extension, requirements file",
    "parso": "setup.py and setup.cfg, extras",
    "pluggy": "setuptools-scm, tests in testing/",
    "poetry-core": "Poetry, builds itself",
    "python-dateutil": "setup.cfg, requirements file",
    "requests": "requirements-dev.txt",
    "resolvelib": "setuptools, extras",
    "simplejson": "C extension, unittest in the package",
    "sortedcontainers": "setup.py alone, tox",
    "tabulate": "setuptools-scm, tox",
    "tomlkit": "Poetry",
    "toolz": "setuptools, tests in the package",
    "ujson": "C++ extension",
}
"""Source distributions of the package index."""
NPM = {
    "@fastify/error": "node --test",
    "avvio": "node --test",
    "fastq": "tape, lint",
    "find-my-way": "borp",
    "hpagent": "ava",
    "json-stringify-safe": "mocha",
    "process-warning": "node --test",
    "qs": "tape, nyc",
    "reusify": "tape",
    "secure-json-parse": "node --test, c8",
}
"""Packages of npm's registry that ship their tests."""
GO = {
    "golang-github-cespare-xxhash-dev": "no dependencies",
    "golang-github-google-uuid-dev": "no dependencies",
    "golang-github-hashicorp-go-version-dev": "no dependencies",
    "golang-github-masterminds-semver-dev": "no dependencies",
    "golang-github-mattn-go-isatty-dev": "needs golang.org/x/sys",
    "golang-github-mitchellh-mapstructure-dev": "no dependencies",
    "golang-github-spf13-pflag-dev": "no dependencies",
}
RUST = {
    "librust-fnv-dev": "no dependencies",
    "librust-itoa-dev": "an optional dependency",
    "librust-matches-dev": "no dependencies",
    "librust-percent-encoding-dev": "no dependencies",
    "librust-scopeguard-dev": "no dependencies",
    "librust-shlex-dev": "no dependencies",
    "librust-strsim-dev": "no dependencies",
}
"""Debian's packages of the sources of Go modules and crates, as they were published."""
