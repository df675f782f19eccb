"""What is told of the past. Paths are vault paths: `/memory/…`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Commit:
    """A commit as its viewer may see it. `agent` is None for a person's.

    `when` is the committer's time. `subject` is made up from what is visible where the commit also
    touched what the viewer may not see. `ops` are `remember`, `edit`, `forget`. `paths` maps vault
    paths to `added`, `changed` or `deleted`. `path`: what the file asked for was called then.
    """

    hash: str
    author: str
    agent: str | None
    when: datetime
    subject: str
    ops: tuple[str, ...]
    paths: dict[str, str]
    path: str | None = None


@dataclass(frozen=True)
class BlameLine:
    """A line of a file, counted from 1, and the commit that it is from.

    All None: not committed yet, or from a time when the viewer might not have seen the file.
    """

    line: int
    text: str
    hash: str | None
    author: str | None
    agent: str | None
    when: datetime | None
