"""No test waits as a run does, or sees the user's own settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.models import provider as provider_module


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provider_module, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setenv("AGENT_HOME", str(tmp_path))
