"""`:help` and `x.md:help`: what can be asked here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from avm.api import View
from avm.base import paths
from avm.overlay.names import Node

#: Filled by the package with the table that these nodes are part of.
TABLE: list[Node] = []

_INTRO = """\
Memories are markdown files here: read and write them with any program. These names answer
questions; they are in no listing. In a folder below they answer for that folder alone.

"""
_OUTRO = """
In names + and %20 are blanks, %2F is a slash. Quote names with ? & or blanks in a shell;
the form :name:words,parameter=value needs no quotes.
"""
_OF_FILE = "What can be asked of {name}; these names are in no listing.\n\n"


def _of_folder(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    return _INTRO + "".join(_lines(TABLE)) + _OUTRO


def _of_file(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    of_files = [node for node in TABLE if node.place == "file"]
    name = paths.printable(paths.name_of(rel))
    return _OF_FILE.format(name=name) + "".join(_lines(of_files, name))


def _lines(nodes: list[Node], file: str | None = None) -> Iterator[str]:
    for node in nodes:
        yield f"{node.shown}  {node.doc}\n"
        if node.takes:
            yield f"    write: {node.takes}\n"
        for name, what in node.parameters.items():
            form = f"{name.upper()}: " if name == node.value else f"{name}="
            yield f"    {form}{what}\n"
        read = "ls" if node.place == "root" else "cat"
        for example in node.examples:
            asked = example if file is None else file + example[example.index(".md:") + 3 :]
            yield f"    {read} '{asked}'\n"


NODE = Node(
    name="help",
    place="folder",
    doc="this text",
    examples=(":help",),
    render=_of_folder,
    parameters={},
)
OF_FILE = Node(
    name="help",
    place="file",
    doc="what can be asked of a file",
    examples=("rsi_rule.md:help",),
    render=_of_file,
    parameters={},
    gone=True,
)
