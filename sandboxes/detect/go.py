"""What a Go repository says of its own set-up."""

from __future__ import annotations

import re

from sandboxes.detect.steps import Part, Step
from sandboxes.detect.tree import Repository

CACHES = {"GOPATH": "/opt/env/go", "GOMODCACHE": "/opt/env/go/pkg/mod", "GOCACHE": "/opt/env/go/cache"}
OFFLINE = {**CACHES, "GOPROXY": "off", "GOFLAGS": "-modcacherw", "GOTELEMETRY": "off"}
WARM = "go test -count=1 -run '^$' ./... > /dev/null"
"""Compiles all tests and runs none, so that a sandbox finds the standard library and the modules compiled."""


def go_part(repository: Repository) -> Part | None:
    """What to do, or None for a repository without a go.mod or go.work of its own."""
    folder = _folder(repository)
    if folder is None:
        return None
    start = f"{folder}/" if folder else ""
    asked = re.search(r"^go\s+(\d+\.\d+(?:\.\d+)?)", repository.text(f"{start}go.mod"), re.M)
    vendored = f"{start}vendor/modules.txt" in repository.names
    download = "go work sync" if f"{start}go.work" in repository.manifests else "go mod download"
    steps = [Step("asking for Go's version", ("go version",), folder=folder)]
    if not vendored:
        steps.append(
            Step(
                "downloading Go modules",
                (f"{download} && go list -deps -test ./... > /dev/null",),
                folder=folder,
            )
        )
    steps.append(Step("compiling once, for the cache", (WARM,), folder=folder, needed=False, seconds=600))
    wanted = asked[1] if asked else ""
    return Part(
        language="Go",
        toolchains=("go",),
        steps=tuple(steps),
        summary=f"Go{f' for go.mod, which asks for {wanted}' if wanted else ''}"
        + (", modules from vendor/" if vendored else ", modules downloaded"),
        mend=f"name an image that has Go {wanted or 'and the modules'}, such as --image golang:{wanted or '1'}",
        variables=OFFLINE,
        # Go gets itself a newer release by the same way as modules, where go.mod asks for one
        while_set_up={"GOPROXY": "https://proxy.golang.org,direct", "GOTOOLCHAIN": "auto"},
    )


def _folder(repository: Repository) -> str | None:
    """Where the module is: the root, or the one folder near it that has a go.mod."""
    if "go.mod" in repository.manifests or "go.work" in repository.manifests:
        return ""
    near = [name for name in repository.manifests if re.fullmatch(r"[^/]+/(?:[^/]+/)?go\.mod", name)]
    return near[0].rpartition("/")[0] if len(near) == 1 else None
