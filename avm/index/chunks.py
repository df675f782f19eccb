"""Splitting a memory's body into passages at headings and paragraphs: lines and byte spans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

#: A passage grows by whole paragraphs up to about this many characters: some 150 tokens of English.
#: The model reads more (256 word pieces), but the longer the text, the less its vector says of each
#: part: on conversations 900 found 2 to 3 points less in a small budget, 400 no more.
TARGET_CHARS = 600
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


class Chunk(NamedTuple):
    """A passage: its text, the headings above it, its place in the file.

    `raw[start:end]` is the passage: read by `decoded` it is `text`. Lines count from 0 at the start
    of what was split, inclusive.
    """

    text: str
    headings: tuple[str, ...]
    first_line: int
    last_line: int
    start: int
    end: int


@dataclass
class _Block:
    """Lines that belong together, [first, end): a paragraph, a heading, a fenced code block."""

    first: int
    end: int
    heading: tuple[int, str] | None = None


def decoded(raw: bytes) -> str:
    """Bytes of a file as a passage's text: undecodable ones as U+FFFD, line ends as LF."""
    return raw.decode("utf-8", "replace").replace("\r\n", "\n")


def split(raw: bytes, start: int = 0, end: int | None = None) -> list[Chunk]:
    """The passages of `raw[start:end]`, in order; [] if there is nothing but blanks."""
    return _Splitter(raw, start, len(raw) if end is None else end).chunks()


class _Splitter:
    """One text taken apart. Lines are kept with undecodable bytes escaped, so that they can be
    measured in characters and found again in bytes."""

    def __init__(self, raw: bytes, start: int, end: int) -> None:
        self._raw = raw
        body = raw[start:end]
        lines = body.split(b"\n")
        self._starts = [start]
        for line in lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._lines = [
            line.rstrip("\r") for line in body.decode("utf-8", "surrogateescape").split("\n")
        ]

    def chunks(self) -> list[Chunk]:
        found: list[Chunk] = []
        headings: list[tuple[int, str]] = []
        pending: list[_Block] = []

        def flush() -> None:
            if pending:
                above = tuple(title for _, title in headings)
                found.extend(self._passages(pending[0].first, pending[-1].end, above))
                pending.clear()

        for block in _blocks(self._lines):
            if block.heading is not None:
                if any(before.heading is None for before in pending):
                    flush()  # headings in a row stay together
                level, _ = block.heading
                headings[:] = [h for h in headings if h[0] < level] + [block.heading]
            elif pending and self._size(pending[0].first, block.end) > TARGET_CHARS:
                flush()
            pending.append(block)
        flush()
        return found

    def _size(self, first: int, end: int) -> int:
        return sum(len(line) + 1 for line in self._lines[first:end])

    def _passages(self, first: int, end: int, headings: tuple[str, ...]) -> Iterator[Chunk]:
        """Lines [first, end) as one passage, or as several if they are too long for one."""
        begin, size = first, 0
        for number in range(first, end):
            length = len(self._lines[number])
            if size and size + length > 2 * TARGET_CHARS:
                yield from self._chunk(begin, number, headings)
                begin, size = number, 0
            if length > 2 * TARGET_CHARS:
                yield from self._long_line(number, headings)
                begin, size = number + 1, 0
                continue
            size += length + 1
        if begin < end:
            yield from self._chunk(begin, end, headings)

    def _chunk(self, begin: int, end: int, headings: tuple[str, ...]) -> Iterator[Chunk]:
        while begin < end and not self._lines[begin].strip():
            begin += 1
        while begin < end and not self._lines[end - 1].strip():
            end -= 1
        if begin < end:
            until = self._starts[end - 1] + _bytes_of(self._lines[end - 1])
            yield self._cut(headings, begin, end - 1, self._starts[begin], until)

    def _long_line(self, number: int, headings: tuple[str, ...]) -> Iterator[Chunk]:
        """Cut a line that is itself too long: at a blank in its last third, else anywhere."""
        line, at = self._lines[number], self._starts[number]
        done = 0
        while done < len(line):
            stop = min(len(line), done + TARGET_CHARS)
            if stop < len(line):
                blank = line.rfind(" ", done + TARGET_CHARS * 2 // 3, stop)
                stop = blank + 1 if blank > 0 else stop
            piece = line[done:stop]
            until = at + _bytes_of(piece)
            if piece.strip():
                yield self._cut(headings, number, number, at, until)
            at, done = until, stop

    def _cut(self, headings: tuple[str, ...], first: int, last: int, start: int, end: int) -> Chunk:
        return Chunk(decoded(self._raw[start:end]), headings, first, last, start, end)


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


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
                title = _readable(line[heading.end() :]).strip(" \t#")
                yield _Block(number, number + 1, (len(heading[1]), title))
            continue
        opened = _FENCE.match(line)
        if opened:
            # A block of its own: what stands above it may go into another passage, code may not.
            if first is not None and number > first:
                yield _Block(first, number)
                first = number
            fence = opened[1]
        if first is None:
            first = number
    if first is not None:
        yield _Block(first, len(lines))


def _readable(line: str) -> str:
    if line.isascii():
        return line
    return line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def paragraphs(text: str) -> list[tuple[int, str]]:
    """(line, from 0, text) of each paragraph of a passage; a heading stays with what follows it."""
    lines = text.split("\n")
    found: list[tuple[int, str]] = []
    first: int | None = None
    for block in _blocks(lines):
        first = block.first if first is None else first
        if block.heading is None:
            found.append((first, "\n".join(lines[first : block.end])))
            first = None
    if first is not None:
        found.append((first, "\n".join(lines[first:])))
    return found
