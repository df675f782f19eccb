"""Bringing back what was: restore, undo, gc; always forward, nothing lost on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import git
from vault_helpers import assert_sound

from avm import AVM
from avm.base.errors import AccessError, NotFoundError, RepositoryError, UsageError
from avm.vault.rescue import kept

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
    avm.undo()
    assert on_disk(avm) == "one\n"
    avm.undo()
    assert on_disk(avm) == "two\n"


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
