"""Cut GitHub's own descriptions of its APIs down to what the tests use; run again when that grows.

npm install @octokit/openapi && python -m tests.loopback.github_cut node_modules
"""

import gzip
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
OPENAPI = HERE / "github_openapi.json.gz"
_R = "/repos/{owner}/{repo}"
WANTED = {
    _R: ["get"],
    f"{_R}/actions/jobs/{{job_id}}": ["get"],
    f"{_R}/actions/jobs/{{job_id}}/logs": ["get"],
    f"{_R}/collaborators/{{username}}/permission": ["get"],
    f"{_R}/compare/{{basehead}}": ["get"],
    f"{_R}/git/blobs": ["post"],
    f"{_R}/git/blobs/{{file_sha}}": ["get"],
    f"{_R}/git/commits": ["post"],
    f"{_R}/git/commits/{{commit_sha}}": ["get"],
    f"{_R}/git/ref/{{ref}}": ["get"],
    f"{_R}/git/refs": ["post"],
    f"{_R}/git/refs/{{ref}}": ["patch"],
    f"{_R}/git/trees": ["post"],
    f"{_R}/git/trees/{{tree_sha}}": ["get"],
    f"{_R}/issues": ["get"],
    f"{_R}/issues/comments/{{comment_id}}": ["patch"],
    f"{_R}/issues/{{issue_number}}": ["get"],
    f"{_R}/issues/{{issue_number}}/comments": ["get", "post"],
    f"{_R}/issues/{{issue_number}}/events": ["get"],
    f"{_R}/issues/{{issue_number}}/labels": ["get"],
    f"{_R}/pulls": ["get", "post"],
    f"{_R}/pulls/{{pull_number}}": ["patch"],
}
_NAMES = ("properties", "schemas", "parameters", "responses", "headers")
"""Below these the keys are names, not the description's own words."""
_TALK = {
    "description",
    "summary",
    "examples",
    "example",
    "externalDocs",
    "tags",
    "default",
    "title",
    "deprecated",
}


def cut(spec: dict) -> dict:
    """The operations of WANTED and all that they refer to, without what is for people."""
    paths = {path: {how: _bare(spec["paths"][path][how]) for how in hows} for path, hows in WANTED.items()}
    kept: dict[str, dict] = {}
    todo = [paths]
    while todo:
        for kind, name in _refs(todo.pop()):
            if name not in kept.setdefault(kind, {}):
                kept[kind][name] = _bare(spec["components"][kind][name])
                todo.append(kept[kind][name])
    info = {key: spec["info"][key] for key in ("title", "version", "license")}
    return {"openapi": spec["openapi"], "info": info, "paths": paths, "components": kept}


def _bare(item, names=False):
    if isinstance(item, list):
        return [_bare(one) for one in item]
    if not isinstance(item, dict):
        return item
    return {
        key: _bare(value, not names and key in _NAMES and isinstance(value, dict))
        for key, value in item.items()
        if names or (key not in _TALK and not key.startswith("x-github"))
    }


def _refs(item):
    if isinstance(item, list):
        for one in item:
            yield from _refs(one)
    elif isinstance(item, dict):
        for key, value in item.items():
            if key == "$ref" and isinstance(value, str):
                _, _, kind, name = value.split("/", 3)
                yield kind, name
            else:
                yield from _refs(value)


if __name__ == "__main__":
    source = Path(sys.argv[1]) / "@octokit/openapi/generated/api.github.com.json"
    data = json.dumps(cut(json.loads(source.read_text())), separators=(",", ":"), sort_keys=True).encode()
    OPENAPI.write_bytes(gzip.compress(data, 9, mtime=0))
    print(f"{len(data)} bytes, {OPENAPI.stat().st_size} packed")
