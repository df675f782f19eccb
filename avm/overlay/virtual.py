"""Answering virtual nodes, with no mount."""

from __future__ import annotations

from avm.api import View
from avm.base import paths
from avm.base.errors import NotFoundError
from avm.overlay.names import Answer, Asked, parse, parse_past
from avm.overlay.nodes import BY_NAME
from avm.overlay.past import read_past
from avm.vault import files


def asked_by(rel: str) -> tuple[Asked, str] | None:
    """The virtual node that `rel` names, with the rel of the folder or file it is on; else None.

    In a folder of the past there is none.
    """
    asked = None if parse_past(rel) else parse(paths.name_of(rel), BY_NAME)
    if asked is None:
        return None
    folder = paths.parent(rel)
    on = f"{folder}/{asked.on}" if folder and asked.on else asked.on or folder
    return asked, on


def read(view: View, path: str) -> Answer:
    """The bytes of a file or of a virtual node's answer, with no mount. Raises AVMError."""
    rel = paths.clean_rel(path)
    then = parse_past(rel)
    if then:
        return Answer(read_past(view, *then))
    found = asked_by(rel)
    if found is None:
        return Answer(view.read_bytes(rel))
    return answer(view, *found)


def answer(view: View, asked: Asked, on: str) -> Answer:
    """The text of a node. Raises NotFoundError if what it is on does not exist for the viewer."""
    check_exists(view, asked, on)
    text = asked.node.render(view, on, dict(asked.arguments))
    if isinstance(text, Answer):
        return text
    return Answer(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))


def check_exists(view: View, asked: Asked, on: str) -> None:
    """Raises NotFoundError if what a node is on does not exist for the viewer."""
    if asked.node.place == "file":
        if not (view.ever_existed(on) if asked.node.gone else view.exists(on)):
            raise NotFoundError(f"no memory at {paths.display(on)}")
    elif not folder_exists(view, on):
        raise NotFoundError(f"no folder at {paths.display(on)}")


def folder_exists(view: View, rel: str) -> bool:
    """Whether the folder `rel` exists for the viewer, on disk or as a placeholder."""
    if paths.in_dot_git(rel) or not view.viewer.shows_folder(rel):
        return False
    return paths.is_placeholder(rel) or files.is_folder(view.store.vault, rel)
