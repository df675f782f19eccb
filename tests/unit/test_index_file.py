"""Entries looked up in the bytes of git's index, against what git says of the same index."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import git
from hypothesis import example, given, settings
from hypothesis import strategies as st

from avm.base.errors import RepositoryError
from avm.vault import index_file
from avm.vault.location import Vault
from avm.vault.objects import Blob

Entries = dict[str, list[tuple[Blob, int]]]


def repository(root: Path, object_format: str = "sha1") -> Vault:
    git(root.parent, "init", "-q", f"--object-format={object_format}", str(root))
    return Vault(root, root / ".git", root / ".git", root / ".git/avm", adopted=True)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return repository(tmp_path / "r")


def told_by_git(vault: Vault) -> Entries:
    """All entries, as `git ls-files -s` lists them."""
    done = subprocess.run(
        ["git", "ls-files", "-s", "-z"], cwd=vault.root, capture_output=True, check=True
    )
    found: Entries = {}
    for line in filter(None, done.stdout.split(b"\0")):
        facts, _, name = line.partition(b"\t")
        mode, blob, stage = facts.decode().split(" ")
        found.setdefault(os.fsdecode(name), []).append(((blob, int(mode, 8)), int(stage)))
    return found


def assert_same(vault: Vault, *absent: str) -> Entries:
    """Looked up one by one and together it is what git says, and names that are not there are not
    found; returns it."""
    expected = told_by_git(vault)
    names = [*expected, *absent]
    assert index_file.entries(vault, vault.git_index, names) == expected
    for name in names:
        found = index_file.entries(vault, vault.git_index, [name])
        assert found == ({name: expected[name]} if name in expected else {})
    return expected


@contextmanager
def git_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The bytes alone must do."""

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("git was asked")

    with monkeypatch.context() as patch:
        patch.setattr(index_file.git, "run", asked)
        yield


def fill(vault: Vault, rows: Sequence[tuple[str, str, int]]) -> None:
    """Put (name, mode, stage) into the index, in this order."""
    blobs = [
        git(vault.root, "hash-object", "-w", "--stdin") if not number else f"{number:040x}"
        for number in range(2)
    ]
    feed = b"".join(
        f"{mode} {blobs[0] if mode != '160000' else blobs[1]} {stage}\t".encode()
        + os.fsencode(name)
        + b"\0"
        for name, mode, stage in rows
    )
    subprocess.run(
        ["git", "update-index", "-z", "--index-info"],
        cwd=vault.root, input=feed, capture_output=True, check=True,
    )  # fmt: skip


PARTS = st.one_of(
    # Few letters, so that one name is often the end or the beginning of another.
    st.text("ab.", min_size=1, max_size=4),
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=12),
    st.sampled_from(["a.md", "a.md.md", "memory", "\udce9", "DIRC", "x" * 200]),
).filter(lambda part: part not in (".", "..") and part.lower().strip(". ") != "git"
         and "~" not in part)  # fmt: skip
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
MODES = st.sampled_from(["100644", "100755", "120000", "160000"])
STAGES = st.sampled_from([(0,), (0,), (0,), (1, 2, 3), (2, 3), (1, 2)])


@settings(max_examples=25)
@given(st.lists(st.tuples(NAMES, MODES, STAGES), max_size=12, unique_by=lambda row: row[0]))
@example([("d/" + "é" * 2200, "100644", (0,)), ("é" * 2200, "100755", (1, 2, 3))])
@example([("x" * 4094, "100644", (0,)), ("x" * 4095, "100644", (0,)), ("x" * 4096, "100644", (0,))])
def test_entries_are_what_git_says(rows: list[tuple[str, str, tuple[int, ...]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        vault = repository(Path(folder) / "r")
        flat = [(name, mode, stage) for name, mode, stages in rows for stage in stages]
        fill(vault, flat)
        ends = [name[1:] for name, _, _ in rows if len(name) > 1 and name[1] != "/"]
        assert_same(vault, *{"absent.md", *(end for end in ends if end)})


NESTED = ["x.md", "d/x.md", "d/d/x.md", "d/x.md.md", "md", "xx.md", "memory/d/x.md", "d.md"]


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_every_version_of_the_index(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    for name in NESTED:
        place = vault.path(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(name)
    git(vault.root, "add", ".")
    if version == "3":
        # Only flags make git write version 3: what is to be added, what is not to be looked at.
        vault.path("d/intent.md").write_text("x")
        git(vault.root, "add", "-N", "d/intent.md")
        git(vault.root, "update-index", "--skip-worktree", "d/x.md", "x.md")
        git(vault.root, "update-index", "--assume-unchanged", "xx.md")
    else:
        git(vault.root, "update-index", "--index-version", version)
    assert vault.git_index.read_bytes()[7] == int(version)
    expected = assert_same(vault, "absent.md", "d", "intent.md", ".md", "d/d")
    skipped, assumed = "--no-skip-worktree", "--no-assume-unchanged"
    unwatched = {"d/x.md": skipped, "x.md": skipped, "xx.md": assumed} if version == "3" else {}
    assert index_file.unwatched(vault, list(expected)) == unwatched
    if version != "4":
        with git_is_not_asked(monkeypatch):
            assert index_file.entries(vault, vault.git_index, list(expected)) == expected


def test_extensions_that_hold_names_are_no_entries(vault: Vault) -> None:
    # The tree cache and what a merge resolved hold paths too.
    for name in NESTED:
        vault.path(name).parent.mkdir(parents=True, exist_ok=True)
        vault.path(name).write_text("base\n")
    git(vault.root, "add", ".")
    git(vault.root, "commit", "-qm", "Base")
    git(vault.root, "checkout", "-qb", "side")
    vault.path("x.md").write_text("side\n")
    git(vault.root, "commit", "-qam", "Side")
    git(vault.root, "checkout", "-q", "main")
    vault.path("x.md").write_text("main\n")
    git(vault.root, "commit", "-qam", "Main")
    subprocess.run(["git", "merge", "side"], cwd=vault.root, capture_output=True, check=False)
    assert [stage for _, stage in assert_same(vault)["x.md"]] == [1, 2, 3]
    git(vault.root, "add", "x.md")
    assert b"REUC" in vault.git_index.read_bytes()
    git(vault.root, "config", "core.untrackedCache", "true")
    vault.path("untracked.md").write_text("x")
    git(vault.root, "update-index", "--untracked-cache")
    git(vault.root, "status")
    assert b"UNTR" in vault.git_index.read_bytes()
    assert_same(vault, "untracked.md", "d")


def test_a_split_index(vault: Vault) -> None:
    for name in NESTED:
        vault.path(name).parent.mkdir(parents=True, exist_ok=True)
        vault.path(name).write_text(name)
    git(vault.root, "add", ".")
    git(vault.root, "update-index", "--split-index")
    vault.path("d/x.md").write_text("changed")
    vault.path("new.md").write_text("new")
    git(vault.root, "rm", "-q", "--cached", "xx.md")
    git(vault.root, "add", "d/x.md", "new.md")
    assert set(assert_same(vault, "xx.md")) == {*NESTED, "new.md"} - {"xx.md"}


def test_a_sparse_index(vault: Vault) -> None:
    for name in NESTED:
        vault.path(name).parent.mkdir(parents=True, exist_ok=True)
        vault.path(name).write_text(name)
    git(vault.root, "add", ".")
    git(vault.root, "commit", "-qm", "All")
    git(vault.root, "sparse-checkout", "set", "--cone", "--sparse-index", "memory")
    assert not vault.path("d/x.md").exists()
    assert set(assert_same(vault)) == set(NESTED)
    git(vault.root, "sparse-checkout", "disable")
    assert set(assert_same(vault)) == set(NESTED)


def test_ids_of_another_length(tmp_path: Path) -> None:
    vault = repository(tmp_path / "r", "sha256")
    for name in NESTED:
        vault.path(name).parent.mkdir(parents=True, exist_ok=True)
        vault.path(name).write_text(name)
    git(vault.root, "add", ".")
    assert set(assert_same(vault, "absent.md")) == set(NESTED)


def test_more_paths_than_are_looked_up(vault: Vault) -> None:
    fill(vault, [(f"d/{number}.md", "100644", 0) for number in range(100)])
    assert len(assert_same(vault, "absent.md")) == 100


def test_no_index_is_an_empty_one_and_a_damaged_one_an_error(vault: Vault) -> None:
    assert index_file.entries(vault, vault.git_index, ["a.md"]) == {}
    for damaged in (b"", b"no index at all, but long enough to be one"):
        vault.git_index.write_bytes(damaged)
        with pytest.raises(RepositoryError, match=r"^git ls-files in "):
            index_file.entries(vault, vault.git_index, ["a.md"])
