"""fusepy's hottest calls by a shorter way: `Fast` goes before its FUSE class in the method order.

What is saved: a stat is packed at once instead of attribute by attribute, what is read and written
is not copied, names are decoded without a codec of ours, and no name of an operation is looked up.
Each method answers as fusepy's of the same name does; without `Fast` all of them are fusepy's.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from operator import itemgetter
from typing import Any, Final

from avm.fuse.operations import Operations
from avm.overlay.attributes import Attributes

_BILLION: Final = 1_000_000_000
_UNSIGNED: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}
_PLAIN: Final = Attributes._fields[:-3]
_TIMES: Final = ("st_atimespec", "st_mtimespec", "st_ctimespec")
#: A view of memory. A ctypes array would need a new type for each size, which takes ten times as
#: long, and lies about until the garbage collector comes by.
_memory_at: Final = ctypes.pythonapi.PyMemoryView_FromMemory
_memory_at.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
_memory_at.restype = ctypes.py_object
_WRITABLE: Final = 0x200  # PyBUF_WRITE
_NOTHING: Final = memoryview(b"")


class StatLayout:
    """How the C library's `struct stat` lies in memory, taken from the binding's own definition."""

    def __init__(self, structure: type[ctypes.Structure]) -> None:
        """`structure` has fields of `_PLAIN`'s and `_TIMES`' names; others stay zero."""
        #: (offset, code of `struct`, place in what `pack` gathers)
        places: list[tuple[int, str, int]] = []
        for index, name in enumerate(_PLAIN):
            field: Any = getattr(structure, name)
            places.append((field.offset, _UNSIGNED[field.size], index))
        for index, name in enumerate(_TIMES):
            field = getattr(structure, name)
            half = field.size // 2
            first = len(_PLAIN) + 2 * index
            places += [(field.offset, "q", first), (field.offset + half, "q", first + 1)]
        places.sort()
        code, end = "=", 0
        for offset, letter, _ in places:
            code += f"{offset - end}x{letter}"
            end = offset + struct.calcsize(f"={letter}")
        self.size = ctypes.sizeof(structure)
        self._struct = struct.Struct(f"{code}{self.size - end}x")
        self._order = itemgetter(*(index for _, _, index in places))

    def pack(self, attributes: Attributes) -> bytes:
        """The bytes of the structure, `size` many."""
        *plain, accessed, modified, changed = attributes
        times = (
            accessed // _BILLION, accessed % _BILLION,
            modified // _BILLION, modified % _BILLION,
            changed // _BILLION, changed % _BILLION,
        )  # fmt: skip
        return self._struct.pack(*self._order((*plain, *times)))


def is_known(platform: str = sys.platform) -> bool:
    """Whether a field of `struct stat` holds every value it may get: 64-bit Linux."""
    return platform == "linux" and ctypes.sizeof(ctypes.c_void_p) == 8


class Fast:
    """The methods that libfuse calls most. `direct` and `layout` are set by the class built on it;
    `stat_type` is the binding's structure."""

    direct: Operations
    layout: StatLayout
    stat_type: type[ctypes.Structure]

    def getattr(self, path: bytes, buffer: Any) -> int:
        """lstat."""
        found = self.direct.attributes(_text(path))
        ctypes.memmove(buffer, self.layout.pack(found), self.layout.size)
        return 0

    def fgetattr(self, path: bytes | None, buffer: Any, info: Any) -> int:
        """fstat."""
        found = self.direct.attributes_of(info.contents)
        ctypes.memmove(buffer, self.layout.pack(found), self.layout.size)
        return 0

    def open(self, path: bytes, info: Any) -> int:
        """Open what is there."""
        return self.direct.open(_text(path), info.contents)

    def create(self, path: bytes, mode: int, info: Any) -> int:
        """Create and open."""
        return self.direct.create(_text(path), mode, info.contents)

    def read(self, path: bytes | None, buffer: Any, size: int, offset: int, info: Any) -> int:
        """Read into libfuse's own buffer."""
        return self.direct.read_into(_memory(buffer, size), offset, info.contents)

    def write(self, path: bytes | None, buffer: Any, size: int, offset: int, info: Any) -> int:
        """Write out of libfuse's own buffer."""
        return self.direct.write(None, _memory(buffer, size), offset, info.contents)

    def release(self, path: bytes | None, info: Any) -> None:
        """Close."""
        self.direct.release(None, info.contents)

    def unlink(self, path: bytes) -> None:
        """Remove a name."""
        self.direct.unlink(_text(path))

    def readdir(self, path: bytes | None, buffer: Any, filler: Any, offset: int, info: Any) -> int:
        """List: type and inode are all that is used of a stat here."""
        entry: Any = self.stat_type()
        for dots in (b".", b".."):
            filler(buffer, dots, None, 0)
        for name, entry.st_ino, entry.st_mode in self.direct.entries(info.contents.fh):
            if filler(buffer, name.encode("utf-8", "surrogateescape"), entry, 0):
                break
        return 0


def _text(path: bytes) -> str:
    """A path as the tree takes it: each byte that is no UTF-8 kept."""
    return path.decode("utf-8", "surrogateescape")


def _memory(buffer: Any, size: int) -> memoryview:
    """The `size` bytes at a ctypes pointer; they are libfuse's after the call."""
    return _memory_at(ctypes.addressof(buffer.contents), size, _WRITABLE) if size else _NOTHING
