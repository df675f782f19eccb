"""A secret that comes through a mount: kept as it was written, found, held back from git."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import ROOT, needs_fuse, run_avm

from mount.conftest import Mount

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from secret_shapes import SHAPES, Maker

pytestmark = needs_fuse
TOKEN = SHAPES["gitlab-token"](Maker(23))


def all_objects(root: Path) -> bytes:
    """Every object that git has, reachable or not."""
    args = ("cat-file", "--batch-all-objects", "--unordered", "--batch")
    return subprocess.run(["git", *args], cwd=root, capture_output=True, check=True).stdout


def test_a_secret_is_found_and_held_back_until_it_goes_or_is_allowed(akashi: Mount) -> None:
    key, rel = akashi.private / "key.md", "private/akashi/key.md"
    key.write_text(f"The broker's key is {TOKEN}\n")
    (akashi.private / "other.md").write_text("other\n")
    akashi.wait_committed("private/akashi/other.md", "akashi")
    assert akashi.authors_of(rel) == []
    assert "key.md" in akashi.search("broker")
    assert "gitlab-token" in akashi.ask(":status") and "avm allow" in akashi.ask(":status")
    akashi.bash(f"echo 'moved to the safe' > {key}")  # truncates what no commit holds
    akashi.wait_committed(rel, "akashi")
    assert TOKEN.encode() not in all_objects(akashi.vault)
    key.with_name("new.md").write_text(f"{TOKEN}\n")
    key.with_name("new.md").rename(key)
    assert TOKEN in key.read_text()
    assert run_avm("allow", f"/memory/{rel}").returncode == 0
    run_avm("commit")
    akashi.wait_committed(rel, "akashi")
    assert TOKEN.encode() in all_objects(akashi.vault)
