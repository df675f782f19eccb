"""Who sees and writes what: the one place of the check (docs/access.md).

An agent reads and writes its own private folder and `/memory/shared/**`; everything else does not
exist for it. The owner (no agent) sees all. Every door asks the functions here; the index turns
`read_folders` into a filter in its SQL, before any top-k.
"""

from __future__ import annotations

from typing import NamedTuple

from avm.base import paths


class Viewer(NamedTuple):
    """The one for whom a door acts: an agent, or the owner if `agent` is None."""

    agent: str | None = None

    @property
    def read_folders(self) -> tuple[str, ...] | None:
        """The folders (rels) whose contents this viewer may read; None means the whole vault."""
        if self.agent is None:
            return None
        return (paths.agent_folder(self.agent), paths.SHARED)

    @property
    def home(self) -> str:
        """Where this viewer's memories go when nothing else is said, as a rel."""
        return paths.SHARED if self.agent is None else paths.agent_folder(self.agent)

    def can_read(self, rel: str) -> bool:
        """Whether the file or folder `rel` and all in it may be read."""
        folders = self.read_folders
        return folders is None or any(rel == f or rel.startswith(f + "/") for f in folders)

    def shows_folder(self, rel: str) -> bool:
        """Whether the folder `rel` exists for this viewer: readable, or on the way to what is."""
        folders = self.read_folders
        if folders is None or rel == "" or self.can_read(rel):
            return True
        return any(f.startswith(rel + "/") for f in folders)

    def can_write(self, rel: str) -> bool:
        """Whether `rel` may be made, changed or removed.

        Nobody writes the vault's own `.git` through AVM; agents write neither `.git*` nor
        `.avmignore` files, which would configure git and AVM for everybody.
        """
        if paths.in_dot_git(rel):
            return False
        if self.agent is None:
            return True
        folders = self.read_folders or ()
        inside = any(rel.startswith(f + "/") for f in folders)
        return inside and not any(_configures(part) for part in rel.split("/"))


OWNER = Viewer()


def _configures(name: str) -> bool:
    lowered = name.lower()
    return lowered.startswith(".git") or lowered == ".avmignore"
