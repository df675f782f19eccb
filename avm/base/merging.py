"""Merging two versions of a file: what stands in its place, and what is kept beside it. Pure.

The rules look at the three contents alone and never at which side is "ours": every machine, the
merge in `avm sync` and git's merge driver come to the same (docs/sync-and-conflicts.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from avm.base import memory_file, paths
from avm.base.errors import UnsureError, UsageError
from avm.base.importance import DEFAULT_IMPORTANCE
from avm.base.times import parse_duration, parse_instant

#: Names the memory that a conflict copy is of.
CONFLICT_OF = "conflict_of"
COPY_DIGITS = 8
#: How many more it takes where another text has the name.
MORE_DIGITS = 4
#: Lists of names: what either side added or took out counts.
_SETS = ("tags", "links", "aliases", "supersedes")
#: Files over this are not merged line by line: one of them wins.
MOST_BYTES = 16 * 1024 * 1024
_MOST_NAME_BYTES = 255
#: git takes a file for binary that has a NUL in its first 8,000 bytes.
_LOOKED_AT = 8000

#: A three-way merge of lines (base, one side, the other): None if both changed the same lines.
MergeText = Callable[[bytes, bytes, bytes], bytes | None]


class Side(NamedTuple):
    """One version of a file: its bytes and its blob id (hex)."""

    data: bytes
    blob: str


class Merged(NamedTuple):
    """What stands in the file's place, and the other side's text if it did not fit in.

    `loser` is the blob id of the version that `copy` is of.
    """

    data: bytes
    copy: bytes | None = None
    loser: str = ""


def merge(rel: str, base: bytes | None, one: Side, other: Side, merge_text: MergeText) -> Merged:
    """Merge two versions of the file `rel`; `base`: what both come from, None if nothing is known.

    The version with the greater blob id wins what cannot be joined. Never raises.
    """
    winner, loser = (one, other) if one.blob >= other.blob else (other, one)
    if winner.data == loser.data:
        return Merged(winner.data)
    if base in (winner.data, loser.data):
        return Merged(loser.data if base == winner.data else winner.data)
    if max(map(len, (base or b"", winner.data, loser.data))) > MOST_BYTES:
        return Merged(winner.data, loser.data, loser.blob)
    if not paths.is_memory(rel):
        body = _merged_text(base, winner.data, loser.data, merge_text)
        return Merged(body) if body is not None else Merged(winner.data, loser.data, loser.blob)
    try:
        return _merged_memory(rel, base or None, winner, loser, merge_text)
    except UnsureError:
        return Merged(winner.data, loser.data, loser.blob)


def copy_name(rel: str, blob: str, digits: int = COPY_DIGITS) -> str:
    """Where the version `blob` of the file `rel` is kept beside it: `x.conflict-1a2b3c4d.md`, of a
    very long name the beginning."""
    folder, slash, name = rel.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    if not stem:  # no ending, or a dot file
        stem, dot, ending = name, "", ""
    rest = f".conflict-{blob[:digits]}{dot}{ending}"
    while len(os.fsencode(stem + rest)) > _MOST_NAME_BYTES and len(stem) > 1:
        stem = stem[:-1]
    return f"{folder}{slash}{stem}{rest}"


def marked(ours: bytes, theirs: bytes) -> bytes:
    """Both texts in one: what they share once, what differs between git's marks."""
    from difflib import SequenceMatcher

    one, two = ours.splitlines(keepends=True), theirs.splitlines(keepends=True)
    told: list[bytes] = []
    for kind, a, b, c, d in SequenceMatcher(None, one, two, autojunk=False).get_opcodes():
        if kind == "equal":
            told += one[a:b]
        else:
            told += [b"<<<<<<< in place\n", *_ended(one[a:b]), b"=======\n"]
            told += [*_ended(two[c:d]), b">>>>>>> the other side\n"]
    return b"".join(told)


def _ended(lines: list[bytes]) -> list[bytes]:
    return [line if line.endswith(b"\n") else line + b"\n" for line in lines]


def is_binary(data: bytes) -> bool:
    """Whether git takes it for no text."""
    return b"\0" in data[:_LOOKED_AT]


def _merged_text(
    base: bytes | None, winner: bytes, loser: bytes, merge_text: MergeText
) -> bytes | None:
    """The lines of both, None if that cannot be."""
    if winner == loser or base == loser:
        return winner
    if base == winner:
        return loser
    if not base or any(map(is_binary, (base, winner, loser))):
        return None
    return merge_text(base, winner, loser)


def _merged_memory(
    rel: str, base: bytes | None, winner: Side, loser: Side, merge_text: MergeText
) -> Merged:
    """Front matter by key, body by lines. Raises UnsureError."""
    heads, bodies = [], []
    for data in (base or b"", winner.data, loser.data):
        start = memory_file.split(data).body_start
        heads.append(data[:start])
        bodies.append(data[start:])
    body = _merged_text(bodies[0] if base else None, bodies[1], bodies[2], merge_text)
    if body is None and base is None:
        # Two memories that happen to have one name: each keeps what it says of itself.
        return Merged(winner.data, _marked(rel, loser.data), loser.blob)
    head = _merged_head(*heads)
    if body is not None:
        return Merged(_joined(head, body))
    copy = _marked(rel, _joined(head, bodies[2]))
    return Merged(_joined(head, bodies[1]), copy, loser.blob)


def _joined(head: bytes, body: bytes) -> bytes:
    if memory_file.split(head + body).body_start != len(head):
        raise UnsureError("a body that begins as front matter does")
    return head + body


def unmarked(copy: bytes) -> bytes:
    """A conflict copy as it was before it became one. Raises UnsureError."""
    data = memory_file.set_key(copy, CONFLICT_OF, None)
    parts = memory_file.split(data)
    if data == copy or data[parts.yaml_start : parts.yaml_end]:
        return data
    bom = memory_file.split(data[:3]).body_start
    return data[:bom] + data[parts.body_start :]


def _marked(rel: str, data: bytes) -> bytes:
    """`data` as a conflict copy of `rel`; as it is where its front matter takes no key."""
    try:
        return memory_file.set_key(data, CONFLICT_OF, paths.display(rel))
    except UnsureError:
        return data


def _merged_head(base: bytes, winner: bytes, loser: bytes) -> bytes:
    """The front matter of both, in the winner's form. Raises UnsureError."""
    if winner == loser or base == loser:
        return winner
    if base == winner:
        return loser
    before, mine, others = map(memory_file.entries, (base, winner, loser))
    wanted: dict[str, Any] = {}
    lines: dict[str, str | None] = {}
    for key in (*mine, *(key for key in others if key not in mine)):
        said, line = _merged_key(key, before.get(key), mine.get(key), others.get(key))
        if line is not None:
            wanted[key] = said
        if line != (mine[key][1] if key in mine else None):
            lines[key] = line
    merged = memory_file.with_entries(winner, lines)
    if {key: said for key, (said, _) in memory_file.entries(merged).items()} != wanted:
        raise UnsureError("front matter that cannot be put together")
    return merged


#: What a key says, and its `key: value` as written; None: the key is not there.
_Said = tuple[Any, str] | None


def _merged_key(key: str, before: _Said, mine: _Said, other: _Said) -> tuple[Any, str | None]:
    """What the merged front matter says of a key, and how; (None, None) if it has no such key."""
    was, one, two = (said and (said[0],) for said in (before, mine, other))
    if was == two or one == two:
        return mine or (None, None)
    if was == one:
        return other or (None, None)
    if key in _SETS:
        return _merged_set(key, before, mine, other)
    return _chosen(key, mine, other) or (None, None)


def _merged_set(key: str, before: _Said, mine: _Said, other: _Said) -> tuple[Any, str | None]:
    """What both have, and what either added: what one took out is out."""
    sides = (before, mine, other)
    was, one, two = (memory_file.listed(key, said[0]) if said else () for said in sides)
    if any(_holds_more(said, names) for said, names in zip(sides, (was, one, two), strict=True)):
        raise UnsureError(f"{key} holds more than names")
    kept = [name for name in was if name in one and name in two]
    added = sorted({*one, *two} - set(was))
    names = (*kept, *added)
    for side, said in ((one, mine), (two, other)):
        if said and sorted(side) == sorted(names):
            return said
    return (list(names), memory_file.line(key, names)) if names else (None, None)


def _holds_more(said: _Said, names: tuple[str, ...]) -> bool:
    """Whether a value holds what is no name, which joining it would drop."""
    if said is None or isinstance(said[0], str):
        return False
    return not isinstance(said[0], list) or len(said[0]) > len(names)


def _chosen(key: str, mine: _Said, other: _Said) -> _Said:
    """Which of two changes of one key stays."""
    ranks = [_rank(key, said) for said in (mine, other)]
    if ranks[0] != ranks[1]:
        return mine if ranks[0] > ranks[1] else other
    # An edit wins over taking the key out; of two edits the greater text.
    return max((said for said in (mine, other) if said), key=lambda said: said[1])


_UNREADABLE = float("-inf")
#: What it weighs that a key is not there.
_ABSENT = {"importance": DEFAULT_IMPORTANCE, "expires": float("inf"), "ttl": float("inf")}


def _rank(key: str, said: _Said) -> float:
    """How much a value weighs: the more important, the longer lived; 0 for all other keys."""
    text = said[0] if said else None
    if text is None:
        return _ABSENT.get(key, 0.0)
    try:
        if key == "importance":
            return float(text) if 0.0 <= float(text) <= 1.0 else _UNREADABLE
        if key == "expires":
            instant = parse_instant(text)
            return instant.timestamp() if instant else _UNREADABLE
        if key == "ttl":
            return parse_duration(text).total_seconds()
    except (TypeError, ValueError, AttributeError, UsageError):
        return _UNREADABLE
    return 0.0
