"""A small MCP server of a repository's own: the standard library alone, so it runs in any sandbox that has Python.

agent.toml beside it, at the repository's root:

    [mcp.notes]
    command = ["python3", "mcp_notes.py"]

A model then has the tool `notes__find`, which looks a word up in the repository's Markdown files.
"""

import json
import sys
from pathlib import Path

FIND = {
    "name": "find",
    "description": "Find the paragraphs of this repository's documents that hold a word.",
    "inputSchema": {
        "type": "object",
        "properties": {"word": {"type": "string", "description": "as it is written, in any case"}},
        "required": ["word"],
    },
}


def find(word: str) -> str:
    found = [
        f"{path}: {paragraph.strip()}"
        for path in sorted(Path().rglob("*.md"))
        for paragraph in path.read_text(errors="replace").split("\n\n")
        if word.casefold() in paragraph.casefold()
    ]
    return "\n\n".join(found[:20]) or f"no document holds {word!r}"


def result_of(method: str, params: dict) -> dict:
    if method == "initialize":
        about = {"name": "notes", "version": "1"}
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": about,
        }
    if method == "tools/list":
        return {"tools": [FIND]}
    if method == "tools/call" and params.get("name") == "find":
        text = find(str(params.get("arguments", {}).get("word", "")))
        return {"content": [{"type": "text", "text": text}]}
    raise LookupError(method)


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request or "method" not in request:
            continue  # a notification
        answer = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            answer["result"] = result_of(request["method"], request.get("params", {}))
        except LookupError as error:
            answer["error"] = {"code": -32601, "message": f"not known here: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
