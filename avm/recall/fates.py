"""What became of a memory when a question was answered."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Kind(enum.Enum):
    """Each way that a memory may go; the value is its name in JSON."""

    PACKED = "packed"
    #: Candidates that were left out.
    SUPERSEDED = "superseded"
    DUPLICATE = "duplicate"
    EMPTY = "empty"
    BUDGET = "budget"
    #: No candidates.
    OUTRANKED = "outranked"
    UNMATCHED = "unmatched"
    FILTERED = "filtered"
    EXPIRED = "expired"
    IGNORED = "ignored"
    ACCESS = "access"


class Fate(NamedTuple):
    """One of them; `paths` (rels): what it gave way to."""

    kind: Kind
    paths: tuple[str, ...] = ()
