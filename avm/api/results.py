"""What the API answers with. Paths are vault paths: `/memory/…`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Remembered:
    """A memory that was written, or was there already; `hints` are lines worth showing."""

    path: str
    hints: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class Hit:
    """A memory that matches. `score` is 0–1 of the best hit; compare it within one answer only."""

    path: str
    score: float
    snippet: str
    title: str
    line: int


@dataclass(frozen=True)
class Recalled:
    """An answer within its budget. `tokens` is an upper bound of its o200k tokens; `ranked_by` is
    `text` or `text+vectors`."""

    text: str
    tokens: int
    passages: int
    memories: int
    ranked_by: str


@dataclass(frozen=True)
class Info:
    """A memory in a list. `expires` is None for one that stays; `size` is in bytes."""

    path: str
    title: str
    importance: float | None
    changed: datetime
    expires: datetime | None
    agent: str | None
    pinned: bool
    size: int


@dataclass(frozen=True)
class Stats:
    """How much there is to see. `bytes` counts whole files."""

    memories: int
    bytes: int
    tags: int
    folders: dict[str, int]


@dataclass(frozen=True)
class Status:
    """The state of a vault. `waiting` maps vault paths to why they are not committed; `blocked`
    says what holds up all commits; `unreadable` lists (vault path, problem); `keeper` says
    in a line whether one runs and how it is."""

    vault: str
    adopted: bool
    memories: int
    expired: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    waiting: dict[str, str]
    blocked: str | None
    embedded: int
    passages: int
    semantic: str
    notice: str | None
    keeper: str


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


@dataclass(frozen=True)
class Restored:
    """A file that was brought back; `notes` are lines worth showing."""

    path: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class Undone:
    """What taking commits back did, or would do in a `dry_run`.

    `commits`: their hashes, newest first; `changed` maps vault paths to `changed back`, `brought
    back` or `removed`; `left` to why a path stays as it is.
    """

    commits: tuple[str, ...]
    changed: dict[str, str]
    left: dict[str, str]
    dry_run: bool = False


@dataclass(frozen=True)
class Collected:
    """The expired memories that were removed from the tree, and why others stay or are not
    committed."""

    removed: tuple[str, ...]
    left: dict[str, str]
