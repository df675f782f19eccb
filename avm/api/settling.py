"""Seeing as one viewer what two sides wrote to one memory."""

from __future__ import annotations

import re

from avm.api.viewed import Viewed, again_if_damaged
from avm.base import paths

#: The other side's text beside the memory: `x.conflict-<its blob, 8 digits>.md`.
_COPY = re.compile(r"(.+)\.conflict-[0-9a-f]{8}(\.md)", re.DOTALL | re.IGNORECASE)


class Settling(Viewed):
    """What a viewer may see of conflicts."""

    @again_if_damaged
    def conflicts(self, folder: str = "") -> dict[str, list[str]]:
        """Memories that two sides changed, by path: where the other side's text was kept, or that
        git has them in a merge of the person's. Raises RepositoryError."""
        from avm.vault import index_file

        self.store.refresh()
        where = self._filter(folder)
        found: dict[str, list[str]] = {}
        for copy in self.store.index.conflict_copies(where):
            if match := _COPY.fullmatch(copy):
                found.setdefault(match[1] + match[2], []).append(paths.display(copy))
        for rel in index_file.unmerged(self.store.vault):
            if self._sees(rel, where.scope):
                found.setdefault(rel, []).append("in a merge: edit it, then git add it")
        return {paths.display(rel): others for rel, others in sorted(found.items())}
