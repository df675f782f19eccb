"""Splitting a memory's body into passages, at headings and paragraphs, with line numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: A passage grows by whole paragraphs up to about this many characters: some 250 tokens of English,
#: what the embedding model reads (256 word pieces) and what a small budget can still hold.
TARGET_CHARS = 900
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t#]*$")
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
    """Lines that belong together: a paragraph, a heading, a fenced code block."""

    lines: list[str]
    first: int
    heading: tuple[int, str] | None = None


def split(body: str) -> list[Chunk]:
    """The passages of `body`, in order; [] if there is nothing but blanks."""
    chunks: list[Chunk] = []
    headings: list[tuple[int, str]] = []
    pending: list[_Block] = []

    def flush() -> None:
        if pending and any(block.heading is None for block in pending):
            chunks.extend(_joined(pending, tuple(title for _, title in headings)))
            pending.clear()

    for block in _blocks(body):
        if block.heading is not None:
            level, _ = block.heading
            flush()
            headings[:] = [h for h in headings if h[0] < level] + [block.heading]
        elif pending and _size(pending) + _size([block]) > TARGET_CHARS:
            flush()
        pending.append(block)
    if pending:  # also headings with nothing below them
        chunks.extend(_joined(pending, tuple(title for _, title in headings)))
    return chunks


def _size(blocks: list[_Block]) -> int:
    return sum(len(line) + 1 for block in blocks for line in block.lines)


def _joined(blocks: list[_Block], headings: tuple[str, ...]) -> Iterator[Chunk]:
    first = blocks[0].first
    lines = [""] * (blocks[-1].first + len(blocks[-1].lines) - first)
    for block in blocks:
        lines[block.first - first : block.first - first + len(block.lines)] = block.lines
    start, size = 0, 0
    for number, line in enumerate(lines):
        if size and size + len(line) > 2 * TARGET_CHARS:
            yield _chunk(lines, start, number, headings, first)
            start, size = number, 0
        if len(line) > 2 * TARGET_CHARS:
            yield from _long_line(line, first + number, headings)
            start, size = number + 1, 0
            continue
        size += len(line) + 1
    if start < len(lines):
        yield _chunk(lines, start, len(lines), headings, first)


def _chunk(lines: list[str], start: int, end: int, headings: tuple[str, ...], first: int) -> Chunk:
    return Chunk("\n".join(lines[start:end]), headings, first + start, first + end - 1)


def _long_line(line: str, number: int, headings: tuple[str, ...]) -> Iterator[Chunk]:
    """Cut a line that is itself too long: at a blank in its last third, else anywhere."""
    while line:
        cut = len(line)
        if cut > TARGET_CHARS:
            blank = line.rfind(" ", TARGET_CHARS * 2 // 3, TARGET_CHARS)
            cut = blank + 1 if blank > 0 else TARGET_CHARS
        yield Chunk(line[:cut], headings, number, number)
        line = line[cut:]


def _blocks(body: str) -> Iterator[_Block]:
    block: _Block | None = None
    fence: str | None = None
    for number, line in enumerate(body.split("\n")):
        line = line.rstrip("\r")
        if fence is not None and block is not None:
            block.lines.append(line)
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = None
            continue
        opened = _FENCE.match(line)
        heading = _HEADING.match(line)
        if heading or not line.strip():
            if block:
                yield block
            block = None
            if heading:
                yield _Block([line], number, (len(heading[1]), heading[2]))
            continue
        if block is None:
            block = _Block([], number)
        block.lines.append(line)
        if opened:
            fence = opened[1]
    if block:
        yield block
