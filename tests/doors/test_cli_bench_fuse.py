"""`avm bench fuse`, for real with few files: its shape, not its times."""

from __future__ import annotations

import json
import os

from conftest import needs_fuse, run_avm

from avm.fuse.platform import here

pytestmark = needs_fuse


def test_what_it_measures_and_that_nothing_is_left() -> None:
    before = here.mountpoints()
    done = run_avm("bench", "fuse", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["machine"]) >= {"date", "cores", "load"}
    rows = {row["operation"]: row for row in told["operations"]}
    assert {"create, write 400 bytes, close", "open, read, close", "stat", "ls -l"} <= set(rows)
    for row in rows.values():
        assert row["ratio"] == row["avm"] / row["plain"]
        assert min(row["folder"], row["plain"], row["avm"]) > 0
    assert here.mountpoints() == before
    assert not [name for name in os.listdir("/tmp") if name.startswith("avm-bench-")]


def test_a_table_for_people() -> None:
    done = run_avm("bench", "fuse", "--quick", "--markdown")
    assert done.returncode == 0, done.stderr
    assert (
        "| operation | unit | folder | plain pass-through | AVM's mount | × plain |" in done.stdout
    )
