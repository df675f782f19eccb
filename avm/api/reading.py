"""Reading as one viewer: recall, search, read, lists. Every call sees every write that returned
before it began."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from avm.api import values
from avm.api.viewed import Viewed, again_if_damaged
from avm.base import paths
from avm.base.errors import UsageError
from avm.base.times import format_instant, instant_of
from avm.recall.scoring import ScoringStrategy
from avm.vault import files

if TYPE_CHECKING:
    from avm.api.facts import Info, Stats
    from avm.api.recalled import Recalled
    from avm.api.results import Hit
    from avm.index.index import MemoryRow
    from avm.index.text import Filter
    from avm.recall.candidates import Near, Scored
    from avm.recall.packing import Packed
    from avm.recall.pieces import Piece
    from avm.recall.query import Query
    from avm.recall.scoring import Weights
    from avm.recall.trail import Trail


class Reading(Viewed):
    """What a viewer may ask of the memories as they are now."""

    def recall(
        self,
        query: str = "",
        max_tokens: int | None = None,
        strategy: ScoringStrategy | str = ScoringStrategy.BALANCED,
        *,
        folder: str = "",
        zone: tzinfo | None = UTC,
        format: str = "markdown",
    ) -> str:
        """The passages that answer `query`, as markdown of at most `max_tokens` o200k tokens.

        Without a query: what is pinned, important and recent. `folder` narrows it to a folder;
        dates in the query are in `zone`, None for the process's own. docs/search.md has the
        language of queries. Raises UsageError for a bad value.
        """
        return self.recalled(
            query, max_tokens, strategy, folder=folder, zone=zone, format=format
        ).text

    @again_if_damaged
    def recalled(
        self,
        text: str = "",
        max_tokens: int | None = None,
        strategy: ScoringStrategy | str = ScoringStrategy.BALANCED,
        *,
        folder: str = "",
        zone: tzinfo | None = UTC,
        format: str = "markdown",
    ) -> Recalled:
        """`recall` with its counts; `text` of the answer says so when nothing was found."""
        from avm.api.recalled import Recalled

        budget = self._budget(max_tokens)
        with self._asked(text, ScoringStrategy.of(strategy), folder, zone) as asked:
            _, packed = self._answer(asked, budget, format)
        return Recalled(
            packed.text, packed.tokens, packed.passages, packed.memories, asked.ranked_by
        )

    @again_if_damaged
    def search(
        self, query: str, limit: int = 10, *, folder: str = "", zone: tzinfo | None = UTC
    ) -> list[Hit]:
        """The memories that match best, each with its best passage. Raises UsageError."""
        from avm.api.results import Hit
        from avm.recall.candidates import best_of_each, load
        from avm.recall.snippets import snippet

        limit = values.positive(limit, "limit")
        with self._asked(query, ScoringStrategy.BALANCED, folder, zone) as asked:
            best = best_of_each(asked.matches(), limit)
            loaded = list(load(self.store.index, best))
        top = best[0].score if best and best[0].score > 0 else 1.0
        return [
            Hit(
                path=paths.display(candidate.memory.path),
                score=round(candidate.scored.score / top, 4),
                snippet=snippet(candidate.passage.text, asked.query.words),
                title=candidate.memory.title,
                line=candidate.passage.first_line,
            )
            for candidate in loaded
        ]

    def read(self, path: str) -> str:
        """The text of a file, undecodable bytes as U+FFFD. Raises NotFoundError."""
        return self.read_bytes(path).decode("utf-8", "replace")

    def read_bytes(self, path: str) -> bytes:
        """The bytes of a file. Raises NotFoundError."""
        return files.read(self.store.vault, self._existing(path))

    @again_if_damaged
    def memories(
        self,
        folder: str = "",
        *,
        sort: str = "path",
        tag: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Info]:
        """The memories in `folder` and below, with `tag` or one below it if that is given.

        `sort` is `path`, `changed` (the newest first) or `importance` (the highest first); `limit`
        of them after the first `offset`. Raises UsageError.
        """
        from avm.index.index import SORTS
        from avm.index.text import NO_WORDS, Condition

        if sort not in SORTS:
            raise UsageError(f"sort {sort!r}: use one of {', '.join(SORTS)}")
        most = -1 if limit is None else values.positive(limit, "limit")
        start = values.whole(offset, "offset", 0)
        tags = [Condition("tag", name.casefold()) for name in values.tags(tag)]
        where = self._filter(folder).asking(tuple(tags), NO_WORDS)
        self.store.refresh()
        rows = self.store.index.list_memories(where, sort, most, start)
        return [_info(row) for row in rows]

    @again_if_damaged
    def tags(self, folder: str = "") -> dict[str, int]:
        """Tags and how many memories carry each, most first."""
        self.store.refresh()
        return dict(self.store.index.tags(self._filter(folder)))

    @again_if_damaged
    def stats(self, folder: str = "") -> Stats:
        """How much there is."""
        from avm.api.facts import Stats

        self.store.refresh()
        where = self._filter(folder)
        with self.store.index.snapshot():
            counts = self.store.index.counts(where)
            tags = len(self.store.index.tags(where))
        folders = {paths.display(name): count for name, count in counts.by_folder}
        return Stats(counts.memories, counts.bytes, tags, folders)

    def links(self, path: str) -> list[str]:
        """The memories that a memory links to, by path. Raises NotFoundError."""
        return sorted({link["path"] for link in self.meta(path)["links"] if link["path"]})

    @again_if_damaged
    def backlinks(self, path: str) -> list[str]:
        """The memories that link to a memory, by path. Raises NotFoundError."""
        from avm.recall.links import Resolver

        rel = self._existing(path)
        self.store.refresh()
        index, where = self.store.index, self._filter("")
        with index.snapshot():
            row = self._indexed(rel)
            resolver = Resolver(index, where)
            pointing = index.pointing_at([row.id], where, "link")
            found = {one.path for one in pointing if resolver.resolve(one.target, one.path) == rel}
        return [paths.display(other) for other in sorted(found - {rel})]

    @again_if_damaged
    def meta(self, path: str) -> dict[str, Any]:
        """Front matter and facts of a memory, ready for JSON. Raises NotFoundError."""
        from avm.base import memory_file
        from avm.recall.links import Resolver

        rel = self._existing(path)
        self.store.refresh()
        index = self.store.index
        with index.snapshot():
            row = self._indexed(rel)
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

    def _budget(self, max_tokens: int | None) -> int:
        if max_tokens is None:
            max_tokens = self.store.config["recall.max_tokens"]
        return values.positive(max_tokens, "max_tokens")

    def _answer(
        self,
        asked: Asked,
        budget: int,
        format: str,
        wanted: Callable[[Piece], bool] | None = None,
    ) -> tuple[list[Scored], Packed]:
        """What takes part in a recall, best first, and its answer of the pieces that are `wanted`.
        Call it while `_asked`."""
        from avm.recall import packing
        from avm.recall.candidates import DEPTH, load
        from avm.recall.companions import with_companions
        from avm.recall.pieces import pieces

        index = self.store.index
        found = with_companions(index, asked.where, asked.weights, asked.found, asked.trail)
        matching = str(len({item.hit.memory_id for item in found}))
        if len(asked.found) >= DEPTH:
            matching += "+"  # what ranks lower was not looked at
        telling = partial(index.idf, asked.query.words)
        parts = pieces(load(index, found), asked.query, telling, asked.weights)
        packed = packing.pack(
            filter(wanted, parts) if wanted else parts,
            budget,
            asked.ranked_by,
            matching,
            format,
            self._counter(),
        )
        if not found:
            packed = packing.first_fitting([_nothing(asked.query.text), "Nothing found.\n"], budget)
        return found, packed

    def _counter(self) -> Callable[[str], int] | None:
        """Who counts tokens, None for the upper bound. Raises ConfigError."""
        if self.store.config["recall.tokens"] == "bound":
            return None
        from avm.recall.exact_tokens import exact_counter

        return exact_counter()

    @contextlib.contextmanager
    def _asked(
        self,
        text: str,
        strategy: ScoringStrategy,
        folder: str,
        zone: tzinfo | None,
        *,
        plain: bool = False,
    ) -> Iterator[Asked]:
        """What answers `text`, best first; a `plain` one asks for nothing by itself. Inside, the
        index stays as it was asked."""
        from avm.recall import candidates, query
        from avm.recall.scoring import Weights
        from avm.recall.trail import Trail

        trail = Trail()
        weights = Weights.of(self.store.config)
        ranking = candidates.Ranking(strategy, weights)
        text = values.question(text)
        where = self._filter(folder)
        self.store.refresh()
        index, semantic = self.store.index, self.store.semantic
        asked = query.plain(text) if plain else query.parse(text, where.now, zone)
        where = asked.narrow(where)
        if not asked.question:
            with index.snapshot():
                found = candidates.standing(index, asked, where, ranking, trail)
                by = "recency" if asked.only_filters else "importance and recency"
                meaning = "off (no words to look for)"
                yield Asked(asked, where, weights, found, by, meaning, None, trail)
            return
        with index.snapshot():
            fields = candidates.fields_named(index, asked, where, weights)
        names = {value for name, value in fields if name in candidates.WHO}
        near = semantic.near(asked.without_names(names))
        with index.snapshot():
            found = candidates.find(index, asked, where, ranking, near, fields=fields, trail=trail)
            off = semantic.why_off
            by = "text" if off else "text+vectors"
            yield Asked(asked, where, weights, found, by, off or "on", near, trail)


class Asked(NamedTuple):
    """A question, what answers it, and how that was ranked."""

    query: Query
    where: Filter
    weights: Weights
    found: list[Scored]
    ranked_by: str
    semantic: str
    near: Near | None
    trail: Trail

    def matches(self) -> list[Scored]:
        """What is found in a search: what only stands beside a match is none."""
        return [item for item in self.found if item.relevance.own or not self.query]


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
    from avm.api.facts import Info

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
