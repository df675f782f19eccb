"""A conversation as a vault, and which passage of it holds which turn.

Two layouts: `turns` makes each turn a memory, in a folder a session; `sessions` makes each session
a memory, a paragraph a turn. Files and commits bear the session's date.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from avm.base import memory_file, paths
from avm.bench.locomo import Conversation, Session, Turn
from avm.bench.measures import covered
from avm.bench.vault_maker import Made, fill
from avm.index.extract import extract

LAYOUTS = ("turns", "sessions")
_FOLDER = "memory/shared"


class Memory(NamedTuple):
    """A file to be made, and the turns in it."""

    made: Made
    turns: tuple[Turn, ...]


class Kept(NamedTuple):
    """A vault that is there. `held` are the ids of the turns in a passage, which is named as a
    search names it: vault path and first line; `path_of` is the vault path by turn id. `asked_at`
    is a day after the last session."""

    root: Path
    held: Mapping[tuple[str, int], frozenset[str]]
    path_of: Mapping[str, str]
    asked_at: datetime


def keep(conversation: Conversation, layout: str, folder: Path) -> Kept:
    """The vault of a conversation in `folder`: the one that is there, if it holds the same bytes,
    else a new one. `layout` is one of `LAYOUTS`."""
    parts = [list(_memories(session, layout)) for session in conversation.sessions]
    memories = [memory for part in parts for memory in part]
    root, marker = folder / "vault", folder / "made"
    digest = _digest(memories)
    if not marker.exists() or marker.read_text() != digest:
        marker.unlink(missing_ok=True)
        shutil.rmtree(root, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        fill(root, ([memory.made for memory in part] for part in parts if part))
        marker.write_text(digest)
    return Kept(
        root,
        {place: turns for memory in memories for place, turns in _passages(memory)},
        {turn.id: paths.display(memory.made.rel) for memory in memories for turn in memory.turns},
        max(session.when for session in conversation.sessions) + timedelta(days=1),
    )


def _memories(session: Session, layout: str) -> Iterator[Memory]:
    name = f"session-{session.number:02}"
    if layout == "sessions":
        if session.turns:
            yield _memory(f"{name}.md", session, session.turns)
        return
    for number, turn in enumerate(session.turns, 1):
        yield _memory(f"{name}/{number:03}.md", session, (turn,), turn.speaker)


def _memory(
    name: str, session: Session, turns: Sequence[Turn], speaker: str | None = None
) -> Memory:
    front = {"created": session.when, "session": session.number, "speaker": speaker}
    body = "\n\n".join(map(_paragraph, turns)) + "\n"
    data = memory_file.render(front, body)
    return Memory(Made(f"{_FOLDER}/{name}", data, session.when), tuple(turns))


def _paragraph(turn: Turn) -> str:
    return f"{turn.speaker}: {turn.text}"


def _passages(memory: Memory) -> Iterator[tuple[tuple[str, int], frozenset[str]]]:
    path = paths.display(memory.made.rel)
    for passage in extract(memory.made.rel, memory.made.data).passages:
        turns = (turn.id for turn in memory.turns if covered([turn.text], passage.text))
        yield (path, passage.first_line), frozenset(turns)


def _digest(memories: Sequence[Memory]) -> str:
    digest = hashlib.sha256()
    for memory in memories:
        digest.update(memory.made.rel.encode() + b"\0" + memory.made.data + b"\0")
    return digest.hexdigest()
