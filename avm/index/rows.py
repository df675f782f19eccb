"""One file as it was read, and the rows that the index holds of it."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import NamedTuple

from avm.index.extract import Extracted, extract
from avm.vault.files import Stamp, open_quietly, raise_if_exhausted
from avm.vault.git import blob_id

_TAGS = "INSERT OR IGNORE INTO tag VALUES (?, ?)"
_FIELDS = "INSERT OR IGNORE INTO field VALUES (?, ?, ?)"
_LINKS = "INSERT OR IGNORE INTO link VALUES (?, ?, ?, ?)"
_CHUNKS = (
    "INSERT INTO chunk (memory_id, ordinal, first_line, last_line, start_byte, end_byte,"
    " head, text, context, cjk, parts, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

#: The columns of `memory` that come from a reading, in the order of `memory_values`.
MEMORY_COLUMNS = (
    "path", "hash", "mtime_ns", "ctime_ns", "size", "inode", "checked_ns", "title", "importance",
    "created", "expires", "ttl", "seen", "agent", "pinned", "passages", "problems",
)  # fmt: skip


class Reading(NamedTuple):
    """One file as it was read. `stamp` is None if it is no regular file any more."""

    path: str
    stamp: Stamp | None
    checked_ns: int
    #: Its blob id, and what is in it: None where the index was known to have that content.
    hash: str | None
    extracted: Extracted | None


def read(root: Path | str, path: str, known: str | None = None) -> Reading:
    """Read the file at the rel `path`; follows no link. Raises RepositoryError if there is no
    room to open it.

    `known`: the blob id that the index has; if it has that content it is not taken apart again.
    """
    checked_ns = time.time_ns()
    try:
        fd = open_quietly(f"{root}/{path}", os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as err:
        raise_if_exhausted(err, path)
        return Reading(path, None, checked_ns, None, None)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return Reading(path, None, checked_ns, None, None)
        stamp = Stamp.of(status)
        with open(fd, "rb", buffering=0, closefd=False) as file:
            raw = file.readall()
    except OSError:
        return Reading(path, None, checked_ns, None, None)
    finally:
        os.close(fd)
    if known is not None and blob_id(raw) == known:
        return Reading(path, stamp, checked_ns, known, None)
    extracted = extract(path, raw)
    return Reading(path, stamp, checked_ns, extracted.hash, extracted)


def memory_values(reading: Reading) -> dict[str, object]:
    """The row in `memory`, by column, for a reading of a file."""
    assert reading.stamp is not None and reading.extracted is not None
    stamp, found = reading.stamp, reading.extracted
    front = found.front
    return {
        "path": reading.path,
        "hash": found.hash,
        "mtime_ns": stamp.mtime_ns,
        "ctime_ns": stamp.ctime_ns,
        "size": stamp.size,
        "inode": stamp.inode,
        "checked_ns": reading.checked_ns,
        "title": found.title,
        "importance": front.importance,
        "created": front.created.timestamp() if front.created else None,
        "expires": front.expires.timestamp() if front.expires else None,
        "ttl": front.ttl.total_seconds() if front.ttl else None,
        "seen": stamp.mtime_ns / 1e9,
        "agent": front.agent,
        "pinned": int(front.pinned),
        "passages": len(found.passages),
        "problems": "\n".join(found.problems),
    }


def parts(memory_id: int, found: Extracted | None) -> dict[str, list[tuple[object, ...]]]:
    """The rows in the other tables, by the statement that inserts one."""
    if found is None:
        return {}
    return {
        _TAGS: [(memory_id, tag) for tag in found.tags],
        _FIELDS: [(memory_id, *field) for field in found.fields],
        _LINKS: [(memory_id, *link) for link in found.links],
        _CHUNKS: [(memory_id, n, *passage) for n, passage in enumerate(found.passages)],
    }
