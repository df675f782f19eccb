"""The overlay's tree over a real vault, with no mount: what exists for whom, what may be made."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import git
from vault_helpers import commit

from avm import AVM
from avm.api import store
from avm.base.errors import AVMError
from avm.overlay.tree import Tree
from avm.vault.authors import Authors

NOTES = {
    "memory/private/akashi/a.md": "akashi's",
    "memory/private/hermes/h.md": "hermes's",
    "memory/shared/market/m.md": "everybody's",
    "notes/own.md": "the owner's",
    "memory/shared/:search?posing.md": "poses as another",
    "memory/shared/:stats": "poses as an answer",
    "memory/shared/past.md": "---\nexpires: 2020-01-01\n---\ngone",
    "drafts/past.md": "---\nexpires: 2020-01-01\n---\ngone from the owner's notes",
}


@pytest.fixture
def avm(tmp_path: Path) -> Iterator[AVM]:
    """A vault with two agents' notes, the owner's, an expired one and a posing one."""
    with AVM(tmp_path / "vault", semantic="off") as opened:
        for name, text in NOTES.items():
            file = opened.store.vault.path(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        yield opened


@pytest.fixture
def akashi(avm: AVM) -> Iterator[Tree]:
    """What the agent akashi sees."""
    tree = Tree(avm.agent_memory("akashi"))
    yield tree
    tree.close()


@pytest.fixture
def owner(avm: AVM) -> Iterator[Tree]:
    """What the owner sees."""
    tree = Tree(avm)
    yield tree
    tree.close()


def names(tree: Tree, path: str) -> set[str]:
    """The names in a folder."""
    return {entry.name for entry in tree.list(path)}


def error_of(call: object, *args: object) -> int:
    """The errno that a call ends with."""
    with pytest.raises((OSError, AVMError)) as caught:
        call(*args)  # type: ignore[operator]
    return int(caught.value.errno or 0)


def test_an_agent_sees_its_own_folders_and_the_way_to_them(akashi: Tree) -> None:
    assert names(akashi, "/") == {"memory"}
    assert names(akashi, "/memory") == {"private", "shared"}
    assert names(akashi, "/memory/private") == {"akashi"}
    assert names(akashi, "/memory/private/akashi") == {"a.md"}
    for hidden in ("/notes", "/notes/own.md", "/memory/private/hermes", "/.git", "/.avm"):
        assert error_of(akashi.attributes, hidden) == errno.ENOENT
    assert error_of(akashi.open, "/memory/private/hermes/h.md", os.O_RDONLY) == errno.ENOENT
    assert error_of(akashi.list, "/memory/private/hermes") == errno.ENOENT


def test_the_owner_sees_all_but_git(owner: Tree) -> None:
    assert names(owner, "/") >= {"memory", "notes", ".avm", ".gitattributes"}
    assert ".git" not in names(owner, "/")
    assert error_of(owner.attributes, "/.git") == errno.ENOENT
    assert error_of(owner.attributes, "/.GIT/config") == errno.ENOENT
    assert error_of(owner.create, "/.git/x", 0o644, os.O_WRONLY) == errno.EACCES


def test_expired_and_posing_files_are_not_there(owner: Tree) -> None:
    assert names(owner, "/memory/shared") == {"market", ".gitkeep"}
    assert error_of(owner.attributes, "/memory/shared/past.md") == errno.ENOENT
    handle = owner.open("/memory/shared/:stats", os.O_RDONLY)
    assert handle.read(8, 0) == b"memories"
    handle.release()


def test_an_answer_has_its_exact_size_and_cannot_be_changed(owner: Tree) -> None:
    path = "/:search?everybody"
    handle = owner.open(path, os.O_RDONLY)
    text = handle.read(1 << 20, 0)
    assert b"/memory/shared/market/m.md" in text
    assert owner.attributes(path).st_size == len(text) == handle.attributes().st_size
    assert stat.S_IMODE(owner.attributes(path).st_mode) == 0o444
    assert error_of(owner.open, path, os.O_WRONLY) == errno.EACCES
    assert error_of(owner.unlink, path) == errno.EACCES
    assert error_of(owner.chmod, path, 0o600) == errno.EACCES
    assert error_of(owner.rename, path, "/x.md") == errno.EACCES
    for make in (owner.mkdir, owner.create):
        extra = (os.O_WRONLY,) if make == owner.create else ()
        assert error_of(make, "/:tags", 0o644, *extra) == errno.EINVAL
    assert error_of(owner.rename, "/notes/own.md", "/notes/own.md:meta") == errno.EINVAL


def test_a_handle_keeps_its_text(owner: Tree, avm: AVM) -> None:
    handle = owner.open("/:search?everybody", os.O_RDONLY)
    before = handle.read(1 << 20, 0)
    avm.remember("everybody again")
    assert handle.read(1 << 20, 0) == before
    later = owner.open("/:search?everybody", os.O_RDONLY)
    assert later.read(1 << 20, 0) != before


def test_any_agent_s_folder_looks_real_and_becomes_so(owner: Tree, akashi: Tree) -> None:
    folder = owner.attributes("/memory/private/newcomer")
    assert stat.S_ISDIR(folder.st_mode) and owner.list("/memory/private/newcomer") == []
    assert "newcomer" not in names(owner, "/memory/private")
    assert error_of(owner.attributes, "/memory/private/Not-An-Agent") == errno.ENOENT
    assert error_of(akashi.attributes, "/memory/private/newcomer") == errno.ENOENT
    handle = owner.create("/memory/private/newcomer/x.md", 0o644, os.O_WRONLY)
    assert handle.write(b"first", 0) == 5
    assert owner.held() == {"memory/private/newcomer/x.md"}
    handle.release()
    assert owner.held() == set()
    assert "newcomer" in names(owner, "/memory/private")


def test_an_agent_writes_only_where_it_may(akashi: Tree, avm: AVM) -> None:
    assert (
        error_of(akashi.create, "/memory/private/hermes/x.md", 0o644, os.O_WRONLY) == errno.EACCES
    )
    assert error_of(akashi.create, "/top.md", 0o644, os.O_WRONLY) == errno.EACCES
    assert error_of(akashi.mkdir, "/memory/other", 0o755) == errno.EACCES
    for name in (".gitattributes", ".gitignore", ".avmignore", "sub/.gitmodules"):
        target = f"/memory/shared/{name}"
        assert error_of(akashi.create, target, 0o644, os.O_WRONLY) == errno.EACCES
    assert (
        error_of(akashi.rename, "/memory/private/akashi/a.md", "/memory/private/hermes/a.md")
        == errno.EACCES
    )
    assert (
        error_of(akashi.link, "/memory/private/hermes/h.md", "/memory/shared/h.md") == errno.ENOENT
    )
    assert error_of(akashi.rmdir, "/memory/private/akashi") == errno.EACCES
    assert (avm.store.vault.root / "memory/private/hermes/h.md").read_text() == "hermes's"


@pytest.mark.parametrize("name", ["memory/shared/past.md", "drafts/past.md"])
def test_a_new_file_in_an_expired_one_s_place_keeps_the_old_bytes(
    owner: Tree, avm: AVM, name: str
) -> None:
    handle = owner.create(f"/{name}", 0o644, os.O_WRONLY)
    handle.write(b"new", 0)
    handle.release()
    vault = avm.store.vault
    assert vault.path(name).read_text() == "new"
    rescued = list((vault.own_state / "rescue").iterdir())
    assert [file.read_text() for file in rescued] == [NOTES[name]]


def test_an_unlinked_open_file_leaves_the_work_tree(owner: Tree, avm: AVM) -> None:
    handle = owner.open("/notes/own.md", os.O_RDWR)
    owner.rename("/notes/own.md", "/notes/.fuse_hidden0000000100000001")
    assert os.listdir(avm.store.vault.root / "notes") == []
    assert handle.read(100, 0) == b"the owner's"
    assert owner.attributes("/notes/.fuse_hidden0000000100000001").st_size == 11
    owner.chmod("/notes/.fuse_hidden0000000100000001", 0o600)
    owner.unlink("/notes/.fuse_hidden0000000100000001")
    handle.release()


def test_a_hidden_file_goes_with_its_last_descriptor(owner: Tree, avm: AVM) -> None:
    """libfuse forgets to remove it where the close comes while it is being renamed."""
    hidden, folder = "/notes/.fuse_hidden0000000100000001", avm.store.vault.git_state / "hidden"
    handles = [owner.open("/notes/own.md", flags) for flags in (os.O_RDONLY, os.O_WRONLY)]
    owner.rename("/notes/own.md", hidden)
    handles[1].release()
    assert owner.attributes(hidden).st_size == 11
    handles[0].release()
    assert list(folder.glob("*/*")) == []
    assert error_of(owner.unlink, hidden) == errno.ENOENT


def test_a_file_that_was_closed_before_it_is_hidden_is_removed(owner: Tree, avm: AVM) -> None:
    owner.open("/notes/own.md", os.O_RDWR).release()
    owner.rename("/notes/own.md", "/notes/.fuse_hidden0000000100000001")
    assert os.listdir(avm.store.vault.root / "notes") == []
    assert list((avm.store.vault.git_state / "hidden").glob("*/*")) == []


def test_a_link_is_shown_and_not_followed(owner: Tree, avm: AVM, tmp_path: Path) -> None:
    secret = tmp_path / "secret.md"
    secret.write_text("out of the vault")
    os.symlink(secret, avm.store.vault.root / "notes/link.md")
    assert owner.readlink("/notes/link.md") == str(secret)
    assert stat.S_ISLNK(owner.attributes("/notes/link.md").st_mode)
    assert error_of(owner.open, "/notes/link.md", os.O_RDONLY) == errno.ELOOP
    assert all("link" not in hit.path for hit in avm.search("out of the vault"))
    assert error_of(avm.read, "/notes/link.md") == errno.ENOENT


def test_a_line_written_between_another_s_open_and_write_is_its_writer_s(avm: AVM) -> None:
    rel = "memory/shared/log.md"
    trees = {name: Tree(avm.agent_memory(name)) for name in ("akashi", "hermes")}
    trees["akashi"].create(f"/{rel}", 0o644, os.O_WRONLY | os.O_CREAT).release()
    handles = {
        name: tree.open(f"/{rel}", os.O_WRONLY | os.O_APPEND) for name, tree in trees.items()
    }
    for name, handle in handles.items():
        handle.write(f"{name}\n".encode(), 0)
        handle.release()
        trees[name].close()
    avm.store.committer.commit(now=True, people=True)
    assert [(line.text, line.agent) for line in avm.blame(rel)] == [
        ("akashi", "akashi"),
        ("hermes", "hermes"),
    ]


def test_the_names_in_a_folder_are_put_on_disk(
    owner: Tree, avm: AVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    owner.fsync_folder("/memory/shared")
    assert synced == [str(avm.store.vault.root / "memory/shared")]
    owner.fsync_folder("/memory/private/newcomer")  # looks real, and is not yet
    assert error_of(owner.fsync_folder, "/.git") == errno.ENOENT
    assert len(synced) == 1


# Who wrote


def renamed(tree: Tree, path: str) -> None:
    tree.rename(path, "/memory/shared/market/renamed.md")


def removed(tree: Tree, path: str) -> None:
    tree.unlink(path)


def rewritten(tree: Tree, path: str) -> None:
    tree.open(path, os.O_WRONLY | os.O_TRUNC).release()


def appended(tree: Tree, path: str) -> None:
    handle = tree.open(path, os.O_WRONLY | os.O_APPEND)
    handle.write(b"more", 0)
    handle.release()


def tagged(tree: Tree, path: str) -> None:
    handle = tree.open(f"{path}:tags", os.O_WRONLY)
    handle.write(b"tag", 0)
    handle.release()


@pytest.mark.parametrize("act", [renamed, removed, rewritten, appended, tagged])
def test_text_is_its_writer_s_before_the_mount_hears_of_the_close(
    avm: AVM, akashi: Tree, act: Callable[[Tree, str], None]
) -> None:
    """A commit that read the file just before it was written to has settled the note."""
    path = "/memory/shared/market/new.md"
    handle = akashi.create(path, 0o644, os.O_WRONLY | os.O_CREAT)
    handle.write(b"text", 0)
    journal = Authors(avm.store.vault)
    journal.settle([path[1:]], journal.size())
    act(akashi, path)
    handle.release()
    commit(avm.store.vault, people=True)
    names = (path[1:], "memory/shared/market/renamed.md")
    authors = git(avm.store.vault.root, "log", "--format=%an", "--", *names)
    assert set(authors.splitlines()) == {"akashi"}


# What is kept in mind


def test_only_so_many_ends_of_memories_are_kept_in_mind(
    avm: AVM, owner: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_MOST_ENDINGS", 10)
    monkeypatch.setattr("avm.index.plan.is_racy", lambda stamp, checked_ns: False)
    names = [f"/memory/shared/market/{number}.md" for number in range(35)]
    for number, name in enumerate(names):
        text = "---\nexpires: 2020-01-01\n---\ngone\n" if number % 2 else "there\n"
        avm.store.vault.path(name[1:]).write_text(text)
    for _ in range(2):
        listed = {entry.name for entry in owner.list("/memory/shared/market")}
        assert listed == {f"{number}.md" for number in range(0, 35, 2)} | {"m.md"}
        assert 0 < len(avm.store._endings) <= 10
    assert owner.attributes(names[0]).st_size == 6
    assert names[0][1:] in avm.store._endings
    owner.unlink(names[0])
    assert names[0][1:] not in avm.store._endings


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_an_exclusive_creation_finds_the_name_taken(owner: Tree, avm: AVM, there: str) -> None:
    place = avm.store.vault.path("memory/shared/taken")
    place.parent.mkdir(exist_ok=True)
    if there == "file":
        place.write_text("theirs")
    elif there == "folder":
        place.mkdir()
    else:
        place.symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        owner.create(
            "/memory/shared/taken", 0o644, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_TRUNC
        )
    assert there != "file" or place.read_text() == "theirs"
