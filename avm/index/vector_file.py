"""A file of vectors: rows that are only ever added, each with the key of the text it is of.

Because a row carries its key, nothing else has to be right for an answer to be: a lost index finds
its vectors again, and whoever reads the wrong file or an old row reads the truth about that row.

Header: 32 bytes, `AVM vectors 1`, the number of dimensions. A row: key (16 bytes), CRC-32 of key
and vector (4, little-endian), zeros (12), the vector (float32, little-endian, of length 1).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avm.base import programs

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY_BYTES = 16
_HEADER = 32
_MAGIC = b"AVM vectors 1 "
#: What stands before a row's numbers; 32 bytes, so that they are aligned for the processor.
_FRONT = struct.Struct("<16sI12x")
_READ_ROWS = 1024
_BLOCK_NUMBERS = 8_192
#: Rows of which a question's products are one thread's work.
_SHARED_ROWS = 16_384
_MOST_THREADS = 4
#: Vectors that are compared at once with blocks of others: 6 ms each for 100,000, alone 15.
_TOGETHER = 16
#: Rows whose products are looked at at once.
_STRIP_ROWS = 4_096


def create(path: Path, dimensions: int) -> None:
    """Make an empty file. Raises OSError, also if there is one."""
    with path.open("xb") as file:
        file.write(_MAGIC + str(dimensions).encode().ljust(_HEADER - len(_MAGIC)))


def dimensions_of(path: Path) -> int | None:
    """The numbers in a vector; None if it is no such file."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except OSError:
        return None
    number = header[len(_MAGIC) :].strip()
    whole = len(header) == _HEADER and header.startswith(_MAGIC) and number.isdigit()
    return int(number) if whole else None


def count(path: Path) -> int | None:
    """The whole rows in it; None if it is no such file."""
    dimensions = dimensions_of(path)
    if dimensions is None:
        return None
    try:
        return _rows(path.stat().st_size, dimensions)
    except OSError:
        return None


def append(path: Path, pairs: Iterable[tuple[bytes, bytes]]) -> int:
    """Add (key, vector) rows and bring them to the disk; returns the number of the first.

    Only one process may do so at a time. Raises OSError; rows that were not all written are then
    behind the last one that anybody knows of.
    """
    dimensions = dimensions_of(path)
    assert dimensions is not None
    with path.open("r+b", buffering=0) as file:
        first = _rows(os.fstat(file.fileno()).st_size, dimensions)
        # Half a row is left of a process that was killed: nobody has mapped it.
        file.truncate(_HEADER + first * _row_bytes(dimensions))
        file.seek(0, os.SEEK_END)
        data = memoryview(b"".join(_FRONT.pack(key, _sum(key, v)) + v for key, v in pairs))
        while data:
            data = data[file.write(data) :]
        os.fsync(file.fileno())
    return first


def read(path: Path, first: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
    """(row, key, vector) from row `first` on, without the rows whose sum is wrong."""
    dimensions = dimensions_of(path)
    if dimensions is None:
        return
    size = _row_bytes(dimensions)
    with path.open("rb") as file:
        file.seek(_HEADER + first * size)
        row = first
        while data := file.read(size * _READ_ROWS):
            for start in range(0, len(data) - size + 1, size):
                key, expected = _FRONT.unpack_from(data, start)
                vector = data[start + _FRONT.size : start + size]
                if _sum(key, vector) == expected:
                    yield row, key, vector
                row += 1


class Map:
    """The first `rows` rows, mapped into memory: the kernel's pages, shared by all processes."""

    def __init__(self, path: Path, rows: int) -> None:
        """Raises OSError if it is no such file or has fewer rows."""
        import numpy

        dimensions = dimensions_of(path)
        if dimensions is None or (count(path) or 0) < rows:
            raise OSError(f"{path} has fewer than {rows} rows")
        width = _row_bytes(dimensions) // 4
        self._table: Any = numpy.memmap(
            path, dtype="<f4", mode="r", offset=_HEADER, shape=(rows, width)
        )
        self.rows = rows
        self.dimensions = dimensions

    def scores(self, query: bytes, rows: int) -> Any:
        """The dot product of `query` with each of the first `rows` vectors, as a numpy array."""
        import numpy

        target = numpy.frombuffer(query, dtype="<f4")
        if rows <= _SHARED_ROWS:
            return self._products(0, rows, target)
        # Each reads memory as fast as one processor can: two take 14 ms for 180,000 rows, one 24.
        starts = range(0, rows, _SHARED_ROWS)
        ends = [min(rows, start + _SHARED_ROWS) for start in starts]
        try:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(min(_MOST_THREADS, programs.processors())) as pool:
                parts = list(pool.map(self._products, starts, ends, repeat(target)))
        except RuntimeError:  # the process is ending: it starts no thread any more
            return self._products(0, rows, target)
        return numpy.concatenate(parts)

    def vector(self, row: int) -> bytes:
        """The vector of a row, as `scores` takes it."""
        numbers: bytes = self._table[row, _FRONT.size // 4 :].tobytes()
        return numbers

    def like(self, first: int, last: int, least: float) -> Iterator[tuple[int, Any, Any]]:
        """Which rows before each of [first, last) have a cosine of `least` or more with it: the
        row, and some of these with their cosines as numpy arrays. A row comes several times, with
        others each time, or not at all."""
        import numpy

        front = _FRONT.size // 4
        for begin in range(first, last, _TOGETHER):
            end = min(last, begin + _TOGETHER)
            ours = numpy.ascontiguousarray(self._table[begin:end, front:].T)
            for start in range(0, end, _STRIP_ROWS):
                scores = self._products(start, min(end, start + _STRIP_ROWS), ours)
                near = scores >= least
                for i in numpy.flatnonzero(near.any(axis=0)).tolist():
                    before = numpy.flatnonzero(near[: max(0, begin + i - start), i])
                    if len(before):
                        yield begin + i, before + start, scores[before, i]

    def _products(self, start: int, end: int, target: Any) -> Any:
        """The dot products of the rows [start, end) with a vector, or with each column of some."""
        import numpy

        # In blocks so small that BLAS does not share them out among threads, which wait for each
        # other: on a busy machine 1 ms for 10,000 rows instead of 16, on an idle one the same.
        high, front = max(1, _BLOCK_NUMBERS // self.dimensions), _FRONT.size // 4
        even = end - (end - start) % high
        blocks = self._table[start:even].reshape(-1, high, self._table.shape[1])[:, :, front:]
        whole = numpy.matmul(blocks, target).reshape(-1, *target.shape[1:])
        products: Any = numpy.concatenate([whole, self._table[even:end, front:] @ target])
        return products

    def keys(self, rows: Sequence[int]) -> list[bytes]:
        """The keys of some rows."""
        width = KEY_BYTES // 4
        data = self._table[rows, :width].tobytes()
        return [data[i : i + KEY_BYTES] for i in range(0, len(data), KEY_BYTES)]


def bytes_of(rows: int, dimensions: int) -> int:
    """The size of a file of `rows` rows."""
    return _HEADER + rows * _row_bytes(dimensions)


def _row_bytes(dimensions: int) -> int:
    return _FRONT.size + 4 * dimensions


def _rows(size: int, dimensions: int) -> int:
    return max(0, size - _HEADER) // _row_bytes(dimensions)


def _sum(key: bytes, vector: bytes) -> int:
    return zlib.crc32(vector, zlib.crc32(key))
