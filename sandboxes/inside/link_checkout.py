"""Make a checkout that an image has a link to the workspace, which holds the repository from now on.

    python3 -I -c SOURCE FOLDER WORKSPACE [PATTERN...]

Packages that were installed as links into the checkout are linked to the workspace itself, so that a module's file has
the path under which all else knows it. The checkout goes, with its history; so do the files that match a PATTERN. What
was installed in /root, as such images are made by root and used by root, may be used by everybody.
"""

import os
import shutil
import sys
from pathlib import Path

PLACES = ("/opt", "/usr", "/root", "/home")
"""Where Python's packages may be."""
LINKS = ("*.pth", "*.egg-link", "__editable__*.py")
LARGEST = 1 << 20


def packages(place: str) -> list[Path]:
    """The folders of installed packages below a place."""
    found = []
    for folder, folders, _ in os.walk(place):
        for name in [name for name in folders if name in ("site-packages", "dist-packages")]:
            found.append(Path(folder) / name)
            folders.remove(name)
    return found


def relink(file: Path, old: bytes, new: bytes) -> None:
    if file.is_symlink() or not file.is_file() or file.stat().st_size > LARGEST:
        return
    text = file.read_bytes()
    if old in text:
        file.write_bytes(text.replace(old, new))


def main() -> None:
    folder, workspace, *patterns = sys.argv[1:]
    for place in PLACES:
        for found in packages(place):
            for pattern in LINKS:
                for file in found.glob(pattern):
                    relink(file, folder.encode(), workspace.encode())
    Path("/root").chmod(0o755)
    shutil.rmtree(folder)
    Path(folder).symlink_to(workspace)
    for pattern in patterns:
        for path in Path("/").glob(pattern.lstrip("/")):
            if path.is_symlink() or path.is_file():
                path.unlink()


if __name__ == "__main__":
    main()
