"""Files of one JSON record a line, to which any number of processes append."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from avm.vault.locks import locked


def lock_of(file: Path) -> Path:
    """The lock under which `file` is appended to and rewritten."""
    return file.with_suffix(".lock")


def append(file: Path, record: Mapping[str, object], *, fsync: bool = False) -> None:
    """Append one record; with `fsync` it survives a power cut."""
    line = json.dumps(record).encode() + b"\n"
    with locked(lock_of(file)):  # which makes the folder
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                line = b"\n" + line  # after a line that a kill cut short
            while line:
                line = line[os.write(fd, line) :]
            if fsync:
                os.fsync(fd)
        finally:
            os.close(fd)
