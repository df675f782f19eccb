"""restore, undo, forget, gc and purge as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import git, run_avm

NOTE = "memory/shared/note.md"


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Path:
    """~/avm with a memory that two agents wrote."""
    monkeypatch.setenv("AVM_SEMANTIC", "off")
    assert ok("remember", "--agent", "akashi", "--namespace", "x", "--title", "first", "one")
    root = Path.home() / "avm"
    (root / NOTE).write_text("---\nimportance: 0.9\n---\nold\n")
    ok("commit")
    return root


def ok(*args: str, code: int = 0) -> str:
    """What a command prints that succeeds, or ends with `code`, without a word on stderr."""
    done = run_avm(*args, cwd=Path.home())
    assert (done.returncode, done.stderr) == (code, "")
    return done.stdout


def fails(code: int, *args: str) -> str:
    """The one line of a command that fails."""
    done = run_avm(*args, cwd=Path.home())
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("avm: ") and done.stderr.count("\n") == 1
    return done.stderr


def subjects(vault: Path) -> list[str]:
    return git(vault, "log", "--format=%an: %s").splitlines()


def test_forget_and_restore(vault: Path) -> None:
    assert ok("forget", NOTE) == f"/{NOTE}\n"
    assert not (vault / NOTE).exists()
    assert subjects(vault)[0] == "Pat Person: forget: note"
    assert ok("restore", NOTE) == f"/{NOTE}\n"
    assert (vault / NOTE).read_text().endswith("old\n")
    assert subjects(vault)[0] == "Pat Person: restore: note"
    assert "say which version" in fails(2, "restore", NOTE)
    assert "no memory at" in fails(6, "forget", "memory/shared/none.md")
    assert "no memory at" in fails(6, "restore", "memory/shared/none.md")


def test_restore_at_a_revision(vault: Path) -> None:
    (vault / NOTE).write_text("new\n")
    ok("commit")
    assert subjects(vault)[0] == "Pat Person: edit: note (front matter dropped)"
    done = run_avm("restore", f"{NOTE}@HEAD~1")
    assert (done.returncode, done.stdout) == (0, f"/{NOTE}\n")
    assert (vault / NOTE).read_text() == "---\nimportance: 0.9\n---\nold\n"
    ok("restore", NOTE, "--at", "~1")
    assert (vault / NOTE).read_text() == "new\n"
    assert json.loads(ok("restore", "--json", "--meta", NOTE))["path"] == f"/{NOTE}"
    assert (vault / NOTE).read_text() == "---\nimportance: 0.9\n---\nnew\n"
    assert "no such revision" in fails(6, "restore", f"{NOTE}@nonsense")
    assert "--meta takes no revision" in fails(2, "restore", "--meta", f"{NOTE}@~1")


def test_undo_of_an_agent_s_last_hour(vault: Path) -> None:
    ok("remember", "--agent", "akashi", "--title", "wrong", "a mistake")
    assert ok("undo", "--agent", "akashi", "--since", "1h", "--dry-run").startswith(
        "removed  /memory/private/akashi/wrong.md\nremoved  /memory/shared/x/first.md\n"
        "would take back "
    )
    told = ok("undo", "--agent", "akashi", "--since", "1h")
    assert "took back " in told
    assert not (vault / "memory/private/akashi/wrong.md").exists()
    assert (vault / NOTE).exists()
    assert subjects(vault)[0] == "Pat Person: undo: 2 commits of akashi"
    assert "no commit of bob to take back" in fails(6, "undo", "--agent", "bob")
    assert "not both" in fails(2, "undo", "--since", "1h", "--commit", "HEAD")


def test_undo_names_what_it_leaves_and_exits_with_1(vault: Path) -> None:
    (vault / NOTE).write_text("one\n")
    ok("commit")
    (vault / NOTE).write_text("two\n")
    ok("commit")
    told = ok("undo", "--commit", "HEAD~1", code=1)
    assert told.startswith(f"left  /{NOTE}: the same lines were edited since (")
    assert (vault / NOTE).read_text() == "two\n"


def test_an_agent_undoes_its_own(vault: Path) -> None:
    assert "took back" in ok("--agent", "akashi", "undo")
    assert subjects(vault)[0] == "akashi: undo: remember: first"
    assert "not bob's" in fails(7, "--agent", "akashi", "undo", "--agent", "bob")


def test_gc_and_purge(vault: Path) -> None:
    assert ok("gc") == "nothing has expired\n"
    (vault / "memory/shared/old.md").write_text("---\nexpires: 2020-01-01\n---\nx\n")
    assert ok("gc") == "/memory/shared/old.md\n"
    assert subjects(vault)[0] == "Pat Person: gc: 1 expired memory"
    done = run_avm("restore", "memory/shared/old.md")
    assert (done.returncode, done.stdout) == (0, "/memory/shared/old.md\n")
    assert "is past and was taken out" in done.stderr
    before = subjects(vault)
    assert "git filter-repo" in ok("purge", NOTE)
    assert subjects(vault) == before


def test_a_folder_is_no_file(vault: Path) -> None:
    for verb in ("show", "diff", "blame", "restore", "forget", "purge", "allow"):
        assert "/memory/shared is a folder: name a file in it" in fails(6, verb, "memory/shared")


def test_what_holds_up_a_commit_is_an_error_and_in_status(vault: Path) -> None:
    (vault / "memory/shared/new.md").write_text("x\n")
    lock = vault / ".git/index.lock"
    lock.touch()
    try:
        assert "not now: " in (said := fails(9, "commit")) and "index.lock is held" in said
        assert f"commits wait: {lock} is held" in ok("status")
    finally:
        lock.unlink()
    (vault / ".git/MERGE_HEAD").write_text("0" * 40)
    assert "not now: merge in progress" in fails(9, "commit")
    assert "not now: merge in progress" in fails(9, "undo")
    assert "not now: merge in progress" in fails(9, "restore", f"{NOTE}@HEAD")
    (vault / ".git/MERGE_HEAD").unlink()
