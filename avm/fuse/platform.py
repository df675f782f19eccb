"""What differs between Linux and macOS about mounts and processes, behind one name: `here`."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

#: The name under which the mount table shows every AVM mount.
FSNAME: Final = "avm"

_COMMON: Final[dict[str, str | int | bool]] = {
    "fsname": FSNAME,
    "subtype": FSNAME,
    "use_ino": True,
    # Read-your-writes stands on these three: attributes are always asked for, a missing name is
    # never remembered. A name that was found may be: its attributes are still asked for.
    "attr_timeout": 0,
    "entry_timeout": 1,
    "negative_timeout": 0,
}


def options_for(platform: str, libfuse: int = 2) -> dict[str, str | int | bool]:
    """The mount options for a `sys.platform` value and libfuse's major version (2 or 3)."""
    options = dict(_COMMON)
    if platform == "darwin":
        options |= {
            "volname": "AVM",
            "noappledouble": True,
            "noapplexattr": True,
            "nobrowse": True,
        }
        return options
    options["auto_unmount"] = True
    if libfuse == 2:
        # libfuse 3 always does both and refuses the words.
        options |= {"big_writes": True, "atomic_o_trunc": True}
    return options


class Platform(Protocol):
    """One operating system."""

    #: As `sys.platform` says it.
    name: str
    #: What `stat` of a mount without its server fails with.
    stale_errnos: frozenset[int]
    #: What to answer to `open` of a name that the kernel remembers and that has gone.
    gone_errno: int

    def mountpoints(self) -> list[str]:
        """Where the mount table shows AVM mounts."""
        ...

    def unmount_command(self, mountpoint: str, *, force: bool) -> list[str]:
        """The command that unmounts; with `force` also while somebody is inside."""
        ...

    def process_token(self, pid: int) -> str | None:
        """What tells this process from a later one of the same number; None if it has ended."""
        ...

    def holders(self, mountpoint: str) -> list[str]:
        """The processes that keep a mount busy, for a person to read, as far as can be seen."""
        ...


class Linux:
    """Linux: fusermount and /proc."""

    name = "linux"
    # ECONNABORTED: in the first moments after the server was killed.
    stale_errnos = frozenset({errno.ENOTCONN, errno.ECONNABORTED})
    # The kernel then looks the name up again: an open that may create will create, and any other
    # fails with ENOENT. Told ENOENT it would fail both, while it remembers names for a second.
    gone_errno = errno.ESTALE

    def mountpoints(self) -> list[str]:
        """AVM mounts in /proc/self/mountinfo."""
        with open("/proc/self/mountinfo", "rb") as file:
            return parse_mountinfo(file.read())

    def unmount_command(self, mountpoint: str, *, force: bool) -> list[str]:
        """fusermount, which works for users; umount (as root) where it is missing."""
        import shutil

        tool = shutil.which("fusermount3") or shutil.which("fusermount")
        if tool:
            return [tool, "-uz" if force else "-u", mountpoint]
        return ["umount", *(["-l"] if force else []), mountpoint]

    def process_token(self, pid: int) -> str | None:
        """The start time in /proc/PID/stat, in clock ticks since boot."""
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                # The command's name, in brackets, may hold spaces and brackets.
                fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in b"ZX" else fields[19].decode()

    def holders(self, mountpoint: str) -> list[str]:
        """Processes with a working folder, root or open file inside."""
        inside = [p for p in os.listdir("/proc") if p.isdigit() and _is_inside(p, mountpoint)]
        if inside == [str(os.getpid())]:
            return ["this process"]
        found = []
        for pid in inside:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", "rb") as file:
                found.append(f"{os.fsdecode(file.read().strip())} (pid {pid})")
        return found


class Darwin:
    """macOS: umount and diskutil, by absolute path: a launchd or venv PATH often lacks /sbin."""

    name = "darwin"
    stale_errnos = frozenset({errno.ENOTCONN, errno.ENXIO, errno.EIO})
    gone_errno = errno.ENOENT

    def mountpoints(self) -> list[str]:
        """AVM mounts in what /sbin/mount prints."""
        return parse_mount_output(_output(["/sbin/mount"]))

    def unmount_command(self, mountpoint: str, *, force: bool) -> list[str]:
        """umount, and diskutil where it takes force."""
        if force:
            return ["/usr/sbin/diskutil", "unmount", "force", mountpoint]
        return ["/sbin/umount", mountpoint]

    def process_token(self, pid: int) -> str | None:
        """The start time as ps prints it."""
        command = ["/bin/ps", "-o", "state=,lstart=", "-p", str(pid)]
        words = _output(command).split()
        return None if not words or words[0][:1] == b"Z" else os.fsdecode(b" ".join(words[1:]))

    def holders(self, mountpoint: str) -> list[str]:
        """Not looked for: lsof would ask the mount itself."""
        return []


def parse_mountinfo(data: bytes) -> list[str]:
    """The mount points of AVM in the text of Linux's mountinfo."""
    found = []
    for line in data.splitlines():
        left, _, right = line.partition(b" - ")
        kind, _, rest = right.partition(b" ")
        if kind.startswith(b"fuse") and rest.split(b" ")[0] == FSNAME.encode():
            found.append(os.fsdecode(_OCTAL.sub(_unescape, left.split(b" ")[4])))
    return found


def parse_mount_output(data: bytes) -> list[str]:
    """The mount points of AVM in what macOS's /sbin/mount prints (macFUSE and fuse-t)."""
    return [os.fsdecode(match[1]) for match in _MACOS_LINE.finditer(data)]


_OCTAL = re.compile(rb"\\([0-7]{3})")
_MACOS_LINE = re.compile(rb"^(?:avm(?:@\S+)?|fuse-t:/avm) on (.+) \([^()\n]*\)$", re.MULTILINE)


def _unescape(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 8)])


def _output(command: list[str]) -> bytes:
    import subprocess  # every command of ours asks for the mounts, and seldom needs this

    return subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout


def _is_inside(pid: str, mountpoint: str) -> bool:
    inside = mountpoint.rstrip("/") + "/"
    # Reading these links asks the kernel only, never the mount.
    for link in _links(pid):
        with contextlib.suppress(OSError):
            if (os.readlink(link) + "/").startswith(inside):
                return True
    return False


def _links(pid: str) -> Iterator[str]:
    yield from (f"/proc/{pid}/cwd", f"/proc/{pid}/root")
    with contextlib.suppress(OSError):
        yield from (f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd"))


here: Final[Platform] = Darwin() if sys.platform == "darwin" else Linux()


def is_stale(path: Path) -> bool:
    """Whether a server is missing behind `path`. `exists` and `ismount` would only say False."""
    try:
        os.stat(path)
    except OSError as error:
        return error.errno in here.stale_errnos
    return False
