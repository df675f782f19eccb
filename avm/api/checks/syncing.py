"""The remote: syncs that fail, conflicts that nobody has settled."""

from __future__ import annotations

from collections.abc import Iterator

from avm.api.checks.finding import Check, Finding
from avm.api.view import View
from avm.base import paths

_LONG_SECONDS = 86_400


def _sync(view: View) -> Iterator[Finding]:
    synced = view.synced(view.store.keeper.status())
    if synced is None or synced.error is None:
        return
    error = paths.printable(synced.error)
    if synced.at is None:
        yield Finding("", f"no sync has come to its end yet: {error}", "avm sync")
    elif (age := view.store.now() - synced.at.timestamp()) > _LONG_SECONDS:
        days = f"{age / _LONG_SECONDS:.0f} days"
        yield Finding("", f"not synced for {days}: {error}", "avm sync")


def _conflicts(view: View) -> Iterator[Finding]:
    for path, others in view.conflicts().items():
        what = f"two sides changed it: {paths.printable('; '.join(others))}"
        yield Finding(paths.printable(path), what, "avm resolve", note=True)


CHECKS = (
    Check("sync", "A sync that has failed for more than a day, or always.", _sync),
    Check("conflicts", "Conflicts that are not settled (only told).", _conflicts, for_agents=True),
)
