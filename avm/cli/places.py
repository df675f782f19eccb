"""PATH arguments: vault paths, paths relative to where the caller stands, paths of the system."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from typing import NamedTuple

from avm.base import paths
from avm.base.errors import UsageError


class MountPlace(NamedTuple):
    """A mount: where, of which vault, for whom."""

    mountpoint: str
    vault: str
    agent: str | None


class Place(NamedTuple):
    """The caller's folder, the mounts there are, and the one that the folder is in, if any."""

    folder: str
    mounts: tuple[MountPlace, ...]

    @property
    def mount(self) -> MountPlace | None:
        """The mount around the current folder."""
        return next((m for m in self.mounts if _below(self.folder, m.mountpoint) is not None), None)

    def rel(self, path: str, root: Path) -> str:
        """A PATH argument as a rel: a leading `/` is a vault path, unless it is a path of the
        system inside the vault or a mount of it; else it is relative to the current folder where
        that is inside one of them, else to the vault's root. Raises UsageError if it leads out.
        """
        tops = [str(root)] + [m.mountpoint for m in self.mounts if m.vault == str(root)]
        if path.startswith("/"):
            normal = posixpath.normpath(path)
            # The vault's root is known by its real path; the caller may have come through a link.
            above, last = posixpath.split(normal)
            for name in (normal, posixpath.join(os.path.realpath(above), last)):
                for top in tops:
                    below = _below(name, top)
                    if below is not None:
                        return paths.clean_rel(below)
            return paths.clean_rel(_normal(path))
        for top in tops:
            folder = _below(self.folder, top)
            if folder is not None:
                return paths.clean_rel(_normal(f"{folder}/{path}"))
        return paths.clean_rel(_normal(path))


def here() -> Place:
    """Where this process stands."""
    from avm.base.config import mount_registry

    try:
        folder = os.path.realpath(os.getcwd())
    except OSError:
        folder = "/"
    return Place(folder, _mounts(mount_registry()))


def _mounts(registry: Path) -> tuple[MountPlace, ...]:
    try:
        if not os.listdir(registry):
            return ()
    except OSError:
        return ()
    from avm.fuse.registry import read_all

    return tuple(
        MountPlace(str(entry.mountpoint), str(entry.vault), entry.agent)
        for entry in read_all(registry)
    )


def _normal(path: str) -> str:
    normal = posixpath.normpath(path.lstrip("/") or ".")
    if normal == ".." or normal.startswith("../"):
        raise UsageError(f"path {path!r} leads out of the vault")
    return "" if normal == "." else normal


def _below(path: str, top: str) -> str | None:
    if path == top:
        return ""
    return path[len(top) + 1 :] if path.startswith(top.rstrip("/") + "/") else None
