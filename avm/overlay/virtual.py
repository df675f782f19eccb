"""Answering virtual nodes, with a memo so that the calls behind one `cat` compute once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import NamedTuple

from avm.api import View
from avm.base import paths
from avm.base.errors import NotFoundError
from avm.overlay.names import Asked, parse, parse_past
from avm.overlay.nodes import BY_NAME
from avm.overlay.past import read_past
from avm.vault import files, history

#: A `cat` is a lookup, a getattr, an open: all within this. Longer would keep an answer that was
#: ranked before the model was ready.
_MEMO_SECONDS = 2.0
_MEMO_ENTRIES = 64


class _Memo(NamedTuple):
    generation: int
    head: str | None
    until: float  # time.monotonic
    ends: float | None  # the next expiry: the answer lapses with it
    data: bytes

    def lasts(self, now: float) -> bool:
        return time.monotonic() < self.until and (self.ends is None or now < self.ends)


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


def read(view: View, path: str) -> bytes:
    """The bytes of a file or of a virtual node's answer, with no mount. Raises AVMError."""
    rel = paths.clean_rel(path)
    then = parse_past(rel)
    if then:
        return read_past(view, *then)
    found = asked_by(rel)
    if found is None:
        return view.read_bytes(rel)
    return answer(view, *found)


def answer(view: View, asked: Asked, on: str) -> bytes:
    """The text of a node. Raises NotFoundError if what it is on does not exist for the viewer."""
    if asked.node.place == "file":
        if not (view.ever_existed(on) if asked.node.gone else view.exists(on)):
            raise NotFoundError(f"no memory at {paths.display(on)}")
    elif not folder_exists(view, on):
        raise NotFoundError(f"no folder at {paths.display(on)}")
    text = asked.node.render(view, on, dict(asked.arguments))
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")


def folder_exists(view: View, rel: str) -> bool:
    """Whether the folder `rel` exists for the viewer, on disk or as a placeholder."""
    if paths.in_dot_git(rel) or not view.viewer.shows_folder(rel):
        return False
    return is_placeholder(rel) or files.is_folder(view.store.vault, rel)


def is_placeholder(rel: str) -> bool:
    """Whether `rel` is a folder that looks real before it is."""
    return rel in paths.SKELETON or (
        paths.parent(rel) == paths.PRIVATE and paths.is_agent_name(paths.name_of(rel))
    )


class Answers:
    """`answer` with the memo."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._memos: OrderedDict[tuple[object, ...], _Memo] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, asked: Asked, on: str) -> bytes:
        """The text of a node; at most 2 s old, and never older than the last write, commit or
        expiry."""
        store = self._view.store
        store.refresh()
        now, generation = store.now(), store.index.generation()
        head = history.head(store.vault)
        key = (asked.node.name, asked.on, on, asked.arguments)
        with self._guard:
            memo = self._memos.get(key)
        same = memo is not None and (memo.generation, memo.head) == (generation, head)
        if memo and same and memo.lasts(now):
            return memo.data
        ends = store.index.next_end(now)
        data = answer(self._view, asked, on)
        memo = _Memo(generation, head, time.monotonic() + _MEMO_SECONDS, ends, data)
        with self._guard:
            self._memos[key] = memo
            self._memos.move_to_end(key)
            while len(self._memos) > _MEMO_ENTRIES:
                self._memos.popitem(last=False)
        return data
