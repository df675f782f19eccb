"""Counters in the index's table `fact`, by which a reader knows that something changed."""

from __future__ import annotations

import sqlite3


def generation(connection: sqlite3.Connection) -> int:
    """A number that differs whenever a search could answer differently."""
    row = connection.execute("SELECT value FROM fact WHERE name = 'generation'").fetchone()
    return int(row["value"]) if row else 0


def count_up(connection: sqlite3.Connection, name: str = "generation") -> None:
    """Raise a counter; call in a transaction."""
    connection.execute(
        "INSERT INTO fact VALUES (?, '1') ON CONFLICT (name) DO UPDATE SET value = value + 1",
        (name,),
    )
