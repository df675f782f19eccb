"""The state of a vault, for people: what is indexed, what waits, what could not be read."""

from __future__ import annotations

from dataclasses import dataclass

from avm.api.store import Store
from avm.base import paths
from avm.index.text import Filter


@dataclass(frozen=True)
class Status:
    """`waiting` maps vault paths to why they are not committed; `blocked` says what holds up all
    commits; `unreadable` lists (vault path, problem)."""

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


def status_of(store: Store) -> Status:
    """Look at everything, as the owner. Raises RepositoryError if git fails."""
    index = store.index
    index.refresh()
    where = Filter(None, "", store.now())
    undecodable = [(paths.display(rel), "its name is not UTF-8") for rel in index.undecodable]
    unread = [(paths.display(rel), problem) for rel, problem in index.problems()]
    report = store.committer.waiting()
    embedded, passages = index.vector_counts()
    return Status(
        vault=str(store.vault.root),
        adopted=store.vault.adopted,
        memories=len(index.list_memories(where)),
        expired=tuple(paths.display(row.path) for row in index.expired(where)),
        unreadable=tuple(unread + undecodable),
        waiting={paths.display(rel): reason for rel, reason in report.waiting.items()},
        blocked=report.blocked,
        embedded=embedded,
        passages=passages,
        semantic=store.semantic.describe(),
        notice=index.notice,
    )
