"""What is noted of each file that AVM changed for a host, so that it can be as it was before."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from avm.base import atomic


class Record(NamedTuple):
    """A file that AVM wrote.

    `original` is what it held before, None if it was not there; `folders` were made for it, the
    outermost first; `written` is the sum of what AVM wrote.
    """

    target: Path
    original: bytes | None
    folders: tuple[Path, ...]
    written: str


class Records:
    """One JSON file a record, in a folder for its user alone: originals may hold secrets."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, target: Path) -> Record | None:
        """The record of `target`; None if there is none, or none that can be read."""
        try:
            noted = json.loads(self._place(target).read_bytes())
            original = noted["original"]
            return Record(
                target,
                None if original is None else base64.b64decode(original),
                tuple(map(Path, noted["folders"])),
                noted["written"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, record: Record) -> None:
        """Note a record, in the place of an earlier one of the same file."""
        original = record.original
        noted = {
            "file": str(record.target),
            "original": None if original is None else base64.b64encode(original).decode(),
            "folders": [str(folder) for folder in record.folders],
            "written": record.written,
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        os.chmod(self._folder, 0o700)
        data = json.dumps(noted, indent=1).encode() + b"\n"
        atomic.replace(self._place(record.target), data, mode=0o600)

    def drop(self, target: Path) -> None:
        """Forget the record of `target`."""
        self._place(target).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _place(self, target: Path) -> Path:
        return self._folder / f"{sum_of(os.fsencode(target))[:16]}.json"


def sum_of(data: bytes) -> str:
    """The SHA-256 of `data`, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
