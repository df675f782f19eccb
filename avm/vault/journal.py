"""Files of one JSON record a line, to which any number of processes append."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from avm.base import atomic
from avm.vault.locks import locked


class Mark(NamedTuple):
    """The file as it was when a record had just been appended; times in nanoseconds."""

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Mark:
        """The mark that a file of this status bears."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


class Journal:
    """One such file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        # As text: every write through a mount comes by here, and a Path costs more than the call.
        self._name, self._lock = str(file), str(file.with_suffix(".lock"))

    def locked(self) -> AbstractContextManager[None]:
        """Hold it while it is rewritten. Raises RepositoryError."""
        return locked(self._lock)

    def append(self, record: Mapping[str, object], *, fsync: bool = False) -> Mark:
        """Append one record; with `fsync` it survives a power cut."""
        line = json.dumps(record).encode() + b"\n"
        with self.locked():  # which makes the folder
            fd = os.open(self._name, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                size = os.fstat(fd).st_size
                if size and os.pread(fd, 1, size - 1) != b"\n":
                    line = b"\n" + line  # after a line that a kill cut short
                while line:
                    line = line[os.write(fd, line) :]
                if fsync:
                    os.fsync(fd)
                return Mark.of(os.fstat(fd))
            finally:
                os.close(fd)

    def records(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """What was appended, oldest first, less lines that a kill cut short; from the byte `start`
        on, where a record ended."""
        try:
            with self.file.open("rb") as file:
                file.seek(start)
                lines = file.read().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict):
                    yield record

    def rewrite(self, records: Iterable[Mapping[str, object]]) -> None:
        """Put `records` in the place of all that were appended; call it while `locked`."""
        atomic.replace(self.file, b"".join(json.dumps(one).encode() + b"\n" for one in records))

    def mark(self) -> Mark | None:
        """The file's mark as it is now; None if it is not there."""
        try:
            return Mark.of(os.stat(self._name))
        except FileNotFoundError:
            return None

    def is_at(self, mark: Mark) -> bool:
        """Whether nothing was appended or taken out since `mark`."""
        return self.mark() == mark
