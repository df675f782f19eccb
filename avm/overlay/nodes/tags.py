"""`:tags`: every tag with its number of memories; `x.md:tags`: those of one memory."""

from __future__ import annotations

from collections.abc import Mapping

from avm.api import View
from avm.overlay.names import Node, text_of


def _of_folder(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    tags = view.tags(rel)
    return "".join(f"{count} {tag}\n" for tag, count in tags.items()) or "No tags yet.\n"


def _of_file(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    return "".join(f"{tag}\n" for tag in view.meta(rel)["tags"])


def _write(view: View, rel: str, data: bytes, added: bool) -> None:
    view.set_tags(rel, text_of(data).replace(",", " ").split(), add=added)


NODE = Node(
    name="tags",
    place="folder",
    doc="tags with the number of memories that carry each, most first",
    examples=(":tags",),
    render=_of_folder,
    parameters={},
)
OF_FILE = Node(
    name="tags",
    place="file",
    doc="its tags, one a line",
    examples=("rsi_rule.md:tags",),
    render=_of_file,
    parameters={},
    write=_write,
    takes="tags, with blanks, commas or line ends between them: they take the place of those in the"
    " front matter; with >> they are added",
)
