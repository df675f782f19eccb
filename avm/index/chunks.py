"""Splitting a memory's body into passages, at headings and paragraphs, with line numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: A passage grows by whole paragraphs up to about this many characters: some 250 tokens of English,
#: what the embedding model reads (256 word pieces) and what a small budget can still hold.
TARGET_CHARS = 900
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


@dataclass(frozen=True)
class Chunk:
    """A passage: its text, the headings above it, and its lines in the body, from 0, inclusive."""

    text: str
    headings: tuple[str, ...]
    first_line: int
    last_line: int


@dataclass
class _Block:
    """Lines that belong together, [first, end): a paragraph, a heading, a fenced code block."""

    first: int
    end: int
    heading: tuple[int, str] | None = None


def split(body: str) -> list[Chunk]:
    """The passages of `body`, in order; [] if there is nothing but blanks."""
    lines = [line.rstrip("\r") for line in body.split("\n")]
    chunks: list[Chunk] = []
    headings: list[tuple[int, str]] = []
    pending: list[_Block] = []

    def flush() -> None:
        if pending:
            above = tuple(title for _, title in headings)
            chunks.extend(_passages(lines, pending[0].first, pending[-1].end, above))
            pending.clear()

    for block in _blocks(lines):
        if block.heading is not None:
            if any(before.heading is None for before in pending):
                flush()  # headings in a row stay together
            level, _ = block.heading
            headings[:] = [h for h in headings if h[0] < level] + [block.heading]
        elif pending and _size(lines, pending[0].first, block.end) > TARGET_CHARS:
            flush()
        pending.append(block)
    flush()
    return chunks


def _size(lines: list[str], first: int, end: int) -> int:
    return sum(len(line) + 1 for line in lines[first:end])


def _passages(lines: list[str], first: int, end: int, headings: tuple[str, ...]) -> Iterator[Chunk]:
    """Lines [first, end) as one passage, or as several if they are too long for one."""
    start, size = first, 0
    for number in range(first, end):
        length = len(lines[number])
        if size and size + length > 2 * TARGET_CHARS:
            yield _chunk(lines, start, number, headings)
            start, size = number, 0
        if length > 2 * TARGET_CHARS:
            yield from _long_line(lines[number], number, headings)
            start, size = number + 1, 0
            continue
        size += length + 1
    if start < end:
        yield _chunk(lines, start, end, headings)


def _chunk(lines: list[str], start: int, end: int, headings: tuple[str, ...]) -> Chunk:
    return Chunk("\n".join(lines[start:end]), headings, start, end - 1)


def _long_line(line: str, number: int, headings: tuple[str, ...]) -> Iterator[Chunk]:
    """Cut a line that is itself too long: at a blank in its last third, else anywhere."""
    while line:
        cut = len(line)
        if cut > TARGET_CHARS:
            blank = line.rfind(" ", TARGET_CHARS * 2 // 3, TARGET_CHARS)
            cut = blank + 1 if blank > 0 else TARGET_CHARS
        yield Chunk(line[:cut], headings, number, number)
        line = line[cut:]


def _blocks(lines: list[str]) -> Iterator[_Block]:
    first: int | None = None
    fence: str | None = None
    for number, line in enumerate(lines):
        stripped = line.strip()
        if fence is not None:
            if stripped.startswith(fence) and not stripped.strip(fence[0]):
                fence = None
            continue
        heading = _HEADING.match(line)
        if heading or not stripped:
            if first is not None:
                yield _Block(first, number)
            first = None
            if heading:
                title = line[heading.end() :].strip(" \t#")
                yield _Block(number, number + 1, (len(heading[1]), title))
            continue
        if first is None:
            first = number
        opened = _FENCE.match(line)
        if opened:
            fence = opened[1]
    if first is not None:
        yield _Block(first, len(lines))
