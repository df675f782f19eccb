"""Locks between processes and threads, by flock(2): the kernel frees them when their holder dies.

Of our own, as every write takes two: a lock of the package `filelock` took 130–180 µs, this 2–3.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avm.base.errors import RepositoryError

_SHORTEST_POLL = 0.0005
_LONGEST_POLL = 0.02


class Lock:
    """A lock that is held, until `release`. Its file stays, empty."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Let go; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            # A child that was forked meanwhile shares the lock: closing would not be enough.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)


def is_held(path: Path | str) -> bool:
    """Whether somebody holds the lock at `path` alone."""
    return not _could_take(path, fcntl.LOCK_SH)


def share(path: Path | str) -> Lock:
    """Hold the lock at `path` together with all others who share it; the caller releases it."""
    fd = _open(path)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return Lock(fd)


def is_shared(path: Path | str) -> bool:
    """Whether anybody holds the lock at `path`, alone or with others."""
    return not _could_take(path, fcntl.LOCK_EX)


def _could_take(path: Path | str, how: int) -> bool:
    """Whether the lock could be had in that way now; its file need not be there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


@contextmanager
def locked(path: Path | str, *, timeout: float = 30.0) -> Iterator[None]:
    """Hold the lock at `path`, waiting up to `timeout` seconds.

    Raises RepositoryError that names the lock if it is kept elsewhere all that time.
    """
    lock = try_lock(path, timeout)
    if lock is None:
        raise RepositoryError(f"another process has held {path} for {timeout:g} s")
    try:
        yield
    finally:
        lock.release()


def try_lock(path: Path | str, timeout: float = 0.0) -> Lock | None:
    """Take the lock at `path` if it is free within `timeout` seconds; the caller releases it. None
    if it is held."""
    lock = _take(path)
    return _wait(path, timeout) if lock is None and timeout else lock


def _take(path: Path | str) -> Lock | None:
    while True:
        fd = _open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        if os.fstat(fd).st_nlink:
            return Lock(fd)
        os.close(fd)  # removed between the two: whoever comes next locks another file


def _open(path: Path | str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o644)


def _wait(path: Path | str, timeout: float) -> Lock | None:
    deadline, pause = time.monotonic() + timeout, _SHORTEST_POLL
    while time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_POLL)
        if lock := _take(path):
            return lock
    return None
