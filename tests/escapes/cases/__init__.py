"""The attempts, by the wall that they try."""

from tests.escapes.cases import ending, files, host, kernel, network, resources, secrets, server  # noqa: F401
from tests.escapes.corpus import CASES

__all__ = ["CASES"]
