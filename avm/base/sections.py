"""Taking a long markdown file apart at its headings. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Section(NamedTuple):
    """What stands under one heading. `trail`: the headings that it is under, its own last, as plain
    text; none for what comes before the first. `line`: where it begins, from 1."""

    trail: tuple[str, ...]
    line: int
    text: str


def sections(text: str) -> list[Section]:
    """The sections that say anything, in order.

    A heading is one by CommonMark (https://spec.commonmark.org/), and at the top level: none in a
    code block, a quote or a list. A single heading of the first level, over all others, is the
    file's title and in no trail but its own.
    """
    from markdown_it import MarkdownIt

    lines = text.splitlines(keepends=True)
    tokens = MarkdownIt("commonmark").parse(text)
    starts: list[tuple[int, int, int, str]] = []  # level, first line, line after, heading
    for number, token in enumerate(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map:
            heading = _plain(tokens[number + 1].children or [])
            first, after = token.map
            starts.append((int(token.tag[1:]), first, after, heading))
    found: list[tuple[tuple[str, ...], int, int]] = []
    found.append(((), 0, starts[0][1] if starts else len(lines)))
    trail: list[tuple[int, str]] = []
    for number, (level, _, after, heading) in enumerate(starts):
        trail = [*(one for one in trail if one[0] < level), (level, heading)]
        end = starts[number + 1][1] if number + 1 < len(starts) else len(lines)
        found.append((tuple(name for _, name in trail if name), after, end))
    top = _title(starts)
    said = []
    for headings, start, end in found:
        body = "".join(lines[start:end]).strip("\r\n")
        if body.strip():
            under = headings[1:] if top and len(headings) > 1 and headings[0] == top else headings
            said.append(Section(under, start + 1, body + "\n"))
    return said


def _title(starts: list[tuple[int, int, int, str]]) -> str | None:
    tops = [heading for level, _, _, heading in starts if level == 1]
    return tops[0] if len(tops) == 1 and starts[0][0] == 1 else None


def _plain(children: list) -> str:  # type: ignore[type-arg]  # markdown_it's tokens
    """A heading's text without its marks, on one line."""
    text = "".join(
        " " if child.type in ("softbreak", "hardbreak") else child.content for child in children
    )
    return " ".join(text.split())
