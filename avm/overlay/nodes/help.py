"""`:help`: what can be asked here."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.overlay.names import Node

#: Filled by the package with the table that this node is part of.
TABLE: list[Node] = []

_INTRO = """\
Memories are markdown files here: read and write them with any program. These names answer
questions; they are in no listing. In a folder below they answer for that folder alone.

"""
_OUTRO = """
In names + and %20 are blanks, %2F is a slash. Quote names with ? & or blanks in a shell;
the form :name:words,parameter=value needs no quotes.
"""


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """The table of nodes with their examples."""
    parts = []
    for node in TABLE:
        parts.append(f"{node.shown}  {node.doc}\n")
        for name, what in node.parameters.items():
            form = f"{name.upper()}: " if name == node.value else f"{name}="
            parts.append(f"    {form}{what}\n")
        read = "ls" if node.place == "root" else "cat"
        parts += [f"    {read} '{example}'\n" for example in node.examples]
    return _INTRO + "".join(parts) + _OUTRO


NODE = Node(
    name="help",
    place="folder",
    doc="this text",
    examples=(":help",),
    render=render,
    parameters={},
)
