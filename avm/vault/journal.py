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
    file.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(record) + "\n"
    with locked(lock_of(file)), file.open("a+b") as journal:
        if journal.tell() and os.pread(journal.fileno(), 1, journal.tell() - 1) != b"\n":
            line = "\n" + line  # after a line that a kill cut short
        journal.write(line.encode())
        journal.flush()
        if fsync:
            os.fsync(journal.fileno())
