#!/usr/bin/env bash
# Repair a real bug of a published package with the built-in model: no key, no cost, one command on a fresh machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
sandboxes/setup.sh
folder=$(mktemp -d)
.venv/bin/python examples/prepare_bug.py "$folder"
.venv/bin/agent fix --repo "$folder/repo" --issue "$folder/issue.md" \
    --fail-to-pass "tests/test_utils.py::test_lru_cache_set_update" \
    --test "python -m pytest tests -o addopts=" \
    --model local/repair --output "$folder/accepted.diff" "$@"
cat "$folder/accepted.diff"
echo "The repository is $folder/repo; remove $folder when you have seen enough."
