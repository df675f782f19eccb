"""What to do when libfuse cannot mount: its words, and the way out."""

from __future__ import annotations

import re
from typing import Final

_INSTALL: Final = {
    "linux": (
        "install it: apt install fuse3 libfuse2 (Ubuntu 24.04 and later: libfuse2t64),"
        " or dnf install fuse fuse-libs;"
        " if it is installed, set FUSE_LIBRARY_PATH=libfuse.so.2"
    ),
    "darwin": "install macFUSE, or fuse-t with FUSE_LIBRARY_PATH=/usr/local/lib/libfuse-t.dylib",
}

_MACFUSE: Final = (
    "allow macFUSE in System Settings > Privacy & Security (Apple Silicon: Reduced Security,"
    " set in recovery), or use macFUSE 5 with backend=fskit below /Volumes, or fuse-t"
)

# Most telling first: libfuse often says two things, and the second only that it failed.
_HINTS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), hint)
    for pattern, hint in (
        (
            r"device not found|/dev/fuse.*no such (file|device)",
            "load the kernel module (modprobe fuse); in a container start it with"
            " --device /dev/fuse --cap-add SYS_ADMIN (and maybe"
            " --security-opt apparmor=unconfined)",
        ),
        (
            r"failed to open /dev/fuse: permission denied",
            "/dev/fuse must have mode 0666, or you must be in its group",
        ),
        (
            r"failed to exec fusermount|fusermount3?: (command )?not found",
            "install fuse3, which brings fusermount",
        ),
        (
            r"option allow_other only allowed",
            "leave allow_other out, or put user_allow_other into /etc/fuse.conf",
        ),
        (
            r"user has no write access to mountpoint",
            "the folder must belong to you",
        ),
        (
            r"mount failed: operation not permitted",
            "fusermount must be setuid root, and a container needs SYS_ADMIN",
        ),
        (
            r"unknown option",
            "the option belongs to another libfuse",
        ),
        (
            r"transport endpoint is not connected",
            "a mount there has lost its server: fusermount -uz removes it",
        ),
        (
            r"mountpoint is not empty",
            "choose an empty folder",
        ),
        (
            r"system extension|macfuse.*could not be loaded|mount_macfuse|not loaded",
            _MACFUSE,
        ),
    )
)


def no_libfuse(platform: str) -> str:
    """How to get libfuse on a `sys.platform`."""
    return _INSTALL.get(platform, _INSTALL["linux"])


def explain(words: str) -> str:
    """One line out of what libfuse wrote to stderr, with what to do about it if that is known."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    for pattern, hint in _HINTS:
        for line in lines:
            if pattern.search(line):
                return f"{line} ({hint})"
    return lines[-1] if lines else "libfuse gave no reason"
