"""References in values: `${NAME}` and `${NAME:-default}`."""

import re

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def expand(values, environment=None):
    """The values with their references replaced, by earlier values or the environment."""
    environment = environment or {}
    done = {}

    def replace(match):
        name, default = match.groups()
        if name in done:
            return done[name]
        if name in environment:
            return environment[name]
        return default or ""

    for name, value in values.items():
        done[name] = REFERENCE.sub(replace, value)
    return done
