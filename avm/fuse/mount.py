"""Serving a tree at a mount point, in the foreground, until it is unmounted."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from avm.base.errors import MountError
from avm.fuse import binding as bindings
from avm.fuse.hints import explain
from avm.fuse.mounts import find_mount, repair
from avm.fuse.noise import without_noise
from avm.fuse.operations import Operations
from avm.fuse.platform import here
from avm.fuse.tree import Tree

#: libfuse 3's exit code when a signal ended it, which is a normal end.
_ENDED_BY_SIGNAL = 8


def serve(
    tree: Tree,
    mountpoint: Path,
    *,
    vault_root: Path,
    on_ready: Callable[[], None] = lambda: None,
    binding: bindings.Choice = "auto",
    options: Mapping[str, str | int | bool] | None = None,
    threads: bool = True,
    fast: bool = True,
) -> None:
    """Show `tree` at `mountpoint` and return when it has been unmounted or a signal came.

    `on_ready` is called, on another thread, when the kernel has accepted the mount. It must not ask
    the mount anything, its folder's attributes included: nothing is answered before it returns. If
    it raises, the mount ends and the error comes out here. `options` go over the standard ones
    (False takes one away); without `fast` every call takes the binding's own way. The tree is
    closed in the end in every case. SIGINT, SIGTERM and SIGHUP end the mount in good order; without
    `fast` they must have their default handlers, which libfuse puts its own in place of.

    Raises MountError: no libfuse, an unfit mount point, or the words of libfuse with a hint.
    """
    words = _CapturedStderr()
    ready = threading.Event()

    def accepted() -> None:
        words.replay()
        ready.set()
        on_ready()

    operations = Operations(without_noise(tree, here.name), accepted)
    with contextlib.closing(operations):
        loaded = bindings.load(binding)
        point = prepare(mountpoint, vault_root)
        chosen = {**loaded.options(), **(options or {})}
        words.begin()
        try:
            code = loaded.run(operations, str(point), chosen, threads=threads, fast=fast)
        finally:
            text = words.end()
    if not ready.is_set():
        raise MountError(f"cannot mount at {mountpoint}: {explain(text)}")
    if code and not (loaded.libfuse == 3 and code == _ENDED_BY_SIGNAL):
        raise MountError(f"the mount at {mountpoint} broke off (libfuse: {code})")


def prepare(mountpoint: Path, vault_root: Path) -> Path:
    """Make `mountpoint` fit to mount on; its real path.

    A missing folder is made, a stale AVM mount is removed. Raises MountError for a file, a folder
    that is not empty or holds a mount, and one inside, over or around the vault.
    """
    repair(mountpoint)
    if find_mount(mountpoint) is not None:
        raise MountError(f"{mountpoint} is mounted already: avm unmount {mountpoint}")
    point, vault = os.path.realpath(mountpoint), os.path.realpath(vault_root)
    # The server would ask itself and wait for its own answer.
    if _is_within(point, vault):
        raise MountError(f"{mountpoint} is inside the vault {vault_root}: choose a folder outside")
    if _is_within(vault, point):
        raise MountError(f"{mountpoint} holds the vault {vault_root}: choose a folder outside")
    try:
        os.makedirs(point, exist_ok=True)
        with os.scandir(point) as entries:
            empty = next(entries, None) is None
    except (FileExistsError, NotADirectoryError):
        raise MountError(f"{mountpoint} is not a folder") from None
    except OSError as error:
        if error.errno in here.stale_errnos:
            raise MountError(
                f"another program's mount at {mountpoint} has lost its server"
            ) from None
        raise MountError(f"cannot use {mountpoint}: {error.strerror}") from None
    if not empty:
        raise MountError(f"{mountpoint} is not empty: choose an empty folder")
    return Path(point)


def _is_within(path: str, folder: str) -> bool:
    """Whether `path` (which need not exist) is `folder` or below it, under any of its names."""
    try:
        wanted = os.stat(folder)
    except OSError:
        return path == folder
    while True:
        # By identity: a bind mount or another letter case gives one folder two paths.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(path), wanted):
                return True
        parent = os.path.dirname(path)
        if parent == path:
            return False
        path = parent


class _CapturedStderr:
    """File descriptor 2 put aside, from `begin` to `replay` or `end`.

    libfuse and fusermount say only there why they cannot mount.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._saved: int | None = None
        self._file = -1

    def begin(self) -> None:
        """Send what is written to it into a nameless file."""
        with contextlib.suppress(ValueError, OSError, AttributeError):
            sys.stderr.flush()
        with self._lock, tempfile.TemporaryFile() as file:
            try:
                self._saved = os.dup(2)
            except OSError:  # closed: nobody listens
                return
            self._file = os.dup(file.fileno())
            os.dup2(self._file, 2)

    def end(self) -> str:
        """Put it back; what was written since `begin`, "" if that was told already."""
        with self._lock:
            if self._saved is None:
                return ""
            os.dup2(self._saved, 2)
            os.close(self._saved)
            self._saved = None
            size = os.fstat(self._file).st_size
            data = os.pread(self._file, size, 0)
            os.close(self._file)
            return os.fsdecode(data)

    def replay(self) -> None:
        """Put it back and write there what was meant for it."""
        text = self.end()
        if text:
            with contextlib.suppress(OSError):
                os.write(2, os.fsencode(text))
