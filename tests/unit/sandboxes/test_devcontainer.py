"""What is read from a devcontainer.json, in the shapes that people write."""

import json

import pytest

from sandboxes.devcontainer import Build, NotUsable, inside_repository, parse

PATH = ".devcontainer/devcontainer.json"


def of(data, path=PATH):
    return parse(data if isinstance(data, str) else json.dumps(data), path)


def test_comments_and_trailing_commas_are_no_fault_and_strings_are_left_alone():
    found = of(
        """\ufeff// For format details, see https://aka.ms/devcontainer.json.
        {
            "name": "Python 3", // the name
            /* an image, "quoted": */ "image": "mcr.example/devcontainers/python:1-3.12-bookworm",
            // "postCreateCommand": "pip3 install --user -r requirements.txt",
            "postCreateCommand": "echo 'a, ]' // \\"x\\" /* y */",
            "containerEnv": {"URL": "https://x//y",},
        }"""
    )
    assert found.image == "mcr.example/devcontainers/python:1-3.12-bookworm"
    assert found.commands == ("echo 'a, ]' // \"x\" /* y */",)
    assert found.variables == {"URL": "https://x//y"}
    assert found.ignored == ()


@pytest.mark.parametrize(
    ("data", "path", "build"),
    [
        ({"build": {"dockerfile": "Dockerfile"}}, PATH, Build(".devcontainer/Dockerfile", ".devcontainer")),
        ({"build": {"dockerfile": "../Dockerfile", "context": ".."}}, PATH, Build("Dockerfile", "")),
        ({"dockerFile": "Dockerfile"}, ".devcontainer.json", Build("Dockerfile", "")),
        ({"dockerFile": "d/Dockerfile", "context": "d"}, ".devcontainer.json", Build("d/Dockerfile", "d")),
        (
            {
                "build": {
                    "dockerfile": "D",
                    "context": ".",
                    "args": {"V": "3-${localEnv:X:bookworm}"},
                    "target": "dev",
                }
            },
            PATH,
            Build(".devcontainer/D", ".devcontainer", {"V": "3-bookworm"}, "dev"),
        ),
        (
            {
                "image": "ignored:1",
                "build": {"dockerfile": "${localWorkspaceFolder}/Dockerfile", "context": "../"},
            },
            ".devcontainer.json",
            None,
        ),
    ],
)
def test_a_dockerfile_is_found_from_the_file_s_own_folder(data, path, build):
    if build is None:
        with pytest.raises(NotUsable, match="not in the repository"):
            of(data, path)
    else:
        found = of(data, path)
        assert (found.build, found.image) == (build, None)


def test_the_workspace_s_folder_is_the_repository():
    assert inside_repository("${localWorkspaceFolder}/docker/Dockerfile") == "docker/Dockerfile"
    assert inside_repository("./a/../b") == "b"
    assert inside_repository("${containerWorkspaceFolder}") == ""


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "..", "a\0b", "${localEnv:HOME}/../x"])
def test_a_path_out_of_the_repository_is_refused(path):
    with pytest.raises(NotUsable, match="is not in the repository"):
        inside_repository(path)


def test_commands_in_all_forms_run_in_the_order_of_a_container_s_life():
    found = of(
        {
            "image": "x",
            "postCreateCommand": {"a": "npm ci", "b": ["pip", "install", "-e", ".[dev, test]"]},
            "onCreateCommand": ["git", "init"],
            "updateContentCommand": "make -C ${containerWorkspaceFolder} ${TARGET}",
            "postStartCommand": "serve",
            "initializeCommand": "rm -rf ~",
        }
    )
    assert found.commands == (
        "git init", "make -C /workspace ${TARGET}", "npm ci", "pip install -e '.[dev, test]'",
    )  # fmt: skip
    assert found.ignored == ("initializeCommand is not run", "postStartCommand is not run")


def test_only_variables_that_are_known_here_are_set(monkeypatch):
    monkeypatch.setenv("HOST_SECRET", "s3cr3t")
    found = of(
        {
            "image": "x",
            "containerEnv": {
                "A": "1",
                "B": "${localEnv:HOST_SECRET}",
                "C": "${localEnv:HOST_SECRET:d}",
                "N": None,
            },
            "remoteEnv": {
                "A": "2",
                "PATH": "${containerEnv:PATH}:/x",
                "BAD NAME": "x",
                "W": "${containerWorkspaceFolder}/w",
            },
        }
    )
    assert found.variables == {"A": "2", "C": "d", "W": "/workspace/w"}
    assert found.ignored == (
        "containerEnv.B has no effect", "remoteEnv.PATH has no effect", "remoteEnv.BAD NAME has no effect",
    )  # fmt: skip


def test_what_has_no_place_here_is_said():
    found = of(
        {"image": "x", "features": {"ghcr.io/devcontainers/features/node:1": {}}, "remoteUser": "vscode"}
    )
    assert found.ignored == ("features has no effect", "remoteUser has no effect")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"image": "x"', "not valid JSON"),
        ("[]", "not one JSON object"),
        ({"name": "x"}, "neither an image nor a Dockerfile"),
        ({"image": "-x"}, "neither an image nor a Dockerfile"),
        ({"image": "a b"}, "neither an image nor a Dockerfile"),
        ({"image": 5}, "neither an image nor a Dockerfile"),
        ({"dockerComposeFile": "c.yml", "service": "app"}, "Docker Compose"),
        ({"build": {"dockerfile": 5}}, "must be strings"),
        ({"build": {"dockerfile": "D", "args": {"A": 1}}}, "build.args must hold strings"),
        ({"build": {"dockerfile": "D", "target": ["x"]}}, "must be strings"),
        ({"image": "x", "postCreateCommand": 5}, "postCreateCommand is neither"),
        ({"image": "x", "postCreateCommand": {"a": {"b": "c"}}}, "postCreateCommand is neither"),
        ({"image": "x", "postCreateCommand": ["a", 1]}, "postCreateCommand is neither"),
    ],
)
def test_what_gives_no_image_is_refused_in_one_line(data, said):
    with pytest.raises(NotUsable, match=said) as refused:
        of(data)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("part", ["/*/", '"a', '",', "//", "/* *", ",  "])
def test_text_that_is_made_to_be_slow_is_read_at_once(part):
    # quadratic reading of so much would take minutes
    with pytest.raises(NotUsable):
        of(part * (250_000 // len(part)))
