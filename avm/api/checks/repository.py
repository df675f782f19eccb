"""The git program and the repository as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from avm.api.checks.finding import Check, Finding
from avm.api.view import View
from avm.vault import condition, git
from avm.vault.repository import busy_with


def _git_program(view: View) -> Iterator[Finding]:
    found = git.version()  # raises if there is none: doctor tells
    if found < condition.OLDEST_GIT:
        shown, oldest = (".".join(map(str, pair)) for pair in (found, condition.OLDEST_GIT))
        yield Finding("", f"git {shown} is older than {oldest}", "install a newer git")


def _opened(view: View) -> Iterator[Finding]:
    vault = view.store.vault
    if why := condition.cannot_open(vault):
        yield Finding(str(vault.git_dir), f"git refuses it: {why}", "nothing can be committed")
    elif condition.is_bare(vault):
        mend = "git config core.bare false"
        yield Finding(str(vault.git_dir), "it says that it has no work tree", mend)


def _format(view: View) -> Iterator[Finding]:
    formats = condition.foreign_formats(view.store.vault)
    if formats:
        what = f"{' and '.join(formats)}, which libgit2 cannot open"
        yield Finding("", what, "AVM commits through the git program", note=True)


def _operation(view: View) -> Iterator[Finding]:
    busy = busy_with(view.store.vault)
    if busy:
        mend = "git switch BRANCH" if "detached" in busy else "finish or abort it (git status)"
        yield Finding("", f"{busy}: memories are not committed meanwhile", mend)


CHECKS = (
    Check("git", "The git program is there and new enough.", _git_program),
    Check("repository", "git opens the repository, and it has a work tree.", _opened),
    Check("format", "A format that libgit2 cannot open (only told).", _format),
    Check("operation", "A merge, rebase or the like in progress, or a detached HEAD.", _operation),
)
