"""The freshness matrix in a few rounds: every read right, or a reason why there was none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import DEEP

PROGRAM = Path(__file__).with_name("matrix.py")
ROWS = (
    "vim", "emacs", "nano", "VS Code, in place", "VS Code, atomic", "Obsidian", "sed -i",
    "temp + mv", "mv of a folder", "rsync -t", "touch -r", "git checkout", "git stash", "git pull",
    "cp -a of many",
)  # fmt: skip
COLUMNS = ("keeper", "no keeper", "mount", "behind the mount")
#: Rounds take turns: in a terminal, without one. A column begins where the one before did not.
ROUNDS = 4 if DEEP else 1


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What the program found."""
    command = [sys.executable, str(PROGRAM), "--rounds", str(ROUNDS), "--files", "200", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=1_200 if DEEP else 290
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_matrix_is_whole(told: dict[str, Any]) -> None:
    assert tuple(told["rows"]) == ROWS
    assert all(tuple(columns) == COLUMNS for columns in told["rows"].values())


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", ROWS)
def test_every_read_was_right(row: str, column: str, told: dict[str, Any]) -> None:
    cell = told["rows"][row][column]
    if cell["skipped"]:
        pytest.skip(cell["skipped"])
    assert cell["wrong"] == []
    assert cell["reads"] == cell["right"] >= 2 * ROUNDS
