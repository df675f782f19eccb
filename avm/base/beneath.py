"""Opening files where a symbolic link leads nowhere, not even one that is put in the way just now.

To look at each name and then open the path is not enough: in between an agent can put a link to
another's folder where its own folder was. Nor is O_NOFOLLOW, which is about the last name alone.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Any

_OPENAT2 = 437  # the same number on every machine
_AT_FDCWD = -100
_NO_SYMLINKS = 0x04
#: What a kernel answers that has no openat2 (before 5.6), and what some sandboxes answer.
_MISSING = (errno.ENOSYS, errno.EPERM)
#: On macOS this flag of `open` says the same.
_NOFOLLOW_ANY: int = getattr(os, "O_NOFOLLOW_ANY", 0)
_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Opening = Callable[[str, int, int | None], int]


def open_without_links(place: str, flags: int, dir_fd: int | None = None) -> int:
    """Open what is there, as `os.open`; a symbolic link anywhere in `place` is ELOOP. With O_PATH
    and O_NOFOLLOW the last name may be one. Makes nothing. Raises OSError."""
    if _NOFOLLOW_ANY:
        return os.open(place, flags | _NOFOLLOW_ANY, dir_fd=dir_fd)
    return _opening()(place, flags, dir_fd)


@functools.cache
def _opening() -> Opening:
    """How it is done on this machine."""
    if sys.platform == "linux":
        by_kernel = _by_kernel()
        try:
            os.close(by_kernel("/", os.O_RDONLY | os.O_DIRECTORY, None))
        except OSError as err:
            if err.errno not in _MISSING:
                raise
        else:
            return by_kernel
    return step_by_step


def _by_kernel() -> Opening:
    """By openat2, which Python has no function for."""
    import ctypes

    class How(ctypes.Structure):
        _fields_ = [
            ("flags", ctypes.c_uint64),
            ("mode", ctypes.c_uint64),
            ("resolve", ctypes.c_uint64),
        ]

    call: Any = ctypes.CDLL(None, use_errno=True).syscall
    pointer, size = ctypes.POINTER(How), ctypes.sizeof(How)
    hows: dict[int, How] = {}  # to make one takes half as long as the call
    call.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, pointer, ctypes.c_size_t)
    call.restype = ctypes.c_long

    def opened(place: str, flags: int, dir_fd: int | None) -> int:
        if "\0" in place:
            raise ValueError("embedded null byte")
        start = _AT_FDCWD if dir_fd is None else dir_fd
        how = hows.get(flags)
        if how is None:
            how = hows[flags] = How(flags | os.O_CLOEXEC, 0, _NO_SYMLINKS)
        while True:
            fd = int(call(_OPENAT2, start, os.fsencode(place), how, size))
            if fd >= 0:
                return fd
            number = ctypes.get_errno()
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number), place)

    return opened


def step_by_step(place: str, flags: int, dir_fd: int | None) -> int:
    """The same where no call does it: folder by folder."""
    *folders, name = place.split("/")
    with contextlib.ExitStack() as opened:
        for number, folder in enumerate(folders):
            if number == 0 and folder == "":
                folder = "/"
            dir_fd = _step(folder, _STEP, dir_fd)
            opened.callback(os.close, dir_fd)
        return _step(name or ".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd)


def _step(name: str, flags: int, dir_fd: int | None) -> int:
    try:
        return os.open(name, flags, dir_fd=dir_fd)
    except NotADirectoryError:
        try:
            os.readlink(name, dir_fd=dir_fd)
        except OSError:
            pass
        else:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
        raise
