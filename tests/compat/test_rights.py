"""Repositories that belong to somebody else, or that may not be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import git, run_avm

from avm import AVM
from avm.vault.init import make

NOBODY = 65534
IS_ROOT = os.geteuid() == 0


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a repository to another user")
def test_another_user_s_repository_says_how_to_trust_it(tmp_path: Path) -> None:
    root = make(tmp_path / "v").root
    for found in (root, *root.rglob("*")):
        os.lchown(found, NOBODY, NOBODY)
    trust = f"it belongs to another user: git config --global --add safe.directory {root}\n"
    saved = run_avm("remember", "--vault", str(root), "--title", "rule", "RSI")
    assert (saved.returncode, saved.stdout) == (0, "/memory/shared/rule.md\n")
    assert saved.stderr.startswith("avm: saved, but not committed: ")
    assert saved.stderr.endswith(trust) and saved.stderr.count("\n") == 1
    for verb in ("status", "commit", "log", "undo"):
        done = run_avm(verb, "--vault", str(root))
        assert (done.returncode, done.stdout) == (9, "")
        assert done.stderr.endswith(trust) and done.stderr.count("\n") == 1
    assert "/memory/shared/rule.md" in run_avm("search", "--vault", str(root), "RSI").stdout
    git(root, "config", "--global", "--add", "safe.directory", str(root))
    with AVM(root, semantic="off") as avm:
        assert len(avm.commit().commits) == 1
    git(root, "fsck")


def bound_by_rights() -> list[str]:
    """What to run a program with so that it cannot write where modes forbid it; skips if nothing
    is there."""
    if not IS_ROOT:
        return []
    words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    if shutil.which("setpriv") is None or subprocess.run([*words, "true"], check=False).returncode:
        pytest.skip("root may write everywhere, and setpriv cannot change that here")
    return words


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A vault with a memory, whose `.git` cannot be written."""
    root = make(tmp_path / "v").root
    with AVM(root, semantic="off") as avm:
        avm.remember("RSI", title="rule")
    inside = [root / ".git", *(root / ".git").rglob("*")]
    for found in inside:
        found.chmod(found.stat().st_mode & ~0o222)
    yield root
    for found in inside:
        found.chmod(found.stat().st_mode | 0o200)


def test_a_git_folder_that_cannot_be_written_loses_nothing(closed: Path, tmp_path: Path) -> None:
    prefix = bound_by_rights()

    def said(verb: str, *args: str, **env: str) -> str:
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "avm", verb, "--vault", str(closed), *args],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **env},
        )
        assert done.stderr.count("\n") <= 1, done.stderr
        return done.stderr or done.stdout

    def answered(*args: str) -> str:
        command = [*prefix, sys.executable, "-m", "avm", "--vault", str(closed), *args]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    for verb in (["remember", "--title", "new", "some text"], ["commit"], ["undo"],
                 ["search", "RSI"], ["gc"], ["forget", "memory/shared/rule.md"]):  # fmt: skip
        assert "Permission denied" in said(*verb)
    assert "/memory/shared/rule.md" in answered("search", "RSI")
    assert "index in memory" in answered("status")
    assert "remember: rule" in said("log")
    assert "RSI" in said("cat", "memory/shared/rule.md")
    state = str(tmp_path / "state")
    assert "/memory/shared/rule.md" in said("search", "RSI", AVM_STATE_DIR=state)
    assert "not committed  1" in said("status", AVM_STATE_DIR=state)
    assert (closed / "memory/shared/new.md").read_text().endswith("some text\n")
    assert (closed / "memory/shared/rule.md").exists()
