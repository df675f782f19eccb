"""The names of virtual nodes: which are, and what they ask. Pure.

A name that parses completely is a virtual node, whatever is on disk; any other name is an ordinary
one, colons included. The forms of a folder's node:

    :search   :search?words   :search?query=words&limit=5   :search:words+and+more,limit=5

`+` and `%20` are blanks, `%2F` is a slash. A file's node is its name, a colon and the node's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

from avm.api import View

_FOLDER_NODE = re.compile(r":([a-z]+)(?:([?:])(.*))?", re.DOTALL)
_FILE_NODE = re.compile(r"(.+\.md):([a-z]+)", re.DOTALL | re.IGNORECASE)
#: Names that editors and compressors probe beside a file; an answer would mislead them.
_PROBES = (",v", "~", ".swp", ".swo", ".swx", ".orig", ".bak", ".gz", ".bz2", ".xz")


@dataclass(frozen=True)
class Node:
    """A family of virtual nodes: its name, where it stands, its parameters, how it answers.

    `place` is `folder` or `file`. `parameters` maps a parameter's name to what it means; with
    `words` the parameter `query` may be given as bare words. `render(view, rel, arguments)` is
    handed the folder or file that it is on and returns the text.
    """

    name: str
    place: str
    doc: str
    examples: tuple[str, ...]
    render: Callable[[View, str, Mapping[str, str]], str]
    parameters: Mapping[str, str]
    words: bool = False


@dataclass(frozen=True)
class Asked:
    """A parsed name: the node, the file's name it is on ("" for a folder's), the arguments."""

    node: Node
    on: str
    arguments: tuple[tuple[str, str], ...]


def parse(name: str, nodes: Mapping[tuple[str, str], Node]) -> Asked | None:
    """What the last component of a path asks; None if it is an ordinary name."""
    if ":" not in name or name.endswith(_PROBES):
        return None
    if match := _FOLDER_NODE.fullmatch(name):
        node = nodes.get(("folder", match[1]))
        arguments = None if node is None else _arguments(node, match[2], match[3] or "")
        return None if node is None or arguments is None else Asked(node, "", arguments)
    if match := _FILE_NODE.fullmatch(name):
        node = nodes.get(("file", match[2]))
        return None if node is None else Asked(node, match[1], ())
    return None


def _arguments(node: Node, mark: str | None, body: str) -> tuple[tuple[str, str], ...] | None:
    if not body:
        return ()
    if mark == "?":
        parts = body.split("&")
    else:
        known = "|".join(map(re.escape, (*node.parameters, "q")))
        parts = re.split(rf",(?=(?:{known})=)", body)
    found: dict[str, str] = {}
    for number, part in enumerate(parts):
        key, equals, value = part.partition("=")
        key = "query" if key == "q" else key
        if equals and key in node.parameters:
            found[key] = unquote_plus(value)
        elif number == 0 and node.words and not (equals and mark == "?"):
            found["query"] = unquote_plus(part)
        else:
            return None
    return tuple(found.items())
