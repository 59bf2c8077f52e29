"""What can go wrong with a sandbox, one clear line each.

SandboxError
├── EngineUnavailable   no Docker engine answers, or no bubblewrap sandbox starts; the text says what to do
├── ImageUnavailable    the base image cannot be had; the text says what to do
├── SetupFailed         the repository's environment could not be built; `log` holds the telling lines
└── SandboxDied         the sandbox ended under us (killed, or its lifetime was over)
"""

from __future__ import annotations


class SandboxError(Exception):
    """Base of all errors of sandboxes."""


class EngineUnavailable(SandboxError):
    pass


class ImageUnavailable(SandboxError):
    pass


class SetupFailed(SandboxError):
    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class SandboxDied(SandboxError):
    pass
