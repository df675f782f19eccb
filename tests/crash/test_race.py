"""The race of agents and a person, short; `make deep` runs it for a minute with each back end."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import DEEP

from crash.race import AGENTS, run


@pytest.mark.parametrize("backend", ["libgit2", "git"])
def test_nobody_loses_anything(tmp_path: Path, backend: str) -> None:
    seconds, each = (60.0, 50) if DEEP else (6.0, 8)
    outcome = run(tmp_path / "v", seconds, each, backend)
    assert outcome.wrong == [], outcome.table()
    assert outcome.acknowledged == len(AGENTS) * 2 * each
    assert outcome.commits > 0
    assert outcome.commands["commit", "ok"] > 0 < outcome.commands["stash", "ok"]
    # From our lock at most one in a thousand; a short race has fewer commands than that, and may
    # meet it a few times where the machine is busy.
    assert outcome.failed_by_lock <= max(3, sum(outcome.commands.values()) / 1000)
