"""Runs the checks for one viewer, and mends what cannot be guessed wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from avm.api.checks import CHECKS, Check, Finding
from avm.api.view import View
from avm.base.errors import AVMError


@dataclass(frozen=True)
class Mended:
    """What `mend` did: what it mended, and what is left, each after it."""

    mended: tuple[Finding, ...]
    left: tuple[Finding, ...]


def applicable(view: View, checks: Iterable[Check] = CHECKS) -> list[Check]:
    """The checks that speak to this viewer: to an agent of memories only."""
    return [check for check in checks if view.viewer.agent is None or check.for_agents]


def check(view: View, checks: Iterable[Check] = CHECKS) -> list[Finding]:
    """What is wrong with the vault, notes included. A check that fails is a finding itself."""
    return list(_found(view, checks))


def mend(view: View, checks: Iterable[Check] = CHECKS) -> Mended:
    """Check, mend what can be mended, and check again."""
    checks = tuple(checks)
    tried = [finding for finding in check(view, checks) if _fixed(finding)]
    left = check(view, checks)
    still = {(finding.check, finding.path) for finding in left}
    mended = [finding for finding in tried if (finding.check, finding.path) not in still]
    return Mended(tuple(mended), tuple(left))


def _found(view: View, checks: Iterable[Check]) -> Iterator[Finding]:
    told: set[str] = set()
    for each in applicable(view, checks):
        try:
            for finding in each.run(view):
                yield replace(finding, check=each.name)
        except (AVMError, OSError) as err:
            # One cause, such as a missing git, stops many checks: say it once.
            if str(err) not in told:
                told.add(str(err))
                yield Finding("", str(err), "this check could not be made", check=each.name)


def _fixed(finding: Finding) -> bool:
    """Try the fix, if there is one; what comes of it shows when the check is run again."""
    if finding.fix is None:
        return False
    try:
        finding.fix()
    except (AVMError, OSError):
        return False
    return True
