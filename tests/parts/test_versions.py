"""Who wrote what of one file, when several write before anything is committed."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import git
from vault_helpers import FORMATS, assert_clean, commit, content, make, merge_as_text

from avm import AVM
from avm.base.config import Config
from avm.vault.committer import Committer
from avm.vault.git import blob_id
from avm.vault.init import adopt
from avm.vault.rescue import kept

REL = "memory/shared/both.md"


@pytest.fixture
def avm(tmp_path: Path) -> Iterator[AVM]:
    """A vault whose background commits nothing by itself: a round is made when a test asks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVM_COMMIT_WHO", "off")
        with AVM(tmp_path / "v", semantic="off") as opened:
            yield opened


def told(avm: AVM, *paths: str) -> list[str]:
    """`author: subject`, oldest first, without the first commit."""
    lines = git(avm.store.vault.root, "log", "--reverse", "--format=%an: %s", "--", *paths)
    return [line for line in lines.splitlines() if "Start an AVM vault" not in line]


def test_each_writer_s_text_is_a_commit_of_its_own_in_order(avm: AVM) -> None:
    for who, text in (("akashi", "one"), ("bob", "two"), ("akashi", "three"), ("akashi", "four")):
        avm.agent_memory(who).write(REL, f"{text}\n")
    avm.agent_memory("bob").write("memory/shared/other.md", "beside\n")
    commit(avm.store.vault)
    assert told(avm, REL) == ["akashi: remember: both", "bob: edit: both", "akashi: edit: both"]
    root = avm.store.vault.root
    texts = [content(root, REL, rev) for rev in git(root, "rev-list", "HEAD", "--", REL).split()]
    assert texts == [b"four\n", b"two\n", b"one\n"]
    assert_clean(avm.store.vault)


def test_an_edit_of_the_person_s_comes_before_an_agent_s(avm: AVM) -> None:
    avm.store.vault.path(REL).write_text("by the person's editor\n")
    avm.agent_memory("akashi").write(REL, "by akashi\n")
    commit(avm.store.vault)
    assert told(avm) == ["Pat Person: remember: both", "akashi: edit: both"]


def test_in_an_adopted_vault_an_agent_s_write_on_an_edit_of_yours_waits(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "memory/shared").mkdir(parents=True)
    (tmp_path / REL).write_text("committed\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "Mine")
    vault = adopt(tmp_path)
    (tmp_path / REL).write_text("committed\nand my draft\n")
    with AVM(tmp_path, semantic="off") as avm:
        akashi = avm.agent_memory("akashi")
        akashi.write(REL, "committed\nand my draft\nand akashi's line\n")
        akashi.write("memory/shared/new.md", "new\n")
        report = commit(vault)
        assert report.waiting == {
            REL: "on top of an edit of yours that is not committed: git commit"
        }
        assert len(report.commits) == 1
        git(tmp_path, "commit", "-qam", "Both")
        assert commit(vault).waiting == {}
    assert_clean(vault)


def test_a_file_that_another_opened_and_did_not_write_is_its_writer_s(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-qm", "Mine", "--allow-empty")
    adopt(tmp_path)
    with AVM(tmp_path, semantic="off") as avm:
        avm.agent_memory("akashi").write(REL, "by akashi\n")
        avm.store.versions.close(REL, "bob")  # what a mount does when a file is opened to append
        assert avm.agent_memory("bob").commit().waiting == {REL: "written by another"}
        assert avm.agent_memory("akashi").commit().waiting == {}
        assert told(avm) == ["Pat Person: Mine", "akashi: remember: both"]
        avm.store.vault.path(REL).write_text("by the person\n")
        assert commit(avm.store.vault).waiting == {}
        assert git(tmp_path, "status", "--porcelain") == f"M {REL}"


def test_what_one_wrote_and_another_forgot_is_in_history(avm: AVM) -> None:
    avm.agent_memory("akashi").write(REL, "text\n")
    avm.agent_memory("bob").forget(REL)
    commit(avm.store.vault)
    assert told(avm, REL) == ["akashi: remember: both", "bob: forget: both"]
    assert content(avm.store.vault.root, REL, "HEAD~1") == b"text\n"


def test_what_two_processes_write_at_the_same_moment_is_all_in_git(avm: AVM) -> None:
    names = [f"a{number}" for number in range(4)]
    start = threading.Barrier(len(names))

    def write(name: str) -> None:
        start.wait()
        for number in range(12):
            avm.agent_memory(name).write(REL, f"{name} {number}\n")

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    commit(avm.store.vault)
    root = avm.store.vault.root
    for name in names:
        for number in range(12):
            text = f"{name} {number}\n".encode()
            git(root, "cat-file", "-e", blob_id(text))
    commits = git(root, "log", "--format=%H %an", "--", REL).splitlines()
    for line in commits:
        oid, author = line.split(" ", 1)
        assert content(root, REL, oid).split()[0].decode() == author
    assert_clean(avm.store.vault)


def test_an_open_file_waits_and_the_version_before_it_does_not(avm: AVM) -> None:
    avm.agent_memory("akashi").write(REL, "akashi's\n")
    avm.agent_memory("bob").write(REL, "half of bob'")
    report = commit(avm.store.vault, held={REL})
    assert report.waiting == {REL: "open for writing"}
    assert told(avm, REL) == ["akashi: remember: both"]
    assert content(avm.store.vault.root, REL) == b"akashi's\n"
    assert git(avm.store.vault.root, "diff", "--cached") == ""
    avm.agent_memory("bob").write(REL, "bob's\n")
    commit(avm.store.vault)
    assert told(avm, REL) == ["akashi: remember: both", "bob: edit: both"]
    assert_clean(avm.store.vault)


def test_conflict_markers_become_no_version(avm: AVM) -> None:
    root, place = avm.store.vault.root, avm.store.vault.path(REL)
    merge_as_text(root)
    for text, *switch in (
        ["base"],
        ["theirs", "switch", "-qc", "side"],
        ["ours", "switch", "-q", "-"],
    ):
        if switch:
            git(root, *switch)
        place.write_text(f"{text}\n")
        git(root, "add", REL)
        git(root, "commit", "-qm", text)
    subprocess.run(["git", "-C", root, "merge", "-q", "side"], capture_output=True, check=False)
    marked = place.read_text()
    assert "<<<<<<<" in marked
    avm.agent_memory("akashi").write(REL, marked + "and akashi\n")
    avm.forget(REL)
    blobs = dict.fromkeys(text.blob for text in kept(avm.store.vault))
    texts = [git(root, "cat-file", "-p", blob) for blob in blobs]
    assert texts == [marked.strip(), f"{marked}and akashi"]
    git(root, "checkout", "--theirs", REL)
    git(root, "add", REL)
    git(root, "commit", "-qm", "merged")
    commit(avm.store.vault)
    assert git(root, "log", "-m", "--format=%h", "-S<<<<<<<", "--", REL) == ""


def test_what_git_ignores_is_kept_and_becomes_no_version(avm: AVM) -> None:
    root = avm.store.vault.root
    (root / "memory/shared/.gitignore").write_text("scratch/\n")
    git(root, "init", "-q", "memory/shared/nested")
    commit(avm.store.vault, people=True)
    at = git(root, "rev-parse", "HEAD")
    for rel in ("memory/shared/scratch/x.md", "memory/shared/nested/x.md"):
        avm.agent_memory("akashi").write(rel, f"akashi's {rel}\n")
        avm.agent_memory("bob").write(rel, f"bob's {rel}\n")
        avm.agent_memory("bob").forget(rel)
        for who in ("akashi", "bob"):
            git(root, "cat-file", "-e", blob_id(f"{who}'s {rel}\n".encode()))
    assert commit(avm.store.vault, people=True).waiting == {}
    assert git(root, "rev-parse", "HEAD") == at


def test_a_committed_text_whose_line_ends_git_converts_is_no_version(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "core.autocrlf", "true")
    (tmp_path / "memory/shared").mkdir(parents=True)
    (tmp_path / REL).write_bytes(b"committed\r\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "Mine")
    vault = adopt(tmp_path)
    with AVM(tmp_path, semantic="off") as avm:
        avm.agent_memory("akashi").write(REL, b"by akashi\r\n")
        report = commit(vault)
        assert (len(report.commits), report.waiting) == (1, {})


@pytest.mark.parametrize("form", FORMATS)
def test_a_version_that_git_pruned_holds_up_nothing(tmp_path: Path, form: str) -> None:
    vault = make(tmp_path / "v", form)
    with AVM(vault.root, semantic="off") as avm:
        avm.agent_memory("akashi").write(REL, "one\n")
        avm.agent_memory("bob").write(REL, "two\n")
        git(vault.root, "gc", "--quiet", "--prune=now")
        assert len(commit(vault).commits) == 1
        assert told(avm) == ["bob: remember: both"]
        assert_clean(vault)


def test_what_another_writes_while_a_commit_is_made_is_not_the_first_one_s(avm: AVM) -> None:
    avm.agent_memory("akashi").write("memory/shared/a.md", "read first\n")
    avm.agent_memory("akashi").write(REL, "by akashi\n")

    def check(rel: str, raw: bytes) -> None:
        """Called when a file was read: of two, the other has still to be."""
        if rel.endswith("a.md") and avm.read(REL) == "by akashi\n":
            avm.agent_memory("bob").write(REL, "by bob\n")

    Committer(avm.store.vault, Config(), check).commit(now=True)
    assert told(avm, REL) == ["akashi: remember: both", "bob: edit: both"]
    assert content(avm.store.vault.root, REL, "HEAD~1") == b"by akashi\n"
    assert_clean(avm.store.vault)
