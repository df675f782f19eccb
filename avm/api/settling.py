"""Seeing and settling as one viewer what two sides wrote to one memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from avm.api.viewed import Viewed, again_if_damaged
from avm.base import paths
from avm.base.errors import NotFoundError, RepositoryError, UsageError
from avm.vault import files

if TYPE_CHECKING:
    from avm.api.written import Settled

OURS, THEIRS = "ours", "theirs"
_QUEUED = "the other text is kept, and put beside it by the next avm commit or sync"
_IN_A_MERGE = "in a merge: edit it, then git add it"


class Settling(Viewed):
    """What a viewer may see of conflicts, and do about them."""

    @again_if_damaged
    def conflicts(self, folder: str = "") -> dict[str, list[str]]:
        """Memories that two sides changed, by path: where the other side's text was kept, or that
        git has them in a merge of the person's. Raises RepositoryError."""
        self.store.refresh()
        return self._conflicts(folder)

    def _conflicts(self, folder: str) -> dict[str, list[str]]:
        """The same, by an index that is fresh."""
        from avm.vault import conflict_queue, index_file

        where = self._filter(folder)
        found: dict[str, list[str]] = {}
        copies = set(self.store.index.conflict_copies(where))
        # Attachments are in no index of memories, nor is what lies in a dot folder.
        for rel in index_file.named_like(self.store.vault, "*.conflict-*"):
            if self._sees(rel, where.scope) and self.store.index.memory(rel) is None:
                copies.add(rel)
        for copy in sorted(copies):
            if memory := paths.copied_from(copy):
                found.setdefault(memory, []).append(paths.display(copy))
        for queued in conflict_queue.waiting(self.store.vault):
            if self._sees(queued.path, where.scope):
                found.setdefault(queued.path, []).append(_QUEUED)
        for rel in index_file.unmerged(self.store.vault):
            if self._sees(rel, where.scope):
                found.setdefault(rel, []).append(_IN_A_MERGE)
        return {paths.display(rel): others for rel, others in sorted(found.items())}

    def settle(self, path: str, take: str | bytes) -> Settled:
        """End a conflict in one commit: `ours` keeps what stands at `path`, `theirs` puts the copy
        there, bytes are the whole new file; the copies go.

        `path` is the memory or one of its copies, then that one alone goes. Raises NotFoundError,
        UsageError, AccessError; RepositoryError for what git has in a merge.
        """
        from avm.api.written import Settled

        rel, copies = self._copies(path)
        if take == THEIRS and len(copies) > 1:
            shown = ", ".join(map(paths.display, copies))
            raise UsageError(f"{paths.display(rel)} has {len(copies)} copies: name one: {shown}")
        data = self._theirs(rel, copies[0]) if take == THEIRS else take
        for each in (rel, *copies):
            self._writable(each)
        if isinstance(data, bytes):
            self.store.put(rel, data, self.viewer.agent, "edit")
        for copy in copies:
            self.store.put(copy, None, self.viewer.agent, "forget")
        changed = [rel, *copies] if isinstance(data, bytes) else copies
        report = self.store.committer.commit(
            now=True, within=changed, subject=f"resolve: {paths.printable(paths.stem_of(rel))}"
        )
        waits = report.blocked or next(iter(report.waiting.values()), None)
        return Settled(paths.display(rel), tuple(map(paths.display, copies)), waits)

    def sides(self, path: str) -> bytes:
        """What stands at `path` and what the other side wrote, with git's marks around what
        differs. Raises as `settle` does."""
        from avm.base import merging

        rel, copies = self._copies(path)
        if len(copies) > 1:
            shown = ", ".join(map(paths.display, copies))
            raise UsageError(f"{paths.display(rel)} has {len(copies)} copies: name one: {shown}")
        there = files.regular_file(self.store.vault, rel) is not None
        ours = files.read(self.store.vault, rel) if there else b""
        return merging.marked(ours, self._theirs(rel, copies[0]))

    def _copies(self, path: str) -> tuple[str, list[str]]:
        """The memory that is in conflict and the copies that are meant, as rels."""

        rel = paths.clean_rel(path)
        found = {memory.lstrip("/"): others for memory, others in self.conflicts().items()}
        memory = paths.copied_from(rel)
        if memory in found and paths.display(rel) in found[memory]:
            return memory, [rel]
        if rel not in found:
            raise NotFoundError(f"{paths.display(rel)} is in no conflict: avm conflicts")
        if _IN_A_MERGE in found[rel]:
            raise RepositoryError(f"{paths.display(rel)} is {_IN_A_MERGE}")
        if _QUEUED in found[rel]:
            raise RepositoryError(f"{paths.display(rel)}: {_QUEUED}")
        return rel, [copy.lstrip("/") for copy in found[rel]]

    def _theirs(self, rel: str, copy: str) -> bytes:
        """The other side's text as it was before it became a copy."""
        from avm.base import merging

        data = files.read(self.store.vault, copy)
        return merging.unmarked(data) if paths.is_memory(rel) else data


def marks_left(data: bytes) -> bool:
    """Whether a text still has git's marks of a conflict."""
    return any(_begins(line) for line in data.splitlines())


def _begins(line: bytes, marks: Iterable[bytes] = (b"<<<<<<< ", b">>>>>>> ")) -> bool:
    return any(line.startswith(mark) for mark in marks)
