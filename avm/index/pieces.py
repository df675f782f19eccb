"""Pieces of passages ranked by full text, with the same tokenizer, in a table in memory."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence

from avm.index.words import cjk_column, parts_column

_TABLE = (
    "CREATE VIRTUAL TABLE piece USING fts5 (text, cjk, parts, content = '',"
    " tokenize = 'porter unicode61')"
)
#: BM25's constants, as FTS5 has them.
_K1, _B = 1.2, 0.75


class _Table(threading.local):
    """The table, one a thread: a new one takes as long as filling it."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute(_TABLE)

    @contextlib.contextmanager
    def filled(self, pieces: Iterable[tuple[int, str, str, str]]) -> Iterator[sqlite3.Connection]:
        """The table with these rows for a while."""
        try:
            self.connection.execute("BEGIN")
            insert = "INSERT INTO piece (rowid, text, cjk, parts) VALUES (?, ?, ?, ?)"
            self.connection.executemany(insert, pieces)
            yield self.connection
        finally:
            self.connection.rollback()


_table = _Table()


def _parts(text: str, *, mixed: bool) -> str:
    """`parts_column`, looked for where there may be any: a passage leaves out other forms of words
    that another of its paragraphs has as they are."""
    return parts_column(text) if mixed or not text.isascii() else ""


def ranked(weights: Mapping[str, float], pieces: Sequence[tuple[str, bool]]) -> list[float]:
    """What the words of each piece, (text, whether its passage has parts of identifiers), say for
    it, larger is better.

    `weights`: how telling each word is, its IDF in the index, by FTS5 expression. It is BM25 where
    each word counts once: Σ IDF · (k1 + 1) / (1 + k1 · (1 − b + b · length / mean length)), lengths
    in characters.
    """
    scores = [0.0] * len(pieces)
    if not weights or not pieces:
        return scores
    rows = (
        (n, text, cjk_column(text), _parts(text, mixed=mixed))
        for n, (text, mixed) in enumerate(pieces)
    )
    with _table.filled(rows) as table:
        for expression, weight in weights.items():
            query = "SELECT rowid FROM piece WHERE piece MATCH ?"
            for (number,) in table.execute(query, (expression,)):
                scores[number] += weight
    mean = sum(len(text) for text, _ in pieces) / len(pieces)
    return [
        score and score * (_K1 + 1) / (1 + _K1 * (1 - _B + _B * len(text) / mean))
        for score, (text, _) in zip(scores, pieces, strict=True)
    ]
