"""What the host knows and a sandbox must not: its environment, its keys, the repository's future."""

from tests.escapes.cell import BASE_TEXT, FUTURE_TEXT, SECRET
from tests.escapes.corpus import escape, python

FAMILIAR = {
    "PATH",
    "HOME",
    "LANG",
    "HOSTNAME",
    "PWD",
    "SHLVL",
    "_",
    "OLDPWD",
    "ASSAY_EXEC",
    "PAGER",
    "GIT_PAGER",
}
FAMILIAR |= {"GIT_TERMINAL_PROMPT", "TERM", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "VIRTUAL_ENV"}


@escape(
    "secrets",
    "the environment of every process",
    "env; for p in /proc/[0-9]*; do tr '\\0' '\\n' < $p/environ 2>/dev/null; done; true",
)
async def _(cell, seen):
    names = {line.partition("=")[0] for line in seen.text.splitlines() if "=" in line and "[" not in line}
    assert names, seen.text
    assert names <= FAMILIAR, names - FAMILIAR
    assert SECRET not in seen.text


@escape(
    "secrets",
    "every file, for keys and for what a later commit holds",
    # the texts backwards, so that the program itself does not count
    python(f"""
    wanted = [text[::-1].encode() for text in {[text[::-1] for text in (FUTURE_TEXT, SECRET, BASE_TEXT)]!r}]
    for top in sorted(os.scandir("/"), key=lambda entry: entry.name):
        if top.name in ("proc", "sys", "usr") or top.is_symlink():  # /usr, and links into it, are the image's alone
            continue
        for folder, folders, names in os.walk(top.path):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    if stat.S_ISREG(os.lstat(path).st_mode) and any(text in Path(path).read_bytes() for text in wanted):
                        print(path)
                except OSError:
                    pass
    for path in ("/root/.ssh", "/home/agent/.ssh", "/home/agent/.netrc", "/home/agent/.docker", "/run/certificates.pem"):
        if os.path.exists(path):
            print(path)
    """),
    timeout=60,
)
async def _(cell, seen):
    found = [line for line in seen.text.splitlines() if line.startswith("/") and line != "/opt/tree/app.py"]
    assert found == ["/workspace/app.py"], found  # that has the base's text, so it was searched


@escape(
    "history",
    "what git can be made to tell of later commits",
    """
    cd /workspace
    git log --all --oneline; echo "commits: $(git rev-list --all | wc -l)"
    echo "refs: $(git for-each-ref | grep -v refs/heads/main)"
    echo "remotes: $(git remote -v) reflog: $(git reflog 2>&1) stash: $(git stash list)"
    git fsck --lost-found --unreachable 2>&1
    for o in $(git cat-file --batch-all-objects --batch-check | cut -d' ' -f1); do git cat-file -p $o; done
    cat .git/config .git/packed-refs .git/ORIG_HEAD .git/FETCH_HEAD .git/logs/HEAD 2>/dev/null
    """,
)
async def _(cell, seen):
    assert "commits: 1\n" in seen.text, seen.text
    assert BASE_TEXT in seen.text, seen.text  # the objects were really shown
    assert FUTURE_TEXT not in seen.text
    assert "refs: \n" in seen.text, seen.text
    assert "remotes:  reflog:" in seen.text, seen.text
    assert SECRET not in seen.text


@escape(
    "history",
    "objects of git, packed or not, anywhere in the sandbox",
    python("""
    import zlib
    found = packs = 0
    for folder, folders, names in os.walk("/"):
        folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/proc", "/sys", "/usr", "/opt/toolbox")]
        for name in names:
            path = Path(folder, name)
            if name.endswith((".pack", ".bundle")):
                packs += 1
                print("PACK", path)
            elif len(name) == 38 and len(Path(folder).name) == 2:
                data = zlib.decompress(path.read_bytes())
                found += 1
                print(data[:60])
            elif name == "alternates":
                print("alternates", path.read_text())
    print("objects", found, "packs", packs)
    """),
    timeout=60,
)
async def _(cell, seen):
    assert "packs 0" in seen.text, seen.text
    # a commit, its tree and two files; what other cases edited and had recorded comes on top
    assert int(seen.text.split("objects ")[1].split()[0]) >= 4, seen.text
    assert FUTURE_TEXT not in seen.text
    assert str(cell.outside.repository) not in seen.text
