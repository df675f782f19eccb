"""Writers of one file, in one tree and in two: whose a text is, and that none of it is lost."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import git
from vault_helpers import commit

from avm import AVM
from avm.overlay.handle import Handle
from avm.overlay.root import Root
from avm.overlay.tree import Tree
from avm.vault import journal, rescue
from avm.vault.authors import Authors

FILE = "/memory/shared/a.md"
APPEND = os.O_WRONLY | os.O_APPEND
CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


@pytest.fixture
def avm(tmp_path: Path) -> Iterator[AVM]:
    """A new vault."""
    with AVM(tmp_path / "vault", semantic="off") as opened:
        yield opened


@pytest.fixture
def trees(avm: AVM) -> Iterator[tuple[Tree, Tree]]:
    """What akashi and hermes see."""
    both = Tree(avm.agent_memory("akashi")), Tree(avm.agent_memory("hermes"))
    yield both
    for tree in both:
        tree.close()


def on_disk(avm: AVM, path: str = FILE) -> Path:
    return avm.store.vault.root / path[1:]


def put(avm: AVM, text: str, path: str = FILE) -> Path:
    place = on_disk(avm, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def written(handle: Handle, data: bytes) -> None:
    handle.write(data, 0)
    handle.release()


def writer(avm: AVM, path: str = FILE) -> str | None:
    """Whose the text is that no commit holds; None for the person."""
    entry = Authors(avm.store.vault).open_version(path[1:])
    return entry.agent if entry else None


@pytest.mark.parametrize("keeps_open", [False, True])
def test_lines_appended_beside_a_node_are_all_there(
    avm: AVM, trees: tuple[Tree, Tree], keeps_open: bool
) -> None:
    tree, done, count = trees[0], threading.Event(), 0
    put(avm, "---\ntitle: t\n---\n")
    held = tree.open(FILE, APPEND) if keeps_open else None

    def tag() -> None:
        nonlocal count
        while not done.is_set():
            count += 1
            written(tree.open(f"{FILE}:tags", os.O_WRONLY | os.O_TRUNC), b"t%d\n" % count)

    thread = threading.Thread(target=tag)
    thread.start()
    for number in range(150):
        line = b"line %d\n" % number
        if held:
            held.write(line, 0)
        else:
            written(tree.open(FILE, APPEND), line)
    done.set()
    thread.join()
    if held:
        held.release()
    text = on_disk(avm).read_text()
    assert [line for line in text.splitlines() if line.startswith("line ")] == [
        f"line {number}" for number in range(150)
    ]
    assert f"tags: [t{count}]" in text


def test_a_descriptor_whose_name_another_file_has_takes_nothing_over(
    avm: AVM, trees: tuple[Tree, Tree]
) -> None:
    place = put(avm, "old\n")
    handle = trees[0].open(FILE, os.O_WRONLY)
    (place.parent / "new").write_text("the person's\n")
    os.replace(place.parent / "new", place)
    written(handle, b"akashi's, to nobody\n")
    assert place.read_text() == "the person's\n"
    assert writer(avm) is None


@pytest.mark.parametrize("mode", [0o600, 0o755])
def test_chmod_takes_no_text_over(avm: AVM, trees: tuple[Tree, Tree], mode: int) -> None:
    akashi, hermes = trees
    written(hermes.create(FILE, 0o644, CREATE), b"hermes's\n")
    put(avm, "the person's\n", "/memory/shared/p.md")
    for path in (FILE, "/memory/shared/p.md"):
        akashi.chmod(path, mode)
    commit(avm.store.vault, people=True)
    root = avm.store.vault.root
    first = git(root, "log", "--reverse", "--format=%an", "--", FILE[1:]).splitlines()[0]
    assert first == "hermes"
    person = git(root, "log", "--reverse", "--format=%an", "--", "memory/shared/p.md")
    assert person.splitlines()[0] == "Pat Person"


def test_of_two_who_create_one_name_none_loses_what_was_acknowledged(
    avm: AVM, trees: tuple[Tree, Tree], monkeypatch: pytest.MonkeyPatch
) -> None:
    akashi, hermes = trees
    create = Root.create

    def late(root: Root, rel: str, flags: int, mode: int, owner: None) -> int:
        monkeypatch.undo()
        written(hermes.create(FILE, 0o644, CREATE), b"hermes's\n")
        return create(root, rel, flags, mode, owner)

    monkeypatch.setattr(Root, "create", late)
    written(akashi.create(FILE, 0o644, CREATE), b"akashi's\n")
    assert on_disk(avm).read_text() == "akashi's\n"
    commit(avm.store.vault)
    root = avm.store.vault.root
    assert git(root, "log", "--format=%an", "--", FILE[1:]).split() == ["akashi", "hermes"]
    assert git(root, "show", f"HEAD~1:{FILE[1:]}") == "hermes's"


def test_a_deleted_file_that_is_open_holds_no_commit_of_its_successor_back(
    avm: AVM, trees: tuple[Tree, Tree]
) -> None:
    tree = trees[0]
    handle = tree.create(FILE, 0o644, CREATE)
    tree.rename(FILE, "/memory/shared/.fuse_hidden0001")
    written(tree.create(FILE, 0o644, CREATE), b"the next\n")
    assert FILE[1:] not in tree.held()
    handle.release()
    assert tree.held() == set()


@pytest.mark.parametrize("act", [lambda tree: tree.create(FILE, 0o644, CREATE)])
def test_no_descriptor_is_left_where_the_author_cannot_be_noted(
    trees: tuple[Tree, Tree], act: Callable[[Tree], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    written(trees[0].create(FILE, 0o644, CREATE), b"")  # the audit log is open from now on
    trees[0].unlink(FILE)
    monkeypatch.setattr(journal.Journal, "append", full)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            act(trees[0])
        os.unlink(trees[0]._vault.path(FILE[1:]))
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_nodes_of_a_file_that_git_ignores_are_fresh(avm: AVM) -> None:
    put(avm, "build/\n", "/.gitignore")
    put(avm, "one\n", "/build/x.md")
    tree = Tree(avm)

    def body() -> bytes:
        handle = tree.open("/build/x.md:body", os.O_RDONLY)
        text = handle.read(99, 0)
        handle.release()
        return text

    assert body() == b"one\n"
    put(avm, "other\n", "/build/x.md")
    assert body() == b"other\n"
    tree.close()


def test_a_file_can_be_removed_while_it_is_open_where_git_is_on_another_disk(
    avm: AVM, trees: tuple[Tree, Tree], monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, rename = trees[0], Root.rename

    def elsewhere(root: Root, source: str, target: str) -> None:
        if ".git" in target:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(root, source, target)

    monkeypatch.setattr(Root, "rename", elsewhere)
    handle = tree.create(FILE, 0o644, CREATE)
    handle.write(b"open\n", 0)
    hidden = "/memory/shared/.fuse_hidden0002"
    tree.rename(FILE, hidden)
    assert tree.attributes(hidden).st_size == 5
    assert not [e.name for e in tree.list("/memory/shared") if "hidden" in e.name]
    assert handle.attributes().st_size == 5
    handle.release()
    assert not [name for name in os.listdir(on_disk(avm).parent) if name != ".gitkeep"]
    assert rescue.rescued(avm.store.vault) == []
