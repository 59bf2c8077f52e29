"""What a Gradle build says of its own set-up.

Gradle writes to the folder of its caches also where it only reads, and a sandbox's root is read-only. So a sandbox's
first call of Java lays one in memory (sandboxes/inside/lay_gradle.py).
"""

from __future__ import annotations

import re

from sandboxes import inside
from sandboxes.commands import TOOLBOX
from sandboxes.detect.steps import Part, Step
from sandboxes.detect.tree import Repository

SETTINGS_SCRIPTS = ("settings.gradle", "settings.gradle.kts")
SCRIPTS = ("build.gradle", "build.gradle.kts", *SETTINGS_SCRIPTS)
JAVA = 17
"""The one of Debian bookworm."""
RUNS_ON_IT = (7, 3)
"""The first Gradle that does."""
DEBIANS = "4.4.1"
KEPT = "/opt/env/gradle"
HOME = "/tmp/.gradle"  # noqa: S108
WARM_SCRIPT = "/tmp/warm.gradle"  # noqa: S108
_DISTRIBUTION = re.compile(r"^\s*distributionUrl\s*=.*/gradle-(\d+(?:\.\d+)+)[^/]*\.zip\s*$", re.M)
_ASKED = re.compile(
    r"(?:JavaLanguageVersion\.of|jvmToolchain)\(\s*(\d+)"
    r"|(?:source|target)Compatibility\s*=?\s*(?:JavaVersion\.VERSION_|['\"])?(?:1[._])?(\d+)"
)
SETTINGS = f"""
mkdir -p {KEPT}/init.d /opt/env/bin
printf '%s\\n' org.gradle.daemon=false org.gradle.vfs.watch=false kotlin.compiler.execution.strategy=in-process \\
    > {KEPT}/gradle.properties
echo 'allprojects {{ tasks.withType(Test) {{ ignoreFailures = true }} }}' > {WARM_SCRIPT}
"""
"""No process of Gradle's may stay when a run has ended. That tests fail is for the baseline to tell."""
DEBIANS_PACKAGES = (
    "echo 'allprojects { repositories { maven { url \"file:///usr/share/maven-repo\" } } }' "
    f"> {KEPT}/init.d/debian.gradle"
)
DEBIANS_ALONE = (
    "the tests run with packages of Debian's alone; for others name an image that has them: --image"
)
LAY = f"""
set -e
java=$(command -v java)
rm -rf {KEPT}/daemon
echo 'gradle.startParameter.offline = true' > {KEPT}/init.d/offline.gradle
cat > {KEPT}.py <<'EOF'
{inside.source("lay_gradle")}
EOF
cat > /opt/env/bin/java <<EOF
#!/bin/sh
if [ "\\$GRADLE_USER_HOME" = {HOME} ] && [ ! -d {HOME} ]; then
    {TOOLBOX}/bin/python3 -I {KEPT}.py {KEPT} {HOME}
fi
exec $java "\\$@"
EOF
chmod 755 /opt/env/bin/java
"""


def gradle_part(repository: Repository, folder: str) -> Part:
    """What to do for a build script in `folder`, of which `repository` is the content."""
    wrapped = "gradlew" in repository.names
    program = "sh ./gradlew" if wrapped else "gradle"
    version = _wrapped_version(repository) if wrapped else DEBIANS
    test = _test(program)
    return Part(
        language="Java",
        folder=folder,
        toolchains=("java",) if wrapped else ("gradle",),
        steps=(
            Step("writing Gradle's settings", (SETTINGS,)),
            Step(f"getting Gradle {version}".rstrip(), (f"{program} --version",)),
            Step(
                "running the tests once with Gradle, which downloads all that they need",
                (test,) if wrapped else (test, f"{DEBIANS_PACKAGES} && {_test(f'{program} --offline')}"),
                () if wrapped else (DEBIANS_ALONE,),
            ),
            Step("laying Gradle's caches", (LAY,)),
        ),
        summary=f"Java, packages with Gradle {version}".rstrip(),
        mend=_mend(repository, version, wrapped=wrapped),
        # of the build alone, which ends before a better compiler pays
        variables={"GRADLE_USER_HOME": HOME, "GRADLE_OPTS": "-XX:TieredStopAtLevel=1"},
        while_set_up={"GRADLE_USER_HOME": KEPT},
        warnings=_warnings(repository, version, wrapped=wrapped),
    )


def _test(program: str) -> str:
    # in a copy, so that nothing compiled is taken for the compiled form of patched sources
    return (
        "rm -rf /tmp/warm && mkdir /tmp/warm && cp -r . /tmp/warm/workspace && cd /tmp/warm/workspace && "
        f"{program} --continue -I {WARM_SCRIPT} test; code=$?; rm -rf /tmp/warm; exit $code"
    )


def _wrapped_version(repository: Repository) -> str:
    """The version of Gradle that the wrapper is to get; "" where it does not say."""
    found = _DISTRIBUTION.search(repository.text("gradle/wrapper/gradle-wrapper.properties"))
    return found[1] if found else ""


def _mend(repository: Repository, version: str, *, wrapped: bool) -> str:
    kotlin = any(name.endswith(".kts") for name in SCRIPTS if name in repository.names)
    debians = f"; Debian's Gradle is {DEBIANS}{', and reads no scripts in Kotlin' if kotlin else ''}"
    return (
        f"name an image that has {f'Gradle {version}' if wrapped and version else 'Gradle'} and the packages, these in "
        "the folder that its GRADLE_RO_DEP_CACHE names (--image), and a test command such as `gradle --offline test`"
        f"{'' if wrapped else debians}"
    )


def _warnings(repository: Repository, version: str, *, wrapped: bool) -> tuple[str, ...]:
    warnings = []
    if wrapped and version and tuple(int(part) for part in version.split(".")[:2]) < RUNS_ON_IT:
        warnings.append(
            f"Gradle {version} runs on no Java newer than 16, and Debian's packages have {JAVA}: "
            f"--image gradle:{version}-jdk11 or another image with it is the way"
        )
    for name in SCRIPTS:
        asked = max((int(a or b) for a, b in _ASKED.findall(repository.text(name))), default=0)
        if asked > JAVA:
            warnings.append(
                f"{name} asks for Java {asked}, and Debian's packages have {JAVA}: where Gradle can't get it, "
                f"--image gradle:jdk{asked} or another image with it is the way"
            )
    return tuple(warnings)
