"""Committing beside a person: what they staged, what they are in the middle of, and what they do
at the same moment."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import git, wait_for
from vault_helpers import (
    FORMATS,
    assert_clean,
    assert_sound,
    commit,
    committed,
    content,
    git_locks,
    head,
    merge_as_text,
    private,
    put,
    python,
    remember,
    show,
    used_vault,
)

from avm.base.config import Config
from avm.vault import committer, index_lock, processes
from avm.vault.authors import Authors
from avm.vault.committer import Committer
from avm.vault.location import Vault
from avm.vault.processes import GitWatch
from avm.vault.repository import busy_with


@pytest.fixture(params=FORMATS)
def vault(tmp_path: Path, request: pytest.FixtureRequest) -> Vault:
    return used_vault(tmp_path / "v", request.param)


def staged(vault: Vault) -> tuple[str, str]:
    """What the person's next commit would hold, to the byte, and the state of every entry."""
    return (
        git(vault.root, "diff", "--cached", "--binary"),
        git(vault.root, "ls-files", "--stage", "-z", "work.txt", "memory/shared"),
    )


# What is staged


def stage_an_edit(vault: Vault) -> None:
    put(vault, "memory/shared/mine.md", "staged\n")
    git(vault.root, "add", "memory/shared/mine.md")


def stage_one_of_two_edits(vault: Vault) -> None:
    stage_an_edit(vault)
    put(vault, "memory/shared/mine.md", "staged\nand more\n")


def stage_a_new_file(vault: Vault) -> None:
    put(vault, "memory/shared/new.md", "new\n")
    git(vault.root, "add", "memory/shared/new.md")


def stage_and_remove(vault: Vault) -> None:
    stage_a_new_file(vault)
    vault.path("memory/shared/new.md").unlink()


def stage_a_deletion(vault: Vault) -> None:
    git(vault.root, "rm", "-q", "memory/shared/mine.md")


def untrack(vault: Vault) -> None:
    git(vault.root, "rm", "-q", "--cached", "memory/shared/mine.md")


def stage_a_rename(vault: Vault) -> None:
    git(vault.root, "mv", "memory/shared/mine.md", "memory/shared/yours.md")


def stage_a_mode(vault: Vault) -> None:
    git(vault.root, "update-index", "--chmod=+x", "memory/shared/mine.md")


STAGINGS = [
    stage_an_edit,
    stage_one_of_two_edits,
    stage_a_new_file,
    stage_and_remove,
    stage_a_deletion,
    untrack,
    stage_a_rename,
    stage_a_mode,
]


@pytest.mark.parametrize("stage", STAGINGS, ids=lambda stage: stage.__name__)
def test_what_is_staged_is_skipped_named_and_still_staged(
    vault: Vault, stage: Callable[[Vault], None]
) -> None:
    stage(vault)
    before, unstaged = staged(vault), git(vault.root, "diff")
    remember(vault, private("a.md"))
    report = commit(vault, people=True)
    assert len(report.commits) == 1
    assert set(git(vault.root, "show", "--format=", "--name-only").split()) == {private("a.md")}
    assert set(report.waiting.values()) == {"staged by you: git commit"}
    assert (staged(vault), git(vault.root, "diff")) == (before, unstaged)
    git(vault.root, "commit", "-qm", "What I staged")
    assert git(vault.root, "show", "--format=", "--binary") == before[0]
    commit(vault, people=True)
    assert_sound(vault)


def test_an_agent_s_write_over_a_staged_file_waits_and_keeps_its_author(vault: Vault) -> None:
    stage_an_edit(vault)
    before = staged(vault)
    remember(vault, "memory/shared/mine.md", "by akashi\n", op="edit")
    assert commit(vault).commits == []
    assert staged(vault) == before
    git(vault.root, "commit", "-qm", "What I staged")
    assert len(commit(vault).commits) == 1
    assert show(vault.root, "%an: %s") == "akashi: edit: mine"
    assert_clean(vault)


@pytest.mark.parametrize("stage", [stage_an_edit, stage_a_new_file])
def test_a_folder_in_the_place_of_a_staged_file_waits(
    vault: Vault, stage: Callable[[Vault], None]
) -> None:
    stage(vault)
    name = "memory/shared/" + ("mine.md" if stage is stage_an_edit else "new.md")
    before = staged(vault)
    vault.path(name).unlink()
    remember(vault, f"{name}/inner.md")
    remember(vault, private("a.md"))
    report = commit(vault, people=True)
    assert set(report.waiting) == {name, f"{name}/inner.md"}
    assert private("a.md") in committed(vault.root)
    assert staged(vault) == before


def test_staged_and_edited_files_elsewhere_are_left_alone(vault: Vault) -> None:
    put(vault, "work.txt", "staged\n")
    put(vault, "other.txt", "new\n")
    git(vault.root, "add", "work.txt", "other.txt")
    put(vault, "work.txt", "edited\n")
    put(vault, ".avm/README.md", "edited\n")
    before, unstaged = staged(vault), git(vault.root, "diff")
    remember(vault, private("a.md"))
    report = commit(vault, people=True)
    assert (len(report.commits), report.waiting) == (1, {})
    assert (staged(vault), git(vault.root, "diff")) == (before, unstaged)


def test_a_stash_that_does_not_apply_leaves_its_conflict_as_it_is(vault: Vault) -> None:
    merge_as_text(vault.root)
    put(vault, "memory/shared/mine.md", "stashed\n")
    git(vault.root, "stash", "-q")
    put(vault, "memory/shared/mine.md", "other\n")
    git(vault.root, "commit", "-qam", "Other")
    subprocess.run(["git", "stash", "pop", "-q"], cwd=vault.root, capture_output=True, check=False)
    before = git(vault.root, "ls-files", "-u")
    assert before.count("\n") == 2
    remember(vault, private("a.md"))
    report = commit(vault, people=True)
    assert report.waiting == {"memory/shared/mine.md": "merge conflict"}
    assert len(report.commits) == 1
    assert git(vault.root, "ls-files", "-u") == before
    assert_sound(vault)


# What they are in the middle of


def fails(vault: Vault, *args: str) -> None:
    """A git command that ends in a conflict."""
    done = subprocess.run(["git", *args], cwd=vault.root, capture_output=True, check=False)
    assert done.returncode != 0


def two_sides(vault: Vault) -> None:
    """`side` and `main` change one line of `work.txt` each, so that they conflict."""
    git(vault.root, "checkout", "-qb", "side")
    for text in ("side\n", "side too\n"):
        put(vault, "work.txt", text)
        git(vault.root, "commit", "-qam", f"To {text}")
    git(vault.root, "checkout", "-q", "main")
    put(vault, "work.txt", "main\n")
    git(vault.root, "commit", "-qam", "To main")


def begin_merge(vault: Vault) -> list[str]:
    two_sides(vault)
    fails(vault, "merge", "side")
    return ["merge", "--abort"]


def begin_cherry_pick(vault: Vault) -> list[str]:
    two_sides(vault)
    fails(vault, "cherry-pick", "side")
    return ["cherry-pick", "--abort"]


def begin_revert(vault: Vault) -> list[str]:
    two_sides(vault)
    git(vault.root, "checkout", "-q", "side")
    fails(vault, "revert", "HEAD~1")
    return ["revert", "--abort"]


def begin_picks_and_commit_one_by_hand(vault: Vault) -> list[str]:
    two_sides(vault)
    fails(vault, "cherry-pick", "side~1", "side")
    put(vault, "work.txt", "by hand\n")
    git(vault.root, "commit", "-qam", "By hand")
    assert not (vault.git_dir / "CHERRY_PICK_HEAD").exists()
    return ["cherry-pick", "--quit"]


def begin_rebase_with_a_conflict(vault: Vault) -> list[str]:
    two_sides(vault)
    fails(vault, "rebase", "side")
    return ["rebase", "--abort"]


def begin_rebase_to_edit(vault: Vault) -> list[str]:
    git(vault.root, "-c", "sequence.editor=sed -i s/^pick/edit/", "rebase", "-qi", "HEAD~1")
    return ["rebase", "--continue"]


def begin_am(vault: Vault) -> list[str]:
    two_sides(vault)
    patch = vault.root.parent / "patch"
    patch.write_text(git(vault.root, "format-patch", "--stdout", "side~1") + "\n\n")
    fails(vault, "am", "-q", str(patch))
    return ["am", "--abort"]


def begin_bisect(vault: Vault) -> list[str]:
    git(vault.root, "bisect", "start")
    return ["bisect", "reset"]


def detach(vault: Vault) -> list[str]:
    git(vault.root, "checkout", "-q", "--detach")
    return ["checkout", "-q", "main"]


OPERATIONS = [
    (begin_merge, "merge"),
    (begin_cherry_pick, "cherry-pick"),
    (begin_picks_and_commit_one_by_hand, "cherry-pick or revert"),
    (begin_revert, "revert"),
    (begin_rebase_with_a_conflict, "rebase"),
    (begin_rebase_to_edit, "rebase"),
    (begin_am, "rebase"),
    (begin_bisect, "bisect"),
    (detach, "detached"),
]


@pytest.mark.parametrize(
    "begin, name", OPERATIONS, ids=lambda value: getattr(value, "__name__", "")
)
def test_nothing_is_committed_while_the_person_is_in_the_middle(
    vault: Vault, begin: Callable[[Vault], list[str]], name: str
) -> None:
    finish = begin(vault)
    remember(vault, private("a.md"))
    at, index = head(vault.root), vault.git_index.read_bytes()
    report = commit(vault, people=True)
    assert (report.commits, head(vault.root)) == ([], at)
    assert report.blocked is not None and name in report.blocked
    assert Committer(vault, Config()).waiting().blocked == report.blocked
    assert vault.git_index.read_bytes() == index
    git(vault.root, *finish)
    assert busy_with(vault) is None
    assert len(commit(vault).commits) == 1
    assert show(vault.root, "%an") == "akashi"
    assert_clean(vault)


def test_a_merge_in_another_worktree_holds_up_nothing_here(vault: Vault) -> None:
    two_sides(vault)
    other = vault.root.parent / "other"
    git(vault.root, "worktree", "add", "-q", "-b", "other", str(other), "main")
    subprocess.run(["git", "merge", "side"], cwd=other, capture_output=True, check=False)
    remember(vault, private("a.md"))
    assert len(commit(vault).commits) == 1
    assert "UU" in git(other, "status", "--porcelain")


# What they do at the same moment


def once_before(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, act: Callable[[], None]
) -> list[int]:
    """Have `act` happen just before the first call of `owner.name`; counts the calls."""
    real, calls = getattr(owner, name), []

    def wrapped(*args: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            act()
        return real(*args, **named)

    monkeypatch.setattr(owner, name, wrapped)
    return calls


#: Steps of a round, in order: after looking, while preparing, after that, before the ref moves.
STEPS = [
    (committer, "decide"),
    (Committer, "_staging"),
    (Committer, "_write_commits"),
    (index_lock, "held"),
]


@pytest.mark.parametrize("owner, step", STEPS, ids=lambda value: getattr(value, "__name__", value))
def test_a_path_that_is_staged_during_a_round_is_not_taken(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, owner: object, step: str
) -> None:
    rel = "memory/shared/mine.md"

    def stage() -> None:
        put(vault, rel, "staged\n")
        git(vault.root, "add", rel)
        put(vault, rel, "edited after staging\n")

    remember(vault, rel, "by akashi\n", op="edit")
    remember(vault, private("a.md"))
    calls = once_before(monkeypatch, owner, step, stage)
    report = commit(vault)
    assert len(calls) > 1, "the round was not done again"
    assert report.waiting == {rel: "staged by you: git commit"}
    assert git(vault.root, "cat-file", "blob", f":{rel}") == "staged"
    assert content(vault.root, rel) == b"one\ntwo\nthree\n"
    assert private("a.md") in committed(vault.root)


@pytest.mark.parametrize("owner, step", STEPS, ids=lambda value: getattr(value, "__name__", value))
def test_a_commit_of_the_person_during_a_round_is_kept(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, owner: object, step: str
) -> None:
    def act() -> None:
        put(vault, "work.txt", "mine\n")
        git(vault.root, "commit", "-qam", "Between")

    remember(vault, private("a.md"))
    once_before(monkeypatch, owner, step, act)
    assert len(commit(vault).commits) == 1
    assert git(vault.root, "log", "-2", "--format=%s").splitlines() == ["remember: a", "Between"]
    assert content(vault.root, "work.txt") == b"mine\n"
    assert_clean(vault)


def test_a_ref_that_moves_under_the_lock_is_not_overwritten(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Plumbing moves a ref without git's index lock; the compare-and-swap has to see it.
    other = git(vault.root, "commit-tree", "-p", "HEAD", "-m", "Plumbing", "HEAD^{tree}")
    remember(vault, private("a.md"))
    once_before(
        monkeypatch, committer, "_move_ref", lambda: git(vault.root, "update-ref", "HEAD", other)
    )
    assert len(commit(vault).commits) == 1
    assert show(vault.root, "%P") == other
    assert_clean(vault)


def test_a_merge_that_begins_during_a_round_stops_it(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_sides(vault)
    at = head(vault.root)
    remember(vault, private("a.md"))
    once_before(monkeypatch, index_lock, "held", lambda: fails(vault, "merge", "side"))
    report = commit(vault)
    assert (report.blocked, report.commits) == ("merge in progress", [])
    assert head(vault.root) == at
    assert git_locks(vault) == []


def test_a_held_lock_of_the_branch_is_waited_for(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = vault.git_dir / "refs/heads/main.lock"
    lock.touch()
    remember(vault, private("a.md"))
    calls = once_before(monkeypatch, time, "sleep", lock.unlink)
    assert len(commit(vault).commits) == 1
    assert calls
    assert_clean(vault)


@pytest.mark.parametrize("name", ["index.lock", "refs/heads/main.lock"])
def test_a_lock_of_somebody_else_s_is_never_removed(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(committer, "_LOCK_WAIT_SECONDS", 0.2)
    lock = vault.git_dir / name
    lock.write_bytes(b"theirs")
    at = head(vault.root)
    remember(vault, private("a.md"))
    report = commit(vault)
    assert report.blocked is not None and "is held" in report.blocked
    assert name.removesuffix(".lock") in report.blocked
    assert lock.read_bytes() == b"theirs"
    assert head(vault.root) == at
    lock.unlink()
    assert len(commit(vault).commits) == 1
    assert show(vault.root, "%an") == "akashi"
    assert_clean(vault)


PERSON = """
import pathlib, subprocess, sys
root, rounds = pathlib.Path(sys.argv[1]), int(sys.argv[2])

def git(*args):
    # git does not wait for its lock: a person types the command again.
    for _ in range(200):
        done = subprocess.run(["git", *args], cwd=root, capture_output=True)
        if done.returncode == 0:
            return
        last = done.stderr.decode()
        if "lock" not in last:
            break
    sys.exit(f"git {args}: {last}")

(root / "work").mkdir()
for number in range(rounds):
    (root / f"work/{number}.txt").write_text(f"{number}\\n")
    git("add", f"work/{number}.txt")
    (root / "work/held.txt").write_text(f"{number}\\n")
    git("add", "work/held.txt")
    git("commit", "-qm", f"person {number}", "--", f"work/{number}.txt")
    if number == 0:
        print("going", flush=True)
"""


def test_a_person_and_an_agent_commit_at_the_same_time(vault: Vault) -> None:
    rounds, memories = 80, 50
    person = python(PERSON, vault.root, rounds)
    try:
        assert person.stdout and person.stdout.readline() == b"going\n", person.communicate()
        for number in range(memories):
            remember(vault, private(f"{number}.md"), f"{number}\n")
            commit(vault)
        _, errors = person.communicate(timeout=60)
    finally:
        person.kill()
        person.communicate()
    assert person.returncode == 0, errors.decode()
    commit(vault)
    log = git(vault.root, "log", "--reverse", "--name-status", "--format=%x00%an%x00%s")
    mine, theirs = [], []
    records = log.split("\0")[1:]
    for author, rest in zip(records[::2], records[1::2], strict=True):
        subject, _, changes = rest.partition("\n")
        names = changes.split()
        if author == "akashi":
            mine += names[1::2]
            assert set(names[::2]) == {"A"}
        elif subject.startswith("person "):
            theirs.append((subject, names))
    assert theirs == [(f"person {n}", ["A", f"work/{n}.txt"]) for n in range(rounds)]
    assert sorted(mine) == sorted(private(f"{n}.md") for n in range(memories))
    assert git(vault.root, "status", "--porcelain") == "A  work/held.txt"
    assert git(vault.root, "cat-file", "blob", ":work/held.txt") == str(rounds - 1)
    assert_sound(vault)


def test_what_the_person_stashed_keeps_its_author_until_it_comes_back(vault: Vault) -> None:
    rel = "memory/shared/mine.md"
    remember(vault, rel, "by akashi\n", op="edit")
    git(vault.root, "stash", "-q")
    assert commit(vault).waiting == {rel: "in your stash: git stash pop"}
    git(vault.root, "stash", "pop", "-q")
    assert len(commit(vault).commits) == 1
    assert show(vault.root, "%an: %s") == "akashi: edit: mine"
    remember(vault, rel, "again\n", op="edit")
    git(vault.root, "stash", "-q")
    commit(vault)
    git(vault.root, "stash", "drop", "-q")
    assert commit(vault).waiting == {}
    assert Authors(vault).size() == 0


@contextlib.contextmanager
def in_an_editor(vault: Vault, *args: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`git ARGS` of the person's with its editor open, until the file that comes with it exists."""
    ready, go = vault.root.parent / "ready", vault.root.parent / "go"
    editor = vault.root.parent / "editor"
    wait = f"touch '{ready}'; while ! test -e '{go}'; do sleep 0.02; done"
    editor.write_text(f'#!/bin/sh\n{wait}\necho Mine > "$1"\n')
    editor.chmod(0o755)
    env = {**os.environ, "GIT_EDITOR": str(editor)}
    person = subprocess.Popen(["git", *args], cwd=vault.root, env=env)
    try:
        wait_for(ready.exists, "the editor is open")
        yield person, go
    finally:
        go.touch()
        person.kill()
        person.wait()


def test_writers_wait_once_for_a_merge_whose_editor_is_open(vault: Vault) -> None:
    put(vault, "work.txt", "mine\n")
    git(vault.root, "commit", "-qam", "On a side")
    git(vault.root, "branch", "side")
    git(vault.root, "reset", "-q", "--hard", "HEAD~1")
    with in_an_editor(vault, "merge", "-q", "--no-ff", "--edit", "side"):
        watch = GitWatch(vault.root)
        assert watch.rewriting()
        began = time.monotonic()
        for _ in range(20):
            watch.wait(0.3)
        assert 0.3 <= time.monotonic() - began < 3


def test_a_git_that_is_not_to_be_seen_at_once_is_seen_later(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number may be known before /proc has it."""
    watch, look = GitWatch(vault.root), processes._name_and_start
    assert watch.running() is None
    put(vault, "work.txt", "mine\n")
    git(vault.root, "add", "work.txt")
    with in_an_editor(vault, "commit", "-q") as (person, go):
        hidden = {str(person.pid)}
        monkeypatch.setattr(
            processes, "_name_and_start", lambda pid: (b"", 0.0) if pid in hidden else look(pid)
        )
        assert watch.running() is None
        hidden.clear()
        assert watch.running() == f"git commit (process {person.pid})"
        go.touch()
        person.wait(timeout=20)


def test_a_commit_whose_editor_is_open_is_waited_for(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "_LOCK_WAIT_SECONDS", 0.2)
    put(vault, "work.txt", "mine\n")
    git(vault.root, "add", "work.txt")
    with in_an_editor(vault, "commit", "-q") as (person, go):
        remember(vault, private("a.md"))
        report = commit(vault)
        assert report.commits == []
        assert report.blocked == f"git commit (process {person.pid}) is running"
        assert Committer(vault, Config()).waiting().blocked == report.blocked
        go.touch()
        assert person.wait(timeout=20) == 0, "the person's commit failed"
    assert show(vault.root, "%an: %s") == "Pat Person: Mine"
    assert len(commit(vault).commits) == 1
    assert_clean(vault)
