"""Writing as one viewer: remember, write, forget."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta

from avm.api import values
from avm.api.results import Remembered
from avm.api.viewed import Viewed, not_found
from avm.base import paths
from avm.base.errors import AccessError, NotFoundError
from avm.vault import files
from avm.vault.layout import Place

_MOST_SAME_TITLES = 10_000


class Writing(Viewed):
    """What a viewer may write."""

    def remember(
        self,
        text: str,
        title: str | None = None,
        importance: float | None = None,
        tags: str | Iterable[str] | None = None,
        namespace: str | None = None,
        folder: str | None = None,
        ttl: str | timedelta | None = None,
    ) -> Remembered:
        """Write a new memory and return where it is.

        It goes to the agent's private folder, or with `namespace` to `/memory/shared/<namespace>/`;
        `folder` is a sub-folder there. A folder that is full goes on in one for the month:
        `…/2026-11/`. `importance` is 0.0–1.0, `ttl` a duration such as `30d`. The same title with
        the same text returns the memory that is there. Raises UsageError for a bad value, named.
        """
        from avm.base import memory_file

        text = values.text(text)
        title = values.title(title)
        lifetime = values.ttl(ttl)
        now = self.store.config.clock.now()
        front: dict[str, object] = {
            "title": title,
            "importance": values.importance(importance),
            "tags": values.tags(tags) or None,
            "created": now,
            "expires": now + lifetime if lifetime else None,
            "agent": self.viewer.agent,
        }
        home = values.folder(namespace, folder, self.viewer.home)
        body = text if text.endswith("\n") else text + "\n"
        stem = paths.stem_from_title(title) if title else paths.stem_from_text(text)
        place = self.store.layout.place(home, now)
        rel, made = self._write_unique(place, stem, memory_file.render(front, body), body)
        if not made:
            return Remembered(paths.display(rel), ("it was there already: nothing was written",))
        self.wrote(rel, "remember")
        return Remembered(paths.display(rel))

    def write(self, path: str, text: str | bytes) -> None:
        """Write a whole file, byte for byte; front matter and all are the caller's.

        Raises AccessError, ExistsError for a folder, UsageError for what is no text.
        """
        rel = self._writable(path)
        existed = files.regular_file(self.store.vault, rel) is not None
        self.store.replace(rel, values.data(text), self.viewer.agent)
        self.wrote(rel, "edit" if existed else "remember")

    def forget(self, path: str) -> None:
        """Remove a file from the vault; git keeps what was committed. Raises NotFoundError."""
        rel = self._existing(path)
        if not self.viewer.can_write(rel):
            raise AccessError(f"{paths.display(rel)}: {self._who()} may not remove it")
        self.store.before_change(rel, self.viewer.agent, leaving=True)
        try:
            os.unlink(self.store.vault.path(rel))
        except FileNotFoundError:
            raise not_found(rel) from None
        self.wrote(rel, "forget")

    def _write_unique(self, place: Place, stem: str, data: bytes, body: str) -> tuple[str, bool]:
        """Write `stem.md`, else `stem-2.md` …; (rel, False) where the same body stands already.

        A name that is taken in one folder of `place` is taken in all.
        """
        layout = self.store.layout
        for number in range(1, _MOST_SAME_TITLES):
            name = f"{stem}.md" if number == 1 else f"{stem}-{number}.md"
            rel = f"{place.folder}/{name}"
            standing = layout.standing(place, name)
            if not standing and self.store.write_new(rel, data):
                layout.wrote(place.folder)
                return rel, True
            for there in (*standing, rel):
                if self._has_body(there, body):
                    return there, False
        taken = paths.display(f"{place.folder}/{stem}")
        raise AccessError(f"{taken}: too many memories of this title")

    def _has_body(self, rel: str, body: str) -> bool:
        from avm.base import memory_file

        try:
            raw = files.read(self.store.vault, rel)
        except NotFoundError:
            return False
        same = memory_file.parse(raw).body.rstrip() == body.rstrip()
        return same and not self.store.has_ended(rel)
