"""Full-text candidates: FTS5 queries from words, and the filters that stand before every top-k."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avm.index.extract import bigrams

#: A word in the title, name, tags or headings says more of what a passage is about.
_HEAD_WEIGHT = 2.0


@dataclass(frozen=True)
class Filter:
    """Which memories a question may see, as SQL on `memory_at`.

    `folders`: rels that may be read, None for all; `scope`: the folder asked in, "" for all;
    `now`: seconds since the epoch, what has ended by then is absent.
    """

    folders: tuple[str, ...] | None
    scope: str
    now: float

    def as_json(self) -> dict[str, Any]:
        """What `from_json` makes this filter of again, in another process."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Filter:
        """The filter that `as_json` told of."""
        folders = value["folders"]
        return cls(None if folders is None else tuple(folders), value["scope"], value["now"])

    def sql(self) -> tuple[str, list[object]]:
        """A condition and its parameters."""
        conditions = ["(m.ends IS NULL OR m.ends > ?)"]
        values: list[object] = [self.now]
        for group in (self.folders, (self.scope,) if self.scope else None):
            if group is not None:
                conditions.append(
                    "(" + " OR ".join("(m.path >= ? AND m.path < ?)" for _ in group) + ")"
                )
                # '0' follows '/' in UTF-8 and in SQLite's binary collation.
                values += [bound for folder in group for bound in (folder + "/", folder + "0")]
        return " AND ".join(conditions), values


@dataclass(frozen=True)
class Words:
    """What to look for: single words, and runs of CJK characters. Any of them matches."""

    words: tuple[str, ...] = ()
    cjk: tuple[str, ...] = ()

    def match_expression(self) -> str:
        """The FTS5 expression: each word as a quoted string, so that no user text is syntax."""
        terms = [_quoted(word) for word in self.words]
        for run in self.cjk:
            pairs = " ".join(bigrams(run))
            terms.append(f"grams : {_quoted(pairs)}" + (" *" if len(run) == 1 else ""))
        return " OR ".join(terms)


def _quoted(text: str) -> str:
    return '"' + text.replace("\0", " ").replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class TextHit:
    """A passage that matches; `score` is BM25, larger is better."""

    chunk_id: int
    score: float


def search(
    connection: sqlite3.Connection, words: Words, where: Filter, limit: int
) -> list[TextHit]:
    """The best `limit` passages for `words`, best first; [] for no words."""
    expression = words.match_expression()
    if not expression:
        return []
    condition, values = where.sql()
    rows = connection.execute(
        f"SELECT chunk_text.rowid AS id, bm25(chunk_text, {_HEAD_WEIGHT}, 1.0, 1.0) AS rank"
        " FROM chunk_text JOIN chunk AS c ON c.id = chunk_text.rowid"
        " JOIN memory_at AS m ON m.id = c.memory_id"
        f" WHERE chunk_text MATCH ? AND {condition}"
        " ORDER BY rank, m.path, c.ordinal LIMIT ?",
        (expression, *values, limit),
    )
    return [TextHit(row["id"], -row["rank"]) for row in rows]
