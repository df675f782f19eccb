"""Open files of the overlay: a descriptor of a real file, or the text of a virtual node."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from typing import Protocol

from avm.base.errors import AVMError
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
    """A descriptor of a file in the vault that is open for reading alone; `closing` is told before
    it is closed."""

    virtual = False

    def __init__(self, fd: int, closing: Callable[[int], None]) -> None:
        self.fd = fd
        self._closing = closing

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
        """Raises EBADF."""
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def truncate(self, size: int) -> None:
        """Raises EINVAL."""
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def fsync(self, data_only: bool) -> None:
        """Put what was written on disk."""
        if data_only and hasattr(os, "fdatasync"):
            os.fdatasync(self.fd)
        else:
            os.fsync(self.fd)

    def release(self) -> None:
        """Close."""
        try:
            self._closing(self.fd)
        finally:
            os.close(self.fd)


class Writer(Protocol):
    """Who is told of what is done to a file that is open for writing. `writing` is held while it is
    done."""

    writing: threading.RLock

    def growing(self, size: int, at: int | None) -> None:
        """`size` bytes are about to be written at an offset; None: at the end. Raises QuotaError,
        and then they are not."""
        ...

    def resizing(self, size: int) -> None:
        """The file is about to be cut or extended to `size` bytes. Raises QuotaError, and then it
        is not."""
        ...

    def wrote(self) -> None:
        """The file was written to for the first time, or cut."""
        ...

    def shrinking(self, size: int) -> None:
        """The file is about to get this size."""
        ...

    def closing(self) -> None:
        """The descriptor is about to be closed."""
        ...


class WritingHandle(RealHandle):
    """A descriptor of a file in the vault that is open for writing, with `flags`."""

    def __init__(self, fd: int, closing: Callable[[int], None], flags: int, writer: Writer) -> None:
        super().__init__(fd, closing)
        self._append = bool(flags & os.O_APPEND)
        self._writer = writer
        self._dirty = False

    def write(self, data: bytes | memoryview, offset: int) -> int:
        """Write all of `data`. The path is marked at the first write, not at close."""
        with self._writer.writing:
            view, done = memoryview(data), 0
            self._writer.growing(len(view), None if self._append else offset)
            if not self._dirty:
                self._dirty = True
                self._writer.wrote()
            while done < len(view):
                # Linux appends whatever the offset under O_APPEND; macOS needs a plain write.
                rest, at = view[done:], offset + done
                done += os.write(self.fd, rest) if self._append else os.pwrite(self.fd, rest, at)
            return done

    def truncate(self, size: int) -> None:
        """Cut or extend to `size` bytes."""
        with self._writer.writing:
            self._writer.resizing(size)
            self._writer.shrinking(size)
            os.ftruncate(self.fd, size)
            self._dirty = True
            self._writer.wrote()

    def release(self) -> None:
        """Close."""
        try:
            self._writer.closing()
        finally:
            super().release()


class TextHandle:
    """The text of a virtual node as it was at open. `read_whole` is called once, when it was read
    to its end."""

    virtual = True

    def __init__(
        self,
        data: bytes,
        attributes: Attributes,
        read_whole: Callable[[], None] | None = None,
    ) -> None:
        self._data = data
        self._attributes = attributes
        self._read_whole = read_whole

    def attributes(self) -> Attributes:
        """What `fstat` says: the exact size."""
        return self._attributes

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`."""
        if self._read_whole and offset + size >= len(self._data):
            told, self._read_whole = self._read_whole, None
            told()
        return self._data[offset : offset + size]

    def read_into(self, memory: memoryview, offset: int) -> int:
        """Read from `offset` into `memory`."""
        found = self.read(len(memory), offset)
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


class Taker(Protocol):
    """Who does what is written to a virtual node."""

    def take(self, data: bytes, added: bool) -> None:
        """Do it; with `added` the data comes to what there is. Raises AVMError."""
        ...

    def refused(self, why: str) -> AVMError:
        """The error to raise for what cannot be taken; it is noted."""
        ...


class ValueHandle(TextHandle):
    """A virtual node that is open for writing: one value, taken in one write."""

    def __init__(self, data: bytes, attributes: Attributes, taker: Taker, *, added: bool) -> None:
        super().__init__(data, attributes)
        self._taker = taker
        self._added = added
        self._taken = False

    def write(self, data: bytes | memoryview, offset: int) -> int:
        """Take the value. Raises AVMError for a bad one, and for a second part of one."""
        if self._taken or (offset and not self._added):
            raise self._taker.refused("a value must come in one write")
        self._taker.take(bytes(data), self._added)
        self._taken = True
        return len(data)

    def truncate(self, size: int) -> None:
        """Nothing to do: what is written takes the place of what there is."""


class BodyHandle(TextHandle):
    """A virtual node that is open for writing: a text, taken anew with each write. What is appended
    is taken alone: others may append as well."""

    def __init__(self, data: bytes, attributes: Attributes, taker: Taker, flags: int) -> None:
        super().__init__(data, attributes)
        self._taker = taker
        self._append = bool(flags & os.O_APPEND)
        self._empty = bool(flags & os.O_TRUNC)
        self._text = bytearray(b"" if self._empty else data)

    def attributes(self) -> Attributes:
        """What `fstat` says: the size that was written up to now."""
        return self._attributes._replace(st_size=len(self._text))

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`."""
        return bytes(self._text[offset : offset + size])

    def write(self, data: bytes | memoryview, offset: int) -> int:
        """Put it in, and the whole into the file, or add it there. Raises AVMError, and then the
        file is as it was, even if it was to be emptied."""
        self._empty = False
        if self._append:
            self._taker.take(bytes(data), True)
            self._text += data
            return len(data)
        text = self._text.ljust(offset, b"\0")
        text[offset : offset + len(data)] = data
        self._set(text)
        return len(data)

    def truncate(self, size: int) -> None:
        """Cut or extend to `size` bytes. Raises AVMError."""
        self._empty = False
        self._set(self._text[:size].ljust(size, b"\0"))

    def release(self) -> None:
        """Where it was opened to be emptied and nothing was written, it is empty now. Nobody hears
        an error; it was noted."""
        if self._empty:
            with contextlib.suppress(AVMError):
                self._set(bytearray())

    def _set(self, text: bytearray) -> None:
        self._taker.take(bytes(text), False)
        self._text = text
