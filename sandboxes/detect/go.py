"""What a Go repository says of its own set-up."""

from __future__ import annotations

import re

from sandboxes.detect.steps import Part, Step
from sandboxes.detect.tree import Repository

CACHE = "/tmp/.cache/go-build"  # noqa: S108
KEPT = "/opt/env/go/cache"
OFFLINE = {
    "GOPATH": "/opt/env/go",
    "GOMODCACHE": "/opt/env/go/pkg/mod",
    "GOCACHE": CACHE,
    "GOPROXY": "off",
    "GOFLAGS": "-modcacherw",
    "GOTELEMETRY": "off",
}
WARM = "go test -count=1 -run '^$' ./... > /dev/null"
"""Compiles all tests and runs none, so that a sandbox finds the standard library and the modules compiled."""
LAY_CACHE = rf"""
set -e
go=$(command -v go)
mkdir -p {KEPT} /opt/env/bin
cp -a {KEPT} /opt/env/go/seed
find /opt/env/go/seed -name '*-d' -exec sh -c 'for f; do ln -sf {KEPT}/${{f#/opt/env/go/seed/}} "$f"; done' sh {{}} +
cat > /opt/env/bin/go <<EOF
#!/bin/sh
if [ "\$GOCACHE" = {CACHE} ] && [ ! -d {CACHE} ]; then
    mkdir -p {CACHE.rpartition("/")[0]} && cp -a /opt/env/go/seed {CACHE}.\$\$
    mv -T {CACHE}.\$\$ {CACHE} 2> /dev/null || rm -rf {CACHE}.\$\$
fi
exec $go "\$@"
EOF
chmod 755 /opt/env/bin/go
"""
"""Go refuses to work with a cache that it cannot write to. So each sandbox's first call lays one down for itself: the
small index as a copy, what was compiled as links."""


def go_part(repository: Repository) -> Part | None:
    """What to do, or None for a repository without a go.mod or go.work of its own."""
    folder = repository.folder_with(("go.mod", "go.work"))
    if folder is None:
        return None
    here = repository.below(folder)
    asked = re.search(r"^go\s+(\d+\.\d+(?:\.\d+)?)", here.text("go.mod") or here.text("go.work"), re.M)
    vendored = "vendor/modules.txt" in here.names
    download = "go work sync" if "go.work" in here.manifests else "go mod download"
    steps = [Step("asking for Go's version", ("go version",))]
    if not vendored:
        get = f"{download} && go list -deps -test ./... > /dev/null"
        steps.append(Step("downloading Go modules", (get,)))
    steps.append(Step("compiling once, for the cache", (WARM,), needed=False, seconds=600))
    steps.append(Step("laying the cache", (LAY_CACHE,)))
    wanted = asked[1] if asked else ""
    return Part(
        language="Go",
        folder=folder,
        toolchains=("go",),
        steps=tuple(steps),
        summary=f"Go{f' for go.mod, which asks for {wanted}' if wanted else ''}"
        + (", modules from vendor/" if vendored else ", modules downloaded"),
        mend=f"name an image that has Go {wanted or 'and the modules'}, such as --image golang:{wanted or '1'}, or "
        "vendor the modules (`go mod vendor`)",
        variables=OFFLINE,
        # Go's own proxy, unless the host names one. By the same way Go gets itself a newer release, where go.mod asks
        while_set_up={"GOPROXY": "", "GOTOOLCHAIN": "auto", "GOCACHE": KEPT},
    )
