"""What a committer leaves that was killed, and how the next round mends it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import DEEP, git
from vault_helpers import (
    assert_clean,
    commit,
    committed,
    content,
    head,
    note,
    private,
    put,
    python,
    remember,
    show,
    used_vault,
)

from avm.vault import committer
from avm.vault.location import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return used_vault(tmp_path / "v")


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from avm.base import atomic
from avm.base.config import Config
from avm.vault import committer
from avm.vault.location import open_vault

root, owner, name, when = sys.argv[1:]
owner = {"os": os, "atomic": atomic, "committer": committer, "class": committer.Committer}[owner]
real = getattr(owner, name)

def deadly(*args, **named):
    if when == "after":
        real(*args, **named)
    os.kill(os.getpid(), signal.SIGKILL)

vault = open_vault(Path(root))
setattr(owner, name, deadly)
committer.Committer(vault, Config()).commit(now=True)
"""

DEATHS = [
    ("class", "_staging", "after"),
    ("class", "_write_commits", "after"),
    ("atomic", "replace", "after"),  # the commit's own journal
    ("os", "link", "after"),
    ("committer", "_move_ref", "before"),
    ("committer", "_move_ref", "after"),
    ("os", "rename", "before"),
    ("os", "rename", "after"),
]


@pytest.mark.parametrize("owner, name, when", DEATHS)
def test_a_kill_at_any_step_is_mended_by_the_next_round(
    vault: Vault, owner: str, name: str, when: str
) -> None:
    put(vault, "work.txt", "staged\n")
    git(vault.root, "add", "work.txt")
    before = git(vault.root, "diff", "--cached")
    remember(vault, private("a.md"))
    killed = python(KILLED_AT, vault.root, owner, name, when)
    _, errors = killed.communicate(timeout=30)
    assert killed.returncode == -signal.SIGKILL, errors.decode()
    report = commit(vault)
    assert report.blocked is None
    assert git(vault.root, "log", "-2", "--format=%an").splitlines() == ["akashi", "Pat Person"]
    assert git(vault.root, "diff", "--cached") == before
    git(vault.root, "commit", "-qm", "Staged")
    assert_clean(vault)
    leftovers = {path.name for path in vault.git_state.iterdir()}
    assert not leftovers & {"commit.json"} and not any("index." in name for name in leftovers)


@pytest.mark.parametrize("damage", [b"", b'{"ref": "refs/he', b"[]", b'{"copy": 1}'], ids=repr)
def test_a_damaged_journal_of_the_commit_stops_nothing(vault: Vault, damage: bytes) -> None:
    remember(vault, private("a.md"))
    python(KILLED_AT, vault.root, "os", "link", "after").communicate(timeout=30)
    assert (vault.git_dir / "index.lock").exists()
    (vault.git_state / "commit.json").write_bytes(damage)
    assert len(commit(vault).commits) == 1
    assert_clean(vault)


def test_after_a_kill_a_lock_that_a_person_holds_now_is_left(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "_LOCK_WAIT_SECONDS", 0.1)
    remember(vault, private("a.md"))
    python(KILLED_AT, vault.root, "atomic", "replace", "after").communicate(timeout=30)
    assert (vault.git_state / "commit.json").exists()
    lock = vault.git_dir / "index.lock"
    lock.write_bytes(b"theirs")
    assert commit(vault).blocked
    assert lock.read_bytes() == b"theirs"


@pytest.mark.parametrize("whole", [False, True])
def test_the_lock_of_the_branch_that_a_kill_left_is_removed(vault: Vault, whole: bool) -> None:
    remember(vault, private("a.md"))
    python(KILLED_AT, vault.root, "committer", "_move_ref", "before").communicate(timeout=30)
    plan = json.loads((vault.git_state / "commit.json").read_bytes())
    # What libgit2 leaves when it is killed inside: a lock that is empty, or full but not renamed.
    lock = vault.git_dir / "refs/heads/main.lock"
    lock.write_text(plan["new"] + "\n" if whole else "")
    assert len(commit(vault).commits) == 1
    assert_clean(vault)


@pytest.mark.parametrize("sign", ["content", "age", "still written"])
def test_the_lock_of_the_branch_that_is_not_ours_is_left(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    monkeypatch.setattr(committer, "_LOCK_WAIT_SECONDS", 0.1)
    remember(vault, private("a.md"))
    python(KILLED_AT, vault.root, "committer", "_move_ref", "before").communicate(timeout=30)
    lock = vault.git_dir / "refs/heads/main.lock"
    lock.write_text(head(vault.root) if sign == "content" else "")
    if sign == "age":
        os.utime(lock, (1, 1))
    elif sign == "still written":
        monkeypatch.setattr(time, "sleep", lambda _: lock.write_text(head(vault.root)))
    assert commit(vault).blocked
    assert lock.exists()
    assert not (vault.git_dir / "index.lock").exists()


REMEMBER_AND_COMMIT = """
import sys, time
from pathlib import Path
from avm.base import atomic
from avm.base.config import Config
from avm.vault.authors import Authors, Entry
from avm.vault.committer import Committer
from avm.vault.location import open_vault

vault = open_vault(Path(sys.argv[1]))
folder = vault.path("memory/private/akashi")
folder.mkdir(parents=True, exist_ok=True)
committer, authors = Committer(vault, Config()), Authors(vault)
for number in range(100000):
    rel = f"memory/private/akashi/{sys.argv[2]}-{number}.md"
    atomic.write_new(vault.path(rel), f"{rel}\\n".encode())
    authors.record(Entry(rel, "akashi", "remember", time.time()))
    print(rel, flush=True)
    if number % 3 == 0:
        report = committer.commit(now=True)
        if report.blocked:
            sys.exit(report.blocked)
"""


def kills() -> Iterator[tuple[int, float]]:
    """Rounds and how long after its first memory the program lives; the same in every run."""
    chance = random.Random(20261122)
    for number in range(200 if DEEP else 6):
        yield number, chance.uniform(0, 0.25)


def test_nothing_acknowledged_is_lost_by_kills_at_random_moments(vault: Vault) -> None:
    acknowledged: list[str] = []
    for number, seconds in kills():
        running = python(REMEMBER_AND_COMMIT, vault.root, str(number))
        assert running.stdout
        first = running.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(seconds)
        running.kill()
        rest, errors = running.communicate()
        assert running.returncode == -signal.SIGKILL, errors.decode()
        acknowledged += (first + rest).decode().split()
        # The person's too: a kill between file and journal made one memory theirs.
        assert commit(vault, people=True).blocked is None
        assert_clean(vault)
    lost = set(acknowledged) - committed(vault.root)
    assert not lost
    assert all(content(vault.root, rel) == f"{rel}\n".encode() for rel in acknowledged[-20:])
    authors = git(vault.root, "log", "--format=%an", "--", "memory/private/akashi").split("\n")
    assert authors.count("akashi") >= len(authors) - number - 1


def test_a_memory_whose_writer_died_before_the_journal_is_the_person_s(vault: Vault) -> None:
    put(vault, private("a.md"), "kept\n")
    assert commit(vault).waiting == {private("a.md"): "still fresh"}
    commit(vault, people=True)
    assert show(vault.root, "%an") == "Pat Person"
    assert content(vault.root, private("a.md")) == b"kept\n"
    note(vault, private("a.md"))  # too late: nothing is left to commit
    assert commit(vault).commits == []
    assert_clean(vault)
