"""Locks between processes, through `filelock`: the kernel frees them when their holder dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from avm.base.errors import RepositoryError

if TYPE_CHECKING:
    from filelock import BaseFileLock


@contextmanager
def locked(path: Path, *, timeout: float = 30.0) -> Iterator[None]:
    """Hold the lock at `path`, waiting up to `timeout` seconds.

    Raises RepositoryError that names the lock if another process keeps it.
    """
    lock = _lock(path)
    from filelock import Timeout

    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise RepositoryError(f"another process has held {path} for {timeout:g} s") from None
    try:
        yield
    finally:
        lock.release()


def try_lock(path: Path) -> BaseFileLock | None:
    """Take the lock at `path` if it is free; the caller releases it. None if it is held."""
    lock = _lock(path)
    from filelock import Timeout

    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _lock(path: Path) -> BaseFileLock:
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, thread_local=False)
