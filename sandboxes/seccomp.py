"""The system call filter of a bubblewrap sandbox, as the kernel takes it.

It refuses what Docker's default profile refuses to a container without capabilities: mounts, namespaces, modules of
the kernel, keys, BPF, performance counters, io_uring, user faults, typing into a terminal, sockets to the hypervisor.
Docker names what is allowed, this names what is not: a call that a new kernel adds passes until it stands in the list.
"""

from __future__ import annotations

import platform
import struct

# name -> (x86_64, aarch64); None where the architecture has no such call
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "_sysctl": (156, None), "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "chroot": (161, 51),
    "clock_adjtime": (305, 266), "clock_settime": (227, 112), "create_module": (174, None),
    "delete_module": (176, 106), "fanotify_init": (300, 262), "finit_module": (313, 273), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433), "get_kernel_syms": (177, None),
    "get_mempolicy": (239, 236), "init_module": (175, 105), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioperm": (173, None), "iopl": (172, None),
    "kcmp": (312, 272), "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219),
    "lookup_dcookie": (212, 18), "mbind": (237, 235), "migrate_pages": (256, 238), "mount": (165, 40),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "move_pages": (279, 239), "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265), "open_tree": (428, 428), "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241), "pivot_root": (155, 41), "query_module": (178, None), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "reboot": (169, 142), "request_key": (249, 218), "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450), "setdomainname": (171, 162), "sethostname": (170, 161),
    "setns": (308, 268), "settimeofday": (164, 170), "swapoff": (168, 225), "swapon": (167, 224),
    "sysfs": (139, None), "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97), "uselib": (134, None),
    "userfaultfd": (323, 282), "ustat": (136, None), "vhangup": (153, 58), "vserver": (236, None),
}  # fmt: skip
_CLONE, _CLONE3, _IOCTL, _PERSONALITY, _SOCKET = (56, 220), (435, 435), (16, 29), (135, 92), (41, 198)
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of the numbers above, and the kernel's name of the architecture."""

_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_TYPING = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)  # those that Docker allows
_VSOCK = 40  # its address family is not bound to a network namespace
_X32 = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _EPERM, _ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data; an argument has eight bytes, the lower four first on these machines."""


def supported() -> bool:
    """Whether the filter is known for this machine."""
    return platform.machine() in _MACHINES


def program(machine: str = "") -> bytes:
    """The filter as an array of struct sock_filter. Raises KeyError for a machine that is not supported."""
    column, architecture = _MACHINES[machine or platform.machine()]
    code = bytearray()

    def add(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> None:
        code.extend(struct.pack("=HBBI", operation, if_true, if_false, value))

    def refuse(number: int, answer: int) -> None:
        add(_EQUAL, number, 0, 1)
        add(_RETURN, answer)

    def refuse_by_argument(number: int, argument: int, test: int, values: tuple[int, ...]) -> None:
        """Refuse calls whose argument meets the test with one of the values, and allow the others."""
        add(_EQUAL, number, 0, 2 * len(values) + 2)
        add(_LOAD, _ARGUMENTS + 8 * argument)
        for value in values:
            add(test, value, 0, 1)
            add(_RETURN, _EPERM)
        add(_RETURN, _ALLOW)

    add(_LOAD, _ARCHITECTURE)
    add(_EQUAL, architecture, 1, 0)
    add(_RETURN, _KILL)
    add(_LOAD, _NUMBER)
    if column == 0:
        add(_AT_LEAST, _X32, 0, 1)
        add(_RETURN, _ENOSYS)
    for numbers in _REFUSED.values():
        if (number := numbers[column]) is not None:
            refuse(number, _EPERM)
    refuse(
        _CLONE3[column], _ENOSYS
    )  # its flags are in memory, where no filter can look; libc then uses clone
    refuse_by_argument(_CLONE[column], 0, _ANY_BIT, (_NAMESPACES,))
    refuse_by_argument(_IOCTL[column], 1, _EQUAL, _TYPING)
    refuse_by_argument(_SOCKET[column], 0, _EQUAL, (_VSOCK,))
    add(_EQUAL, _PERSONALITY[column], 0, len(_PERSONALITIES) + 3)
    add(_LOAD, _ARGUMENTS)
    for place, value in enumerate(_PERSONALITIES):
        add(_EQUAL, value, len(_PERSONALITIES) - place, 0)
    add(_RETURN, _EPERM)
    add(_RETURN, _ALLOW)
    add(_RETURN, _ALLOW)
    return bytes(code)
