"""Answers that take their time: computed once, side by side, and left alone when the mount ends."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from conftest import wait_for

from avm import AVM
from avm.api import View
from avm.overlay.nodes import BY_NAME
from avm.overlay.tree import Tree


class Slow:
    """A `:recall` that answers when `go` is set; `asked` counts its computations."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked: list[str] = []

    def render(self, view: View, rel: str, arguments: Mapping[str, str]) -> str:
        self.asked.append(arguments["query"])
        assert self.go.wait(30)
        return "at last\n"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    slow = Slow()
    key = "folder", "recall"
    monkeypatch.setitem(BY_NAME, key, BY_NAME[key]._replace(render=slow.render))
    yield slow
    slow.go.set()


@pytest.fixture
def tree(tmp_path: Path, slow: Slow) -> Iterator[Tree]:
    with AVM(tmp_path / "vault", semantic="off") as avm:
        tree = Tree(avm)
        yield tree
        tree.close()
        slow.go.set()


class Reading(threading.Thread):
    """Opens and reads a node."""

    def __init__(self, tree: Tree, path: str) -> None:
        super().__init__()
        self._tree, self._path = tree, path
        self.found: bytes | int | None = None

    def run(self) -> None:
        try:
            self.found = self._tree.open(self._path, os.O_RDONLY).read(100, 0)
        except OSError as error:
            self.found = error.errno


def reading(tree: Tree, *paths: str) -> list[Reading]:
    threads = [Reading(tree, path) for path in paths]
    for thread in threads:
        thread.start()
    return threads


def found(threads: list[Reading]) -> list[bytes | int | None]:
    for thread in threads:
        thread.join(10)
    return [thread.found for thread in threads]


def test_one_question_is_computed_once_however_many_ask(tree: Tree, slow: Slow) -> None:
    threads = reading(tree, *["/:recall?a"] * 5)
    wait_for(lambda: slow.asked, "the computation")
    slow.go.set()
    assert found(threads) == [b"at last\n"] * 5
    assert slow.asked == ["a"]


def test_four_are_computed_side_by_side_and_the_rest_after_them(tree: Tree, slow: Slow) -> None:
    paths = [f"/:recall?q{number}" for number in range(7)]
    threads = reading(tree, *paths)
    wait_for(lambda: len(slow.asked) == 4, "four computations")
    slow.go.set()
    assert found(threads) == [b"at last\n"] * 7
    assert len(slow.asked) == 7


def test_the_first_lookup_is_told_a_guess_and_the_next_waits(tree: Tree, slow: Slow) -> None:
    assert tree.attributes("/:recall?a").st_size == 4096
    slow.go.set()
    assert tree.attributes("/:recall?a").st_size == len("at last\n")


def test_who_waits_gives_up_when_the_mount_ends(tree: Tree, slow: Slow) -> None:
    """Both who asked first and who joined; what nobody has begun is never computed."""
    ending = threading.Event()
    tree.begun(ending.is_set, lambda: None)
    threads = reading(tree, *(f"/:recall?q{number % 6}" for number in range(12)))
    wait_for(lambda: len(slow.asked) == 4, "four computations")
    assert all(thread.is_alive() for thread in threads)
    ending.set()
    assert found(threads) == [errno.ECANCELED] * 12
    assert len(slow.asked) == 4
