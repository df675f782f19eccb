"""Locks that nobody seems to hold any more, and a commit that was cut short."""

from __future__ import annotations

from collections.abc import Iterator

from avm.api.checks.finding import Check, Finding
from avm.api.view import View
from avm.vault import condition

#: git holds its locks for moments; a long rebase or gc for minutes.
_OLD_SECONDS = 600


def _git_locks(view: View) -> Iterator[Finding]:
    for lock in condition.lock_files(view.store.vault):
        if lock.age > _OLD_SECONDS:
            yield Finding(
                str(lock.path),
                f"a lock of git's, {lock.age / 60:.0f} minutes old: a git command, an editor with"
                " git in it or a killed one of them left it, or still works",
                "remove it by hand if no git command runs",
            )


def _unfinished(view: View) -> Iterator[Finding]:
    vault = view.store.vault
    journal = condition.unfinished_commit(vault)
    if journal is None:
        return
    what = "a commit of AVM's was cut short, its process is gone"
    mend = "the next commit finishes or undoes it"
    yield Finding(str(journal), what, mend, view.store.committer.recover)


CHECKS = (
    Check(
        "unfinished-commit",
        "A commit of AVM's that was cut short.",
        _unfinished,
        "finishes or undoes it",
    ),
    Check("git-lock", "A lock file of git's that is older than ten minutes.", _git_locks),
)
