"""What a Java repository says of its own set-up."""

from __future__ import annotations

import re

from sandboxes.detect.gradle import JAVA, SCRIPTS, SETTINGS_SCRIPTS, gradle_part
from sandboxes.detect.steps import Part, Step
from sandboxes.detect.tree import Repository

MAVEN_REPOSITORY = "/opt/env/m2"
RELEASE = re.compile(
    r"<(?:maven\.compiler\.(?:release|source|target)|java\.version|release)>\s*(?:1\.)?(\d+)\s*<"
)


def java_part(repository: Repository) -> Part | None:
    """What to do, or None for a repository that neither Maven nor Gradle builds."""
    folder = repository.folder_with(("pom.xml", *SCRIPTS), SETTINGS_SCRIPTS)
    if folder is None:
        return None
    here = repository.below(folder)
    if "pom.xml" in here.manifests:
        return _maven(here, folder)
    return gradle_part(here, folder)


def _maven(repository: Repository, folder: str) -> Part:
    program = "sh ./mvnw" if "mvnw" in repository.names else "mvn"
    # in a copy, so that nothing compiled is taken for the compiled form of patched sources; and with the tests, since
    # Maven finds what runs them only when it runs them
    warm = (
        "rm -rf /tmp/warm && cp -r . /tmp/warm && cd /tmp/warm && "
        f"{program} -B -ntp -fae -Dmaven.test.failure.ignore=true test; code=$?; rm -rf /tmp/warm; exit $code"
    )
    return Part(
        language="Java",
        folder=folder,
        toolchains=("java",),
        steps=(Step("running the tests once with Maven, which downloads all that they need", (warm,)),),
        summary="Java, packages with Maven",
        mend="name an image that has Maven and the packages (in its ~/.m2 or a mirror): --image",
        variables={
            "MAVEN_OPTS": f"-Dmaven.repo.local={MAVEN_REPOSITORY}",
            "MAVEN_USER_HOME": "/opt/env/maven",
            "MAVEN_ARGS": "-o",
        },
        while_set_up={"MAVEN_ARGS": "-B"},
        warnings=_warnings(repository),
    )


def _warnings(repository: Repository) -> tuple[str, ...]:
    asked = max((int(found) for found in RELEASE.findall(repository.text("pom.xml"))), default=0)
    if asked <= JAVA:
        return ()
    return (
        f"pom.xml asks for Java {asked}, and Debian's packages have {JAVA}: where it does not compile, "
        f"--image maven:3-eclipse-temurin-{asked} or another image with it is the way",
    )
