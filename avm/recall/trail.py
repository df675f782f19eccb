"""What is noted on the way to an answer, for whoever asks why it is what it is (explain.py).

Every recall notes it: that costs next to nothing, and so what is explained is what was done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avm.recall.candidates import Scored


class Trail:
    """Who gave way to newer memories, and who came by a link."""

    def __init__(self) -> None:
        #: Passages of memories that gave way, as they would have scored; and who they gave way to:
        #: the ids of their current versions by their own.
        self.superseded: list[Scored] = []
        self.newer: dict[int, frozenset[int]] = {}
        #: The path of the memory that links to it, by id.
        self.linked: dict[int, str] = {}

    def gave_way(
        self, scored: Iterable[Scored], newer: Mapping[int, frozenset[int]]
    ) -> list[Scored]:
        """Note those that are in `newer`; returns the others."""
        left: list[Scored] = []
        for item in scored:
            (self.superseded if item.hit.memory_id in newer else left).append(item)
        self.newer.update(newer)
        return left
