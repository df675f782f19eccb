"""What is told of memories and of the whole vault. Paths are vault paths: `/memory/…`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
class Synced:
    """How a vault stands to its remote. `at`: when a sync last came to its end, None if none has;
    `ahead` and `behind` count the commits that are here alone and, when it was last looked, at the
    remote alone, None if that is not known. `error`: why the last sync failed, `failed_at` when."""

    remote: str
    at: datetime | None = None
    ahead: int | None = None
    behind: int | None = None
    error: str | None = None
    failed_at: datetime | None = None


@dataclass(frozen=True)
class Status:
    """The state of a vault. `waiting` maps vault paths to why they are not committed; `blocked`
    says what holds up all commits; `unreadable` lists (vault path, problem); `keeper` says
    in a line whether one runs and how it is. `dropped` are memories whose front matter a plain
    write took away; `rescued` lists (vault path, where the file was moved out of a new one's way);
    `refused` (path of a virtual node, why what was written to it was not taken), newest last.
    `conflicts` are memories that two sides changed; `sync` is told to the owner alone, and is None
    where there is no remote; `quota`: what of it an agent has used, None without one."""

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
    dropped: tuple[str, ...] = ()
    rescued: tuple[tuple[str, str], ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    conflicts: tuple[str, ...] = ()
    sync: Synced | None = None
    quota: str | None = None
