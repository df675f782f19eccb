"""What AVM puts into one file of a host."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePath
from typing import Protocol

#: The name of AVM's MCP server in every host.
SERVER = "avm"
#: Said of a server of that name that does not start AVM.
ANOTHERS = "is another server: rename it, then install again"


class Part(Protocol):
    """AVM's own in a text. Each act raises TextError where the text is not of the right form."""

    #: What it is, for people.
    what: str

    def put(self, text: str) -> str:
        """The text with it, as it should be now. Raises ExistsError if its place is another's."""

    def take(self, text: str, original: str | None) -> str:
        """The text without it, and without containers that this empties.

        Those that `original`, the text before it came in, has empty stay.
        """

    def is_in(self, text: str) -> bool:
        """Whether it is there, in any form."""

    def is_all(self, text: str) -> bool:
        """Whether nothing is left of a text that it was taken out of."""


def starts_server(words: Sequence[object]) -> bool:
    """Whether a command line is `avm … mcp`."""
    return _is_avm(words[:1]) and "mcp" in words[1:]


def starts_hook(words: Sequence[str], host: str) -> bool:
    """Whether a command line has `avm … hook HOST` in it."""
    for start in range(len(words)):
        rest = words[start + 1 :]
        if _is_avm(words[start : start + 1]) and ("hook", host) in pairwise(rest):
            return True
    return False


def _is_avm(words: Sequence[object]) -> bool:
    return any(isinstance(word, str) and PurePath(word).name == "avm" for word in words)
