"""What AVM puts into one file of a host."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePath
from typing import Protocol

#: The name of AVM's MCP server in every host.
SERVER = "avm"
#: What a host hands AVM besides its verb.
OPTIONS = ("--agent", "--vault")
#: `hook HOST EVENT`
_HOOK_WORDS = 3
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

    def words(self, text: str) -> list[str]:
        """The command line of AVM's server that is there; [] for none."""

    def is_all(self, text: str) -> bool:
        """Whether nothing is left of a text that it was taken out of."""


def starts_server(words: Sequence[object]) -> bool:
    """Whether a command line is `avm … mcp`."""
    return _is_avm(words[:1]) and "mcp" in words[1:]


def starts_hook(words: Sequence[str], host: str) -> bool:
    """Whether a command line is `avm hook HOST EVENT`, with options of AVM's, and nothing else: in
    a longer one a person does things of their own."""
    rest = list(words[1:])
    for option in OPTIONS:
        if option in rest:
            place = rest.index(option)
            del rest[place : place + 2]
    return _is_avm(words[:1]) and len(rest) == _HOOK_WORDS and rest[:2] == ["hook", host]


def value_of(words: Sequence[str], option: str) -> str | None:
    """What follows an option in a command line."""
    return next((value for word, value in pairwise(words) if word == option), None)


def _is_avm(words: Sequence[object]) -> bool:
    return any(isinstance(word, str) and PurePath(word).name == "avm" for word in words)
