"""`avm bench scale`, for real on a small vault: its shape, not its times."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import git, no_fuse_because, run_avm

NO_MODEL = {"AVM_MODEL": "/nowhere"}
TIMED = {
    "index, cold": "read + insert",
    "catch-up scan": "scandir + stat",
    "remember": "write + upsert",
    "search, 1 rare word": "FTS5",
    "search, 1 common word": "FTS5",
    "search, 5 common words": "FTS5",
    "recall, text": "FTS5",
    "avm search, whole process": "import click",
    "avm recall, whole process": "import click",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the vaults are kept."""
    return tmp_path_factory.mktemp("bench")


def test_what_it_measures_and_that_it_leaves_the_vault_as_it_was(folder: Path) -> None:
    done = run_avm("bench", "scale", "--sizes", "116", "--json", "--keep", str(folder), **NO_MODEL)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["machine"]) >= {"date", "cores", "load"}
    (size,) = told["sizes"]
    assert size["memories"] == 116
    rows = {row["operation"]: row for row in size["rows"]}
    assert {name: rows[name]["floor"]["name"] for name in TIMED} == TIMED
    assert all(0 < row["p50"] <= row["p95"] for row in rows.values())
    assert all(row["ratio"] > 0 for row in rows.values() if row["floor"])
    assert rows["search, 1 rare word"]["first"] == "0.14"
    assert ("FUSE create" in rows) == (no_fuse_because() is None)
    assert ("rg, 1 rare word" in rows) == (shutil.which("rg") is not None)
    assert "index on disk" in rows
    _as_made(folder, size)


def _as_made(folder: Path, size: dict[str, Any]) -> None:
    vault = folder / "116" / "vault"
    assert git(vault, "status", "--porcelain") == ""
    assert len(list((vault / "memory").rglob("*.md"))) == size["memories"]
    assert sorted(place.name for place in (folder / "116").iterdir()) == ["made", "vault"]


def test_a_size_that_is_none() -> None:
    done = run_avm("bench", "scale", "--sizes", "116,many")
    assert done.returncode == 2
    assert done.stderr == "avm: size 'many': give numbers such as 116,1k,10k\n"
