"""One viewer's memory of one vault: the owner's or an agent's. The access check stands here."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from avm.api import values
from avm.api.results import Hit, Info, Recalled, Remembered, Stats, Status
from avm.api.store import Store
from avm.base import memory_file, paths
from avm.base.access import Viewer
from avm.base.errors import AccessError, NotFoundError, UsageError
from avm.base.times import format_instant, instant_of
from avm.index.database import IndexThrownAway
from avm.index.index import MemoryRow
from avm.index.text import Filter
from avm.recall import candidates, packing, query
from avm.recall.links import Resolver
from avm.recall.scoring import ScoringStrategy
from avm.recall.snippets import snippet
from avm.vault import files
from avm.vault.committer import Report

_MOST_SAME_TITLES = 10_000
_Method = TypeVar("_Method", bound=Callable[..., Any])


def _again_if_damaged(method: _Method) -> _Method:
    """Ask twice where the index turned out to be damaged: the second time it is a new one."""

    @functools.wraps(method)
    def asked(*args: Any, **named: Any) -> Any:
        try:
            return method(*args, **named)
        except IndexThrownAway:
            return method(*args, **named)

    return cast(_Method, asked)


class View:
    """What one viewer may do. Every call that reads sees every write that returned before it."""

    def __init__(self, store: Store, viewer: Viewer) -> None:
        self.store = store
        self.viewer = viewer

    # Writing

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
        `folder` is a sub-folder there. `importance` is 0.0–1.0, `ttl` a duration such as `30d`.
        The same title with the same text returns the memory that is there. Raises UsageError for a
        bad value, named.
        """
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
        place = values.folder(namespace, folder, self.viewer.home)
        body = text if text.endswith("\n") else text + "\n"
        stem = paths.stem_from_title(title) if title else paths.stem_from_text(text)
        rel, made = self._write_unique(f"{place}/{stem}", memory_file.render(front, body), body)
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
        self.store.commit_others(rel, self.viewer.agent)
        self.store.replace(rel, values.data(text))
        self.wrote(rel, "edit" if existed else "remember")

    def forget(self, path: str) -> None:
        """Remove a file from the vault; git keeps what was committed. Raises NotFoundError."""
        rel = self._existing(path)
        if not self.viewer.can_write(rel):
            raise AccessError(f"{paths.display(rel)}: {self._who()} may not remove it")
        try:
            os.unlink(self.store.vault.path(rel))
        except FileNotFoundError:
            raise _not_found(rel) from None
        self.wrote(rel, "forget")

    # Reading

    def recall(
        self,
        query: str = "",
        max_tokens: int | None = None,
        strategy: ScoringStrategy | str = ScoringStrategy.BALANCED,
        *,
        folder: str = "",
    ) -> str:
        """The passages that answer `query`, as markdown of at most `max_tokens` o200k tokens.

        Without a query: what is pinned, important and recent. `folder` narrows it to a folder.
        Raises UsageError for a bad value.
        """
        return self.recalled(query, max_tokens, strategy, folder=folder).text

    @_again_if_damaged
    def recalled(
        self,
        text: str = "",
        max_tokens: int | None = None,
        strategy: ScoringStrategy | str = ScoringStrategy.BALANCED,
        *,
        folder: str = "",
    ) -> Recalled:
        """`recall` with its counts; `text` of the answer says so when nothing was found."""
        if max_tokens is None:
            max_tokens = self.store.config["recall.max_tokens"]
        budget = values.positive(max_tokens, "max_tokens")
        found, ranked_by = self._candidates(text, ScoringStrategy.of(strategy), folder)
        if found:
            packed = packing.pack(found, budget, ranked_by)
        else:
            packed = packing.first_fitting([_nothing(text), "Nothing found.\n"], budget)
        return Recalled(packed.text, packed.tokens, packed.passages, packed.memories, ranked_by)

    @_again_if_damaged
    def search(self, query: str, limit: int = 10, *, folder: str = "") -> list[Hit]:
        """The memories that match best, each with its best passage. Raises UsageError."""
        limit = values.positive(limit, "limit")
        found, _ = self._candidates(query, ScoringStrategy.BALANCED, folder)
        best: dict[int, candidates.Candidate] = {}
        for candidate in found:
            best.setdefault(candidate.memory.id, candidate)
        top = found[0].score if found and found[0].score > 0 else 1.0
        return [
            Hit(
                path=paths.display(candidate.memory.path),
                score=round(candidate.score / top, 4),
                snippet=snippet(candidate.passage.text, query),
                title=candidate.memory.title,
                line=candidate.passage.first_line,
            )
            for candidate in list(best.values())[:limit]
        ]

    def read(self, path: str) -> str:
        """The text of a file, undecodable bytes as U+FFFD. Raises NotFoundError."""
        return self.read_bytes(path).decode("utf-8", "replace")

    def read_bytes(self, path: str) -> bytes:
        """The bytes of a file. Raises NotFoundError."""
        return files.read(self.store.vault, self._existing(path))

    @_again_if_damaged
    def memories(self, folder: str = "") -> list[Info]:
        """The memories in `folder` and below, by path."""
        self.store.index.refresh()
        return [_info(row) for row in self.store.index.list_memories(self._filter(folder))]

    @_again_if_damaged
    def tags(self, folder: str = "") -> dict[str, int]:
        """Tags and how many memories carry each, most first."""
        self.store.index.refresh()
        return dict(self.store.index.tags(self._filter(folder)))

    @_again_if_damaged
    def stats(self, folder: str = "") -> Stats:
        """How much there is."""
        self.store.index.refresh()
        where = self._filter(folder)
        with self.store.index.snapshot():
            counts = self.store.index.counts(where)
            tags = len(self.store.index.tags(where))
        folders = {paths.display(name): count for name, count in counts.by_folder}
        return Stats(counts.memories, counts.bytes, tags, folders)

    @_again_if_damaged
    def meta(self, path: str) -> dict[str, Any]:
        """Front matter and facts of a memory, ready for JSON. Raises NotFoundError."""
        rel = self._existing(path)
        self.store.index.refresh()
        index = self.store.index
        with index.snapshot():
            row = index.memory(rel)
            if row is None:
                raise _not_found(rel)
            resolver = Resolver(index, self._filter(""))
            links = [
                {"target": target, "path": _shown(resolver.resolve(target, rel))}
                for target in index.links_of(row.id)
            ]
            tags, aliases = index.tags_of(row.id), index.links_of(row.id, "alias")
            supersedes = index.links_of(row.id, "supersedes")
        file = memory_file.parse(files.read(self.store.vault, rel), max_body=0)
        return {
            "path": paths.display(rel),
            "title": row.title,
            "importance": row.importance,
            "tags": tags,
            "created": _instant(file.front.created),
            "changed": format_instant(instant_of(row.changed)),
            "expires": _instant(_moment(row.ends)),
            "agent": row.agent,
            "pinned": bool(row.pinned),
            "source": file.front.source,
            "aliases": aliases,
            "links": links,
            "supersedes": supersedes,
            "size": row.size,
            "other": dict(file.front.other),
            "problems": list(file.problems),
        }

    # The vault as a whole, as far as this viewer sees it

    def commit(self, message: str | None = None) -> Report:
        """Commit everybody's memories now, as an agent only its own. Raises RepositoryError."""
        agent = self.viewer.agent
        report = self.store.committer.commit(
            now=True, people=agent is None, subject=message, only=agent
        )
        return replace(report, waiting=self._readable(report.waiting))

    def index(
        self, *, wait: bool = False, progress: Callable[[str, int, int], None] | None = None
    ) -> tuple[int, int]:
        """Bring the index up to date; with `wait` compute every embedding too.

        `progress(stage, done, total)`; stages are `files` and `embeddings`. Returns (passages with
        an embedding, passages). Raises ModelError if the model is missing or fails.
        """
        report = progress or (lambda stage, done, total: None)
        self.store.index.refresh(lambda done, total: report("files", done, total))
        if wait:
            self.store.semantic.embed_missing(lambda d, t: report("embeddings", d, t))
        return self.store.index.vector_counts(where=self._filter(""))

    @_again_if_damaged
    def status(self) -> Status:
        """What is indexed, waiting, expired, unparsable. Raises RepositoryError if git fails."""
        index = self.store.index
        index.refresh()
        where = self._filter("")
        report = self.store.committer.waiting()
        embedded, passages = index.vector_counts(where=where)
        unread = [*index.problems(), *((rel, "its name is not UTF-8") for rel in index.undecodable)]
        return Status(
            vault=str(self.store.vault.root),
            adopted=self.store.vault.adopted,
            memories=len(index.list_memories(where)),
            expired=tuple(paths.display(row.path) for row in index.expired(where)),
            unreadable=tuple(
                (paths.display(rel), why) for rel, why in unread if self.viewer.can_read(rel)
            ),
            waiting={paths.display(r): why for r, why in self._readable(report.waiting).items()},
            blocked=report.blocked,
            embedded=embedded,
            passages=passages,
            semantic=self.store.semantic.describe(),
            notice=index.notice,
        )

    # How the above decide

    def _readable(self, by_rel: dict[str, str]) -> dict[str, str]:
        return {rel: text for rel, text in by_rel.items() if self.viewer.can_read(rel)}

    def exists(self, path: str) -> bool:
        """Whether the file exists for this viewer: there, readable, not expired."""
        try:
            self._existing(path)
        except NotFoundError:
            return False
        return True

    def wrote(self, rel: str, op: str) -> None:
        """Note that `rel` was written as this viewer, here or by a mount's pass-through."""
        self.store.record(rel, self.viewer.agent, op)
        self.store.commit_in_background()

    def _candidates(
        self, text: str, strategy: ScoringStrategy, folder: str
    ) -> tuple[list[candidates.Candidate], str]:
        """What answers `text`, best first, and what it was ranked by."""
        text = values.question(text)
        where = self._filter(folder)
        index = self.store.index
        index.refresh()
        asked = query.parse(text)
        if not asked.text:
            with index.snapshot():
                return candidates.standing(index, where, strategy), "importance and recency"
        vector = self.store.semantic.query_vector(asked.text)
        with index.snapshot():
            found = candidates.find(index, asked, where, strategy, vector)
        if not found and vector is None:
            # No word matches: now the model is worth its wait.
            vector = self.store.semantic.query_vector(asked.text, patient=True)
            if vector is not None:
                with index.snapshot():
                    found = candidates.find(index, asked, where, strategy, vector)
        return found, "text+vectors" if vector is not None else "text"

    def _filter(self, folder: str) -> Filter:
        scope = paths.clean_rel(folder)
        if not paths.is_utf8(scope):
            raise UsageError(f"folder {folder!r}: no memory is in a folder whose name is not UTF-8")
        return Filter(self.viewer.read_folders, scope, self.store.now())

    def _existing(self, path: str) -> str:
        rel = paths.clean_rel(path)
        status = files.regular_file(self.store.vault, rel)
        hidden = paths.in_dot_git(rel) or not self.viewer.can_read(rel)
        if hidden or status is None or self.store.has_ended(rel, status):
            raise _not_found(rel)
        return rel

    def _writable(self, path: str) -> str:
        rel = paths.clean_rel(path)
        if not rel or not self.viewer.can_write(rel):
            raise AccessError(f"{paths.display(rel)}: {self._who()} may not write there")
        return rel

    def _who(self) -> str:
        return f"agent {self.viewer.agent}" if self.viewer.agent else "nobody"

    def _write_unique(self, base: str, data: bytes, body: str) -> tuple[str, bool]:
        """Write `base.md`, else `base-2.md` …; (rel, False) where the same body stands already."""
        for number in range(1, _MOST_SAME_TITLES):
            rel = f"{base}.md" if number == 1 else f"{base}-{number}.md"
            if self.store.write_new(rel, data):
                return rel, True
            if self._has_body(rel, body):
                return rel, False
        raise AccessError(f"{paths.display(base)}: too many memories of this title")

    def _has_body(self, rel: str, body: str) -> bool:
        try:
            raw = files.read(self.store.vault, rel)
        except NotFoundError:
            return False
        same = memory_file.parse(raw).body.rstrip() == body.rstrip()
        return same and not self.store.has_ended(rel)


class AgentMemory(View):
    """One agent's memory: its own private folder and `/memory/shared/`, nothing else."""

    def __init__(self, store: Store, agent: str, opened: View) -> None:
        super().__init__(store, Viewer(paths.check_agent(agent)))
        # Whoever keeps only this view (`AVM().agent_memory(…)`) keeps the vault open with it.
        self._opened = opened

    @property
    def agent(self) -> str:
        """The agent's name."""
        return self.viewer.agent or ""

    def __repr__(self) -> str:
        return f"AgentMemory({self.agent!r}, vault={str(self.store.vault.root)!r})"


def _not_found(rel: str) -> NotFoundError:
    return NotFoundError(f"no memory at {paths.display(rel)}")


def _nothing(text: str) -> str:
    return (
        f"Nothing found for {text.strip()!r}.\n" if text.strip() else "Nothing is remembered yet.\n"
    )


def _shown(rel: str | None) -> str | None:
    return None if rel is None else paths.display(rel)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else instant_of(seconds)


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else format_instant(moment)


def _info(row: MemoryRow) -> Info:
    return Info(
        path=paths.display(row.path),
        title=row.title,
        importance=row.importance,
        changed=instant_of(row.changed),
        expires=_moment(row.ends),
        agent=row.agent,
        pinned=bool(row.pinned),
        size=row.size,
    )
