"""Full-text search: the passages that match best by BM25, in bounded time.

FTS5 ranks every passage that holds any of the words: at 100,000 passages five common words take
200 ms. So where the words are in more than `_MOST_RANKED` passages, only some are ranked, with the
statistics of the whole index all the same:

- those that hold one of the rarest words, as many words as fit into the bound: what a rare word is
  in comes out as it would if all were ranked;
- unless these fill the answer with better scores than common words can give: those that hold
  the most of the common words, all of them before all but one, and so on; the newest first.
"""

from __future__ import annotations

import dataclasses
import math
import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from avm.index.parameters import in_parts
from avm.index.text import Filter, Words

#: Ranking takes some 2 µs a passage.
_MOST_RANKED = 4_000
#: The newest passages without a rare word that are ranked, of those that hold as many of the common
#: ones; no fewer than are asked for.
_MOST_COMMON = 500
#: For a word in the title a part of that: they reach far back, and to rank one FTS5 looks at all
#: passages after it.
_HEADED_SHARE = 4
#: Common words of which the most are looked for together.
_COMBINED = 5
#: The most that a word gives a passage in BM25, as a multiple of its IDF: k1 + 1, for a word that
#: is all over a short passage. Half of that is what good passages get.
_LIKELY_SHARE = 1.4
#: Passages as good as the last one that are looked at.
_MOST_TIES = 4_000
#: What FTS5 takes a word to tell that is in more than half of all.
_LEAST_IDF = 1e-6
#: An answer's places that must be right for the search to end early.
_TOP = 10


class TextHit(NamedTuple):
    """A passage and its memory; `score` is BM25, larger is better, 0.0 where no word found it."""

    chunk_id: int
    score: float
    memory_id: int
    ordinal: int


class _Common(NamedTuple):
    """A term and in how many passages it is, exact up to `_MOST_RANKED`."""

    expression: str
    passages: int


_JOINED = " CROSS JOIN chunk AS c ON c.id = found.id CROSS JOIN memory AS m ON m.id = c.memory_id"


#: What differs whenever an index could answer differently, between indexes too.
State = tuple[str, ...]


def state(connection: sqlite3.Connection) -> State:
    """Which index this is, and of which generation."""
    query = "SELECT value FROM fact WHERE name IN ('born', 'generation') ORDER BY name"
    return tuple(row[0] for row in connection.execute(query))


@dataclasses.dataclass
class _Statistics:
    """What is kept of one state of the index: in how many passages a term is, and how many there
    are."""

    state: State
    counts: dict[str, int]
    size: int | None = None


class FullText:
    """Searches one index; keeps how common words are until the index changes."""

    def __init__(self) -> None:
        self._known = _Statistics((), {})

    def search(
        self, connection: sqlite3.Connection, words: Words, where: Filter, limit: int
    ) -> list[TextHit]:
        """The best `limit` passages for `words`, best first; [] for no words."""
        terms = list(dict.fromkeys(words.expressions()))
        if not terms:
            return []
        first, last = _bounds(connection)
        size = last - first + 1
        if size > _MOST_RANKED:
            known = self._of_now(connection).counts
            counted = [
                _Common(term, _count(connection, known, term, first, size)) for term in terms
            ]
            if sum(term.passages for term in counted) > _MOST_RANKED:
                return _Bounded(connection, where, limit, size).search(counted)
        return ranked(connection, " OR ".join(terms), where, limit)

    def idf(self, connection: sqlite3.Connection, words: Words) -> dict[str, float]:
        """How telling each of the words is, by FTS5 expression: log((N − n + ½) / (n + ½)), where n
        of N passages hold it, as FTS5's BM25 has it; at least a little."""
        first, last = _bounds(connection)
        known, size = self._of_now(connection), self.size(connection)
        counts = {
            term: _count(connection, known.counts, term, first, last - first + 1)
            for term in words.expressions()
        }
        return {
            term: max(_LEAST_IDF, math.log((max(size, count) - count + 0.5) / (count + 0.5)))
            for term, count in counts.items()
        }

    def size(self, connection: sqlite3.Connection) -> int:
        """How many passages there are."""
        known = self._of_now(connection)
        if known.size is None:
            known.size = int(connection.execute("SELECT COUNT(*) FROM chunk").fetchone()[0])
        return known.size

    def _of_now(self, connection: sqlite3.Connection) -> _Statistics:
        """What is kept of the state that the connection sees, nothing of another one."""
        known, now = self._known, state(connection)
        if known.state != now:
            # Whoever still counts in another state has that state's to write to.
            known = self._known = _Statistics(now, {})
        return known


def _count(
    connection: sqlite3.Connection, kept: dict[str, int], term: str, first: int, size: int
) -> int:
    """In how many passages `term` is: exact if rare, else from how far apart they are."""
    known = kept.get(term)
    if known is None:
        found, reached = connection.execute(
            "SELECT COUNT(*), MAX(id) FROM"
            " (SELECT rowid AS id FROM chunk_text WHERE chunk_text MATCH ? LIMIT ?)",
            (term, _MOST_RANKED + 1),
        ).fetchone()
        known = found
        if found > _MOST_RANKED:
            known = max(found, round(found * size / (reached - first + 1)))
        kept[term] = known
    return known


def ranked(
    connection: sqlite3.Connection, expression: str, where: Filter, limit: int, since: int = 0
) -> list[TextHit]:
    """The best `limit` of all passages that match an FTS5 expression and pass the filter, from the
    id `since` on."""
    condition, values = where.sql()
    # Each is ranked once and sorted (`ORDER BY rank` ranks again what it yields). LIMIT keeps the
    # inner query one of its own, whose order the joins follow: they end with the outer limit.
    rows = _plain(connection).execute(
        "SELECT found.id, -found.score, c.memory_id, c.ordinal, m.path FROM (SELECT rowid AS id,"
        " rank AS score FROM chunk_text WHERE chunk_text MATCH ? AND rowid >= ?"
        " ORDER BY +rank LIMIT -1) AS found"
        f"{_JOINED} WHERE {condition} LIMIT ?",
        (expression, since, *values, limit + _MOST_TIES),
    )
    found: list[tuple[int, float, int, int, str]] = []
    for row in rows:
        if len(found) >= limit and row[1] < found[limit - 1][1]:
            break
        found.append(row)
    # An index that was built again has other ids: of what is as good the first by name stays.
    found.sort(key=lambda row: (-row[1], row[4], row[3]))
    return [TextHit._make(row[:4]) for row in found[:limit]]


def hits(
    connection: sqlite3.Connection, scores: Iterable[tuple[int, float]], where: Filter
) -> list[TextHit]:
    """The passages of these (id, score) that pass the filter, in no order."""
    wanted = dict(scores)
    found = passages_where(connection, "c.id IN ({})", list(wanted), where)
    return [hit._replace(score=wanted[hit.chunk_id]) for hit in found]


def openings(
    connection: sqlite3.Connection, memory_ids: Iterable[int], where: Filter
) -> list[TextHit]:
    """The first passages of memories that pass the filter, in no order."""
    which = "c.ordinal = 0 AND c.memory_id IN ({})"
    return passages_where(connection, which, list(memory_ids), where)


def passages_where(
    connection: sqlite3.Connection, which: str, ids: Sequence[int], where: Filter
) -> list[TextHit]:
    """The passages `c` that an SQL condition and the filter let through, in no order; `which` has
    `{}` for the `ids`."""
    condition, values = where.sql()
    found: list[TextHit] = []
    for part, marks in in_parts(ids):
        rows = _plain(connection).execute(
            "SELECT c.id, 0.0, c.memory_id, c.ordinal FROM chunk AS c CROSS JOIN memory AS m"
            f" ON m.id = c.memory_id WHERE {which.format(marks)} AND {condition}",
            (*part, *values),
        )
        found += map(TextHit._make, rows)
    return found


class _Bounded:
    """One search for words that are in too many passages to rank them all."""

    def __init__(
        self, connection: sqlite3.Connection, where: Filter, limit: int, size: int
    ) -> None:
        self._connection = connection
        self._where = where
        self._limit = limit
        self._size = size

    def search(self, terms: Sequence[_Common]) -> list[TextHit]:
        by_count = sorted(terms, key=lambda term: term.passages)
        rare: list[_Common] = []
        budget = _MOST_RANKED
        while by_count and by_count[0].passages <= budget:
            budget -= by_count[0].passages
            rare.append(by_count.pop(0))
        # FTS5 takes a word of more than half of all passages to tell nothing.
        telling = [term for term in by_count if 2 * term.passages < self._size]
        common = telling or by_count
        found: dict[int, TextHit] = {}
        if rare:
            expression = _any(rare)
            found = self._ranked(expression)
            if telling:
                found.update(self._ranked(f"({expression}) AND ({_any(telling)})"))
        if self._worth_more(found, common):
            found = {**self._with_common(common, rare), **found}
        best = sorted(found.values(), key=lambda hit: (-hit.score, hit.chunk_id))
        return best[: self._limit]

    def _ranked(self, expression: str, since: int = 0) -> dict[int, TextHit]:
        rows = ranked(self._connection, expression, self._where, self._limit, since)
        return {hit.chunk_id: hit for hit in rows}

    def _worth_more(self, found: dict[int, TextHit], common: Sequence[_Common]) -> bool:
        """Whether a passage without any rare word may stand among the best."""
        if len(found) < _TOP:
            return True
        tenth = sorted((hit.score for hit in found.values()), reverse=True)[_TOP - 1]
        return tenth < _LIKELY_SHARE * sum(self._idf(term.passages) for term in common)

    def _idf(self, count: int) -> float:
        return max(0.0, math.log((self._size - count + 0.5) / (count + 0.5)))

    def _with_common(
        self, common: Sequence[_Common], rare: Sequence[_Common]
    ) -> dict[int, TextHit]:
        """Passages that hold the most of the common words, the newest first."""
        most = max(_MOST_COMMON, self._limit)
        if not self._where.lets_all_through:
            condition, values = self._where.sql()
            rows = self._connection.execute(
                "SELECT c.id FROM memory AS m JOIN chunk AS c ON c.memory_id = m.id"
                f" WHERE {condition} LIMIT ?",
                (*values, _MOST_RANKED + 1),
            )
            allowed = [row[0] for row in rows]
            if len(allowed) <= _MOST_RANKED:
                return self._of(allowed, [*common, *rare])
            # What passes the filter is looked for among what matches: fewer take as long.
            most = max(most // 4, self._limit)
        chosen: dict[int, None] = {}
        terms = [term.expression for term in common[:_COMBINED]]
        least = self._expected(common[:_COMBINED])
        for held in range(least, 0, -1):
            if held == 1:
                titled = self._newest(f"head : ({' OR '.join(terms)})", most // _HEADED_SHARE)
                chosen.update(dict.fromkeys(titled))
            chosen.update(dict.fromkeys(self._newest(_at_least(held, terms), most)))
            least = held
            if len(chosen) >= self._limit:
                break
        return self._of(list(chosen), [*common, *rare], len(terms) - least)

    def _newest(self, expression: str, most: int) -> list[int]:
        """The newest `most` passages that match, of those that may pass the filter."""
        newest = "SELECT rowid AS id FROM chunk_text WHERE chunk_text MATCH ? ORDER BY rowid DESC"
        if self._where.lets_all_through:  # all but what expired, which is looked for at the end
            rows = _plain(self._connection).execute(f"{newest} LIMIT ?", (expression, most))
        else:
            condition, values = self._where.sql()
            rows = _plain(self._connection).execute(
                f"SELECT found.id FROM ({newest} LIMIT -1) AS found{_JOINED}"
                f" WHERE {condition} LIMIT ?",
                (expression, *values, most),
            )
        return [row[0] for row in rows]

    def _expected(self, common: Sequence[_Common]) -> int:
        """How many of the words are together in enough passages, if they are independent; at least
        one."""
        chances = [1.0]  # that a passage holds 0, 1, 2, … of them
        for term in common:
            share = min(1.0, term.passages / self._size)
            chances = [
                before * (1 - share) + above * share
                for before, above in zip([*chances, 0.0], [0.0, *chances], strict=True)
            ]
        for least in range(len(common), 1, -1):
            if sum(chances[least:]) * self._size >= self._limit / 2:
                return least
        return 1

    def _of(
        self, ids: Sequence[int], terms: Sequence[_Common], missing: int | None = None
    ) -> dict[int, TextHit]:
        """The best of these passages; `missing`: how many of the first terms they may lack."""
        if not ids:
            return {}
        expression = _groups(terms, missing)
        rows: list[sqlite3.Row] = []
        for part, marks in in_parts(ids):
            rows += self._connection.execute(
                "SELECT rowid, -rank FROM chunk_text WHERE chunk_text MATCH ? AND rowid >= ?"
                f" AND +rowid IN ({marks})",
                (expression, min(part), *part),
            )
        best = sorted(((row[1], row[0]) for row in rows), reverse=True)[: self._limit]
        scores = [(id, score) for score, id in best]
        return {hit.chunk_id: hit for hit in hits(self._connection, scores, self._where)}


def _at_least(least: int, terms: list[str]) -> str:
    """The expression that `least` of the terms are there."""
    if least in (1, len(terms)):
        return "(" + (" OR " if least == 1 else " AND ").join(terms) + ")"
    first, *others = terms
    return f"(({first} AND {_at_least(least - 1, others)}) OR {_at_least(least, others)})"


def _groups(terms: Sequence[_Common], missing: int | None) -> str:
    """An expression that has each term once, so that it ranks, and matches what lacks `missing` of
    the first: of each group of one more there is one. It passes by much that has too few."""
    combined = min(len(terms), _COMBINED)
    count = 1 if missing is None else max(1, combined // (missing + 1))
    groups: list[list[_Common]] = [list(terms[start:combined:count]) for start in range(count)]
    groups[-1] += terms[combined:]
    return " AND ".join(f"({_any(group)})" for group in groups)


def _any(terms: Iterable[_Common]) -> str:
    return " OR ".join(term.expression for term in terms)


def _bounds(connection: sqlite3.Connection) -> tuple[int, int]:
    """The least and the greatest id of a passage; (0, -1) if there is none."""
    row = connection.execute("SELECT (SELECT MIN(id) FROM chunk), (SELECT MAX(id) FROM chunk)")
    first, last = row.fetchone()
    return (0, -1) if first is None else (first, last)


def _plain(connection: sqlite3.Connection) -> sqlite3.Cursor:
    """A cursor whose rows are tuples: they are quicker to take apart."""
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor
