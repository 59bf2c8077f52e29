#!/usr/bin/env bash
# Put the agent, as it stands in this action's own commit, into $RUNNER_TEMP/assay-venv; once a job.
set -euo pipefail
venv=$RUNNER_TEMP/assay-venv
if [ -x "$venv/bin/agent" ]; then
    exit 0
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "::error::Assay needs Python 3.11 or newer as python3: put actions/setup-python before it"
    exit 3
}
# What pip is told comes from the job, not from the repository that is to be repaired.
cd "$RUNNER_TEMP"
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$(dirname "${BASH_SOURCE[0]}")/../../.."
