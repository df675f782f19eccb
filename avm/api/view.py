"""One viewer's memory of one vault: the owner's or an agent's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from avm.api.comparing import Comparing
from avm.api.delta import Delta
from avm.api.importing import Importing
from avm.api.reminding import Reminding
from avm.api.store import Store
from avm.api.syncing import Syncing
from avm.api.undoing import Undoing
from avm.api.viewed import again_if_damaged
from avm.base import paths

if TYPE_CHECKING:
    from avm.api.facts import Status
    from avm.vault.committer import Report


class View(Importing, Reminding, Syncing, Delta, Comparing, Undoing):
    """What one viewer may do, and the vault as a whole, as far as this viewer sees it."""

    def commit(self, message: str | None = None) -> Report:
        """Commit everybody's memories now, as an agent only its own. Raises RepositoryError."""
        from dataclasses import replace

        agent = self.viewer.agent
        report = self.store.committer.commit(
            now=True, people=agent is None, subject=message, only=agent
        )
        return replace(report, waiting=self._readable(report.waiting))

    def index(
        self,
        *,
        wait: bool = False,
        rebuild: bool = False,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> tuple[int, int]:
        """Bring the index up to date, with `rebuild` by building it anew; with `wait` compute every
        embedding too.

        `progress(stage, done, total)`, for the owner alone; stages are `files`, `history` and
        `embeddings`. Returns (passages with an embedding, passages). Raises ModelError if the model
        is missing or fails, IndexDamagedError if a new index cannot be written.
        """
        # How many there are in all is not an agent's to know.
        told = progress if self.viewer.agent is None else None
        report = told or (lambda stage, done, total: None)
        if rebuild:
            self.store.index.rebuild(report)
        else:
            self.store.index.refresh(report)
        if wait:
            self.store.semantic.embed_missing(lambda d, t: report("embeddings", d, t))
        return self.store.index.vector_counts(where=self._filter(""))

    def check_index(self) -> list[str]:
        """What differs between the index and the files, a line each; [] if they agree.

        Reads every file again. Raises AccessError for an agent: it names everybody's files.
        """
        self._check_owner("check", "check the index")
        return self.store.index.check()

    @again_if_damaged
    def status(self, folder: str = "") -> Status:
        """What is indexed, waiting, expired, unparsable in `folder` and below.

        Raises RepositoryError if git fails.
        """
        from avm.api.facts import Status
        from avm.api.keeper import description
        from avm.vault import dropped, rescue

        vault = self.store.vault
        self.store.refresh()
        index = self.store.index
        where = self._filter(folder)
        told = self.store.keeper.status()
        usage = self.store.supervision.usage(self.viewer.agent)
        report = self.store.committer.waiting()
        embedded, passages = index.vector_counts(where=where)
        unread = [*index.problems(), *((rel, "its name is not UTF-8") for rel in index.undecodable)]
        return Status(
            vault=str(self.store.vault.root),
            adopted=self.store.vault.adopted,
            memories=len(index.list_memories(where)),
            expired=tuple(paths.display(row.path) for row in index.expired(where)),
            unreadable=tuple(
                (paths.display(rel), why) for rel, why in unread if self._sees(rel, where.scope)
            ),
            waiting={
                paths.display(rel): why
                for rel, why in report.waiting.items()
                if self._sees(rel, where.scope)
            },
            blocked=report.blocked,
            embedded=embedded,
            passages=passages,
            semantic=self.store.semantic.describe(told),
            notice=index.notice,
            keeper=description(told, in_full=self.viewer.agent is None),
            dropped=tuple(
                paths.display(rel)
                for rel in dict.fromkeys((*report.dropped, *dropped.standing(vault)))
                if self._sees(rel, where.scope)
            ),
            rescued=tuple(
                (paths.display(rel), str(place))
                for rel, place in rescue.moved_aside(vault)
                if self._sees(rel, where.scope)
            ),
            refused=tuple(self.refusals),
            conflicts=tuple(self._conflicts(folder)),
            sync=self.synced(told) if self.viewer.agent is None else None,
            quota=usage.told() if usage else None,
        )


class AgentMemory(View):
    """One agent's memory: its own private folder and `/memory/shared/`, nothing else."""

    def __init__(self, store: Store, agent: str, opened: View) -> None:
        super().__init__(store, store.viewer(agent))
        # Whoever keeps only this view (`AVM().agent_memory(…)`) keeps the vault open with it.
        self._opened = opened

    @property
    def agent(self) -> str:
        """The agent's name."""
        return self.viewer.agent or ""

    def __repr__(self) -> str:
        return f"AgentMemory({self.agent!r}, vault={str(self.store.vault.root)!r})"
