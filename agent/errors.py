"""Exceptions, named by who can mend the fault.

    AgentError                 one clear line for the user; `exit_code` is the process's
    ├── UsageError        2    the command line, a file or the configuration is wrong
    ├── Refused           1    a run that must not be published as it is
    ├── EnvironmentFault  3    engine, image, set-up or baseline
    │   └── NotSetUp           what the suite needs on the base commit is not installed
    └── ModelError        5    the provider failed for good (retries are spent, key refused …)

A limit (money, turns, time) is a result, not an exception. What a model can mend is an error ToolResult.
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of all errors that reach the user as one line."""

    exit_code = 1


class UsageError(AgentError):
    exit_code = 2


class Refused(AgentError):
    exit_code = 1


class EnvironmentFault(AgentError):
    exit_code = 3


class NotSetUp(EnvironmentFault):
    """The suite can't be run on the base commit for what is not installed; `log` holds the telling lines."""

    def __init__(self, text: str, log: str = "") -> None:
        super().__init__(text)
        self.log = log


class ModelError(AgentError):
    """`provider_down` is true when the fault is the provider's, so that its other models would meet it too."""

    exit_code = 5

    def __init__(self, text: str, *, provider_down: bool = False) -> None:
        super().__init__(text)
        self.provider_down = provider_down
