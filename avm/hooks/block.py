"""A block of AVM's own in a text file, between two marks that stand in lines of their own."""

from __future__ import annotations

import re
from typing import NamedTuple

from avm.hooks.text import BOM, TextError, is_blank, line_end


class Marks(NamedTuple):
    """The lines before and after a block."""

    begin: str
    end: str


MARKDOWN = Marks("<!-- avm:begin -->", "<!-- avm:end -->")
TOML = Marks("# avm:begin", "# avm:end")


def find(text: str, marks: Marks) -> tuple[int, int] | None:
    """Where the block stands, marks included; None if there is none.

    Raises TextError if a mark stands there without the other, or twice.
    """
    begins, ends = _lines(text, marks.begin), _lines(text, marks.end)
    if not begins and not ends:
        return None
    if len(begins) != 1 or len(ends) != 1 or ends[0] < begins[0]:
        line = text.count("\n", 0, min(begins + ends)) + 1
        raise TextError(f"{marks.begin} and {marks.end} do not stand there once each", line)
    return begins[0], ends[0] + len(marks.end)


def put(text: str, body: str, marks: Marks) -> str:
    """Put the block in, at the end, or in the place of the one that is there. Raises TextError."""
    end = line_end(text)
    block = f"{marks.begin}\n{body}{marks.end}".replace("\n", end)
    place = find(text, marks)
    if place is not None:
        return text[: place[0]] + block + text[place[1] :]
    if is_blank(text):
        return text + block + end
    # Before the last line end: without one, there is none afterwards either.
    at = len(text) - len(end) if text.endswith(end) else len(text)
    return text[:at] + end * 2 + block + text[at:]


def take(text: str, marks: Marks) -> str:
    """Take the block out, and the empty line that `put` made before it. Raises TextError."""
    place = find(text, marks)
    if place is None:
        return text
    end = line_end(text)
    before, after = text[: place[0]], text[place[1] :]
    if before.endswith(end * 2):
        return before.removesuffix(end * 2) + after
    return before + after.removeprefix(end)


def _lines(text: str, mark: str) -> list[int]:
    line = rf"^{BOM}?[ \t]*({re.escape(mark)})[ \t]*\r?$"
    return [match.start(1) for match in re.finditer(line, text, re.MULTILINE)]
