"""Entries put into git's index by hand are those that git itself would have put there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import git
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avm.vault import index_edit, index_file
from avm.vault.git import blob_id
from avm.vault.location import Vault

names = st.lists(
    st.sampled_from(["a", "b", "ab", "a.md", "a-b", "a0", "é", "記", "z" * 200, "TREE", "REUC"]),
    min_size=1,
    max_size=4,
).map("/".join)


@pytest.fixture
def repo(tmp_path: Path) -> Vault:
    git(tmp_path, "init", "-q")
    return Vault(tmp_path, tmp_path / ".git", tmp_path / ".git", tmp_path / ".git/avm", True)


def write(vault: Vault, name: str, text: str) -> None:
    place = vault.path(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def entry(vault: Vault, name: str) -> tuple[tuple[str, int], os.stat_result]:
    """What is to be put in for a file as it is."""
    return (blob_id(vault.path(name).read_bytes()), 0o100644), vault.path(name).stat()


def put(vault: Vault, *changed: str) -> bool:
    """Into a copy, which then takes the index's place, as the committer does it."""
    copy = vault.git_dir / "copy"
    done = index_file.put(vault, vault.git_index, copy, {n: entry(vault, n) for n in changed})
    if done:
        for name in changed:  # git wants the objects that an index names
            git(vault.root, "hash-object", "-w", "--no-filters", "--", name)
        copy.rename(vault.git_index)
    return done


def assert_as_git_has_it(vault: Vault) -> None:
    """Entries, stat data and trees are what git makes of the same work tree from nothing."""
    git(vault.root, "diff-files", "--quiet")
    git(vault.root, "fsck", "--strict", "--no-dangling")
    tree = git(vault.root, "write-tree")
    listed = git(vault.root, "ls-files", "-s", "--debug")
    env = {**os.environ, "GIT_INDEX_FILE": str(vault.git_dir / "fresh")}
    (vault.git_dir / "fresh").unlink(missing_ok=True)
    for args in (["add", "-A"], ["ls-files", "-s", "--debug"], ["write-tree"]):
        done = subprocess.run(
            ["git", *args], cwd=vault.root, env=env, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        if args[0] == "ls-files":
            assert done.stdout.decode().strip() == listed
    assert done.stdout.decode().strip() == tree


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(names, max_size=8), st.sets(names, min_size=1, max_size=4), st.data())
def test_the_index_is_as_git_would_have_made_it(
    repo: Vault, old: set[str], new: set[str], data: st.DataObject
) -> None:
    for place in repo.root.iterdir():
        if place.name != ".git":
            shutil.rmtree(place) if place.is_dir() else place.unlink()
    repo.git_index.unlink(missing_ok=True)
    everything: set[str] = set()
    for name in sorted(old | new):  # no file where another has its folder
        if not any(
            other.startswith(f"{name}/") or name.startswith(f"{other}/") for other in everything
        ):
            everything.add(name)
    old, new = old & everything, new & everything
    for name in old:
        write(repo, name, "old\n")
    git(repo.root, "add", "-A")
    if data.draw(st.booleans()):
        git(repo.root, "commit", "-q", "--allow-empty", "-m", "x")  # writes what it knows of trees
    for name in new:
        write(repo, name, f"new {name}\n")
    if new:
        assert put(repo, *new) == repo.git_index.exists()
        if not repo.git_index.exists():
            git(repo.root, "add", "-A")
        assert_as_git_has_it(repo)


def test_new_and_changed_entries_and_the_trees_above(repo: Vault) -> None:
    for name in ("memory/a.md", "memory/deep/er/b.md", "other/c.md"):
        write(repo, name, "old\n")
    git(repo.root, "add", "-A")
    git(repo.root, "commit", "-qm", "x")
    write(repo, "memory/deep/er/b.md", "new\n")
    assert put(repo, "memory/deep/er/b.md")
    assert_as_git_has_it(repo)
    for name in ("memory/deep/new.md", "aaa.md", "zzz.md"):
        write(repo, name, "new\n")
    assert put(repo, "memory/deep/new.md", "aaa.md", "zzz.md")
    assert_as_git_has_it(repo)
    assert git(repo.root, "diff", "--cached", "--name-only").split() == [
        "aaa.md", "memory/deep/er/b.md", "memory/deep/new.md", "zzz.md",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "how",
    [
        ["update-index", "--index-version", "4"],
        ["update-index", "--split-index"],
        ["update-index", "--untracked-cache"],
        ["update-index", "--assume-unchanged", "memory/a.md"],
        ["update-index", "--skip-worktree", "memory/a.md"],
        ["-c", "index.threads=4", "update-index", "--force-write-index"],
    ],
    ids=" ".join,
)
def test_what_is_not_plain_is_left_to_git(repo: Vault, how: list[str]) -> None:
    for number in range(30):
        write(repo, f"memory/{number}.md", "old\n")
    write(repo, "memory/a.md", "old\n")
    git(repo.root, "add", "-A")
    git(repo.root, *how)
    before = repo.git_index.read_bytes()
    write(repo, "memory/a.md", "new\n")
    if how[-1] != "--force-write-index" or b"EOIE" in before:
        assert not put(repo, "memory/a.md")
    assert repo.git_index.read_bytes() == before


def test_a_conflict_a_folder_and_a_file_in_the_way_are_left_to_git(repo: Vault) -> None:
    write(repo, "memory/a.md", "old\n")
    write(repo, "memory/b/c.md", "old\n")
    git(repo.root, "add", "-A")
    data = repo.git_index.read_bytes()
    seen = entry(repo, "memory/a.md")
    for name in (b"memory/a.md/inner.md", b"memory/b", b"memory"):
        assert index_edit.with_entries(data, {name: seen}) is None
    blob = git(repo.root, "rev-parse", ":memory/a.md")
    lines = "".join(f"100644 {blob} {stage}\tmemory/a.md\n" for stage in (1, 2, 3))
    feed = f"0 {'0' * 40}\tmemory/a.md\n{lines}".encode()
    subprocess.run(["git", "update-index", "--index-info"], cwd=repo.root, input=feed, check=True)
    assert index_edit.with_entries(repo.git_index.read_bytes(), {b"memory/a.md": seen}) is None


def test_a_young_file_whose_time_was_set_back_is_left_to_git(repo: Vault) -> None:
    """Written again within the same tick, it would look clean for ever."""
    write(repo, "memory/a.md", "old\n")
    git(repo.root, "add", "-A")
    write(repo, "memory/a.md", "new\n")
    os.utime(repo.path("memory/a.md"), (1, 1))
    assert not put(repo, "memory/a.md")


@given(st.binary(max_size=300), st.integers(0, 400))
def test_damaged_bytes_are_left_to_git_or_change_nothing_else(junk: bytes, at: int) -> None:
    seen = (("a" * 40, 0o100644), os.stat("/"))
    index_edit.with_entries(junk, {b"x": seen})
    index_edit.with_entries(b"DIRC\0\0\0\2\0\0\0\3" + junk, {b"x": seen})
    index_edit.with_entries(junk[:at] + b"TREE\0\0\0\7" + junk[at:], {b"x": seen})
