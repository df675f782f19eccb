"""Putting entries into the bytes of git's index (gitformat-index(5), version 2, SHA-1). Pure.

Only what is surely right is done: entries of plain files that are there, or new ones. Everything
else (other versions, flags, extensions that would have to be kept in step) is for git: None.
"""

from __future__ import annotations

import hashlib
import os
import struct
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from avm.vault.objects import Blob

_HEADER = struct.Struct(">4sII")
#: Times, device, inode, mode, owner, size, id and flags; the name follows.
_ENTRY = struct.Struct(">10I20sH")
_ID = 20
_NAME_LENGTH = 0x0FFF
_MODES = (0o100644, 0o100755, 0o120000)
_EXTENSION = struct.Struct(">4sI")
#: The extensions that are kept: of trees, which is brought in step, and of resolved conflicts.
_TREES, _RESOLVED = b"TREE", b"REUC"
_NONE = bytes(_ID)


#: Parts of an index, to be written one after another: it is too long to be copied often.
_Pieces = list[bytes | memoryview]


def with_entries(data: bytes, new: Mapping[bytes, tuple[Blob, os.stat_result]]) -> _Pieces | None:
    """The index `data` with `new` entries (by name), in pieces; None if git has to make it."""
    if len(data) < _HEADER.size + _ID or _HEADER.unpack_from(data)[:2] != (b"DIRC", 2):
        return None
    pieces = _replaced(data, new) or _inserted(data, new)
    if pieces is None:
        return None
    if data[-_ID:] == _NONE:  # index.skipHash
        return [*pieces, _NONE]
    sum_of = hashlib.sha1(usedforsecurity=False)
    for piece in pieces:
        sum_of.update(piece)
    return [*pieces, sum_of.digest()]


def place_of(data: bytes, name: bytes) -> int | None:
    """Where the one plain entry of `name` begins, found by its bytes; None if there is no such.

    It is recognised by what stands before the name: aligned to eight bytes, a mode that exists, the
    name's own length and no flag, such as that of a conflict's side.
    """
    at = data.find(name + b"\0")
    while at >= 0:
        start = at - _ENTRY.size
        if start >= _HEADER.size and not (start - _HEADER.size) % 8:
            mode, flags = _ENTRY.unpack_from(data, start)[6::5]
            if mode in _MODES and flags == len(name):
                return start
        at = data.find(name + b"\0", at + 1)
    return None


def _replaced(data: bytes, new: Mapping[bytes, tuple[Blob, os.stat_result]]) -> _Pieces | None:
    """Less the sum; None if a name is not there yet. The entries keep their places and lengths, so
    that nobody has to walk through them all."""
    end = data.rfind(_TREES, 0, -_ID)
    if end < 0 or (end - _HEADER.size) % 8:
        return None
    tail = _tail(data[end:-_ID], new)
    places = sorted((place_of(data, name) or 0, name) for name in new)
    if tail is None or not places[0][0]:
        return None
    pieces: _Pieces = []
    whole, done = memoryview(data), 0
    for place, name in places:
        entry = _entry(name, *new[name])
        pieces += [whole[done:place], entry]
        done = place + len(entry)
    return [*pieces, whole[done:end], tail]


def _inserted(data: bytes, new: Mapping[bytes, tuple[Blob, os.stat_result]]) -> _Pieces | None:
    """Less the sum; None if git has to make it."""
    count = _HEADER.unpack_from(data)[2]
    starts = _starts(data, count)
    if starts is None:
        return None
    tail = _tail(data[starts[-1] : -_ID], new)
    if tail is None:
        return None
    names = _Names(data, starts)
    pieces: _Pieces = []
    whole, done, added = memoryview(data), _HEADER.size, 0
    for name in sorted(new):
        place = bisect_left(names, name)
        there = place < count and names[place] == name
        if there and place_of(data, name) != starts[place]:
            return None
        if not there and _clashes(names, name, place):
            return None
        pieces += [whole[done : starts[place]], _entry(name, *new[name])]
        done = starts[place + there]
        added += not there
    pieces.append(whole[done : starts[-1]])
    return [_HEADER.pack(b"DIRC", 2, count + added), *pieces, tail]


def _starts(data: bytes, count: int) -> list[int] | None:
    """Where each entry begins, and where the last one ends."""
    at, end = _HEADER.size, len(data) - _ID
    starts = [at]
    for _ in range(count):
        if at + _ENTRY.size > end:
            return None
        # The length of the name; a longer one is not counted, other bits are flags.
        flags = data[at + 60] << 8 | data[at + 61]
        if flags & 0x4000 or flags & _NAME_LENGTH == _NAME_LENGTH:
            return None
        at += (_ENTRY.size + (flags & _NAME_LENGTH) + 8) & ~7
        starts.append(at)
    return starts if at <= end else None


class _Names:
    """The names of the entries, in order, read when they are looked at."""

    def __init__(self, data: bytes, starts: list[int]) -> None:
        self._data = data
        self._starts = starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> bytes:
        at = self._starts[number]
        length = (self._data[at + 60] << 8 | self._data[at + 61]) & _NAME_LENGTH
        return self._data[at + _ENTRY.size : at + _ENTRY.size + length]


def _clashes(names: _Names, name: bytes, place: int) -> bool:
    """Whether a file stands where `name` needs a folder, or a folder where it is to be."""
    inside = name + b"/"
    at = bisect_left(names, inside, lo=place)
    if at < len(names) and names[at].startswith(inside):
        return True
    parts = name.split(b"/")
    above = (b"/".join(parts[:number]) for number in range(1, len(parts)))
    for folder in above:
        at = bisect_left(names, folder)
        if at < len(names) and names[at] == folder:
            return True
    return False


def _entry(name: bytes, blob: Blob, status: os.stat_result) -> bytes:
    ctime, mtime = divmod(status.st_ctime_ns, 10**9), divmod(status.st_mtime_ns, 10**9)
    numbers = (*ctime, *mtime, status.st_dev, status.st_ino, blob[1], status.st_uid,
               status.st_gid, status.st_size)  # fmt: skip
    head = _ENTRY.pack(*(n & 0xFFFFFFFF for n in numbers), bytes.fromhex(blob[0]), len(name))
    padding = 8 - (_ENTRY.size + len(name)) % 8
    return head + name + bytes(padding)


def _tail(data: bytes, names: Mapping[bytes, object]) -> bytes | None:
    """The extensions, that of trees less what the names make untrue; None if there is another."""
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        if at + _EXTENSION.size > len(data):
            return None
        kind, length = _EXTENSION.unpack_from(data, at)
        at += _EXTENSION.size
        body = data[at : at + length]
        at += length
        if kind == _TREES:
            trees = _Trees.read(body)
            if trees is None:
                return None
            for name in names:
                trees.forget(name.split(b"/")[:-1])
            body = b"".join(trees.written(b""))
        elif kind != _RESOLVED:
            return None
        pieces += [_EXTENSION.pack(kind, len(body)), body]
    return b"".join(pieces) if at == len(data) else None


@dataclass
class _Trees:
    """A folder of which git knows the tree: how many entries it has and its id, None if not."""

    known: tuple[bytes, bytes] | None
    below: dict[bytes, _Trees] = field(default_factory=dict)

    @classmethod
    def read(cls, data: bytes) -> _Trees | None:
        """The root's; None if the bytes are not as they should be."""
        try:
            name, trees, end = cls._read(data, 0)
        except (ValueError, IndexError):
            return None
        return trees if name == b"" and end == len(data) else None

    @classmethod
    def _read(cls, data: bytes, at: int) -> tuple[bytes, _Trees, int]:
        name_end = data.index(b"\0", at)
        line_end = data.index(b"\n", name_end)
        count, subtrees = data[name_end + 1 : line_end].split(b" ")
        found = cls(None)
        end = line_end + 1
        if int(count) >= 0:
            found.known = count, data[end : end + _ID]
            end += _ID
        for _ in range(int(subtrees)):
            below, inner, end = cls._read(data, end)
            found.below[below] = inner
        return data[at:name_end], found, end

    def forget(self, folders: list[bytes]) -> None:
        """What was known of this tree and of those on the way down to the last folder."""
        self.known = None
        if folders and folders[0] in self.below:
            self.below[folders[0]].forget(folders[1:])

    def written(self, name: bytes) -> Iterator[bytes]:
        """As git writes it."""
        count, oid = self.known or (b"-1", b"")
        yield b"%b\0%b %d\n%b" % (name, count, len(self.below), oid)
        for below, inner in self.below.items():
            yield from inner.written(below)
