"""Where libfuse's `.fuse_hidden…` files go: files that are unlinked while still open.

libfuse renames such a file beside itself, which would put it into the git work tree. The overlay
keeps it in a folder of this mount's in AVM's state, on the same file system.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from avm.base import paths
from avm.vault.condition import hidden_folders

_PREFIX = ".fuse_hidden"


def is_hidden_file(rel: str) -> bool:
    """Whether `rel` is a name that libfuse made for an unlinked open file."""
    return paths.name_of(rel).startswith(_PREFIX)


class HiddenFiles:
    """The hidden files of one mount; those of processes that are gone are removed at the start."""

    def __init__(self, base: Path) -> None:
        for folder in hidden_folders(base):
            shutil.rmtree(folder, ignore_errors=True)
        self._folder = base / f"{os.getpid()}-{id(self):x}"

    def place(self, rel: str) -> Path:
        """Where the hidden file `rel` is on disk; makes the folder. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / paths.name_of(rel)

    def close(self) -> None:
        """Remove them all."""
        shutil.rmtree(self._folder, ignore_errors=True)
