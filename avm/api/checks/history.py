"""Commits: those that do not come about, and the speed of asking for old ones."""

from __future__ import annotations

import time
from collections.abc import Iterator

from avm.api.checks.finding import Check, Finding
from avm.api.view import View
from avm.base import paths
from avm.vault import housekeeping

_LONG_SECONDS = 86_400


def _waiting(view: View) -> Iterator[Finding]:
    store = view.store
    report, since = store.committer.waiting(), store.waiting_since()
    for rel, why in sorted(report.waiting.items()):
        try:
            status = store.vault.path(rel).lstat()
            age = store.now() - since[rel] if rel in since else time.time() - status.st_mtime
        except FileNotFoundError:  # removed; when, only the journal can know
            age = store.now() - since.get(rel, store.now())
        if age > _LONG_SECONDS:
            what = f"not committed for {age / _LONG_SECONDS:.0f} days: {report.blocked or why}"
            yield Finding(paths.display(rel), what, "avm commit")


def _path_filters(view: View) -> Iterator[Finding]:
    vault = view.store.vault
    commits = housekeeping.lacks_path_filters(vault)
    if commits:
        yield Finding(
            "",
            f"{commits:,} commits and no path filters: the history of a memory takes seconds",
            "avm doctor --fix writes them",
            lambda: housekeeping.Housekeeper(vault).tidy(),
        )


CHECKS = (
    Check("waiting", "Changes that have not been committed for more than a day.", _waiting),
    Check(
        "path-filters",
        f"A commit-graph with path filters where there are over {housekeeping.MANY_COMMITS:,}"
        " commits.",
        _path_filters,
        "does the housekeeping",
    ),
)
