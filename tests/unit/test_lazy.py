"""Parts that are made when they are first asked for."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from avm.base.lazy import lazy


class Whole:
    def __init__(self) -> None:
        self._loading = threading.RLock()
        self.made: list[str] = []
        self.fails = False
        self.together = threading.Barrier(8)

    @lazy
    def part(self) -> list[int]:
        """A part."""
        self.made.append("part")
        if self.fails:
            raise OSError("not now")
        return [len(self.other)]

    @lazy
    def other(self) -> str:
        self.made.append("other")
        return "other"

    def ask(self, _: int) -> list[int]:
        """Ask for the part at the same time as seven others."""
        self.together.wait(10)
        return self.part


def test_of_eight_that_ask_at_once_all_get_the_same() -> None:
    whole = Whole()
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(whole.ask, range(8)))
    assert whole.made == ["part", "other"]
    assert all(part is whole.part for part in parts)


def test_what_could_not_be_made_is_tried_again() -> None:
    whole = Whole()
    whole.fails = True
    with pytest.raises(OSError, match="not now"):
        _ = whole.part
    whole.fails = False
    assert whole.part == [5]


def test_it_may_be_another_s_and_is_made_once_an_owner() -> None:
    whole = Whole()
    whole.part = [7]
    assert whole.part == [7] and whole.made == []
    assert Whole().part == [5]
    assert Whole.part.__doc__ == "A part."
