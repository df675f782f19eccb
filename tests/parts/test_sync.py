"""`avm sync` between vaults: everything arrives, and what is somebody's own is never touched."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, git, run_avm
from sync_helpers import X, bare, clone, first, pair, pushed, sync, write
from vault_helpers import (
    FORMATS,
    assert_clean,
    assert_sound,
    assert_well,
    commit,
    committed,
    content,
    hashes,
    head,
    make,
    private,
    put,
    remember,
)

from avm import AVM
from avm.base.errors import AccessError, NotFoundError, RemoteError, RepositoryError, UsageError
from avm.vault import init, remote
from avm.vault.checkout import EDITED, UNTRACKED
from avm.vault.location import Vault, open_vault
from avm.vault.sync import rescues

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from secret_shapes import SHAPES, Maker

LONG = "".join(f"line {number}\n" for number in range(12))
Y = "memory/shared/y.md"


def tree(vault: Vault) -> str:
    return git(vault.root, "rev-parse", "HEAD^{tree}")


def assert_nothing_moved(vault: Vault, act: Callable[[], object], *told: str) -> None:
    """`act` fails with exit code 9, names `told`, and leaves files, branch, index as they are."""
    place = vault.git_index
    before = head(vault.root), hashes_of_files(vault), git(vault.root, "ls-files", "-s")
    with pytest.raises(RepositoryError) as failed:
        act()
    assert failed.value.exit_code == 9
    for text in told:
        assert text in str(failed.value)
    assert (head(vault.root), hashes_of_files(vault), git(vault.root, "ls-files", "-s")) == before
    assert place.exists()
    assert_sound(vault)


def hashes_of_files(vault: Vault) -> dict[str, str]:
    return {rel: sum_ for rel, sum_ in hashes(vault.root).items() if not rel.startswith(".git/")}


# What moves


@pytest.mark.parametrize("form", FORMATS)
def test_what_each_wrote_is_with_both(tmp_path: Path, form: str) -> None:
    one, two = pair(tmp_path, {X: LONG}, form)
    write(one, {X: "top\n" + LONG, "memory/shared/one.md": "one\n"})
    write(two, {X: LONG + "end\n", "memory/shared/two.md": "two\n", private("deep/a.md"): "a\n"})
    assert sync(one).sent == 1
    report = sync(two)
    assert (report.received, report.sent, report.merge) == (1, 2, head(two.root))
    assert sync(one).received == 2
    assert tree(one) == tree(two)
    assert content(one.root, X).decode() == "top\n" + LONG + "end\n"
    for vault in (one, two):
        assert_clean(vault)
    again = sync(one)
    assert (again.received, again.sent, again.rescue) == (0, 0, None)


def test_a_fast_forward_makes_no_commit(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {X: "x\n"})
    theirs = pushed(one, {X: None, "memory/shared/deep/new.md": "new\n", "work.txt": "w\n"})
    report = sync(two)
    assert (report.merge, head(two.root), report.files) == (None, theirs, 3)
    assert not two.path(X).exists()
    assert_clean(two)


def test_a_rename_and_an_edit_meet(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {X: LONG})
    pushed(one, {X: None, Y: LONG})
    write(two, {X: LONG + "end\n"})
    sync(two)
    assert committed(two.root) & {X, Y} == {Y}
    assert two.path(Y).read_text() == LONG + "end\n"
    assert_clean(two)


def test_the_same_conflict_comes_to_the_same_on_both_machines(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {X: "old\n"})
    write(one, {X: "mine\n"})
    write(two, {X: "yours\n"})
    sync(one)
    report = sync(two)
    sync(one)
    assert tree(one) == tree(two)
    ((copy, of),) = report.copies.items()
    assert of == f"/{X}"
    texts = one.path(X).read_text(), one.path(copy.lstrip("/")).read_text()
    assert {text.rpartition("---\n")[2] for text in texts} == {"mine\n", "yours\n"}
    assert_clean(one)


def test_an_empty_remote_gets_all(tmp_path: Path) -> None:
    remote = bare(tmp_path / "remote.git")
    vault = first(tmp_path, remote)
    assert git(remote, "rev-parse", "main") == head(vault.root)
    # git itself knows by now what the branch is synced with.
    assert git(vault.root, "rev-parse", "--abbrev-ref", "main@{upstream}") == "origin/main"


def test_a_vault_without_a_commit_takes_what_the_remote_has(tmp_path: Path) -> None:
    one, _ = pair(tmp_path, {X: "x\n"})
    git(tmp_path, "init", "-q", "new")
    new = init.adopt(tmp_path / "new")
    git(new.root, "remote", "add", "origin", str(tmp_path / "remote.git"))
    report = sync(new)
    assert (head(new.root), report.rescue) == (head(one.root), None)
    assert_clean(new)


def test_a_vault_without_a_commit_and_an_empty_remote_are_in_step(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "new")
    new = init.adopt(tmp_path / "new")
    git(new.root, "remote", "add", "origin", str(bare(tmp_path / "remote.git")))
    report = sync(new)
    assert (report.received, report.sent) == (0, 0)


def test_an_untracked_file_of_an_unborn_vault_is_in_the_way(tmp_path: Path) -> None:
    pair(tmp_path, {X: "x\n"})
    git(tmp_path, "init", "-q", "new")
    new = init.adopt(tmp_path / "new")
    git(new.root, "remote", "add", "origin", str(tmp_path / "remote.git"))
    write(new, {X: "mine\n"})
    with pytest.raises(RepositoryError, match=UNTRACKED):
        sync(new)
    assert new.path(X).read_text() == "mine\n"


def test_an_address_is_a_remote_too(tmp_path: Path) -> None:
    one, two = pair(tmp_path)
    pushed(one, {X: "x\n"})
    git(two.root, "remote", "remove", "origin")
    with pytest.raises(RepositoryError, match="has no remote to sync with"):
        sync(two)
    with pytest.raises(RepositoryError, match="'nobody' is no remote"):
        sync(two, "nobody")
    assert sync(two, str(tmp_path / "remote.git")).received == 1
    assert git(two.root, "remote") == ""


def test_a_remote_that_is_not_there_is_an_error_of_the_network(tmp_path: Path) -> None:
    one, _ = pair(tmp_path)
    (tmp_path / "remote.git").rename(tmp_path / "away.git")
    with pytest.raises(RemoteError, match="cannot fetch from origin"):
        sync(one)
    (tmp_path / "away.git").rename(tmp_path / "remote.git")
    sync(one)


def test_a_remote_with_other_branches_alone_is_named(tmp_path: Path) -> None:
    one, _ = pair(tmp_path)
    git(one.root, "checkout", "-qb", "side")
    with pytest.raises(RepositoryError, match="origin has no branch side but main"):
        sync(one)


def test_a_branch_follows_the_branch_that_git_says(tmp_path: Path) -> None:
    one, two = pair(tmp_path)
    git(one.root, "checkout", "-q", "-b", "side", "--track", "origin/main")
    pushed(two, {X: "x\n"})
    assert sync(one).received == 1
    write(one, {Y: "y\n"})
    assert sync(one).sent == 1
    assert git(tmp_path / "remote.git", "for-each-ref", "--format=%(refname)", "refs/heads") == (
        "refs/heads/main"
    )


def test_who_is_second_merges_and_pushes_again(tmp_path: Path) -> None:
    """Another pushes between our fetch and our push."""
    one, two = pair(tmp_path, {X: LONG})
    write(two, {"memory/shared/two.md": "two\n"})
    hook = two.git_dir / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    write(one, {"memory/shared/one.md": "one\n"})
    commit(one, people=True)
    hook.write_text(f"#!/bin/sh\nunset GIT_DIR; git -C '{one.root}' push -q origin main\n")
    hook.chmod(0o755)
    report = sync(two)
    assert report.received == 1
    assert git(tmp_path / "remote.git", "rev-parse", "main") == head(two.root)
    assert {"memory/shared/one.md", "memory/shared/two.md"} <= committed(two.root)


def test_many_who_sync_at_once_all_come_through(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {X: LONG})
    vaults = [one, two, clone(tmp_path / "remote.git", tmp_path / "c")]
    failed: list[Exception] = []

    def work(number: int, vault: Vault) -> None:
        try:
            for turn in range(4):
                write(vault, {f"memory/shared/{number}-{turn}.md": f"{number} {turn}\n"})
                sync(vault)
        except Exception as err:  # noqa: BLE001
            failed.append(err)

    threads = [threading.Thread(target=work, args=pair_) for pair_ in enumerate(vaults)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for _ in range(2):
        for vault in vaults:
            sync(vault)
    assert len({tree(vault) for vault in vaults}) == 1
    assert len([rel for rel in committed(one.root) if "-" in rel]) == 12
    for vault in vaults:
        assert_clean(vault)


def test_two_syncs_of_one_vault_do_not_run_at_once(tmp_path: Path) -> None:
    from avm.vault.locks import locked

    one, _ = pair(tmp_path)
    with locked(one.git_state / "sync.lock"):
        assert_nothing_moved(one, lambda: sync(one), "another avm sync")


# What is the person's


def test_what_is_staged_and_what_is_not_is_still_exactly_there(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {X: LONG, "work.txt": LONG, "both.txt": LONG, Y: LONG})
    pushed(one, {X: "top\n" + LONG, "memory/shared/new.md": "new\n"})
    write(two, {"both.txt": "staged\n" + LONG, "added.txt": "added\n", Y: "staged\n" + LONG})
    git(two.root, "add", "both.txt", "added.txt", Y)
    git(two.root, "rm", "-q", "--cached", "work.txt")
    write(two, {"both.txt": "staged\n" + LONG + "not staged\n", "untracked.txt": "u\n"})
    git(two.root, "add", "-N", "untracked.txt")
    cached, unstaged = git(two.root, "diff", "--cached"), git(two.root, "diff")
    status = git(two.root, "status", "--porcelain")
    report = sync(two)
    assert report.received == 1
    assert two.path(X).read_text() == "top\n" + LONG
    assert git(two.root, "diff", "--cached") == cached
    assert git(two.root, "diff") == unstaged
    assert git(two.root, "status", "--porcelain") == status
    assert report.waiting == {f"/{Y}": "staged by you: git commit"}
    assert_sound(two)


def staged(vault: Vault) -> None:
    write(vault, {X: "mine\n"})
    git(vault.root, "add", X)


def staged_then_taken_back(vault: Vault) -> None:
    staged(vault)
    write(vault, {X: LONG})


def taken_out_of_the_index(vault: Vault) -> None:
    git(vault.root, "rm", "-q", "--cached", X)


def edited_elsewhere(vault: Vault) -> None:
    write(vault, {"work.txt": "mine\n"})


def removed_elsewhere(vault: Vault) -> None:
    write(vault, {"work.txt": None})


def untracked(vault: Vault) -> None:
    write(vault, {"new.txt": "mine\n"})


def ignored(vault: Vault) -> None:
    write(vault, {"new.txt": "mine\n"})
    (vault.git_dir / "info" / "exclude").write_text("new.txt\n")


def a_file_where_a_folder_comes(vault: Vault) -> None:
    write(vault, {"folder": "mine\n"})


def a_folder_where_a_file_comes(vault: Vault) -> None:
    write(vault, {"new.txt/mine.txt": "mine\n"})


def a_link_where_a_folder_comes(vault: Vault) -> None:
    vault.path("folder").symlink_to("memory")


def not_looked_at(vault: Vault) -> None:
    git(vault.root, "update-index", "--assume-unchanged", X)
    write(vault, {X: "mine\n"})


def skipped(vault: Vault) -> None:
    git(vault.root, "update-index", "--skip-worktree", X)
    write(vault, {X: "mine\n"})


def skipped_elsewhere(vault: Vault) -> None:
    git(vault.root, "update-index", "--skip-worktree", "work.txt")
    write(vault, {"work.txt": "mine\n"})


def a_mode(vault: Vault) -> None:
    vault.path("work.txt").chmod(0o755)


def a_link_in_place_of_its_folder(vault: Vault) -> None:
    vault.path("outer").rename(vault.root.parent / "outside")
    vault.path("outer").symlink_to("../outside")


@pytest.mark.parametrize(
    "mine, rel",
    [
        (staged, X),
        (staged_then_taken_back, X),
        (taken_out_of_the_index, X),
        (edited_elsewhere, "work.txt"),
        (removed_elsewhere, "work.txt"),
        (untracked, "new.txt"),
        (ignored, "new.txt"),
        (a_file_where_a_folder_comes, "folder"),
        (a_folder_where_a_file_comes, "new.txt/mine.txt"),
        (a_link_where_a_folder_comes, "folder"),
        (not_looked_at, X),
        (skipped, X),
        (skipped_elsewhere, "work.txt"),
        (a_mode, "work.txt"),
        (a_link_in_place_of_its_folder, "outer"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("many", [False, True], ids=["few", "many"])
def test_what_is_yours_and_the_remote_changed_stops_all_and_is_named(
    tmp_path: Path, mine: Callable[[Vault], None], rel: str, many: bool
) -> None:
    start = {X: LONG, "work.txt": LONG, "outer/o.txt": LONG}
    one, two = pair(tmp_path, start)
    more = {f"memory/shared/many/{n}.md": f"{n}\n" for n in range(70 if many else 0)}
    pushed(one, {**more, X: LONG + "t\n", "work.txt": LONG + "t\n", "outer/o.txt": "theirs\n",
                 "new.txt": "theirs\n", "folder/a.txt": "theirs\n"})  # fmt: skip
    mine(two)
    assert_nothing_moved(two, lambda: sync(two), f"/{rel}", "nothing was moved")


def test_a_removal_stops_at_what_is_edited(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {"work.txt": LONG})
    pushed(one, {"work.txt": None})
    write(two, {"work.txt": "mine\n"})
    assert_nothing_moved(two, lambda: sync(two), "/work.txt", EDITED)


def test_an_untracked_file_that_is_the_same_is_taken_over(tmp_path: Path) -> None:
    one, two = pair(tmp_path)
    pushed(one, {"new.txt": "same\n"})
    write(two, {"new.txt": "same\n"})
    sync(two)
    assert_clean(two)


def test_an_edit_that_is_held_back_for_a_secret_is_in_the_way(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {X: LONG})
    pushed(one, {X: LONG + "theirs\n"})
    token = SHAPES["github-token"](Maker(7))
    with AVM(two.root, semantic="off") as avm:
        write(two, {X: f"the key is {token}\n"})
        assert_nothing_moved(two, avm.sync, f"/{X}")
        assert token in two.path(X).read_text()


def test_a_secret_that_the_remote_did_not_touch_stays_here(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {X: LONG})
    pushed(one, {Y: "theirs\n"})
    token = SHAPES["github-token"](Maker(7))
    with AVM(two.root, semantic="off") as avm:
        write(two, {X: f"the key is {token}\n"})
        report = avm.sync()
    assert f"/{X}" in report.waiting
    assert two.path(Y).exists()
    assert token in two.path(X).read_text()
    assert token.encode() not in content(tmp_path / "remote.git", X, "main")


def test_what_is_open_for_writing_is_in_the_way(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {X: LONG})
    pushed(one, {X: "theirs\n"})
    assert_nothing_moved(two, lambda: sync(two, held={X}), f"/{X} (open for writing)")
    assert sync(two, held={Y}).received == 1


def merging(vault: Vault) -> None:
    git(vault.root, "checkout", "-qb", "side")
    write(vault, {"work.txt": "side\n"})
    git(vault.root, "commit", "-qam", "Side")
    git(vault.root, "checkout", "-q", "main")
    write(vault, {"work.txt": "main\n"})
    git(vault.root, "commit", "-qam", "Main")
    subprocess.run(["git", "merge", "side"], cwd=vault.root, capture_output=True, check=False)


def detached(vault: Vault) -> None:
    git(vault.root, "checkout", "-q", "--detach")


def bisecting(vault: Vault) -> None:
    git(vault.root, "bisect", "start")


@pytest.mark.parametrize(
    "mine, told",
    [(merging, "merge in progress"), (detached, "HEAD is detached"), (bisecting, "bisect")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_it_waits_for_your_operation_to_end(
    tmp_path: Path, mine: Callable[[Vault], None], told: str
) -> None:
    one, two = pair(tmp_path, {"work.txt": "base\n"})
    pushed(one, {X: "theirs\n"})
    mine(two)
    with pytest.raises(RepositoryError, match=told):
        sync(two)
    assert not two.path(X).exists()


def test_a_lock_of_git_s_is_waited_for_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avm.vault import sync as syncing

    one, two = pair(tmp_path)
    pushed(one, {X: "theirs\n"})
    monkeypatch.setattr(syncing, "_LOCK_WAIT_SECONDS", 0.1)
    lock = two.git_dir / "index.lock"
    lock.write_bytes(b"theirs")
    with pytest.raises(RepositoryError, match=r"index\.lock"):
        sync(two)
    assert lock.read_bytes() == b"theirs"
    lock.unlink()
    assert sync(two).received == 1


# What is asked


def test_histories_that_have_nothing_in_common_are_merged_if_that_is_wanted(
    tmp_path: Path,
) -> None:
    one, _ = pair(tmp_path, {X: "one\n"})
    other = make(tmp_path / "other")
    # Two that were made in one second have their first commit in common.
    git(other.root, "commit", "-q", "--amend", "-m", "Another start")
    write(other, {X: "other\n", Y: "y\n"})
    git(other.root, "remote", "add", "origin", str(tmp_path / "remote.git"))
    commit(other, people=True)
    assert_nothing_moved(other, lambda: sync(other), "--allow-unrelated-histories")
    sync(other, unrelated=True)
    sync(one)
    assert tree(one) == tree(other)
    texts = "".join(path.read_text() for path in one.path("memory/shared").glob("*.md"))
    assert all(text in texts for text in ("one\n", "other\n", "y\n"))


def test_a_side_that_lost_most_of_its_memories_is_taken_if_that_is_wanted(tmp_path: Path) -> None:
    many = {f"memory/shared/{number}.md": f"{number} {LONG}" for number in range(12)}
    one, two = pair(tmp_path, {**many, "work.txt": "w\n"})
    pushed(one, dict.fromkeys(many))
    assert_nothing_moved(two, lambda: sync(two), "removed 12 of 13 memories", "--allow-loss")
    assert sync(two, loss=True).received == 1
    assert committed(two.root) & many.keys() == set()


def test_so_is_our_own_side_if_the_other_has_something_new(tmp_path: Path) -> None:
    many = {f"memory/shared/{number}.md": f"{number} {LONG}" for number in range(12)}
    one, two = pair(tmp_path, many)
    pushed(one, {"work.txt": "w\n"})
    write(two, dict.fromkeys(many))
    commit(two, people=True)
    assert_nothing_moved(two, lambda: sync(two), "this vault removed 12 of 13", "--allow-loss")
    sync(two, loss=True)
    assert committed(two.root) & many.keys() == set()


def test_memories_that_were_moved_are_not_lost(tmp_path: Path) -> None:
    many = {f"memory/shared/{number}.md": f"{number} {LONG}" for number in range(12)}
    one, two = pair(tmp_path, many)
    moved = {rel.replace("shared/", "shared/moved/"): text for rel, text in many.items()}
    pushed(one, {**dict.fromkeys(many), **moved})
    sync(two)
    assert moved.keys() <= committed(two.root)


# Where the vault is


def test_an_adopted_repository_syncs_what_agents_wrote(tmp_path: Path) -> None:
    remote = bare(tmp_path / "remote.git")
    git(tmp_path, "init", "-q", "a")
    write(open_vault(make(tmp_path / "unused").root), {})
    (tmp_path / "a/code.py").write_text("code\n")
    git(tmp_path / "a", "add", ".")
    git(tmp_path / "a", "commit", "-qm", "Code")
    one = init.adopt(tmp_path / "a")
    git(one.root, "remote", "add", "origin", str(remote))
    remember(one, private("a.md"), "mine\n")
    put(one, X, "the person's\n")
    sync(one)
    assert committed(one.root) == {"code.py", private("a.md")}
    two = clone(remote, tmp_path / "b")
    assert two.adopted
    remember(two, private("a.md"), "more\n")
    sync(two)
    assert sync(one).received == 1
    assert one.path(private("a.md")).read_text() == "more\n"
    assert one.path(X).read_text() == "the person's\n"


def test_a_linked_worktree_syncs_its_own_branch(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {X: LONG})
    git(one.root, "worktree", "add", "-q", "--track", "-b", "side", str(tmp_path / "w"),
        "origin/main")  # fmt: skip
    side = open_vault(tmp_path / "w")
    pushed(two, {X: LONG + "theirs\n", Y: "y\n"})
    write(side, {"memory/shared/side.md": "side\n"})
    assert sync(side).received == 1
    assert side.path(X).read_text() == LONG + "theirs\n"
    assert not one.path(Y).exists()
    assert_clean(side)
    assert_clean(one)
    sync(one)
    assert tree(one) == tree(side)


def test_a_shallow_clone_syncs(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {X: LONG})
    for number in range(4):
        pushed(one, {X: f"{number}\n" + LONG})
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{tmp_path}/remote.git", "s")
    shallow = open_vault(tmp_path / "s")
    write(shallow, {Y: "y\n"})
    assert sync(shallow).sent == 1
    pushed(one, {X: "again\n" + LONG})
    write(shallow, {Y: "more\n"})
    sync(shallow)
    sync(one)
    sync(two)
    assert tree(one) == tree(two) == tree(shallow)


@pytest.mark.parametrize("setting", ["core.splitIndex=true", "index.version=4",
                                     "core.fileMode=false", "core.ignoreCase=true"])  # fmt: skip
def test_settings_of_git_s_that_change_its_index_do_no_harm(tmp_path: Path, setting: str) -> None:
    one, two = pair(tmp_path, {X: LONG, "work.txt": LONG})
    git(two.root, "config", *setting.split("="))
    git(two.root, "update-index", "--force-write-index")
    write(two, {"work.txt": "staged\n" + LONG})
    git(two.root, "add", "work.txt")
    cached = git(two.root, "diff", "--cached")
    pushed(one, {X: None, Y: LONG, "memory/shared/z.md": "z\n"})
    write(two, {"memory/shared/two.md": "two\n"})
    sync(two)
    assert git(two.root, "diff", "--cached") == cached
    git(two.root, "commit", "-qm", "Work")
    assert_clean(two)


# Filters


def test_files_that_git_converts_are_as_git_checks_them_out(tmp_path: Path) -> None:
    attributes = "*.win text eol=crlf\n*.up filter=up\n*.latin working-tree-encoding=ISO-8859-1\n"
    one, two = pair(tmp_path, {".gitattributes": attributes})
    for vault in (one, two):
        git(vault.root, "config", "filter.up.smudge", "tr a-z A-Z")
        git(vault.root, "config", "filter.up.clean", "tr A-Z a-z")
    files = {"a.win": b"a\r\nb\r\n", "a.up": b"TEXT\n", "a.latin": b"\xe9\n"}
    pushed(one, files)
    sync(two)
    assert {rel: two.path(rel).read_bytes() for rel in files} == files
    assert_clean(two)
    # Changed and removed once more: nothing of it is taken for an edit of the person's.
    files = {"a.win": b"a\r\nB\r\n", "a.up": b"MORE\n", "a.latin": b"\xe8\n"}
    pushed(one, files)
    sync(two)
    assert {rel: two.path(rel).read_bytes() for rel in files} == files
    assert_clean(two)
    pushed(one, dict.fromkeys(files))
    sync(two)
    assert_clean(two)


def test_an_edit_of_a_file_that_git_converts_is_seen(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {".gitattributes": "*.win text eol=crlf\n", "a.win": b"a\r\n"})
    pushed(one, {"a.win": b"theirs\r\n"})
    write(two, {"a.win": b"mine\r\n"})
    assert_nothing_moved(two, lambda: sync(two), "/a.win")


def test_a_filter_that_is_required_and_fails_moves_nothing(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {".gitattributes": "*.up filter=up\n"})
    pushed(one, {"a.up": "text\n", X: "x\n"})
    for key, value in (("smudge", "false"), ("clean", "cat"), ("required", "true")):
        git(two.root, "config", f"filter.up.{key}", value)
    assert_nothing_moved(two, lambda: sync(two), "a.up")
    git(two.root, "config", "filter.up.smudge", "cat")
    assert sync(two).received == 1
    assert_clean(two)


def test_a_filter_whose_command_only_the_remote_names_does_not_run(tmp_path: Path) -> None:
    one, two = pair(tmp_path)
    config = f'[filter "x"]\n\tsmudge = touch {tmp_path}/ran\n'
    pushed(one, {".gitattributes": "*.md filter=x\n", ".gitconfig": config, X: "x\n"})
    sync(two)
    assert two.path(X).read_text() == "x\n"
    assert not (tmp_path / "ran").exists()


# Rescues


def test_before_anything_moves_a_rescue_points_at_what_was(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {X: LONG, "attached.bin": b"\0a"})
    was = head(two.root)
    pushed(one, {X: None, "attached.bin": b"\0b"})
    report = sync(two)
    assert dict(rescues(two))[report.rescue or ""] == was
    pushed(one, {Y: "y\n"})
    last = sync(two).rescue
    assert last != report.rescue
    assert rescues(two)[0] == (last, git(two.root, "rev-parse", "HEAD~1"))
    avm = ("--vault", str(two.root))
    done = run_avm(*avm, "restore", "--from", report.rescue or "", X)
    assert done.returncode == 0, done.stderr
    assert two.path(X).read_text() == LONG
    done = run_avm(*avm, "restore", "--from", "nothing", X)
    assert done.returncode == NotFoundError.exit_code
    assert str(last) in done.stderr
    two.path(X).write_text("changed\n")
    pushed(one, {"memory/shared/z.md": "z\n"})
    sync(two)
    pushed(one, {X: "all theirs\n"})
    sync(two)
    done = run_avm(*avm, "restore", "--from", "latest", X)
    assert done.returncode == 0, done.stderr
    assert two.path(X).read_text() != "all theirs\n"


def test_without_a_sync_there_is_no_rescue(tmp_path: Path) -> None:
    vault = make(tmp_path / "v")
    done = run_avm("--vault", str(vault.root), "restore", "--from", "latest", X)
    assert done.returncode == NotFoundError.exit_code
    assert "no sync has moved anything" in done.stderr


# Settling


@pytest.fixture
def conflict(tmp_path: Path) -> tuple[Vault, str]:
    """A vault in which X is in conflict, and its copy."""
    one, two = pair(tmp_path, {X: "old\n", "memory/shared/t.bin": b"\0old"})
    pushed(one, {X: "theirs\n", "memory/shared/t.bin": b"\0theirs"})
    write(two, {X: "mine\n", "memory/shared/t.bin": b"\0mine"})
    report = sync(two)
    assert sorted(report.copies.values()) == ["/memory/shared/t.bin", f"/{X}"]
    copy = next(copy for copy, of in report.copies.items() if of == f"/{X}")
    return two, copy


def test_ours_keeps_what_stands_there(conflict: tuple[Vault, str]) -> None:
    vault, copy = conflict
    was = vault.path(X).read_text()
    with AVM(vault.root, semantic="off") as avm:
        assert avm.conflicts()[f"/{X}"] == [copy]
        done = avm.settle(X, "ours")
        assert (done.path, done.removed, done.waits) == (f"/{X}", (copy,), None)
        assert f"/{X}" not in avm.conflicts()
    assert vault.path(X).read_text() == was
    assert not vault.path(copy.lstrip("/")).exists()
    assert_clean(vault)


def test_theirs_puts_the_copy_there_as_it_was(conflict: tuple[Vault, str]) -> None:
    vault, copy = conflict
    stood = vault.path(X).read_text()
    with AVM(vault.root, semantic="off") as avm:
        avm.settle(X, "theirs")
        assert_well(avm)
    assert {stood, vault.path(X).read_text()} == {"mine\n", "theirs\n"}
    assert not vault.path(copy.lstrip("/")).exists()
    assert_clean(vault)


def test_a_merged_text_takes_the_place_of_both(conflict: tuple[Vault, str]) -> None:
    vault, copy = conflict
    commits = git(vault.root, "rev-list", "--count", "HEAD")
    done = subprocess.run(
        [sys.executable, "-m", "avm", "--vault", str(vault.root), "resolve", X, "--merged", "-"],
        input=b"both\n", capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert vault.path(X).read_text() == "both\n"
    assert not vault.path(copy.lstrip("/")).exists()
    assert int(git(vault.root, "rev-list", "--count", "HEAD")) == int(commits) + 1
    assert_clean(vault)


@pytest.mark.parametrize("ends", [True, False])
def test_an_editor_makes_one_of_the_two(
    conflict: tuple[Vault, str], tmp_path: Path, ends: bool
) -> None:
    vault, copy = conflict
    editor = tmp_path / "editor"
    done = "sed -i '/^<<<<<<<\\|^=======\\|^>>>>>>>/d' \"$1\"" if ends else ":"
    editor.write_text(f"#!/bin/sh\ncp \"$1\" '{tmp_path}/seen'\n{done}\n")
    editor.chmod(0o755)
    ran = run_avm("--vault", str(vault.root), "resolve", X, "--edit", EDITOR=str(editor))
    seen = (tmp_path / "seen").read_text()
    assert seen.startswith("<<<<<<< in place\n")
    assert seen.endswith(">>>>>>> the other side\n")
    if ends:
        assert ran.returncode == 0, ran.stderr
        assert sorted(vault.path(X).read_text().splitlines()) == ["mine", "theirs"]
        assert_clean(vault)
    else:
        assert ran.returncode == UsageError.exit_code
        assert "marks of the conflict are left" in ran.stderr
        kept = Path(ran.stderr.rpartition("--merged ")[2].split(" ")[0])
        assert kept.read_text() == seen
        kept.unlink()
        assert vault.path(copy.lstrip("/")).exists()


def test_attachments_are_settled_too(conflict: tuple[Vault, str]) -> None:
    vault, _ = conflict
    rel = "memory/shared/t.bin"
    stood = vault.path(rel).read_bytes()
    with AVM(vault.root, semantic="off") as avm:
        (copy,) = avm.conflicts()[f"/{rel}"]
        kept = vault.path(copy.lstrip("/")).read_bytes()
        avm.settle(rel, "theirs")
        assert f"/{rel}" not in avm.conflicts()
    assert {stood, kept} == {b"\0mine", b"\0theirs"}
    assert vault.path(rel).read_bytes() == kept
    assert_clean(vault)


def test_what_was_settled_is_settled_for_all(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {X: "old\n"})
    pushed(one, {X: "theirs\n"})
    write(two, {X: "mine\n"})
    (copy,) = sync(two).copies
    with AVM(two.root, semantic="off") as avm:
        avm.settle(X, b"settled\n")
    sync(two)
    sync(one)
    assert one.path(X).read_text() == "settled\n"
    assert not one.path(copy.lstrip("/")).exists()
    # Both texts stay in history.
    told = git(one.root, "log", "-p", "--all", "-m", "--format=")
    assert "+mine" in told
    assert "+theirs" in told


# Who may


def test_agents_may_not_sync(tmp_path: Path) -> None:
    one, _ = pair(tmp_path)
    with AVM(one.root, semantic="off") as avm, pytest.raises(AccessError, match="only the owner"):
        avm.agent_memory("akashi").sync()
    done = run_avm("--vault", str(one.root), "sync", AVM_AGENT="akashi")
    assert done.returncode == AccessError.exit_code


def test_who_can_read_the_remote_is_said_once(tmp_path: Path) -> None:
    one, _ = pair(tmp_path)
    args = ("--vault", str(one.root), "sync")
    done = run_avm(*args)
    assert done.returncode == 0, done.stderr
    assert "whoever can read" in done.stderr
    assert run_avm(*args).stderr == ""


def test_what_came_is_found_when_it_returns(tmp_path: Path) -> None:
    one, two = pair(tmp_path)
    pushed(one, {f"memory/shared/{n}.md": f"zebra number {n}\n" for n in range(80)})
    with AVM(two.root, semantic="off") as avm:
        avm.sync()
        assert len(avm.search("zebra", 100)) == 80
        assert_well(avm)


def test_a_push_that_a_hook_refuses_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    one, two = pair(tmp_path)
    hook = tmp_path / "remote.git/hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho full >&2\nexit 1\n")
    hook.chmod(0o755)
    write(one, {X: "x\n"})
    with pytest.raises(RemoteError, match=r"cannot push to origin: .*pre-receive hook declined"):
        sync(one)
    assert committed(one.root) >= {X}
    os.unlink(hook)
    assert sync(one).sent == 1
    sync(two)
    assert two.path(X).exists()


@pytest.mark.parametrize("said", remote._MOVED)
def test_git_s_words_for_who_was_first_are_known(said: str) -> None:
    assert said == said.lower()
