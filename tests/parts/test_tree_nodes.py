"""Writing to virtual nodes, and answering them once: handles, sizes and the memo, with no mount."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import wait_for

from avm import AVM
from avm.api import View
from avm.base.errors import AVMError, UsageError
from avm.overlay import answers
from avm.overlay.handle import BodyHandle, Handle, TextHandle
from avm.overlay.names import Answer, Node
from avm.overlay.nodes import BY_NAME, NODES
from avm.overlay.tree import Tree

REL = "memory/shared/a.md"
FRONT = "---\ntitle: The rule\n---\n"
WRITE, EMPTY = os.O_WRONLY, os.O_WRONLY | os.O_TRUNC
ADD = os.O_WRONLY | os.O_APPEND


@pytest.fixture
def avm(tmp_path: Path) -> Iterator[AVM]:
    """A vault with one memory, `REL`."""
    with AVM(tmp_path / "vault", semantic="off") as opened:
        (opened.store.vault.root / REL).write_text(FRONT + "text\n")
        yield opened


@pytest.fixture
def tree(avm: AVM) -> Iterator[Tree]:
    """What the owner sees."""
    opened = Tree(avm)
    yield opened
    opened.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even the first look waits for the answer, however slow the machine is."""
    monkeypatch.setattr(answers, "_LOOKUP_SECONDS", 30.0)


def read(tree: Tree, path: str) -> bytes:
    """A node's whole text."""
    handle = tree.open(path, os.O_RDONLY)
    try:
        return handle.read(1 << 20, 0)
    finally:
        handle.release()


def write(tree: Tree, path: str, *parts: bytes, flags: int = EMPTY) -> None:
    """Write the parts one after the other, as a shell's redirection does."""
    handle = tree.open(path, flags)
    at = handle.attributes().st_size if flags & os.O_APPEND else 0
    try:
        for part in parts:
            assert handle.write(part, at) == len(part)
            at += len(part)
    finally:
        handle.release()


def error_of(call: Callable[[], object]) -> int:
    """The errno that a call ends with."""
    with pytest.raises((OSError, AVMError)) as caught:
        call()
    return int(caught.value.errno or 0)


def on_disk(avm: AVM) -> str:
    """The memory's text."""
    return (avm.store.vault.root / REL).read_text()


# Handles


def test_a_value_is_taken_in_the_first_write(tree: Tree, avm: AVM) -> None:
    handle = tree.open(f"/{REL}:tags", EMPTY)
    assert handle.virtual
    assert handle.write(memoryview(b"a b\n"), 0) == 4
    assert avm.meta(REL)["tags"] == ["a", "b"], "before it is closed"
    assert error_of(lambda: handle.write(b"c\n", 4)) == errno.EINVAL
    handle.release()
    assert avm.meta(REL)["tags"] == ["a", "b"]
    assert avm.status().refused == ((f"/{REL}:tags", "a value must come in one write"),)
    assert error_of(lambda: tree.open(f"/{REL}:tags", WRITE).write(b"x", 100)) == errno.EINVAL
    assert read(tree, f"/{REL}:tags") == b"a\nb\n"


def test_after_a_bad_value_a_good_one_is_taken(tree: Tree, avm: AVM) -> None:
    handle = tree.open(f"/{REL}:ttl", EMPTY)
    assert error_of(lambda: handle.write(b"bad\n", 0)) == errno.EINVAL
    assert on_disk(avm) == FRONT + "text\n"
    handle.write(b"2099-01-01\n", 0)
    handle.release()
    assert read(tree, f"/{REL}:ttl") == b"2099-01-01T00:00:00Z\n"


@pytest.mark.parametrize(
    ("node", "first", "second"),
    [("tags", "x", "y"), ("links", "b", "c"), ("meta", "importance: 0.1", "mood: calm")],
)
def test_a_value_that_is_appended(tree: Tree, avm: AVM, node: str, first: str, second: str) -> None:
    for value in (first, second):
        write(tree, f"/{REL}:{node}", value.encode() + b"\n", flags=ADD)
    meta = avm.meta(REL)
    if node == "tags":
        assert meta["tags"] == ["x", "y"]
    elif node == "links":
        assert [link["target"] for link in meta["links"]] == ["b", "c"]
    else:
        assert (meta["importance"], meta["other"]) == (0.1, {"mood": "calm"})


@pytest.mark.parametrize("node", [node.name for node in NODES if node.write and not node.several])
def test_emptying_a_value_changes_nothing(tree: Tree, avm: AVM, node: str) -> None:
    """A shell empties before it writes: what counts is what is written."""
    write(tree, f"/{REL}:{node}")
    tree.truncate(f"/{REL}:{node}", 0)
    tree.open(f"/{REL}:{node}", WRITE).truncate(0)
    assert on_disk(avm) == FRONT + "text\n"


def test_each_write_leaves_the_body_right(tree: Tree, avm: AVM) -> None:
    handle = tree.open(f"/{REL}:body", EMPTY)
    at = 0
    for part in (b"one\n", b"two\n", b"x" * 200_000, b"\n---\nlast"):
        assert handle.write(part, at) == len(part)
        at += len(part)
        assert handle.attributes().st_size == at
        assert avm.body(REL) == handle.read(1 << 20, 0)
        assert on_disk(avm).startswith(FRONT)
    handle.release()
    assert read(tree, f"/{REL}:body") == b"one\ntwo\n" + b"x" * 200_000 + b"\n---\nlast"


def test_a_body_that_comes_as_front_matter_in_parts(tree: Tree, avm: AVM) -> None:
    (avm.store.vault.root / REL).write_text("plain\n")
    text = b"---\ntitle: not mine\n---\nmore\n"
    write(tree, f"/{REL}:body", text[:5], text[5:24], text[24:])
    assert read(tree, f"/{REL}:body") == text
    assert avm.meta(REL)["title"] == "a"


def test_a_body_written_in_its_middle(tree: Tree, avm: AVM) -> None:
    handle = tree.open(f"/{REL}:body", os.O_RDWR)
    handle.write(b"TE", 0)
    assert avm.body(REL) == b"TExt\n"
    handle.write(b"!", 8)
    assert avm.body(REL) == handle.read(100, 0) == b"TExt\n\0\0\0!"
    handle.truncate(2)
    assert avm.body(REL) == b"TE"
    handle.truncate(4)
    assert avm.body(REL) == b"TE\0\0"
    handle.release()


def test_a_body_emptied_and_not_written_is_empty(tree: Tree, avm: AVM) -> None:
    write(tree, f"/{REL}:body", flags=WRITE)
    write(tree, f"/{REL}:body", flags=ADD)
    assert avm.body(REL) == b"text\n"
    write(tree, f"/{REL}:body")
    assert on_disk(avm) == FRONT
    tree.open(f"/{REL}:body", EMPTY).release()
    gone = tree.open(f"/{REL}:body", EMPTY)
    (avm.store.vault.root / REL).unlink()
    gone.release()
    assert not (avm.store.vault.root / REL).exists()


def test_a_body_is_cut_by_its_path(tree: Tree, avm: AVM) -> None:
    tree.truncate(f"/{REL}:body", 2)
    assert on_disk(avm) == FRONT + "te"
    tree.truncate(f"/{REL}:body", 0)
    assert on_disk(avm) == FRONT


def test_two_who_append_lose_nothing(tree: Tree, avm: AVM) -> None:
    handles = [tree.open(f"/{REL}:body", ADD) for _ in range(2)]
    for number in range(4):
        handle = handles[number % 2]
        handle.write(f"line {number}\n".encode(), handle.attributes().st_size)
    for handle in handles:
        handle.release()
    assert avm.body(REL) == b"text\nline 0\nline 1\nline 2\nline 3\n"


def test_what_is_refused_leaves_the_body_as_it_was(tree: Tree, avm: AVM) -> None:
    token = b"ghp_" + b"16C7e42F292c6912E7710c838347Ae178B4a"
    handle = tree.open(f"/{REL}:body", EMPTY)
    handle.write(b"good\n", 0)
    assert error_of(lambda: handle.write(token, 5)) == errno.EACCES
    assert avm.body(REL) == handle.read(100, 0) == b"good\n"
    handle.write(b"more\n", 5)
    handle.release()
    assert avm.body(REL) == b"good\nmore\n"
    ((path, why),) = avm.status().refused
    assert path == f"/{REL}:body" and "github-token" in why and "16C7" not in why


def test_a_refused_first_write_does_not_empty_the_body(tree: Tree, avm: AVM) -> None:
    handle = tree.open(f"/{REL}:body", EMPTY)
    token = b"ghp_" + b"16C7e42F292c6912E7710c838347Ae178B4a"
    assert error_of(lambda: handle.write(token, 0)) == errno.EACCES
    handle.release()
    assert on_disk(avm) == FRONT + "text\n"


def test_who_may_write_sees_so_in_the_mode(tree: Tree, avm: AVM) -> None:
    (avm.store.vault.root / "memory/shared/.github").mkdir()
    (avm.store.vault.root / "memory/shared/.github/x.md").write_text("text\n")
    agents = Tree(avm.agent_memory("akashi"))
    for node in NODES:
        if node.place != "file" or node.value:
            continue
        path = f"/{REL}:{node.name}"
        modes = [stat.S_IMODE(one.attributes(path).st_mode) for one in (tree, agents)]
        assert modes == [0o644 if node.write else 0o444] * 2, path
        path = f"/memory/shared/.github/x.md:{node.name}"
        if node.name not in ("backlinks", "links", "meta", "similar", "tags"):  # of memories
            assert stat.S_IMODE(agents.attributes(path).st_mode) == 0o444, path
        if node.write is None:
            assert error_of(lambda one=path: tree.open(one, WRITE)) == errno.EACCES  # type: ignore[misc]
    refused = agents.open(f"/{REL}:body", os.O_RDONLY)
    assert error_of(lambda: refused.write(b"x", 0)) == errno.EACCES
    assert error_of(lambda: refused.truncate(0)) == errno.EACCES
    path = "/memory/shared/.github/x.md:body"
    assert error_of(lambda: agents.open(path, WRITE)) == errno.EACCES
    assert error_of(lambda: agents.truncate(path, 0)) == errno.EACCES
    assert error_of(lambda: agents.open("/memory/private/hermes/x.md:body", WRITE)) in (
        errno.EACCES,
        errno.ENOENT,
    )
    agents.close()


def test_who_writes_is_the_author(avm: AVM) -> None:
    agents = Tree(avm.agent_memory("akashi"))
    write(agents, f"/{REL}:body", b"akashi's\n")
    agents.close()
    avm.commit()
    assert [line.agent for line in avm.blame(REL)][-1] == "akashi"


def test_an_answer_is_told_when_it_was_read_to_its_end() -> None:
    told: list[bool] = []
    data, attributes = b"0123456789", None

    def opened() -> TextHandle:
        told.clear()
        return TextHandle(data, attributes, lambda: told.append(True))  # type: ignore[arg-type]

    for size, offset, whole in (
        (5, 0, False), (9, 0, False), (10, 0, True), (100, 0, True), (1, 8, False), (1, 9, True),
        (1, 10, True), (5, 20, True), (0, 0, False),
    ):  # fmt: skip
        opened().read(size, offset)
        assert bool(told) == whole, (size, offset)
    handle = opened()
    handle.read(100, 0)
    handle.read(100, 0)
    assert told == [True]
    buffer = bytearray(4)
    handle = opened()
    assert handle.read_into(memoryview(buffer), 2) == 4 and bytes(buffer) == b"2345"
    assert told == []
    assert handle.read_into(memoryview(buffer), 8) == 2 and told == [True]


@pytest.mark.usefixtures("patient")
def test_a_delta_is_marked_by_reading_it_to_its_end(tree: Tree) -> None:
    told = f"+ /{REL}  The rule\n".encode()
    assert tree.attributes("/:delta").st_size == len(told)
    tree.open("/:delta", os.O_RDONLY).release()
    assert tree.open("/:delta", os.O_RDONLY).read(5, 0) == told[:5]
    assert read(tree, "/:delta?peek=1") == told
    assert read(tree, "/:delta") == told
    assert read(tree, "/:delta").startswith(b"Nothing new since ")
    assert tree.attributes("/:delta").st_size == len(read(tree, "/:delta"))
    assert read(tree, f"/{REL}:delta").endswith(b"+text\n")
    assert read(tree, f"/{REL}:delta").startswith(b"Nothing new since ")


# The memo


class Slow:
    """A node `:slow?query=…` whose text tells how often it was made; it waits for `go`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.made = 0
        self.seen: list[str] = []

    def render(self, view: View, rel: str, arguments: Mapping[str, str]) -> str:
        """What it answers."""
        text = view.read(REL)
        self.made += 1
        self.begun.release()
        assert self.go.wait(20)
        if arguments.get("query") == "bad":
            raise UsageError("bad")
        return f"{self.made} {text}" + "x" * 10_000

    @property
    def node(self) -> Node:
        """It, for the table."""
        parameters = {"query": "anything"}
        return Node("slow", "folder", "slow", (":slow",), self.render, parameters, words=True)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """The node, in the table."""
    made = Slow()
    monkeypatch.setitem(BY_NAME, ("folder", "slow"), made.node)
    monkeypatch.setattr(answers, "_MEMO_SECONDS", 3600.0)
    yield made
    made.go.set()


@pytest.mark.usefixtures("patient")
def test_the_calls_behind_one_cat_compute_once(tree: Tree, slow: Slow) -> None:
    slow.go.set()
    sizes = {tree.attributes("/:slow").st_size for _ in range(3)}
    handle = tree.open("/:slow", os.O_RDONLY)
    assert sizes == {handle.attributes().st_size, len(handle.read(1 << 20, 0))}
    assert slow.made == 1
    tree.attributes("/:slow?other")
    assert slow.made == 2


def test_a_slow_node_is_given_a_guess_first_and_its_size_then(tree: Tree, slow: Slow) -> None:
    began = time.monotonic()
    assert tree.attributes("/:slow").st_size == answers._GUESS
    assert time.monotonic() - began < 5
    with ThreadPoolExecutor(3) as pool:
        later = [pool.submit(tree.attributes, "/:slow") for _ in range(2)]
        opened = pool.submit(tree.open, "/:slow", os.O_RDONLY)
        time.sleep(0.1)
        assert not any(future.done() for future in (*later, opened)), "they wait for the real one"
        slow.go.set()
        size = len(opened.result(20).read(1 << 20, 0))
        assert [future.result(20).st_size for future in later] == [size, size]
    assert size > 10_000 and slow.made == 1


@pytest.mark.usefixtures("patient")
def test_the_next_guess_is_what_it_had_last(
    tree: Tree, avm: AVM, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.go.set()
    size = tree.attributes("/:slow").st_size
    slow.go.clear()
    monkeypatch.setattr(answers, "_LOOKUP_SECONDS", 0.02)
    (avm.store.vault.root / REL).write_text("short\n")
    assert tree.attributes("/:slow").st_size == size
    assert slow.begun.acquire(timeout=20) and slow.begun.acquire(timeout=20)
    slow.go.set()
    assert tree.attributes("/:slow").st_size < size


def test_a_slow_node_s_error_is_told(tree: Tree, slow: Slow) -> None:
    assert tree.attributes("/:slow?bad").st_size == answers._GUESS
    slow.go.set()
    assert error_of(lambda: tree.open("/:slow?bad", os.O_RDONLY)) == errno.EINVAL
    assert error_of(lambda: tree.attributes("/:slow?bad")) == errno.EINVAL
    assert error_of(lambda: tree.attributes("/nowhere/:slow")) == errno.ENOENT


@pytest.mark.usefixtures("patient")
def test_a_write_between_lookup_and_open_is_seen(tree: Tree, avm: AVM, slow: Slow) -> None:
    slow.go.set()
    tree.attributes("/:slow")
    (avm.store.vault.root / REL).write_text("other\n")
    assert b"1 ---" not in read(tree, "/:slow")
    assert read(tree, "/:slow").startswith(b"2 other\n")
    assert tree.attributes(f"/{REL}:body").st_size == 6
    (avm.store.vault.root / REL).write_text("longer text\n")
    assert read(tree, f"/{REL}:body") == b"longer text\n"
    assert tree.attributes(f"/{REL}:body").st_size == 12


def test_what_another_began_before_a_write_is_not_handed_to_who_asks_after_it(
    tree: Tree, avm: AVM, slow: Slow
) -> None:
    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(read, tree, "/:slow")
        assert slow.begun.acquire(timeout=20)
        (avm.store.vault.root / REL).write_text("new\n")
        late = pool.submit(read, tree, "/:slow")
        time.sleep(0.1)
        slow.go.set()
        assert early.result(20).split(b" ", 1)[1].startswith(FRONT.encode())
        assert late.result(20).split(b" ", 1)[1].startswith(b"new\n")
    assert slow.made == 2


def test_what_another_began_after_the_last_write_is_shared(tree: Tree, slow: Slow) -> None:
    with ThreadPoolExecutor(4) as pool:
        reading = [pool.submit(read, tree, "/:slow") for _ in range(4)]
        assert slow.begun.acquire(timeout=20)
        time.sleep(0.1)
        slow.go.set()
        assert len({future.result(20) for future in reading}) == 1
    assert slow.made == 1


def test_the_memo_lapses_at_the_next_expiry(
    tree: Tree, avm: AVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_MEMO_SECONDS", 3600.0)
    ends = datetime.now(UTC) + timedelta(seconds=2.5)
    rel = "memory/shared/fleeting.md"
    (avm.store.vault.root / rel).write_text(f"---\nexpires: {ends.isoformat()}\n---\nfleeting\n")
    assert b"memories 2\n" in read(tree, "/:stats")
    assert b"memories 2\n" in read(tree, "/:stats")
    wait_for(lambda: datetime.now(UTC) > ends, "the end", 10)
    assert b"memories 1\n" in read(tree, "/:stats")
    assert error_of(lambda: tree.attributes(f"/{rel}:body")) == errno.ENOENT


@pytest.mark.usefixtures("patient")
def test_the_memo_is_bounded(tree: Tree, slow: Slow) -> None:
    slow.go.set()
    for number in range(answers._MEMO_ENTRIES + 10):
        tree.attributes(f"/:slow?{number}")
    assert len(tree._answers._memos) == len(tree._answers._sizes) == answers._MEMO_ENTRIES
    assert tree._answers._running == {}


def test_the_keeper_of_a_mark_is_who_read_it(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who opened the same answer: one reads it whole, after which the next is another."""
    made: list[int] = []

    def render(view: View, rel: str, arguments: Mapping[str, str]) -> Answer:
        made.append(1)
        return Answer(b"text", lambda: None)

    node = Node("once", "folder", "once", (":once",), render, {})
    monkeypatch.setattr(answers, "_MEMO_SECONDS", 3600.0)
    monkeypatch.setitem(BY_NAME, ("folder", "once"), node)
    early: list[Handle] = [tree.open("/:once", os.O_RDONLY) for _ in range(2)]
    assert len(made) == 1
    early[0].read(2, 0)
    tree.open("/:once", os.O_RDONLY)
    assert len(made) == 1
    early[0].read(2, 2)
    tree.open("/:once", os.O_RDONLY)
    assert len(made) == 2
    assert early[1].read(4, 0) == b"text"


def test_a_body_handle_reads_what_it_wrote(tree: Tree) -> None:
    handle = tree.open(f"/{REL}:body", os.O_RDWR)
    assert isinstance(handle, BodyHandle)
    buffer = bytearray(100)
    assert handle.read_into(memoryview(buffer), 0) == 5
    handle.write(b"new", 5)
    assert handle.read_into(memoryview(buffer), 0) == 8
    assert bytes(buffer[:8]) == b"text\nnew"
    handle.fsync(False)
    handle.release()
