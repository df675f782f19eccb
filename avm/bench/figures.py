"""Timing calls, and the figures of one operation beside its floor."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


class Floor(NamedTuple):
    """What an operation could cost at least, measured in the same run. `p50` in ms."""

    name: str
    p50: float


class Row(NamedTuple):
    """One operation at one size. `p50` and `p95` are in `unit`: `ms`, `MB` or `s`; `n` is how often
    it ran; `first` is what the first AVM said of its own, as text."""

    operation: str
    n: int
    p50: float
    p95: float
    unit: str = "ms"
    floor: Floor | None = None
    first: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the floor."""
        return self.p50 / self.floor.p50 if self.floor and self.floor.p50 > 0 else None


def each(act: Callable[[Item], object], items: Iterable[Item]) -> list[float]:
    """The milliseconds that `act` took with each item."""
    taken = []
    for item in items:
        start = time.perf_counter()
        act(item)
        taken.append((time.perf_counter() - start) * 1000)
    return taken


def again(act: Callable[[], object], times: int) -> list[float]:
    """The milliseconds that `act` took, each of so many times."""
    return each(lambda _: act(), range(times))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below or at which `share` (0–1) of the values are."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle one, of two the lower."""
    return percentile(values, 0.5)


def row(operation: str, taken: Sequence[float], floor: Floor | None = None, first: str = "") -> Row:
    """The row of times in ms."""
    return Row(
        operation, len(taken), median(taken), percentile(taken, 0.95), floor=floor, first=first
    )
