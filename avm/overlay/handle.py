"""Open files of the overlay: a descriptor of a real file, or the text of a virtual node."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Protocol

from avm.overlay.attributes import Attributes


class Handle(Protocol):
    """An open file. Every method raises OSError with an errno."""

    #: Whether the content is made at open: readers must bypass the page cache.
    virtual: bool

    def attributes(self) -> Attributes:
        """What `fstat` says."""
        ...

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`."""
        ...

    def read_into(self, memory: memoryview, offset: int) -> int:
        """Read from `offset` into `memory`, as much as there is; the number of bytes."""
        ...

    def write(self, data: bytes | memoryview, offset: int) -> int:
        """Write all of `data` at `offset` (at the end under O_APPEND); the bytes written."""
        ...

    def truncate(self, size: int) -> None:
        """Cut or extend to `size` bytes."""
        ...

    def fsync(self, data_only: bool) -> None:
        """Put what was written on disk."""
        ...

    def release(self) -> None:
        """Close; called once."""
        ...


class RealHandle:
    """A descriptor of a file in the vault. The callables hear of the first write, of the release
    (just before, with whether it was written to), and of a new size before the file is cut to it.
    """

    virtual = False

    def __init__(
        self,
        fd: int,
        *,
        wrote: Callable[[], None],
        closing: Callable[[bool], None],
        shrinking: Callable[[int], None],
    ) -> None:
        self.fd = fd
        self._append = bool(_flags(fd) & os.O_APPEND)
        self._wrote = wrote
        self._closing = closing
        self._shrinking = shrinking
        self._dirty = False

    def attributes(self) -> Attributes:
        """What `fstat` says."""
        return Attributes.of(os.fstat(self.fd))

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`."""
        return os.pread(self.fd, size, offset)

    def read_into(self, memory: memoryview, offset: int) -> int:
        """Read from `offset` into `memory`."""
        return os.preadv(self.fd, [memory], offset)

    def write(self, data: bytes | memoryview, offset: int) -> int:
        """Write all of `data`. The path is marked at the first write, not at close."""
        if not self._dirty:
            self._dirty = True
            self._wrote()
        view, done = memoryview(data), 0
        while done < len(data):
            # Linux appends whatever the offset under O_APPEND; macOS needs a plain write.
            rest = view[done:]
            done += (
                os.write(self.fd, rest) if self._append else os.pwrite(self.fd, rest, offset + done)
            )
        return done

    def truncate(self, size: int) -> None:
        """Cut or extend to `size` bytes."""
        self._shrinking(size)
        os.ftruncate(self.fd, size)
        self._dirty = True
        self._wrote()

    def fsync(self, data_only: bool) -> None:
        """Put what was written on disk."""
        if data_only and hasattr(os, "fdatasync"):
            os.fdatasync(self.fd)
        else:
            os.fsync(self.fd)

    def release(self) -> None:
        """Close."""
        try:
            self._closing(self._dirty)
        finally:
            os.close(self.fd)


class TextHandle:
    """The text of a virtual node as it was at open. Read-only."""

    virtual = True

    def __init__(self, data: bytes, attributes: Attributes) -> None:
        self._data = data
        self._attributes = attributes

    def attributes(self) -> Attributes:
        """What `fstat` says: the exact size."""
        return self._attributes

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`."""
        return self._data[offset : offset + size]

    def read_into(self, memory: memoryview, offset: int) -> int:
        """Read from `offset` into `memory`."""
        found = self._data[offset : offset + len(memory)]
        memory[: len(found)] = found
        return len(found)

    def write(self, data: bytes | memoryview, offset: int) -> int:
        """Raises EACCES."""
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def truncate(self, size: int) -> None:
        """Raises EACCES."""
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def fsync(self, data_only: bool) -> None:
        """Nothing to do."""

    def release(self) -> None:
        """Nothing to do."""


def _flags(fd: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_GETFL)
