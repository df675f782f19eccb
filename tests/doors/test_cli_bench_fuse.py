"""`avm bench fuse`, for real with few files: its shape, not its times."""

from __future__ import annotations

import json
import os
from pathlib import Path

from conftest import needs_fuse, run_avm

pytestmark = needs_fuse


def test_what_it_measures_and_that_nothing_is_left(tmp_path: Path) -> None:
    done = run_avm("bench", "fuse", "--quick", "--json", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["machine"]) >= {"date", "cores", "load"}
    rows = {row["operation"]: row for row in told["operations"]}
    assert {"create, write 400 bytes, close", "open, read, close", "stat", "ls -l"} <= set(rows)
    for row in rows.values():
        assert row["ratio"] == row["avm"] / row["plain"]
        assert min(row["folder"], row["plain"], row["avm"]) > 0
    assert os.listdir(tmp_path) == []


def test_a_table_for_people() -> None:
    done = run_avm("bench", "fuse", "--quick", "--markdown")
    assert done.returncode == 0, done.stderr
    assert "| operation | unit | folder | plain pass-through | AVM's mount |" in done.stdout
