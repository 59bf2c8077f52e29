"""What is read from the manifests of Node, Go, Rust and Java, and from mixed repositories."""

import json

import pytest

from sandboxes.detect import plan, scan
from sandboxes.detect.versions import admits
from tests.docker.sandbox_tools import tar_of


def of(tmp_path, files):
    made = {
        name: (text if isinstance(text, str) else json.dumps(text)).encode() for name, text in files.items()
    }
    return plan(scan(tar_of(tmp_path / "tree.tar", made)))


def part(tmp_path, files):
    found = of(tmp_path, files)
    assert found is not None
    assert found.python is None
    [one] = found.parts
    return one


@pytest.mark.parametrize(
    ("wanted", "version", "holds"),
    [
        (">=18", (22, 1, 0), True),
        (">=18 <21", (22, 1, 0), False),
        ("^18.12 || >=20.9.0", (20, 8, 0), False),
        ("^18.12 || >=20.9.0", (18, 20, 0), True),
        ("18.x", (18, 4, 0), True),
        ("18", (20, 0, 0), False),
        ("16 - 20", (20, 18, 0), True),
        ("~20.1", (20, 2, 0), False),
        ("^0.4", (0, 5, 0), False),
        ("<=20.5", (20, 5, 9), True),
        (">20", (20, 18, 0), False),
        ("*", (24, 0, 0), True),
        (">= 0.4.0", (24, 0, 0), True),
        ("lts/*", (24, 0, 0), True),
    ],
)
def test_ranges_of_npm(wanted, version, holds):
    assert admits(wanted, version) is holds


@pytest.mark.parametrize(
    ("files", "manager", "first"),
    [
        ({}, "", "npm install --no-package-lock"),
        ({"package-lock.json": "{}"}, "", "npm ci"),
        ({"npm-shrinkwrap.json": "{}"}, "", "npm ci"),
        ({"yarn.lock": "# yarn lockfile v1\n"}, "yarn@1", "yarn install --non-interactive"),
        ({"yarn.lock": "__metadata:\n  version: 8\n"}, "@yarnpkg/cli-dist@4", "yarn install --immutable"),
        ({"pnpm-lock.yaml": "lockfileVersion: '6.0'\n"}, "pnpm@8", "pnpm install"),
        ({"pnpm-lock.yaml": "lockfileVersion: '9.0'\n"}, "pnpm@9", "pnpm install"),
        ({"pnpm-lock.yaml": "lockfileVersion: 5.4\n"}, "pnpm@7", "pnpm install"),
        ({"package.json": {"packageManager": "pnpm@9.12.3+sha512.abc"}}, "pnpm@9.12.3", "pnpm install"),
        ({"package.json": {"packageManager": "yarn@3.6.4"}}, "@yarnpkg/cli-dist@3.6.4", "yarn install --immutable"),
        ({"package.json": {"packageManager": "yarn@1.22.19"}, "yarn.lock": ""}, "yarn@1.22.19", "yarn install"),
        ({"package.json": {"packageManager": "npm@10.2.0"}, "package-lock.json": "{}"}, "", "npm ci"),
        ({"package.json": {"packageManager": "pnpm@$(touch x)"}}, "", "npm install"),
    ],
)  # fmt: skip
def test_the_package_manager_of_a_node_project(tmp_path, files, manager, first):
    found = part(tmp_path, {"package.json": {}, **files})
    *before, install = found.steps
    assert [step.tries[0].rpartition(" ")[2] for step in before] == ([manager] if manager else [])
    assert install.tries[0].startswith(first)
    assert len(install.lost) == len(install.tries) - 1
    frozen = {"pnpm-lock.yaml": "--frozen-lockfile", "package-lock.json": "npm ci"}
    for lock, option in frozen.items():
        assert lock not in files or option in install.tries[0]


@pytest.mark.parametrize(
    ("files", "node", "warned"),
    [
        ({"package.json": {}}, "node-22", ""),
        ({"package.json": {"engines": {"node": ">=24"}}}, "node-24", ""),
        ({"package.json": {"engines": {"node": "^18 || ^20"}}}, "node-20", ""),
        ({"package.json": {"engines": {"node": ">=26"}}}, "node-22", "--image node:26"),
        ({"package.json": {"engines": {"node": ">=20"}}, ".nvmrc": "v20.11.0\n"}, "node-20", ""),
        ({"package.json": {}, ".node-version": "16.3"}, "node-22", "--image node:16"),
        ({"package.json": {"volta": {"node": "18.1.0"}}}, "node-18", ""),
        ({"package.json": {}, ".nvmrc": "lts/*"}, "node-22", ""),
    ],
)
def test_the_version_of_node(tmp_path, files, node, warned):
    found = part(tmp_path, files)
    assert found.toolchains == (node,)
    assert [warned in warning for warning in found.warnings] == ([True] if warned else [])


def test_what_is_compiled_brings_a_compiler(tmp_path):
    lock = json.dumps({"packages": {"node_modules/node-gyp-build": {}}})
    assert part(tmp_path, {"package.json": {}, "package-lock.json": lock}).toolchains == (
        "node-22",
        "compilers",
    )


@pytest.mark.parametrize(
    ("scripts", "builds"),
    [
        ({"test": "x", "build": "tsc"}, False),
        ({"prepare": "husky install"}, False),
        ({"prepare": "husky"}, False),
        ({"prepare": "npm run build"}, True),
        ({"postinstall": "node make.js"}, True),
    ],
)
def test_a_package_that_builds_itself_when_it_is_installed(tmp_path, scripts, builds):
    found = part(
        tmp_path, {"package.json": {"workspaces": ["p/*"]}, "p/a/package.json": {"scripts": scripts}}
    )
    assert found.builds is builds
    assert any("stay as they are" in warning for warning in found.warnings) is builds


def test_another_source_is_another_environment_only_where_the_set_up_builds(tmp_path):
    def content(text):
        return scan(tar_of(tmp_path / "t.tar", {"package.json": b"{}", "src/a.ts": text})).content

    assert content(b"1") != content(b"2")


def test_broken_manifests_are_told(tmp_path):
    found = part(tmp_path, {"package.json": "{" * 50_000})
    assert any("package.json cannot be read" in warning for warning in found.warnings)
    assert of(tmp_path, {"Cargo.toml": "[" * 50_000, "pom.xml": "<" * 50_000, "go.mod": "go x"}) is not None


def test_bun_is_told_to_be_unknown(tmp_path):
    found = part(tmp_path, {"package.json": {}, "bun.lock": "{}"})
    assert found.steps[-1].tries[0].startswith("npm install")
    assert any("Bun is not supported" in warning for warning in found.warnings)


def test_go_modules_are_downloaded_unless_they_are_vendored(tmp_path):
    found = part(tmp_path, {"go.mod": "module x\n\ngo 1.24.1\n"})
    assert found.toolchains == ("go",)
    assert "go mod download" in found.steps[1].tries[0]
    assert "golang:1.24.1" in found.mend
    assert found.variables["GOPROXY"] == "off"
    vendored = part(tmp_path, {"go.mod": "module x\n", "vendor/modules.txt": ""})
    assert not any("download" in step.tries[0] for step in vendored.steps)
    work = part(tmp_path, {"go.work": "go 1.22\nuse ./a\n", "a/go.mod": "module a\n"})
    assert "go work sync" in work.steps[1].tries[0]


@pytest.mark.parametrize(
    ("files", "warned"),
    [
        ({"Cargo.toml": '[package]\nname = "x"\n'}, ""),
        ({"Cargo.toml": '[package]\nrust-version = "1.90"\n'}, "--image rust:1.90"),
        ({"Cargo.toml": '[package]\nrust-version = "1.70"\n'}, ""),
        ({"Cargo.toml": "[workspace.package]\nrust-version = '1.99.1'\n"}, "--image rust:1.99"),
        ({"Cargo.toml": "", "rust-toolchain.toml": "[toolchain]\nchannel = '1.95.0'\n"}, "--image rust:1.95"),
        ({"Cargo.toml": "", "rust-toolchain": "1.91\n"}, "--image rust:1.91"),
        ({"Cargo.toml": "", "rust-toolchain": "stable\n"}, ""),
    ],
)
def test_the_version_of_rust(tmp_path, files, warned):
    found = part(tmp_path, files)
    assert found.toolchains == ("rust",)
    assert [warned in warning for warning in found.warnings] == ([True] if warned else [])


def test_a_locked_crate_is_fetched_as_it_is_locked(tmp_path):
    assert part(tmp_path, {"Cargo.toml": ""}).steps[0].tries == ("cargo fetch",)
    assert part(tmp_path, {"Cargo.toml": "", "Cargo.lock": ""}).steps[0].tries == (
        "cargo fetch --locked",
        "cargo fetch",
    )


@pytest.mark.parametrize(
    ("files", "program", "warned"),
    [
        ({"pom.xml": ""}, "mvn ", ""),
        (
            {"pom.xml": "<maven.compiler.release>21</maven.compiler.release>", "mvnw": ""},
            "sh ./mvnw ",
            "Java 21",
        ),
        ({"pom.xml": "<source>1.8</source><java.version>1.8</java.version>"}, "mvn ", ""),
    ],
)
def test_maven(tmp_path, files, program, warned):
    found = part(tmp_path, files)
    assert found.toolchains == ("java",)
    assert program in found.steps[0].tries[0]
    assert [warned in warning for warning in found.warnings] == ([True] if warned else [])


PROPERTIES = "gradle/wrapper/gradle-wrapper.properties"


def distribution(version):
    return f"distributionUrl=https\\://services.gradle.org/distributions/gradle-{version}-bin.zip\n"


@pytest.mark.parametrize(
    ("files", "toolchain", "program", "said", "warned"),
    [
        ({"build.gradle": "plugins { id 'java' }\n"}, "gradle", "gradle ", "Gradle 4.4.1", []),
        ({"build.gradle.kts": "", "gradlew": ""}, "java", "sh ./gradlew ", "with Gradle", []),
        (
            {"settings.gradle": "", "app/build.gradle": "", "b/build.gradle": ""},
            "gradle",
            "gradle ",
            "Gradle",
            [],
        ),
        (
            {"build.gradle": "", "gradlew": "", PROPERTIES: distribution("8.14.3")},
            "java",
            "sh ./gradlew ",
            "Gradle 8.14.3",
            [],
        ),
        (
            {"build.gradle": "", "gradlew": "", PROPERTIES: distribution("6.9")},
            "java",
            "sh ./gradlew ",
            "Gradle 6.9",
            ["--image gradle:6.9-jdk11"],
        ),
        (
            {"build.gradle.kts": "java { toolchain { languageVersion = JavaLanguageVersion.of(21) } }"},
            "gradle",
            "gradle ",
            "Gradle",
            ["--image gradle:jdk21"],
        ),
        ({"build.gradle": "sourceCompatibility = '1.8'\n"}, "gradle", "gradle ", "Gradle", []),
        ({"build.gradle": "targetCompatibility = JavaVersion.VERSION_21"}, "gradle", "", "", ["Java 21"]),
    ],
)
def test_gradle(tmp_path, files, toolchain, program, said, warned):
    found = part(tmp_path, files)
    assert (found.folder, found.toolchains) == ("", (toolchain,))
    assert said in found.summary
    assert f"&& {program}" in found.steps[2].tries[0]
    # Debian's packages can stand in only where Debian's Gradle does
    assert len(found.steps[2].tries) == (1 if "gradlew" in files else 2)
    assert "--image" in found.mend
    assert [word in warning for word, warning in zip(warned, found.warnings, strict=True)] == [True] * len(
        warned
    )


def test_the_folder_that_holds_gradles_settings_is_the_build(tmp_path):
    files = {"x/settings.gradle": "", "x/build.gradle": "", "x/a/build.gradle": "", "README": ""}
    assert part(tmp_path, files).folder == "x"


def test_a_python_project_with_a_front_end_needs_both(tmp_path):
    files = {
        "pyproject.toml": '[project]\nname = "x"\n',
        "web/package.json": {},
        "web/package-lock.json": "{}",
    }
    found = of(tmp_path, files)
    assert found is not None
    assert found.python is not None
    assert [(one.language, one.folder) for one in found.parts] == [("Node", "web")]
    assert found.toolchains == ("node-22",)


def test_folders_of_which_nobody_can_say_which_one_are_left_alone(tmp_path):
    files = {"setup.py": "", "a/package.json": {}, "b/package.json": {}}
    found = of(tmp_path, files)
    assert found is not None
    assert found.parts == ()
    found = of(tmp_path, {**files, "b/yarn.lock": ""})
    assert found is not None
    assert [one.folder for one in found.parts] == ["b"]
    assert (
        of(tmp_path, {"node_modules/x/package.json": {}, "testdata/go.mod": "", "vendor/y/go.mod": ""})
        is None
    )


def test_a_few_scripts_in_python_are_no_python_project(tmp_path):
    assert (
        part(tmp_path, {"go.mod": "module x\n", "tools/make.py": "", "docs/requirements.txt": "x"}).language
        == "Go"
    )
    found = of(tmp_path, {"package.json": {}, "tests/test_x.py": ""})
    assert found is not None
    assert found.python is not None
