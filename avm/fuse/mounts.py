"""The AVM mounts of this machine: finding, repairing and removing them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avm.base.errors import MountError
from avm.fuse import registry
from avm.fuse.platform import here, is_stale

__all__ = ["MountEntry", "find_mount", "find_mounts", "is_stale", "repair", "unmount", "wait_until"]

_POLL_SECONDS = 0.02
#: How long a detached mount may take to end before it is left to those who hold it.
_GRACE_SECONDS = 1.0
_COMMAND_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class MountEntry:
    """A mount in the system's table. `stale`: its server has died."""

    mountpoint: Path
    stale: bool


def find_mounts() -> list[MountEntry]:
    """Every AVM mount in the system's table, stale ones too."""
    return [MountEntry(Path(point), is_stale(Path(point))) for point in here.mountpoints()]


def find_mount(path: Path) -> MountEntry | None:
    """The AVM mount at exactly `path`, by whatever links it is reached."""
    point = _listed_as(path)
    return None if point is None else MountEntry(Path(point), is_stale(Path(point)))


def repair(path: Path) -> bool:
    """Remove a stale AVM mount at `path`; False if there is none. Raises MountError."""
    entry = find_mount(path)
    # auto_unmount's helper may be doing the same at this moment.
    if entry is None or not entry.stale:
        return False
    point = str(entry.mountpoint)
    said = _run(here.unmount_command(point, force=False))
    if point in here.mountpoints():
        said = _run(here.unmount_command(point, force=True)) or said
    if not wait_until(lambda: point not in here.mountpoints(), _GRACE_SECONDS):
        raise MountError(f"the mount at {path} has lost its server and cannot be removed: {said}")
    return True


def unmount(
    path: Path, *, registry_dir: Path | None = None, timeout: float = 10.0, end: bool = False
) -> str:
    """Unmount the AVM mount at `path` and wait until its server has ended, `timeout` seconds.

    The server is known from the registry; its last writes are committed when it has ended. A busy
    mount is detached: it vanishes from the folder, and its server lives on until those who hold it
    let go; with `end` it is told to end all the same. Returns a line that says what happened.
    Raises MountError if there is no AVM mount, if it cannot be removed, or if its server has not
    ended in time.
    """
    entry = find_mount(path)
    if entry is None:
        raise MountError(f"{path} is not an AVM mount")
    point, deadline = str(entry.mountpoint), time.monotonic() + timeout
    server = registry.server_of(registry_dir, point) if registry_dir else None
    holders = _detach(path, point, timeout)
    patience = deadline - time.monotonic()
    if holders is not None and not end:
        patience = min(patience, _GRACE_SECONDS)
    elif holders is not None and server is not None and server.running():
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGTERM)
    ended = server is None or wait_until(lambda: not server.running(), patience)
    if server is not None and registry_dir is not None and ended:
        registry.forget(registry_dir, mountpoint=entry.mountpoint, pid=server.pid)
    if server is not None and not ended and (holders is None or end):
        raise MountError(f"{path} is unmounted, but its server (pid {server.pid}) still works")
    if holders is None:
        return f"unmounted {path}"
    by = ", ".join(holders) or "a process that cannot be seen"
    left = f"; its server (pid {server.pid}) ends when they let go" if server and not ended else ""
    return f"{path} was in use by {by}: detached{left}"


def _detach(path: Path, point: str, timeout: float) -> list[str] | None:
    """Take the mount out of the table; who held it if that had to be forced, else None."""
    holders = None
    said = _run(here.unmount_command(point, force=False))
    if said and point in here.mountpoints():
        holders = here.holders(point)
        said = _run(here.unmount_command(point, force=True)) or said
    if not wait_until(lambda: point not in here.mountpoints(), timeout):
        raise MountError(f"cannot unmount {path}: {said or 'it stays in the mount table'}")
    return holders


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Ask `condition` until it holds, at least once, for up to `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _listed_as(path: Path) -> str | None:
    points = here.mountpoints()
    absolute = os.path.abspath(path)
    # A stale or hung mount must not be asked, so the last name is resolved only if need be.
    beside = os.path.join(os.path.realpath(os.path.dirname(absolute)), os.path.basename(absolute))
    if beside in points:
        return beside
    real = os.path.realpath(absolute)
    return real if real in points else None


def _run(command: list[str]) -> str:
    """Run it and return "" if it succeeded, else the last line of what it said."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not answer"
    if done.returncode == 0:
        return ""
    lines = os.fsdecode(done.stdout).strip().splitlines()
    return lines[-1] if lines else f"{command[0]} ended with status {done.returncode}"
