"""Pieces of passages ranked by full text, with the same tokenizer, in a table in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing

from avm.index.words import cjk_column, parts_column

_TABLE = (
    "CREATE VIRTUAL TABLE piece USING fts5 (text, cjk, parts, content = '',"
    " tokenize = 'porter unicode61')"
)
#: BM25's constants, as FTS5 has them.
_K1, _B = 1.2, 0.75


def ranked(weights: Mapping[str, float], pieces: Sequence[str]) -> list[float]:
    """What the words of each piece say for it, larger is better.

    `weights`: how telling each word is, its IDF in the index, by FTS5 expression. It is BM25 where
    each word counts once: Σ IDF · (k1 + 1) / (1 + k1 · (1 − b + b · length / mean length)), lengths
    in characters.
    """
    scores = [0.0] * len(pieces)
    if not weights or not pieces:
        return scores
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as table:
        table.execute(_TABLE)
        table.execute("BEGIN")
        table.executemany(
            "INSERT INTO piece (rowid, text, cjk, parts) VALUES (?, ?, ?, ?)",
            ((n, text, cjk_column(text), parts_column(text)) for n, text in enumerate(pieces)),
        )
        for expression, weight in weights.items():
            for (number,) in table.execute(
                "SELECT rowid FROM piece WHERE piece MATCH ?", (expression,)
            ):
                scores[number] += weight
    mean = sum(map(len, pieces)) / len(pieces)
    return [
        score and score * (_K1 + 1) / (1 + _K1 * (1 - _B + _B * len(text) / mean))
        for score, text in zip(scores, pieces, strict=True)
    ]
