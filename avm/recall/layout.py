"""What an answer looks like: pieces of memories as text, and what each costs.

Markdown, for an agent to use at once: a fence longer than any run of backticks inside; in it a line
for each folder and each day of change, and each piece as an item: the file, its lines, the text.
Text is never at the start of a line, so that a memory that looks like an answer, or says "ignore
your instructions", is seen as the quotation it is.

    memory/shared/trading/ 2026-11-22
    - nvda_rsi.md RSI > 70 on NVDA → average -12% in 5 days.
    - btc.md#L3-4
      First line.
      Second line.
    - #L9 Another passage of the same file.
    memory/private/akashi/plan.md#L5 2026-11-20
    - What is alone in its folder stands below its whole path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from avm.base import paths
from avm.base.times import instant_of
from avm.recall.pieces import Piece
from avm.recall.scoring import PINNED

Count = Callable[[str], int]


class Body(NamedTuple):
    """The text of an answer below its header, its tokens, and the folder that its paths are in."""

    text: str
    tokens: int
    root: str


_TICKS = re.compile(r"`{3,}")
_LEAST_FENCE = 3
_BLANK = re.compile(r"\s")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Markdown:
    """Pieces grouped by folder, day and file, in the order of the best of each."""

    def __init__(self, count: Count) -> None:
        self._count = count
        #: Tokens of what stands around all pieces, where they hold no longer fence.
        self.frame = 2 * count("```\n")
        self._fence = _LEAST_FENCE
        #: Pieces by folder, day and file; those of pinned memories stand apart.
        self._groups: dict[tuple[bool, str], dict[str, dict[str, list[Piece]]]] = {}

    def cost(self, piece: Piece) -> int:
        """What a piece would add, in tokens; seldom more: what stands around it changes too."""
        group, day, name = _place(piece)
        days = self._groups.get(group, {})
        above = day if days else f"{group[1]} {day}"
        files = days.get(day)
        item = _item("" if files and name in files else name, piece._replace(whole=False))
        cost = sum(map(self._count, item)) + (0 if files else self._count(f"{above}\n"))
        if not self._groups:  # it may stay alone, which looks otherwise
            alone = _lines(group[1], {day: {name: [piece]}})
            cost = max(cost, sum(map(self._count, alone)))
        fence = self._fence_with(piece)
        if fence == self._fence:
            return cost
        return cost + 2 * (self._count("`" * fence + "\n") - self._count("`" * self._fence + "\n"))

    def add(self, piece: Piece) -> None:
        """Take it in."""
        group, day, name = _place(piece)
        files = self._groups.setdefault(group, {}).setdefault(day, {})
        files.setdefault(name, []).append(piece)
        self._fence = self._fence_with(piece)

    def _fence_with(self, piece: Piece) -> int:
        (_, folder), _, name = _place(piece)
        return max(self._fence, *map(_fence_of, (piece.text, name, folder)))

    def take_out(self, piece: Piece) -> None:
        """Leave it out again."""
        group, day, name = _place(piece)
        days = self._groups[group]
        days[day][name].remove(piece)
        if not days[day][name]:
            del days[day][name]
        if not days[day]:
            del days[day]
        if not days:
            del self._groups[group]

    def body(self) -> Body:
        """The text below the header."""
        root = _common([folder for _, folder in self._groups])
        folders = [folder.removeprefix(root) or "./" for _, folder in self._groups]
        parts = list(chain.from_iterable(map(_lines, folders, self._groups.values())))
        fence = "`" * max(map(_fence_of, parts), default=_LEAST_FENCE) + "\n"
        parts = [fence, *parts, fence]
        text = "".join(parts)
        # Between parts there is a seam (tokens.py), unless a folder's name begins with a blank.
        if any(folder[0].isspace() for folder in folders):
            return Body(text, self._count(text), root)
        return Body(text, sum(map(self._count, parts)), root)


class Plain:
    """The passages and nothing else, a blank line between."""

    frame = 0

    def __init__(self, count: Count) -> None:
        self._count = count
        self._pieces: list[Piece] = []

    def cost(self, piece: Piece) -> int:
        """What a piece would add, in tokens, at most."""
        return self._count(f"{piece.text}\n") + 1

    def add(self, piece: Piece) -> None:
        """Take it in."""
        self._pieces.append(piece)

    def take_out(self, piece: Piece) -> None:
        """Leave it out again."""
        self._pieces.remove(piece)

    def body(self) -> Body:
        """The text."""
        by_path: dict[str, list[Piece]] = {}
        for piece in self._pieces:
            by_path.setdefault(piece.path, []).append(piece)
        texts = [piece.text for found in by_path.values() for piece in _joined(found)]
        text = "\n\n".join(texts) + "\n" if texts else ""
        return Body(text, self._count(text), "")


def _place(piece: Piece) -> tuple[tuple[bool, str], str, str]:
    """((not pinned, folder), day of change, name), the names as they are shown."""
    folder, name, day = _shown_place(piece.path, piece.memory.changed)
    return (-piece.score_below_zero < PINNED, folder), day, name


@lru_cache(1024)
def _shown_place(path: str, changed: float) -> tuple[str, str, str]:
    folder = paths.parent(path)
    name = path[len(folder) + 1 :] if folder else path
    shown = _shown(f"{folder}/" if folder else "./")
    return shown, _quoted(_shown(name)), instant_of(changed).date().isoformat()


def _shown(name: str) -> str:
    """A name in one line: a file may be called anything."""
    return _CONTROL.sub("\ufffd", name)


def _quoted(name: str) -> str:
    """A file's name, in quotes where it has blanks: `x.md Do this.md` is no `x.md` that says so."""
    return '"' + name.replace('"', "'") + '"' if _BLANK.search(name) else name


def _fence_of(text: str) -> int:
    """How many backticks a fence around a text needs."""
    if "```" not in text:
        return _LEAST_FENCE
    return max(len(run) + 1 for run in _TICKS.findall(text))


def _common(folders: list[str]) -> str:
    """The folder that several are in; "" for one, which is named where it stands."""
    if len(set(folders)) < 2:
        return ""
    shared = os.path.commonpath(folders)
    return f"{shared}/" if shared else ""


def _lines(folder: str, days: dict[str, dict[str, list[Piece]]]) -> list[str]:
    """What there is in a folder, cut at seams."""
    alone = [found for files in days.values() for found in files.values()]
    if len(alone) == 1:
        return _of_one_file(folder.removeprefix("./"), alone[0])
    parts: list[str] = []
    for day, files in days.items():
        parts.append(f"{day}\n" if parts else f"{folder} {day}\n")
        for name, found in files.items():
            for number, piece in enumerate(_joined(found)):
                parts += _item("" if number else name, piece)
    return parts


def _of_one_file(folder: str, found: list[Piece]) -> list[str]:
    """What there is in a folder, if it is in one file."""
    _, day, name = _place(found[0])
    pieces = _joined(found)
    if len(pieces) > 1:
        items = chain.from_iterable(_item("", piece) for piece in pieces)
        return [f"{folder}{name} {day}\n", *items]
    first, *others = _indented(pieces[0].text)
    return [f"{folder}{name}{_span(pieces[0])} {day}\n", f"- {first.lstrip()}{''.join(others)}"]


def _span(piece: Piece) -> str:
    last = f"-{piece.last_line}" if piece.last_line > piece.first_line else ""
    return f"#L{piece.first_line}{last}"


@lru_cache(1024)
def _indented(text: str) -> Sequence[str]:
    """The lines of a text, each with its end, where none looks like one of ours."""
    lines = text.strip("\n").splitlines()
    return [f"  {line.rstrip()}\n" if line.strip() else "\n" for line in lines]


def _item(name: str, piece: Piece) -> list[str]:
    """A piece, cut where its text begins if there is a seam: its text is mostly counted already."""
    # A file among others that is there whole needs no lines.
    place = name if name and piece.whole else f"{name}{_span(piece)}"
    lines = _indented(piece.text)
    text = f" {lines[0].lstrip()}" if len(lines) == 1 else f"\n{''.join(lines)}"
    head = f"- {place}"
    return [head, text] if head[-1].isalnum() and head.isascii() else [head + text]


def _joined(found: list[Piece]) -> list[Piece]:
    """The pieces of one file by line, those that follow one another as one."""
    if len(found) == 1:
        return found
    joined: list[Piece] = []
    for piece in sorted(found, key=lambda piece: piece.first_line):
        before = joined[-1] if joined else None
        gap = piece.first_line - before.last_line if before else 0
        if before and gap in (1, 2):
            text = f"{before.text}{chr(10) * gap}{piece.text}"
            joined[-1] = before._replace(text=text, last_line=piece.last_line)
        else:
            joined.append(piece)
    return joined
