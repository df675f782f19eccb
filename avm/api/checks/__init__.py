"""The one table of checks, but for those of the layers above (cli/doctor.py adds them)."""

from __future__ import annotations

from avm.api.checks import (
    history,
    index,
    keeper,
    leftovers,
    locks,
    memories,
    place,
    repository,
    settings,
    syncing,
    tracked,
)
from avm.api.checks.finding import Check, Finding

__all__ = ["CHECKS", "Check", "Finding"]

CHECKS: tuple[Check, ...] = (
    *repository.CHECKS,
    *locks.CHECKS,
    *settings.CHECKS,
    *place.CHECKS,
    *memories.CHECKS,
    *index.CHECKS,
    *keeper.CHECKS,
    *leftovers.CHECKS,
    *history.CHECKS,
    *syncing.CHECKS,
    *tracked.CHECKS,
)
