"""What every text of a host has: a mark at its beginning, lines, a way to end them."""

from __future__ import annotations

import re

BOM = "\ufeff"


class TextError(ValueError):
    """A text that cannot be read or changed: `line` says where, counted from 1."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why)
        self.line = line


def lines(text: str) -> list[str]:
    """The lines of a text with their ends; other than line feeds end none."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def line_end(text: str) -> str:
    """How its lines end."""
    return "\r\n" if "\r\n" in text else "\n"


def is_blank(text: str) -> bool:
    """Whether nothing is in it."""
    return not text.removeprefix(BOM).strip()
