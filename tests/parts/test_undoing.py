"""Bringing back what was: restore, undo, gc; always forward, nothing lost on the way."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import git
from vault_helpers import assert_sound, merge_as_text

from avm import AVM
from avm.base.errors import AccessError, NotFoundError, RepositoryError, UsageError
from avm.vault import rescue
from avm.vault.init import adopt
from avm.vault.rescue import kept
from avm.vault.revert import reverted

NOTE = "memory/shared/note.md"
FRONT = "---\ntitle: Rule\nimportance: 0.9\n---\n"


@pytest.fixture
def avm(tmp_path: Path) -> Iterator[AVM]:
    """A vault; what was undone in it never rewrote its history."""
    with AVM(tmp_path / "v", semantic="off") as opened:
        yield opened
        opened.commit()
        first = git(tmp_path / "v", "rev-list", "--max-parents=0", "HEAD")
        assert len(first.splitlines()) == 1
        assert_sound(opened.store.vault)


def on_disk(avm: AVM, rel: str = NOTE) -> str | None:
    place = avm.store.vault.path(rel)
    return place.read_text() if place.exists() else None


def log(avm: AVM, *paths: str) -> list[str]:
    """`author: subject`, newest first."""
    return git(avm.store.vault.root, "log", "--format=%an: %s", "--", *paths).splitlines()


def save(avm: AVM, text: str, rel: str = NOTE, agent: str | None = None) -> str:
    """Write and commit; returns the commit."""
    avm.view(agent).write(rel, text)
    avm.view(agent).commit()
    return git(avm.store.vault.root, "rev-parse", "HEAD")


# restore


def test_a_file_comes_back_as_it_was_at_a_revision(avm: AVM) -> None:
    first = save(avm, "one\n")
    save(avm, "two\n")
    done = avm.restore(NOTE, first[:8])
    assert (done.path, done.notes, on_disk(avm)) == (f"/{NOTE}", (), "one\n")
    assert log(avm, NOTE) == ["Pat Person: restore: note", "Pat Person: edit: note",
                              "Pat Person: remember: note"]  # fmt: skip
    assert avm.restore(NOTE, "~2").notes == ("it was like that already",)
    avm.restore(NOTE, "~1")
    assert on_disk(avm) == "two\n"


def test_what_was_forgotten_or_removed_comes_back(avm: AVM) -> None:
    akashi = avm.agent_memory("akashi")
    akashi.write(NOTE, "not committed yet\n")
    akashi.forget(NOTE)
    assert on_disk(avm) is None
    akashi.commit()
    assert log(avm, NOTE) == ["akashi: forget: note", "akashi: remember: note"]
    assert akashi.restore(NOTE).notes == ()
    assert on_disk(avm) == "not committed yet\n"
    assert log(avm, NOTE)[0] == "akashi: restore: note"
    avm.store.vault.path(NOTE).unlink()
    avm.restore(NOTE)
    assert on_disk(avm) == "not committed yet\n"


def test_an_expired_memory_comes_back_without_its_past_expiry(avm: AVM) -> None:
    save(avm, "---\ntitle: x\nexpires: 2020-01-01\nttl: 3d\nmine: 1.10\n---\ntext\n")
    assert not avm.exists(NOTE)
    done = avm.restore(NOTE)
    assert done.notes == ("its expiry of 2020-01-01T00:00:00Z is past and was taken out",)
    assert on_disk(avm) == "---\ntitle: x\nmine: 1.10\n---\ntext\n"
    assert avm.exists(NOTE)


def test_a_ttl_that_has_run_out_is_taken_out_too(avm: AVM) -> None:
    save(avm, "---\ncreated: 2020-01-01\nttl: 3d\n---\ntext\n")
    assert avm.restore(NOTE).notes == ("its past ttl was taken out",)
    assert on_disk(avm) == "---\ncreated: 2020-01-01\n---\ntext\n"


def test_gc_removes_what_has_expired_in_one_commit_and_restore_brings_it_back(avm: AVM) -> None:
    for name in "ab":
        save(avm, f"---\nexpires: 2020-01-01\n---\n{name}\n", f"memory/shared/{name}.md")
    avm.store.vault.path("memory/shared/fresh.md").write_text("---\nexpires: 2020-01-01\n---\nc\n")
    save(avm, "stays\n")
    done = avm.gc()
    assert done.removed == ("/memory/shared/a.md", "/memory/shared/b.md", "/memory/shared/fresh.md")
    assert log(avm)[0] == "Pat Person: gc: 3 expired memories"
    assert on_disk(avm) == "stays\n"
    assert avm.gc().removed == ()
    avm.restore("memory/shared/fresh.md")
    assert on_disk(avm, "memory/shared/fresh.md") == "---\n---\nc\n"


def test_gc_says_what_it_could_not_commit(avm: AVM) -> None:
    save(avm, "---\nexpires: 2020-01-01\n---\nold\n")
    lock = avm.store.vault.git_dir / "index.lock"
    lock.touch()
    done = avm.gc()
    lock.unlink()
    assert done.removed == (f"/{NOTE}",) == tuple(done.left)
    assert "not committed: " in done.left[f"/{NOTE}"]
    assert "index.lock is held" in done.left[f"/{NOTE}"]


def test_front_matter_that_a_plain_write_dropped_is_told_and_comes_back(avm: AVM) -> None:
    save(avm, FRONT + "old text\n")
    save(avm, "new text\n", agent="akashi")
    assert log(avm)[0] == "akashi: edit: note (front matter dropped)"
    avm.restore_meta(NOTE)
    assert on_disk(avm) == FRONT + "new text\n"
    with pytest.raises(UsageError, match="has front matter"):
        avm.restore_meta(NOTE)
    save(avm, "plain\n", "memory/shared/other.md")
    with pytest.raises(NotFoundError, match="no version of"):
        avm.restore_meta("memory/shared/other.md")


def test_what_is_there_needs_a_revision_and_what_never_was_is_not_found(avm: AVM) -> None:
    save(avm, "one\n")
    with pytest.raises(UsageError, match="say which version, such as"):
        avm.restore(NOTE)
    with pytest.raises(NotFoundError):
        avm.restore("memory/shared/never.md")
    with pytest.raises(NotFoundError):
        avm.agent_memory("bob").restore("memory/private/akashi/x.md")


def test_a_file_that_avm_does_not_commit_comes_back_and_stays_the_person_s(avm: AVM) -> None:
    root = avm.store.vault.root
    for text in ("one\n", "two\n"):
        (root / "notes.md").write_text(text)
        git(root, "add", ".")
        git(root, "commit", "-qm", text)
    at = git(root, "rev-parse", "HEAD")
    (root / "notes.md").write_text("in no commit\n")
    avm.restore("notes.md", "~1")
    avm.write("other.md", "the person's too\n")
    avm.store.committer.commit(now=True, journalled=True)
    assert git(root, "rev-parse", "HEAD") == at
    assert git(root, "status", "--porcelain").splitlines() == ["M notes.md", "?? other.md"]
    assert on_disk(avm, "notes.md") == "one\n"
    assert [kept.path for kept in rescue.kept(avm.store.vault)] == ["notes.md"]


# undo


def test_undo_takes_back_what_one_agent_did_and_nothing_else(avm: AVM) -> None:
    save(avm, "old\n")
    save(avm, "by akashi\n", agent="akashi")
    save(avm, "new\n", "memory/shared/added.md", agent="akashi")
    save(avm, "bob's\n", "memory/shared/bob.md", agent="bob")
    avm.agent_memory("akashi").write("memory/private/akashi/fresh.md", "not committed yet\n")
    done = avm.undo(agent="akashi", since="1h")
    assert done.changed == {
        f"/{NOTE}": "changed back",
        "/memory/shared/added.md": "removed",
        "/memory/private/akashi/fresh.md": "removed",
    }
    assert done.left == {}
    assert (on_disk(avm), on_disk(avm, "memory/shared/added.md")) == ("old\n", None)
    assert on_disk(avm, "memory/shared/bob.md") == "bob's\n"
    assert log(avm)[0] == "Pat Person: undo: 3 commits of akashi"
    trailers = git(avm.store.vault.root, "log", "-1", "--format=%(trailers:key=Undoes,valueonly)")
    assert trailers.split() == list(done.commits)
    assert avm.undo(agent="akashi", since="1h").changed == {}, "a second time there is nothing"


def test_a_deletion_is_undone(avm: AVM) -> None:
    save(avm, "text\n")
    avm.agent_memory("akashi").forget(NOTE)
    avm.commit()
    done = avm.undo(agent="akashi")
    assert done.changed == {f"/{NOTE}": "brought back"}
    assert on_disk(avm) == "text\n"
    assert log(avm)[0] == "Pat Person: undo: forget: note"


def test_an_undo_can_be_undone(avm: AVM) -> None:
    save(avm, "one\n")
    save(avm, "two\n")
    for text, subject in (("one", "undo"), ("two", "redo"), ("one", "undo")):
        avm.undo()
        assert on_disk(avm) == f"{text}\n"
        assert log(avm)[0] == f"Pat Person: {subject}: edit: note"


def test_later_edits_elsewhere_in_the_file_stay_and_in_the_same_lines_win(avm: AVM) -> None:
    lines = [f"line {n}\n" for n in range(12)]
    save(avm, "".join(lines))
    bad = save(avm, "".join(["BAD\n", *lines[1:]]), agent="akashi")
    save(avm, "".join(["BAD\n", *lines[1:-1], "LATER\n"]))
    done = avm.undo(commit=bad)
    assert (done.left, on_disk(avm)) == ({}, "".join([*lines[:-1], "LATER\n"]))
    bad = save(avm, "two\n", "memory/shared/b.md", agent="akashi")
    save(avm, "three\n", "memory/shared/b.md")
    before = log(avm)
    done = avm.undo(commit=bad)
    assert done.left == {"/memory/shared/b.md": f"it was edited since it was made ({bad[:7]})"}
    assert on_disk(avm, "memory/shared/b.md") == "three\n"
    assert log(avm) == before


def test_several_commits_to_one_file_with_another_s_between(avm: AVM) -> None:
    lines = [f"{n}\n" for n in range(20)]
    save(avm, "".join(lines))
    for n, who in ((0, "akashi"), (10, "bob"), (19, "akashi")):
        lines[n] = f"{who}\n"
        save(avm, "".join(lines), agent=who)
    avm.undo(agent="akashi", since="1h")
    expected = [f"{n}\n" for n in range(20)]
    expected[10] = "bob\n"
    assert on_disk(avm) == "".join(expected)


def test_a_dry_run_does_nothing(avm: AVM) -> None:
    save(avm, "one\n")
    save(avm, "two\n")
    before = log(avm)
    done = avm.undo(dry_run=True)
    assert (done.changed, done.dry_run) == ({f"/{NOTE}": "changed back"}, True)
    assert (on_disk(avm), log(avm)) == ("two\n", before)


def test_text_of_the_person_s_that_is_not_committed_is_a_version_first(avm: AVM) -> None:
    lines = [f"{n}\n" for n in range(12)]
    save(avm, "".join(lines))
    bad = save(avm, "".join(["BAD\n", *lines[1:]]), agent="akashi")
    avm.store.vault.path(NOTE).write_text("".join(["BAD\n", *lines[1:-1], "DRAFT\n"]))
    avm.undo(commit=bad)
    assert on_disk(avm) == "".join([*lines[:-1], "DRAFT\n"])
    assert log(avm, NOTE)[:2] == ["Pat Person: undo: edit: note", "Pat Person: edit: note"]
    assert "BAD" in git(avm.store.vault.root, "show", f"HEAD~1:{NOTE}")


def test_an_agent_takes_back_its_own_only(avm: AVM) -> None:
    save(avm, "akashi's\n", agent="akashi")
    save(avm, "bob's\n", "memory/shared/bob.md", agent="bob")
    akashi = avm.agent_memory("akashi")
    done = akashi.undo(since="1h")
    assert done.changed == {f"/{NOTE}": "removed"}
    assert log(avm)[0] == "akashi: undo: remember: note"
    with pytest.raises(AccessError, match="not bob's"):
        akashi.undo(agent="bob")
    bobs = git(avm.store.vault.root, "log", "-1", "--format=%H", "--author=bob@")
    with pytest.raises(NotFoundError):
        akashi.undo(commit=bobs)


def test_nothing_is_undone_in_the_middle_of_the_person_s_merge(avm: AVM) -> None:
    save(avm, "one\n")
    (avm.store.vault.git_dir / "MERGE_HEAD").write_text("0" * 40 + "\n")
    with pytest.raises(RepositoryError, match="not now: merge in progress"):
        avm.undo()
    assert on_disk(avm) == "one\n"
    (avm.store.vault.git_dir / "MERGE_HEAD").unlink()


def test_bad_questions_are_told(avm: AVM) -> None:
    save(avm, "one\n")
    with pytest.raises(UsageError, match="not both"):
        avm.undo(since="1h", commit="HEAD")
    with pytest.raises(NotFoundError, match="no such revision"):
        avm.undo(commit="nonsense")
    with pytest.raises(NotFoundError, match="no commit of bob"):
        avm.undo(agent="bob")


def test_a_name_that_git_checks_out_nowhere_is_never_written(tmp_path: Path) -> None:
    """A pull brings any history: its newest tree is checked by git, the trees before it are not."""
    with AVM(tmp_path / "v", semantic="off") as avm:
        save(avm, "one\n")
        root = avm.store.vault.root
        plain = git(root, "rev-parse", "HEAD^{tree}")
        blob = hash_object(root, "blob", b"[core]\n\tfsmonitor = evil\n")
        tree = b"100644 config.worktree\0" + bytes.fromhex(blob)
        for name in (b".git", b"..", b"memory"):
            tree = b"40000 %s\0" % name + bytes.fromhex(hash_object(root, "tree", tree))
        evil = git(root, "commit-tree", hash_object(root, "tree", tree), "-p", "HEAD", "-m", "Bad")
        after = git(root, "commit-tree", plain, "-p", evil, "-m", "Good")
        git(root, "reset", "--quiet", "--hard", after)
        assert all("config" not in path for path in avm.undo(commit=after).changed)
        assert not (root / ".git/config.worktree").exists()


def hash_object(root: Path, kind: str, data: bytes) -> str:
    args = ["git", "hash-object", "-w", "-t", kind, "--literally", "--stdin"]
    done = subprocess.run(args, cwd=root, input=data, capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_links_and_submodules_are_not_taken_back_as_text(avm: AVM) -> None:
    root = avm.store.vault.root
    link, module = "memory/shared/link.md", "memory/shared/module"
    (root / link).symlink_to("note.md")
    git(root, "add", ".")
    git(root, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},{module}")
    git(root, "commit", "-qm", "Link and module")
    git(root, "rm", "-q", "--cached", module)
    git(root, "rm", "-q", link)
    git(root, "commit", "-qm", "Without them")
    done = avm.undo()
    why = "a symbolic link or a submodule: use git revert"
    assert (done.changed, done.left) == ({}, {f"/{link}": why, f"/{module}": why})
    assert on_disk(avm, link) is None


def test_a_commit_beside_it_takes_nothing_away_from_a_merge(avm: AVM) -> None:
    save(avm, "a\nb\nc\n")
    vault = avm.store.vault
    ended = threading.Event()

    def keep_recovering() -> None:
        while not ended.is_set():
            avm.store.committer.recover()

    beside = threading.Thread(target=keep_recovering)
    beside.start()
    try:
        for _ in range(10):
            merged = reverted(vault, b"A\nx\nb\nC\n", b"a\nx\nb\nc\n", b"A\nx\nb\nc\n")
            assert merged == b"a\nx\nb\nC\n"
    finally:
        ended.set()
        beside.join()


@pytest.mark.parametrize("who", ["akashi", None])
def test_an_undo_names_nothing_that_others_may_not_see(avm: AVM, who: str | None) -> None:
    root, private = avm.store.vault.root, "memory/private/bob/plan.md"
    for rel in (NOTE, private):
        (root / rel).parent.mkdir(parents=True, exist_ok=True)
        (root / rel).write_text("one\n")
    git(root, "add", ".")
    its = ("-c", "user.name=akashi", "-c", "user.email=akashi@agents.avm.invalid")
    git(root, *its, "commit", "-qm", "What bob plans")
    commit = git(root, "rev-parse", "HEAD")
    (root / private).write_text("edited since\n")
    avm.view(who).undo(commit=commit)
    told = avm.agent_memory("akashi").log(NOTE)
    assert [entry.subject for entry in told] == ["undo: note", "remember: note"]


@pytest.mark.parametrize("how", ["a filter", "line ends"])
def test_what_git_converts_comes_back_as_it_stood_in_the_file(tmp_path: Path, how: str) -> None:
    git(tmp_path, "init", "--quiet")
    if how == "a filter":
        git(tmp_path, "config", "filter.rot.clean", "tr a-y b-z")
        git(tmp_path, "config", "filter.rot.smudge", "tr b-z a-y")
        (tmp_path / ".git/info/attributes").write_text("memory/** filter=rot\n")
    else:
        git(tmp_path, "config", "core.autocrlf", "true")
    adopt(tmp_path)
    with AVM(tmp_path, semantic="off") as avm:
        for text in ("---\r\ntitle: a\r\n---\r\none\r\n", "two\r\n"):
            save(avm, text, agent="akashi")
        akashi = avm.agent_memory("akashi")
        akashi.undo()
        assert avm.read_bytes(NOTE) == b"---\r\ntitle: a\r\n---\r\none\r\n"
        akashi.restore(NOTE, "~1")
        assert avm.read_bytes(NOTE) == b"two\r\n" == akashi.show(NOTE)
        akashi.restore_meta(NOTE)
        assert avm.read_bytes(NOTE) == b"---\r\ntitle: a\r\n---\r\ntwo\r\n"
        assert git(tmp_path, "status", "--porcelain") == ""


def test_what_the_person_staged_is_left_and_named(avm: AVM) -> None:
    save(avm, "one\n")
    save(avm, "two\n")
    root = avm.store.vault.root
    avm.store.vault.path(NOTE).write_text("staged\n")
    git(root, "add", NOTE)
    avm.store.vault.path(NOTE).write_text("two\n")
    done = avm.undo(commit="HEAD")
    assert (done.changed, done.left) == ({}, {f"/{NOTE}": "staged by you: git commit"})
    assert on_disk(avm) == "two\n"
    git(root, "commit", "-qm", "Staged")


def test_nothing_is_restored_over_a_conflict(avm: AVM) -> None:
    first = save(avm, "one\n")
    root, place = avm.store.vault.root, avm.store.vault.path(NOTE)
    merge_as_text(root)
    place.write_text("stashed\n")
    git(root, "stash", "-q")
    save(avm, "two\n")
    subprocess.run(["git", "stash", "pop", "-q"], cwd=root, capture_output=True, check=False)
    before = place.read_text()
    assert "<<<<<<<" in before
    with pytest.raises(RepositoryError, match="in a merge conflict"):
        avm.restore(NOTE, first[:8])
    assert place.read_text() == before
    git(root, "checkout", "-q", "HEAD", "--", NOTE)


# purge


def test_purge_says_how_and_does_nothing(avm: AVM) -> None:
    save(avm, "secret\n")
    before = log(avm)
    text = avm.purge_help(NOTE)
    assert f"--invert-paths --path {NOTE}" in text
    assert (log(avm), on_disk(avm)) == (before, "secret\n")


def test_what_was_written_and_removed_a_moment_ago_comes_back(avm: AVM) -> None:
    save(avm, "lead\n")
    with open(avm.store.vault.path("memory/shared/new.md"), "w") as file:
        file.write("new\n")
    avm.forget("memory/shared/new.md")
    avm.restore("memory/shared/new.md")
    assert on_disk(avm, "memory/shared/new.md") == "new\n"


@pytest.mark.parametrize("rel", ["plan.md", "sub/draft.txt"])
def test_text_outside_memory_is_kept_before_it_goes(avm: AVM, rel: str) -> None:
    place = avm.store.vault.path(rel)
    place.parent.mkdir(exist_ok=True)
    place.write_text("one\n")
    git(avm.store.vault.root, "add", rel)
    git(avm.store.vault.root, "commit", "-qm", "One")
    place.write_text("not committed\n")
    assert avm.restore(rel, "HEAD").notes == ("not under memory/: git commit",)
    assert place.read_text() == "one\n"
    place.write_text("not committed either\n")
    avm.forget(rel)
    assert [text.path for text in kept(avm.store.vault)] == [rel, rel]
    blobs = [git(avm.store.vault.root, "cat-file", "-p", t.blob) for t in kept(avm.store.vault)]
    assert blobs == ["not committed", "not committed either"]


def test_restore_names_the_blob_of_what_no_commit_has(avm: AVM) -> None:
    avm.store.vault.path("draft.md").write_text("never committed\n")
    avm.forget("draft.md")
    blob = kept(avm.store.vault)[-1].blob
    with pytest.raises(NotFoundError, match=rf"no commit has /draft\.md: git cat-file -p {blob}"):
        avm.restore("draft.md")
    with pytest.raises(NotFoundError, match=r"no memory at /draft\.md"):
        avm.agent_memory("akashi").restore("draft.md")
