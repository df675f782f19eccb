"""Who serves which mount: one small JSON file a mount, beside nothing that matters.

The mount table is the truth about mounts; this adds what it does not know. A file's name holds the
mount point's hash and the server's number, so that two servers never write the same one.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from avm.base import atomic
from avm.fuse.platform import here, is_stale


class Registration(NamedTuple):
    """A mount and its server. `started` in seconds since the epoch; agent None is the owner."""

    mountpoint: Path
    vault: Path
    agent: str | None
    pid: int
    started: float
    #: Tells the server from a later process of the same number.
    token: str
    #: The server has died and its mount is still there.
    stale: bool = False

    def running(self) -> bool:
        """Whether the server has not ended."""
        return here.process_token(self.pid) == self.token


def register(
    registry_dir: Path,
    *,
    mountpoint: Path,
    vault: Path,
    agent: str | None,
    started: float,
    pid: int | None = None,
) -> None:
    """Note that process `pid` (default: this one) serves `vault` at `mountpoint`.

    `mountpoint` is the real path, as `mount.prepare` returns it: it is not looked up here, because
    `on_ready` would wait for itself. Raises OSError.
    """
    pid = os.getpid() if pid is None else pid
    registry_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    facts = {
        "mountpoint": str(mountpoint),
        "vault": str(vault),
        "agent": agent,
        "pid": pid,
        "started": started,
        "token": here.process_token(pid) or "",
    }
    # Escaped to ASCII, so that a name that is no UTF-8 survives.
    atomic.replace(_file(registry_dir, mountpoint, pid), json.dumps(facts).encode() + b"\n")


def forget(registry_dir: Path, *, mountpoint: Path, pid: int | None = None) -> None:
    """Remove the note of process `pid` (default: this one); nothing happens if it is gone."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_file(registry_dir, mountpoint, os.getpid() if pid is None else pid))


def read_all(registry_dir: Path) -> list[Registration]:
    """What is registered, by mount point. Notes of mounts that are gone are removed on the way."""
    files = _files(registry_dir)
    points = set(here.mountpoints()) if files else set()
    found = []
    for file in files:
        entry = _read(file)
        if entry is not None and str(entry.mountpoint) in points:
            if entry.running():
                found.append(entry)
                continue
            if is_stale(entry.mountpoint):
                found.append(entry._replace(stale=True))
                continue
        elif entry is not None and entry.running():
            # Detached, and still serving those who hold it; or just before its mount.
            continue
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file)
    return sorted(found, key=lambda entry: (str(entry.mountpoint), entry.started))


def server_of(registry_dir: Path, mountpoint: str) -> Registration | None:
    """The newest running server of `mountpoint` (a real path), without touching the mount."""
    entries = filter(None, map(_read, _files(registry_dir)))
    mine = [e for e in entries if str(e.mountpoint) == mountpoint and e.running()]
    return max(mine, key=lambda entry: entry.started, default=None)


def _files(registry_dir: Path) -> list[Path]:
    return sorted(registry_dir.glob("*.json"))


def _file(registry_dir: Path, mountpoint: Path, pid: int) -> Path:
    import hashlib

    name = hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:16]
    return registry_dir / f"{name}-{pid}.json"


def _read(file: Path) -> Registration | None:
    try:
        facts = json.loads(file.read_bytes())
        return Registration(
            mountpoint=Path(facts["mountpoint"]),
            vault=Path(facts["vault"]),
            agent=None if facts["agent"] is None else str(facts["agent"]),
            pid=int(facts["pid"]),
            started=float(facts["started"]),
            token=str(facts["token"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        # Only a cache: a damaged note is as good as none, and read_all removes it.
        return None
