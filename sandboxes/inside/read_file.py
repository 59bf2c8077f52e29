"""Write a regular file of at most LIMIT bytes to stdout: python3 -I -c SOURCE PATH LIMIT"""

import os
import stat
import sys

NOT_FOUND, TOO_LARGE, NOT_A_FILE = 44, 45, 46


def main() -> int:
    path, limit = sys.argv[1], int(sys.argv[2])
    try:
        # a fifo or a device must not keep us waiting
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return NOT_FOUND
    except OSError as error:
        print(error, file=sys.stderr)
        return NOT_A_FILE
    if not stat.S_ISREG(os.fstat(file).st_mode):
        return NOT_A_FILE
    with os.fdopen(file, "rb") as source:
        data = source.read(limit + 1)
    if len(data) > limit:
        return TOO_LARGE
    sys.stdout.buffer.write(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
