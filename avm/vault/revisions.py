"""What a REV names: a date, a hash, `~3`, `HEAD~3`, for the owner any name that git knows.

A date is tried first: a branch or a tag of that name, which can come with a pull, does not pose as
one. Nor does one pose as a hash. The owner may name any commit; an agent only what HEAD has grown
from, and by no name of a branch or tag.
"""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, timedelta, tzinfo
from typing import NamedTuple

from avm.base.errors import NotFoundError, UsageError
from avm.base.times import parse_duration, parse_moment
from avm.vault import git, history
from avm.vault.location import Vault

#: A commit's own name: a hash or its beginning, HEAD or nothing, then steps back.
_COMMIT = re.compile(r"(HEAD|[0-9a-fA-F]{4,64}|)((?:[~^]\d*)*)")
_HASH = re.compile(r"[0-9a-fA-F]{4,64}")
_LAST_SECOND = 2**31 - 1  # git 2.39 reads a time limit as an int
_MEMO_SECONDS = 1.0
_MEMO_ENTRIES = 256


class _Memo(NamedTuple):
    head: str | None
    until: float  # time.monotonic
    commit: str


class Revisions:
    """Looks revisions up in one vault. Thread safe; what was found holds for a second, and no
    longer than HEAD stays where it is."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._memos: dict[tuple[object, ...], _Memo] = {}
        self._guard = threading.Lock()

    def find(self, rev: str, *, now: float, zone: tzinfo | None = UTC, any_name: bool) -> str:
        """The id of the commit that `rev` names; `any_name` is the owner's right.

        Dates are in `zone`, None for the process's own. Raises NotFoundError, UsageError.
        """
        key = (rev, zone, any_name)
        head = history.head(self._vault)
        with self._guard:
            memo = self._memos.get(key)
        if memo and memo.head == head and time.monotonic() < memo.until:
            return memo.commit
        if head is None:
            raise nothing_committed()
        commit = self._find(rev, head, now, zone, any_name)
        with self._guard:
            while len(self._memos) >= _MEMO_ENTRIES:
                self._memos.pop(next(iter(self._memos)))
            self._memos[key] = _Memo(head, time.monotonic() + _MEMO_SECONDS, commit)
        return commit

    def _find(self, rev: str, head: str, now: float, zone: tzinfo | None, any_name: bool) -> str:
        moment = moment_of(rev, now, zone)
        if moment is not None:
            return self._newest_at(moment, rev, head)
        plain = _COMMIT.fullmatch(rev) if rev else None
        if plain:
            base = self._by_hash(plain[1], head, any_name) if _HASH.fullmatch(plain[1]) else head
            commit = self._verified(base + plain[2]) if base else None
            if commit and (any_name or self._in_history(commit, head)):
                return commit
        if any_name and rev and not rev.startswith("-") and "\0" not in rev:
            commit = self._verified(rev)
            if commit:
                return commit
        raise no_such(rev)

    def _newest_at(self, moment: float, rev: str, head: str) -> str:
        limit = f"--min-age={min(int(moment), _LAST_SECOND)}"
        found = ""
        if moment >= 0:
            args = ("rev-list", "-1", "--first-parent", limit, "--end-of-options", head, "--")
            found = git.output(self._vault.root, *args)
        if not found:
            raise NotFoundError(f"nothing was committed yet at {rev!r}: avm log shows since when")
        return found

    def _by_hash(self, prefix: str, head: str, any_name: bool) -> str | None:
        """The one commit whose id begins so. Raises UsageError if there are several."""
        prefix = prefix.lower()
        if len(prefix) == len(head):
            return prefix
        done = git.run(self._vault.root, ("rev-parse", f"--disambiguate={prefix}"), check=False)
        objects = done.stdout.split()
        if not objects:
            return None
        feed = b"".join(oid + b"\n" for oid in objects)
        args = ("cat-file", "--batch-check=%(objectname) %(objecttype)")
        listed = git.run(self._vault.root, args, stdin=feed).stdout.decode().splitlines()
        found = [line.split(" ")[0] for line in listed if line.endswith(" commit")]
        if not any_name:
            found = [oid for oid in found if self._in_history(oid, head)]
        if len(found) > 1:
            raise UsageError(f"{len(found)} commits begin with {prefix}: give more of the hash")
        return found[0] if found else None

    def _verified(self, name: str) -> str | None:
        args = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        done = git.run(self._vault.root, args, check=False)
        return done.stdout.decode().strip() or None if done.returncode == 0 else None

    def _in_history(self, commit: str, head: str) -> bool:
        return history.is_ancestor(self._vault, commit, head)


def moment_of(rev: str, now: float, zone: tzinfo | None) -> float | None:
    """The instant that `rev` means, in seconds since the epoch; None if it is no date. Pure.

    A day means its end. A duration means so long ago, unless it could be a hash: `3d`, `12h`, but
    not `365d`. Raises UsageError for a date that is in no calendar.
    """
    moment = parse_moment(rev, now, zone, end_of_day=True)
    if moment is None and not _HASH.fullmatch(rev):
        ago = _duration(rev)
        moment = None if ago is None else now - ago.total_seconds()
    return moment


def since_of(text: str, now: float, zone: tzinfo | None) -> float:
    """The instant from which on: `7d`, a day (its first second), a date-time. Raises UsageError."""
    moment = parse_moment(text, now, zone, end_of_day=False)
    if moment is not None:
        return moment
    ago = _duration(text)
    if ago is None:
        raise UsageError(f"since {text!r}: write 7d, 12h, yesterday or 2026-11-01")
    return now - ago.total_seconds()


def _duration(text: str) -> timedelta | None:
    try:
        return parse_duration(text)
    except UsageError:
        return None


def no_such(rev: str) -> NotFoundError:
    """What is said of a revision that does not exist, or not for this viewer."""
    return NotFoundError(
        f"no such revision: {rev!r}; give a hash, ~3, 2026-11-01 or yesterday (avm log)"
    )


def nothing_committed() -> NotFoundError:
    """What is said of a vault that has no commit."""
    return NotFoundError("nothing is committed yet: avm commit, or git commit")
