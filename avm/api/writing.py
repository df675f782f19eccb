"""Writing as one viewer: remember, write, forget, and allow what looks like a secret."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from avm.api import values
from avm.api.viewed import Viewed, again_if_damaged, not_found
from avm.base import paths
from avm.base.errors import AccessError, NotFoundError, SecretError
from avm.vault import files

if TYPE_CHECKING:
    from avm.api.likeness import Wanted
    from avm.api.written import Remembered
    from avm.base.secrets import Finding
    from avm.vault.layout import Place

_MOST_SAME_TITLES = 10_000
#: How a secret is written in spite of it, by the doors that can.
_ANYWAY = {
    "cli": ", or write it anyway with --allow-secret",
    "python": ", or write it anyway with allow_secret=True",
}


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
        *,
        source: str | None = None,
        on_duplicate: str | None = None,
        allow_secret: bool = False,
    ) -> Remembered:
        """Write a new memory and return where it is.

        It goes to the agent's private folder, or with `namespace` to `/memory/shared/<namespace>/`;
        `folder` is a sub-folder there. A folder that is full goes on in one for the month:
        `…/2026-11/`. `importance` is 0.0–1.0, `ttl` a duration such as `30d`, `source` a line on
        where the text is from. The same title with the same text returns the memory that is there.
        Where one there says nearly the same, "skip" for `on_duplicate` (None: as configured)
        returns that; "supersede" writes a new one that takes its place in answers, and that of an
        older version; "keep" looks for none.
        Raises UsageError for a bad value, named; AccessError for a folder that this viewer may not
        write in; SecretError for a token, unless `allow_secret`.
        """
        text = values.text(text)
        if on_duplicate is None:
            on_duplicate = self.store.config["on_duplicate"]
        doing = values.on_duplicate(on_duplicate)
        title = values.line(title, "title")
        lifetime = values.ttl(ttl)
        now = self.store.config.clock.now()
        front = {
            "title": title,
            "importance": values.importance(importance),
            "tags": values.tags(tags) or None,
            "created": now,
            "expires": now + lifetime if lifetime else None,
            "agent": self.viewer.agent,
            "source": values.line(source, "source"),
        }
        home = values.folder(namespace, folder, self.viewer.home)
        if not self.viewer.can_add_to(home):
            raise self._may_not("write", home, "write there")
        return self._put_new(front, text, home, doing, allow_secret=allow_secret)

    def write(self, path: str, text: str | bytes, *, allow_secret: bool = False) -> Remembered:
        """Write a whole file, byte for byte; front matter and all are the caller's.

        Raises AccessError, ExistsError for a folder, UsageError for what is no text, SecretError
        for a token, unless `allow_secret`.
        """
        from avm.api.written import Remembered

        rel = self._writable(path)
        data = values.data(text)
        if not allow_secret:
            self._refuse_tokens(rel, data)
        existed = files.regular_file(self.store.vault, rel) is not None
        with self.store.changing(rel, self.viewer.agent):
            self.store.replace(rel, data, self.viewer.agent)
            hints = self._settle_secrets(rel, data, allow_secret)
            self.wrote(rel, "edit" if existed else "remember")
        return Remembered(paths.display(rel), tuple(hints))

    def allow(self, path: str) -> list[Finding]:
        """Let a file be committed as it is now, although it looks as if it held a secret.

        What the owner has staged of it is allowed too. Returns what was found in either; a file
        that changes is looked at again. Raises NotFoundError, AccessError, RepositoryError.
        """
        from avm.base import secrets
        from avm.vault.staged import staged_bytes

        rel = self._existing(path)
        self._check_writable(rel, "allow", "allow it")
        versions = [files.read(self.store.vault, rel)]
        if self.viewer.agent is None:
            versions.append(staged_bytes(self.store.vault, rel) or b"")
        found: dict[Finding, None] = {}
        for raw in versions:
            if findings := secrets.find(raw):
                self.store.allowed.allow(rel, raw, findings)
                found |= dict.fromkeys(findings)
        if found:
            self.store.supervision.wrote(rel, self.viewer.agent, "allow")
            self.store.commit_in_background()
        return list(found)

    def forget(self, path: str) -> None:
        """Remove a file from the vault; git keeps what was committed, and AVM what was not.

        Raises NotFoundError, AccessError, RepositoryError.
        """
        rel = self._existing(path)
        self._check_writable(rel, "forget", "remove it")
        with self.store.changing(rel, self.viewer.agent, leaving=True):
            self.store.versions.keep(rel, anywhere=True)
            try:
                self.store.remove(rel)
            except FileNotFoundError:
                raise not_found(rel) from None
            self.wrote(rel, "forget")

    def _put_new(
        self, front: dict[str, Any], text: str, home: str, doing: str, *, allow_secret: bool
    ) -> Remembered:
        """Write a memory into the folder `home`, unless it is there; SecretError as `remember`."""
        from avm.api.written import Remembered
        from avm.base import memory_file

        title = front["title"]
        body = text if text.endswith("\n") else text + "\n"
        stem = paths.stem_from_title(title) if title else paths.stem_from_text(text)
        place = self.store.layout.place(home, front["created"])
        data = memory_file.render(front, body)
        if not allow_secret:
            self._refuse_tokens(home, data, len(data) - len(values.data(body)))
        same = older = None
        if doing != "keep":
            from avm.api.likeness import Wanted

            ends = front["expires"]
            until = ends.timestamp() if ends else None
            wanted = Wanted(text, title, stem, (place.folder, *place.others))
            same, older = self._standing(doing, home, wanted, until)
        hints = []
        if same is not None:
            rel, made = same, False
            hints.append(f"already remembered: {paths.display(same)}")
        elif older is not None:
            data = memory_file.render({**front, "supersedes": [older]}, body)
            rel, made = self._write_unique(place, stem, data, None)
            hints.append(f"it supersedes {paths.display(older)}")
        else:
            rel, made = self._write_unique(place, stem, data, body)
            hints += [] if made else ["it was there already: nothing was written"]
        hints += self._settle_secrets(rel, data if made else None, allow_secret)
        if made:
            self.wrote(rel, "remember")
        return Remembered(paths.display(rel), tuple(hints))

    @again_if_damaged
    def _standing(
        self, doing: str, home: str, wanted: Wanted, until: float | None
    ) -> tuple[str | None, str | None]:
        """The rels of the memory in `home` that makes it needless to write the new one, which ends
        `until` then, and of the one that it is to supersede: one of them at most."""
        from avm.api import likeness

        self.store.refresh()
        where = self._filter(home)
        if doing == "skip":
            return likeness.saying_the_same(self.store, where, wanted.text, until), None
        path, same = likeness.version_of(self.store, where, wanted, until) or (None, False)
        return (path, None) if same else (None, path)

    def _write_unique(
        self, place: Place, stem: str, data: bytes, body: str | None
    ) -> tuple[str, bool]:
        """Write `stem.md`, else `stem-2.md` …; (rel, False) where `body` stands already.

        A name that is taken in one folder of `place` is taken in all; one that this viewer may not
        write is passed over, whether anything has it or not.
        """
        layout, may = self.store.layout, self.viewer.can_write
        for number in range(1, _MOST_SAME_TITLES):
            name = f"{stem}.md" if number == 1 else f"{stem}-{number}.md"
            rel = f"{place.folder}/{name}"
            if not may(rel):
                continue
            standing = list(filter(may, layout.standing(place, name)))
            if not standing and self.store.write_new(rel, data, self.viewer.agent):
                layout.wrote(place.folder)
                return rel, True
            for there in (*standing, rel):
                if body is not None and self._has_body(there, body):
                    return there, False
        taken = paths.display(f"{place.folder}/{stem}")
        raise AccessError(f"{taken}: too many memories of this title")

    def _settle_secrets(self, rel: str, data: bytes | None, allow: bool) -> list[str]:
        """Allow what was written to `rel` (None: what stands there), or say that it is held."""
        from avm.base import secrets

        if data is None:
            data = files.read(self.store.vault, rel)
        findings = self.store.allowed.findings(data)
        if not findings:
            return []
        if allow:
            self.store.allowed.allow(rel, data, findings)
            return []
        import shlex

        shown = paths.display(rel)
        return [
            f"kept and searchable, but held back from git: it looks as if it held a secret"
            f" ({secrets.told(findings)}): avm allow {shlex.quote(shown)}"
        ]

    def _refuse_tokens(self, rel: str, data: bytes, body_at: int = 0) -> None:
        """Raise SecretError if `data`, which is for the file or folder `rel` and whose text begins
        at byte `body_at`, holds a certain secret."""
        from dataclasses import replace

        from avm.base import secrets

        findings = [finding for finding in secrets.find(data) if finding.certain]
        if not findings:
            return
        above = data.count(b"\n", 0, body_at)
        in_text = [replace(f, line=f.line - above) for f in findings if f.line > above]
        where = secrets.told(in_text) if in_text else f"{findings[0].rule}, in its title or tags"
        anyway = _ANYWAY.get(self.store.supervision.door, "")
        why = f"nothing was written: the text holds a secret ({where}); take it out{anyway}"
        raise self.denied("write", rel, SecretError(why))

    def _has_body(self, rel: str, body: str) -> bool:
        from avm.base import memory_file

        try:
            raw = files.read(self.store.vault, rel)
        except NotFoundError:
            return False
        same = memory_file.parse(raw).body.rstrip() == body.rstrip()
        return same and not self.store.has_ended(rel)
