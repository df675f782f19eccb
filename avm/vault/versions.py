"""Telling apart what different writers made of one path before any of it was committed.

Before a second author writes over the first one's text, or the text is removed, it goes to git as a
blob and the journal says whose it is: the next round of commits begins with that version.
"""

from __future__ import annotations

import threading
import time

from avm.base import paths
from avm.base.errors import NotFoundError, RepositoryError
from avm.vault import files, git, history, index_file
from avm.vault.authors import Authors, Entry
from avm.vault.location import Vault
from avm.vault.objects import Blob, Objects, open_objects
from avm.vault.rescue import keep_text, note_kept, set_copy_aside
from avm.vault.staging import Check, blob_on_disk, changes_of


class Versions:
    """The versions of one vault's paths, for any number of threads."""

    def __init__(self, vault: Vault, authors: Authors, check: Check) -> None:
        self._vault = vault
        self._authors = authors
        self._check = check
        self._guard = threading.Lock()
        self._objects: Objects | None = None

    def close(self, rel: str, agent: str | None, *, leaving: bool = False) -> bool:
        """Before `agent` changes the text at `rel`: note it as a version if it is another's and in
        no commit; with `leaving` (it is removed, or another file takes its name), whoever's it is.
        Text in a merge conflict is kept and becomes no version.

        Returns whether the text is in git now. Raises RepositoryError.
        """
        if not files.is_below_memory(rel) or not _is_committed_name(rel):
            return False
        status = files.regular_file(self._vault, rel)
        if status is None or not status.st_size:
            return True
        open_now = self._authors.open_version(rel)
        writer = open_now.agent if open_now else None
        if writer == agent and not leaving:
            return False
        try:
            raw = files.read(self._vault, rel)
        except NotFoundError:
            return True
        committed, differs = self._compared(rel)
        if not differs:
            if committed is None:  # git ignores it, so no commit may hold it
                self.keep(rel)
            return True
        if self._check(rel, raw):
            set_copy_aside(self._vault, rel)
            return True
        blob = self._stored(rel, raw)
        if blob is None:
            # A filter fails, say: the text is not git's as it is, and no write is refused for that.
            set_copy_aside(self._vault, rel)
            return True
        if committed is not None and blob == committed[0]:
            return True  # but for what git converts, such as line ends
        note_kept(self._vault, rel, blob)
        if self._in_conflict(rel):
            return True  # git's markers are nobody's text
        at = open_now.at if open_now else time.time()
        self._authors.record(Entry(rel, writer, "edit", at, blob))
        return True

    def keep(self, rel: str, *, anywhere: bool = False) -> None:
        """Keep the text at `rel` aside, whoever's it is, unless git has it; it becomes no version.

        Text outside of `memory/` only with `anywhere`. Raises RepositoryError.
        """
        if anywhere or files.is_below_memory(rel):
            with self._guard:
                keep_text(self._vault, rel, self._check, self._git())

    def _in_conflict(self, rel: str) -> bool:
        entries = index_file.entries(self._vault, self._vault.git_index, [rel])
        return any(stage for _, stage in entries.get(rel, []))

    def _compared(self, rel: str) -> tuple[Blob | None, bool]:
        """What HEAD has at `rel`, and whether a commit of the file as it is would change that."""
        head = history.head(self._vault)
        with self._guard:
            objects = self._git()
            committed = objects.entries(head, [rel]).get(rel)
            if committed is not None:
                now = blob_on_disk(self._vault, rel, like=committed[0])
                if now is not None and now[0] == committed[0]:
                    return committed, False
            return committed, bool(changes_of(self._vault, objects, head, [rel]))

    def _stored(self, rel: str, raw: bytes) -> str | None:
        """The blob that git makes of `raw` at `rel`, which is in git now; None if it cannot."""
        with self._guard:
            objects = self._git()
            if objects.is_verbatim(rel):
                try:
                    return objects.write_blob(raw)
                except RepositoryError:
                    return None
        args = ("hash-object", "-w", f"--path={rel}", "--stdin")
        stored = git.run(self._vault.root, args, stdin=raw, check=False)
        return stored.stdout.decode().strip() if stored.returncode == 0 else None

    def _git(self) -> Objects:
        """The repository; call it while the guard is held."""
        if self._objects is None:
            self._objects = open_objects(self._vault)
        return self._objects


def _is_committed_name(rel: str) -> bool:
    return paths.is_utf8(rel) and not paths.is_editor_name(paths.name_of(rel))
