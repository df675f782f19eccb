"""The names of virtual nodes: which are, and what they ask. Pure.

A name that parses completely is a virtual node, whatever is on disk; any other name is an ordinary
one, colons included. The forms of a folder's node:

    :search   :search?words   :search?query=words&limit=5   :search:words+and+more,limit=5

`+` and `%20` are blanks, `%2F` is a slash. A file's node is its name, a colon and the node's name,
for some with a value after one more colon: `x.md:at:yesterday`. The first name of a path can be
`:at:yesterday`: a folder, the whole tree as it was then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus

from avm.api import View
from avm.base.errors import UsageError

_FOLDER_NODE = re.compile(r":([a-z]+)(?:([?:])(.*))?", re.DOTALL)
_FILE_NODE = re.compile(r"(.+?\.md):([a-z]+)(?:([?:])(.*))?", re.DOTALL | re.IGNORECASE)
#: What the name of a folder of the past begins with.
PAST = ":at:"
#: Names that editors and compressors probe beside a file; an answer would mislead them.
_PROBES = (",v", "~", ".swp", ".swo", ".swx", ".orig", ".bak", ".gz", ".bz2", ".xz")


class Node(NamedTuple):
    """A family of virtual nodes: its name, where it stands, its parameters, how it answers.

    `place` is `folder`, `file`, or `root` for a folder in the root. `parameters` maps a parameter's
    name to what it means; with `words` the parameter `query` may be given as bare words. `value` is
    the parameter that a file's node is given after a second colon, and needs. `render(view, rel,
    arguments)` is handed the folder or file that it is on and returns the text, or the bytes. With
    `gone` a node also answers for a file that has expired, or that is gone and in git's history.

    What is written to it goes to `write(view, rel, data, added)`, with `added` if it was opened to
    append; `takes` says what that may be. It is one value in one write, with `several` a text that
    may come in many: `data` is then the text as far as it has come, or with `added` what comes on.
    """

    name: str
    place: str
    doc: str
    examples: tuple[str, ...]
    render: Callable[[View, str, Mapping[str, str]], str | bytes | Answer]
    parameters: Mapping[str, str]
    words: bool = False
    value: str | None = None
    gone: bool = False
    write: Callable[[View, str, bytes, bool], None] | None = None
    takes: str = ""
    several: bool = False

    @property
    def shown(self) -> str:
        """How it is written in a table: `:tags`, `x.md:meta`, `x.md:at:REV`, `:at:REV/`."""
        value = f":{self.value.upper()}" if self.value else ""
        before, after = ("x.md" if self.place == "file" else ""), self.place == "root"
        return f"{before}:{self.name}{value}" + ("/" if after else "")


class Answer(NamedTuple):
    """A node's text; `read_whole` is called when somebody has read it to its end."""

    data: bytes
    read_whole: Callable[[], None] | None = None


class Asked(NamedTuple):
    """A parsed name: the node, the file's name it is on ("" for a folder's), the arguments."""

    node: Node
    on: str
    arguments: tuple[tuple[str, str], ...]


def text_of(data: bytes) -> str:
    """What was written to a node, as text. Raises UsageError."""
    try:
        return data.decode("utf-8").rstrip("\n")
    except UnicodeDecodeError:
        raise UsageError("what was written is no UTF-8 text") from None


def one_line(data: bytes) -> str:
    """The same for a value that is one line."""
    text = text_of(data).strip()
    if not text or "\n" in text:
        raise UsageError(f"{text!r}: write one line")
    return text


def parse(name: str, nodes: Mapping[tuple[str, str], Node]) -> Asked | None:
    """What the last component of a path asks; None if it is an ordinary name."""
    if ":" not in name or name.endswith(_PROBES):
        return None
    if match := _FOLDER_NODE.fullmatch(name):
        node = nodes.get(("folder", match[1]))
        arguments = None if node is None else _arguments(node, match[2], match[3] or "")
        return None if node is None or arguments is None else Asked(node, "", arguments)
    if match := _FILE_NODE.fullmatch(name):
        return _of_file(nodes.get(("file", match[2])), match[1], match[3], match[4] or "")
    return None


def _of_file(node: Node | None, on: str, mark: str | None, body: str) -> Asked | None:
    if node is None:
        return None
    if node.value is not None:
        return Asked(node, on, ((node.value, unquote(body)),)) if mark == ":" and body else None
    if mark is not None and not (node.parameters and body):
        return None
    arguments = _arguments(node, mark, body)
    return None if arguments is None else Asked(node, on, arguments)


def parse_past(rel: str) -> tuple[str, str] | None:
    """(REV, the path in that tree) if the first name of `rel` is `:at:REV`, else None."""
    first, _, below = rel.partition("/")
    rev = first.removeprefix(PAST)
    if not first.startswith(PAST) or not rev or first.endswith(_PROBES):
        return None
    return unquote(rev), below


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
