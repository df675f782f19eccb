"""Writing a file whole or not at all: temp file beside the target, then link or rename."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

from avm.base.paths import TEMP_PREFIX

_serial = itertools.count()


def write_new(target: Path, data: bytes, *, fsync: bool = False, dir_fd: int | None = None) -> None:
    """Create `target` with `data`; of two processes that race for one name, one wins.

    Raises FileExistsError if the name is taken, FileNotFoundError if the folder is missing. With
    `fsync` the bytes and the name survive a power cut. With `dir_fd` the target is a name in that
    folder, wherever that is by now.
    """
    temp = _write_temp(target, data, fsync, dir_fd)
    try:
        os.link(temp, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    finally:
        os.unlink(temp, dir_fd=dir_fd)
    if fsync:
        sync_folder(target.parent, dir_fd)


def replace(
    target: Path,
    data: bytes,
    *,
    fsync: bool = False,
    mode: int | None = None,
    dir_fd: int | None = None,
) -> None:
    """Put `data` in the place of `target`, which readers see old or new, never half.

    An existing file's permission bits are kept unless `mode` is given; `dir_fd` as in `write_new`.
    """
    if mode is None:
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(target, dir_fd=dir_fd).st_mode & 0o7777
    temp = _write_temp(target, data, fsync, dir_fd, mode)
    try:
        if mode is not None:
            os.chmod(temp, mode, dir_fd=dir_fd)
        os.replace(temp, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temp, dir_fd=dir_fd)
        raise
    if fsync:
        sync_folder(target.parent, dir_fd)


def sync_folder(folder: Path, dir_fd: int | None = None) -> None:
    """Make the names in `folder` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY, dir_fd=dir_fd)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_temp(
    target: Path, data: bytes, fsync: bool, dir_fd: int | None, mode: int | None = None
) -> Path:
    """With `mode` nobody may read it meanwhile who may not read the target."""
    temp = target.parent / f"{TEMP_PREFIX}{os.getpid()}-{next(_serial)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(temp, flags, 0o666 if mode is None else mode & 0o666, dir_fd=dir_fd)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if fsync:
            os.fsync(fd)
    except OSError:
        os.unlink(temp, dir_fd=dir_fd)
        raise
    finally:
        os.close(fd)
    return temp
