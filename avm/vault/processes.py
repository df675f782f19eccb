"""The person's own git commands that are running in a work tree at this moment.

`git commit` reads HEAD first and moves the branch last, and between the two lies its editor: a
commit of ours meanwhile would make it fail. It holds no lock all that time, so its process is what
tells.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterable
from pathlib import Path

#: The commands that move a branch or rewrite the index and the work tree.
_MUTATING = frozenset((
    "add", "am", "apply", "bisect", "checkout", "cherry-pick", "clean", "commit", "merge", "mv",
    "pull", "rebase", "reset", "restore", "revert", "rm", "stash", "switch",
))  # fmt: skip
#: Those that put other text into files: what is written meanwhile is written over.
_REWRITING = _MUTATING - {"add", "clean", "commit", "mv", "rm"}
_POLL_SECONDS = 0.005
#: A process may become git after its start: between fork and exec it bears its parent's name.
_YOUNG_SECONDS = 1.0
#: How long the list of processes counts, with those that the kernel has numbered since.
_LISTED_SECONDS = 1.0
_MOST_BEGUN = 50
#: The kernel's unit of a process's start, in one second.
_TICKS = os.sysconf("SC_CLK_TCK")
#: The clock that it is told by.
_SINCE_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
#: Options before the command's name that take the next word with them.
_WITH_VALUE = frozenset(("-C", "-c", "--git-dir", "--work-tree", "--namespace", "--exec-path"))


class GitWatch:
    """Finds running git commands of a work tree; keeps in mind which processes are none."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._outlasted: str | None = None  # the command that was waited for long enough
        self._others: set[str] = set()  # processes that are no git and too old to become it
        self._watched: list[str] = []  # those that are git, and those that may become it
        self._guard = threading.Lock()
        self._listed_at = -_LISTED_SECONDS
        self._newest = 0  # the process that was begun last when they were looked at

    def running(self) -> str | None:
        """`git commit (process 4711)` for one that runs, None if there is none to be seen."""
        return self._find(_MUTATING)

    def rewriting(self) -> str | None:
        """The same for a command that writes over files in the work tree."""
        return self._find(_REWRITING)

    def wait(self, seconds: float) -> None:
        """Wait until none is seen that writes over files, for so long at most; not again for one
        that outlasted it: its editor is open, and writers would queue behind each other's waits."""
        deadline = time.monotonic() + seconds
        while (found := self.rewriting()) and found != self._outlasted:
            if time.monotonic() >= deadline:
                self._outlasted = found
                return
            time.sleep(_POLL_SECONDS)

    def _find(self, commands: Collection[str]) -> str | None:
        if not os.path.isdir("/proc/self"):
            return self._from_ps(commands)
        with self._guard:
            return self._in_proc(commands)

    def _in_proc(self, commands: Collection[str]) -> str | None:
        newest = _newest_process()
        looked_at = self._candidates(newest)
        oldest = time.clock_gettime(_SINCE_BOOT) - _YOUNG_SECONDS
        self._watched = []
        self._newest = newest
        found = None
        for pid in looked_at:
            name, begun = _name_and_start(pid)
            # One without a name has gone, or is not to be seen yet: that shows the next time.
            if name and name != b"git" and begun < oldest:
                self._others.add(pid)
                continue
            self._watched.append(pid)
            if name != b"git" or found is not None:
                continue
            if (command := _command(_arguments(pid))) in commands and self._is_here(pid):
                found = f"git {command} (process {pid})"
        return found

    def _candidates(self, newest: int) -> list[str]:
        """The processes to look at. To list /proc takes longer than all else that a write does, so
        it is done when their numbers do not tell which are new.
        """
        now, begun = time.monotonic(), newest - self._newest
        if now - self._listed_at < _LISTED_SECONDS and 0 <= begun < _MOST_BEGUN:
            new = map(str, range(self._newest + 1, newest + 1))
            return [*self._watched, *new]
        self._listed_at = now
        listed = set(filter(str.isdigit, os.listdir("/proc")))
        self._others &= listed
        return list(listed - self._others)

    def _is_here(self, pid: str) -> bool:
        try:
            folder = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            return False
        return folder == self._root or folder.startswith(self._root + "/")

    def _from_ps(self, commands: Collection[str]) -> str | None:
        """Without /proc nobody tells where a process works: any git command counts."""
        import subprocess

        command = ("ps", "-x", "-o", "pid=,command=")
        listed = subprocess.run(command, capture_output=True, check=False).stdout
        for line in listed.decode("utf-8", "replace").splitlines():
            pid, _, words = line.strip().partition(" ")
            name, *rest = words.split() or [""]
            if os.path.basename(name) == "git" and (found := _command(rest)) in commands:
                return f"git {found} (process {pid})"
        return None


def _newest_process() -> int:
    """The number that the kernel gave last; 0 where it does not say."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().rsplit(maxsplit=1)[-1])
    except (OSError, ValueError, IndexError):
        return 0


def _name_and_start(pid: str) -> tuple[bytes, float]:
    """A process's name, and when it began in seconds since boot; of one that has gone b"" and 0."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            # The name, in brackets, may hold brackets and blanks.
            before, _, after = file.read(1024).rpartition(b")")
    except OSError:
        return b"", 0.0
    return before.partition(b"(")[2], int(after.split()[19]) / _TICKS


def _arguments(pid: str) -> list[str]:
    """What stands behind the program's name in its command line; empty if it has gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode("utf-8", "replace").split("\0")[1:-1]
    except OSError:
        return []


def _command(words: Iterable[str]) -> str:
    """The command among git's arguments; the empty string if there is none."""
    rest = iter(words)
    for word in rest:
        if word in _WITH_VALUE:
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return ""
