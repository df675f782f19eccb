"""utimensat(2) with UTIME_NOW and UTIME_OMIT, which `os.utime` cannot say."""

from __future__ import annotations

import ctypes
import os

UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2
_AT_SYMLINK_NOFOLLOW = 0x100
_BILLION = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


def set_times(rel: str, atime_ns: int, mtime_ns: int, *, dir_fd: int) -> None:
    """Set the times of `rel`, nanoseconds or one of the two constants. Raises OSError."""
    if UTIME_NOW not in (atime_ns, mtime_ns) and UTIME_OMIT not in (atime_ns, mtime_ns):
        os.utime(rel or ".", ns=(atime_ns, mtime_ns), dir_fd=dir_fd, follow_symlinks=False)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    times = (_Timespec * 2)(_timespec(atime_ns), _timespec(mtime_ns))
    name = os.fsencode(rel or ".")
    if libc.utimensat(dir_fd, name, times, _AT_SYMLINK_NOFOLLOW) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), rel)


def _timespec(value: int) -> _Timespec:
    if value in (UTIME_NOW, UTIME_OMIT):
        return _Timespec(0, value)
    return _Timespec(value // _BILLION, value % _BILLION)
