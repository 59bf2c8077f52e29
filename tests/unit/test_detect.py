"""The test command that a repository's files speak for."""

from __future__ import annotations

import json

import pytest

from agent.detect import detect

UNITTEST = "import unittest\n\nclass TestA(unittest.TestCase):\n    def test_a(self): pass\n"


@pytest.mark.parametrize(
    ("files", "command", "why"),
    [
        ({}, "python -m pytest", "nothing"),
        ({"conftest.py": "", "test_a.py": UNITTEST}, "python -m pytest", "conftest.py"),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n", "t/test_a.py": UNITTEST}, "python -m pytest", "pyproject"),
        ({"requirements-dev.txt": "pytest>=7\n", "test_a.py": UNITTEST}, "python -m pytest", "requirements-dev.txt"),
        ({"test_a.py": UNITTEST, "test_b.py": "def test_b(): pass\n"}, "python -m pytest", "test_b.py"),
        ({"test_a.py": UNITTEST}, "python -m unittest", "test_a.py uses unittest"),
        ({"tests/__init__.py": "", "tests/test_a.py": UNITTEST}, "python -m unittest", "unittest"),
        ({"tests/test_a.py": UNITTEST}, "python -m unittest discover -s tests", "unittest"),
        ({"test_a.py": UNITTEST, "package.json": '{"scripts": {"test": "jest"}}'}, "python -m unittest", "unittest"),
        ({"package.json": '{"scripts": {"test": "jest"}}', "go.mod": ""}, "npm test", "package.json scripts.test"),
        ({"package.json": '{"devDependencies": {"vitest": "1"}}'}, "npx vitest run", "depends on vitest"),
        (
            {"package.json": json.dumps({"scripts": {"test": 'echo "Error: no test specified" && exit 1'}}),
             "a.test.js": "require('node:test')"},
            "node --test",
            "a.test.js uses node:test",
        ),
        ({"package.json": "{broken", "go.mod": ""}, "go test ./...", "go.mod"),
        ({"Cargo.toml": "[workspace]\n"}, "cargo test --workspace", "Cargo.toml"),
        ({"Cargo.toml": "[package]\n", "Makefile": "test:\n"}, "cargo test", "Cargo.toml"),
        ({"pom.xml": "", "mvnw": ""}, "./mvnw test", "pom.xml"),
        ({"build.gradle.kts": ""}, "gradle test", "build.gradle.kts"),
        ({"settings.gradle": "", "app/build.gradle": "", "gradlew": ""}, "./gradlew test", "settings.gradle"),
        (
            {"package.json": json.dumps({"scripts": {
                "test": "npm run test:unit && npm run test:types", "test:unit": "c8 node --test"}})},
            "npm run test:unit",
            "scripts.test:unit, of the several",
        ),
        ({"web/package.json": '{"scripts": {"test": "jest"}}', "README.md": ""}, "cd web && npm test", "in web/"),
        ({"srv/go.mod": "", "srv/x.go": ""}, "cd srv && go test ./...", "go.mod, in srv/"),
        ({"a b/Cargo.toml": "[package]\n"}, "cd 'a b' && cargo test", "Cargo.toml"),
        ({"a/go.mod": "", "b/go.mod": ""}, "python -m pytest", "nothing"),
        ({"Makefile": "CHECK := 1\ncheck: all\n"}, "make check", "exit code alone"),
        ({"Makefile": "test := 1\nall:\n"}, "python -m pytest", "nothing"),
    ],
)  # fmt: skip
def test_what_is_detected(files: dict[str, str], command: str, why: str) -> None:
    found = detect(files, files.__getitem__)
    assert found.command == command
    assert why in found.why
