"""The C library's heap, in a program that stays."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

#: glibc's numbers (malloc.h): from which size on a piece is mapped by itself, the most heaps.
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
#: Above all that libfuse asks for at each call.
_LARGE_BYTES: Final = 256 * 1024


def keep_small() -> None:
    """Where the C library is glibc: have it give back what is not in use. Call it before threads
    are started.

    One heap for all of them: between what lies there for long each one's own would keep room that
    no other thread may use, and Python's lock lets one at a time allocate anyway. And what is large
    gets room of its own: glibc would give that up for any size, up to 32 MB, that was freed once,
    and small pieces that stay then come to lie where the large ones were.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, 1)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
