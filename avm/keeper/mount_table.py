"""Whether something was mounted in the vault, or unmounted: no watch on a folder tells."""

from __future__ import annotations

import contextlib
import os
import re
import select
from pathlib import Path

_TABLE = "/proc/self/mountinfo"


class MountTable:
    """The mounts at and below one folder. Where the system has no such table, nothing changes."""

    def __init__(self, root: Path) -> None:
        # proc(5): blanks, tabs, newlines and backslashes are written as octal numbers.
        self._inside = re.sub(
            rb"[ \t\n\\]", lambda match: b"\\%03o" % ord(match[0]), os.fsencode(root)
        )
        self._poll = select.poll()
        try:
            self._fd = os.open(_TABLE, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1
            return
        self._poll.register(self._fd, select.POLLERR | select.POLLPRI)
        self._mounts = self._read()

    def changed(self) -> bool:
        """Whether it is another since the last time this was asked."""
        if self._fd < 0 or not self._poll.poll(0):  # proc(5): POLLPRI when mounts change
            return False
        before, self._mounts = self._mounts, self._read()
        return self._mounts != before

    def close(self) -> None:
        """Let go of the table."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> list[bytes]:
        with contextlib.suppress(OSError), open(_TABLE, "rb") as table:
            lines = table.read().splitlines()
            return [line for line in lines if line.split(b" ", 5)[4].startswith(self._inside)]
        return []
