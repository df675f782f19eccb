"""Syncing a vault with a remote, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from avm.api.settling import Settling
from avm.base import paths
from avm.base.errors import NotFoundError, RepositoryError
from avm.base.times import instant_of

if TYPE_CHECKING:
    from avm.api.facts import Synced
    from avm.vault.remote import Remote
    from avm.vault.sync import Syncer, SyncReport


#: How long a sync that is under way is waited for: the network may be slow.
_PATIENCE_SECONDS = 60.0


class Syncing(Settling):
    """What the owner may do with a remote."""

    def sync(
        self,
        remote: str | None = None,
        *,
        allow_unrelated_histories: bool = False,
        allow_loss: bool = False,
        asking: bool = False,
        halted: Callable[[], bool] = lambda: False,
    ) -> SyncReport:
        """Commit, fetch, merge and push; every memory that came is searchable afterwards.

        `remote`: a name or an address, else the configured one. `asking`: git may ask for a
        password on the terminal. Another sync, the keeper's maybe, is waited for. Raises
        AccessError for an agent; RepositoryError if it cannot be done now or without being allowed
        to; RemoteError for the network.
        """
        from avm.vault.sync import Consent

        consent = Consent(unrelated=allow_unrelated_histories, loss=allow_loss)
        report = self._syncer(halted).sync(
            remote, consent, asking=asking, patience=_PATIENCE_SECONDS
        )
        if report.files:
            self.store.refresh()
        return report

    def sync_remote(self, remote: str | None = None) -> Remote:
        """The remote that `sync` would sync with. Raises RepositoryError, AccessError."""
        return self._syncer(lambda: False).remote(remote)

    def first_sync_with(self, remote: str | None = None) -> tuple[str, Callable[[], None]] | None:
        """The address of a remote that this vault was never synced with, and what notes that the
        person knows who can read it; None for any other. Raises RepositoryError, AccessError."""
        from avm.vault.sync import known_remotes, note_known

        url = self.sync_remote(remote).url
        if url in known_remotes(self.store.vault):
            return None
        return url, lambda: note_known(self.store.vault, url)

    def synced(self, keeper: Mapping[str, Any] | None = None) -> Synced | None:
        """How the vault stands to its remote, None if it has none; `keeper`: what that says of
        itself. Raises AccessError for an agent, RepositoryError."""
        from avm.api.facts import Synced
        from avm.vault.remote import without_secret
        from avm.vault.sync import distance, last_sync

        syncer = self._syncer(lambda: False)
        own = (keeper or {}).get("sync") or {}
        last = last_sync(self.store.vault)
        if last is None:
            named = self.store.config["sync.remote"]
            try:
                return Synced(syncer.remote().name, error=own.get("problem"))
            except RepositoryError as err:
                return Synced(without_secret(named), error=str(err)) if named else None
        failed_at, error = last.at, last.error
        if own.get("problem") and own["tried_at"] > last.at:  # it came to no sync at all
            failed_at, error = own["tried_at"], own["problem"]
        ahead, behind = distance(self.store.vault, last) or (None, None)
        return Synced(
            last.remote,
            None if last.done_at is None else instant_of(last.done_at),
            ahead,
            behind,
            error,
            instant_of(failed_at) if error else None,
        )

    def rescued_at(self, name: str) -> str:
        """The commit that a rescue ref points at; `latest` is the newest. Raises NotFoundError."""
        from avm.vault.sync import rescues

        there = dict(rescues(self.store.vault))
        if name == "latest" and there:
            return next(iter(there.values()))
        if name not in there:
            known = ", ".join(list(there)[:3]) or "none: no sync has moved anything"
            raise NotFoundError(f"no rescue {name!r}; the newest are {known}")
        return there[name]

    def _syncer(self, halted: Callable[[], bool]) -> Syncer:
        from avm.vault.sync import Syncer

        self._check_owner("sync", "sync")
        store = self.store
        return Syncer(store.vault, store.config, store.committer, store.held, halted)


def readers(url: str) -> str:
    """What a person should know before a vault goes to the remote at `url`."""
    return (
        f"whoever can read {url} can read all of this vault: memory/private/ keeps"
        " agents apart, not people; for a hard wall keep two vaults"
    )


def told(report: SyncReport) -> str:
    """A sync in lines, for people."""
    lines = [f"{report.branch} of {report.remote}: {_moved(report)}"]
    for copy, memory in sorted(report.copies.items()):
        lines.append(f"conflict: {memory}; the other text: {copy}")
    lines += [f"kept: {path}, removed on one side" for path in sorted(report.kept)]
    lines += [f"left: {path}: {why}" for path, why in sorted(report.waiting.items())]
    if report.copies:
        lines.append("settle conflicts with avm resolve")
    if report.rescue:
        lines.append(f"before: avm restore --from {report.rescue} PATH")
    return "\n".join(map(paths.printable, lines)) + "\n"


def _moved(report: SyncReport) -> str:
    if not report.received and not report.sent:
        return "up to date"
    return f"{_counted(report.received)} received, {_counted(report.sent)} sent"


def _counted(count: int) -> str:
    return "1 commit" if count == 1 else f"{count} commits"
