"""Changing a JSON text in one place: all that is not changed stays as it is, byte for byte.

Comments and trailing commas are read as well (JSONC). A path is the keys and indexes that lead to a
value; each act takes a text and returns a new one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from avm.hooks.text import BOM, TextError, is_blank, line_end

Keys = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t\r\n]*")
_COMMENT = re.compile(r"//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_COMMENT_BESIDE = re.compile(r"[ \t]*(?://[^\r\n]*|/\*[^\r\n]*?\*/)")
_UNIT = "  "


@dataclass(slots=True)
class Node:
    """A value and where it stands: `text[start:end]`.

    `tail` is where the last token before a container's closing bracket ends.
    """

    start: int
    end: int = 0
    scalar: Any = None
    children: list[Child] | None = None
    is_object: bool = False
    tail: int = 0

    @property
    def value(self) -> Any:
        """What Python makes of it."""
        if self.children is None:
            return self.scalar
        if self.is_object:
            return {child.key: child.node.value for child in self.children}
        return [child.node.value for child in self.children]


@dataclass(slots=True)
class Child:
    """A member or an item of a container.

    `start` is where its key or value begins, `lead` where the token before that ends, `held`
    whether that token is a comment to the end of its line; `comma` is where the comma after it
    stands, None if there is none.
    """

    key: str | None
    start: int
    lead: int
    held: bool
    node: Node = field(default_factory=lambda: Node(0))
    comma: int | None = None


def parse(text: str) -> Node:
    """The value that a text holds. Raises TextError."""
    return _Reader(text).document()


def find(root: Node, path: Keys) -> Node | None:
    """The value at `path`, None if it is not there; of keys of one name the last counts."""
    node = root
    for step in path:
        child = _child(node, step)
        if child is None:
            return None
        node = child.node
    return node


def insert(text: str, path: Keys, value: Any) -> str:
    """Put `value` at `path`, where nothing is; objects that should lead there are made.

    Raises TextError if something else than an object stands on the way.
    """
    root = node = parse(text)
    for depth, step in enumerate(path):
        child = _child(node, step)
        if child is None:
            if not node.is_object or not isinstance(step, str):
                raise _not(text, node, path[:depth], "an object")
            for key in reversed(path[depth + 1 :]):
                value = {key: value}
            return _add(text, root, node, step, value)
        node = child.node
    raise TextError(f"{dotted(path)} is there already", _line(text, node.start))


def append(text: str, path: Keys, value: Any) -> str:
    """Put `value` at the end of the array at `path`, which is made if it is not there.

    Raises TextError if something else is.
    """
    root = parse(text)
    node = find(root, path)
    if node is None:
        return insert(text, path, [value])
    if node.children is None or node.is_object:
        raise _not(text, node, path, "an array")
    return _add(text, root, node, None, value)


def replace(text: str, path: Keys, value: Any) -> str:
    """Put `value` in the place of the one at `path`, in one line or in several as that one is."""
    root = parse(text)
    node = find(root, path)
    assert node is not None
    layout = _Layout(text, root)
    if "\n" in text[node.start : node.end]:
        shown = layout.several_lines(value, _indent(text, node.start))
    else:
        shown = json.dumps(value, ensure_ascii=False)
    return text[: node.start] + shown + text[node.end :]


def remove(text: str, path: Keys, original: str | None = None) -> str:
    """Take out the value at `path`, and the containers that are left empty.

    Those that `original`, an earlier text, has empty are left as they stand there. Containers with
    a comment stay.
    """
    was_root = parse(or_empty(original)) if original is not None else None
    text = _cut(text, path)
    for depth in range(len(path) - 1, -1, -1):
        place = path[:depth]
        node = find(parse(text), place)
        assert node is not None
        if node.children:
            break
        was = find(was_root, place) if was_root else None
        if original is not None and was:
            before, now = original[was.start : was.end], text[node.start : node.end]
            if _dense(before) == _dense(now):
                text = text[: node.start] + before + text[node.end :]
            break
        if not depth or text[node.start + 1 : node.end - 1].strip():
            break
        text = _cut(text, place)
    return text


def or_empty(text: str) -> str:
    """A text without anything in it as one that holds an empty object; any other as it is."""
    if not is_blank(text):
        return text
    return (BOM if text.startswith(BOM) else "") + "{}\n"


def is_empty(text: str) -> bool:
    """Whether a text holds nothing but an empty container, not even a comment."""
    return _dense(text.removeprefix(BOM)) in ("{}", "[]")


def dotted(path: Keys) -> str:
    """A path as people write it."""
    return ".".join(map(str, path))


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._held = False
        self._decoder = json.JSONDecoder(parse_constant=_no_constant)

    def document(self) -> Node:
        try:
            _, pos = self._skip(1 if self._text.startswith(BOM) else 0)
            node = self._value(pos)
        except RecursionError:
            raise TextError("it is nested too deep", 1) from None
        _, pos = self._skip(node.end)
        if pos != len(self._text):
            raise self._error("there is more after the end", pos)
        return node

    def _value(self, pos: int) -> Node:
        if self._text[pos : pos + 1] in ("{", "["):
            return self._container(pos)
        scalar, end = self._scalar(pos)
        return Node(pos, end, scalar)

    def _scalar(self, pos: int) -> tuple[Any, int]:
        try:
            return self._decoder.raw_decode(self._text, pos)
        except json.JSONDecodeError as err:
            raise self._error(err.msg, err.pos) from None
        except ValueError as err:
            raise self._error(str(err), pos) from None

    def _container(self, pos: int) -> Node:
        text = self._text
        node = Node(pos, children=[], is_object=text[pos] == "{")
        close = "}" if node.is_object else "]"
        assert node.children is not None
        lead, pos = self._skip(pos + 1)
        while text[pos : pos + 1] != close:
            child = Child(None, pos, lead, self._held)
            if node.is_object:
                child.key, pos = self._key(pos)
            child.node = self._value(pos)
            node.children.append(child)
            lead, pos = self._skip(child.node.end)
            if text[pos : pos + 1] == ",":
                child.comma = pos
                lead, pos = self._skip(pos + 1)
            elif text[pos : pos + 1] != close:
                raise self._error(f"a comma or {close} is missing", pos)
        node.tail, node.end = lead, pos + 1
        return node

    def _key(self, pos: int) -> tuple[str, int]:
        key, end = self._scalar(pos)
        if not isinstance(key, str):
            raise self._error("a key must be a string", pos)
        _, end = self._skip(end)
        if self._text[end : end + 1] != ":":
            raise self._error("a colon is missing", end)
        return key, self._skip(end + 1)[1]

    def _skip(self, pos: int) -> tuple[int, int]:
        """Pass blanks and comments: where the last comment ends, else `pos`; the next token."""
        self._held = False
        lead = pos
        while True:
            pos = _end(_BLANK, self._text, pos)
            end = _end(_COMMENT, self._text, pos)
            if end == pos:
                return lead, pos
            self._held = self._text.startswith("//", pos)
            lead = pos = end

    def _error(self, why: str, pos: int) -> TextError:
        return TextError(why, _line(self._text, pos))


class _Layout:
    """How a text is laid out: its line ends, its indent, whether it is all in one line."""

    def __init__(self, text: str, root: Node) -> None:
        self.line_end = line_end(text)
        self.unit = _UNIT
        first = root.children[0] if root.children else None
        if first and "\n" in (gap := text[first.lead : first.start]):
            self.unit = gap.rpartition("\n")[2] or _UNIT
        self.one_line = first is not None and "\n" not in text[root.start : root.end]

    def several_lines(self, value: Any, indent: str) -> str:
        shown = json.dumps(value, indent=self.unit, ensure_ascii=False)
        return shown.replace("\n", self.line_end + indent)


def _add(text: str, root: Node, container: Node, key: str | None, value: Any) -> str:
    """Put a member, or an item (key None), at the end of a container."""
    layout = _Layout(text, root)
    named = "" if key is None else json.dumps(key, ensure_ascii=False) + ": "
    outer = _indent(text, container.start)
    if not container.children:
        at = container.tail
        if layout.one_line:
            return text[:at] + named + json.dumps(value, ensure_ascii=False) + text[at:]
        inner = outer + layout.unit
        shown = layout.line_end + inner + named + layout.several_lines(value, inner)
        if "\n" not in text[at : container.end]:
            shown += layout.line_end + outer
        return text[:at] + shown + text[at:]
    first, last = container.children[0], container.children[-1]
    after = last.node.end if last.comma is None else last.comma + 1
    at = _comments_end(text, after)
    gap = text[first.lead : first.start]
    if "\n" in gap:
        inner = gap.rpartition("\n")[2]
        shown = layout.line_end + inner + named + layout.several_lines(value, inner)
    else:
        blank = layout.line_end + outer + layout.unit if "//" in text[after:at] else " "
        shown = blank + named + json.dumps(value, ensure_ascii=False)
    if last.comma is None:
        return text[:after] + "," + text[after:at] + shown + text[at:]
    return text[:at] + shown + "," + text[at:]


def _cut(text: str, path: Keys) -> str:
    """Take out the value at `path`, its comma and the blanks before it."""
    parent = find(parse(text), path[:-1])
    child = _child(parent, path[-1]) if parent else None
    assert parent is not None and parent.children is not None and child is not None
    comma = child.comma
    if comma is None and (index := parent.children.index(child)):
        comma = parent.children[index - 1].comma
    rest = text[child.node.end :]
    if child.comma is not None:
        rest = text[child.node.end : child.comma] + text[child.comma + 1 :]
    # What follows must not land in a comment that goes to the end of its line.
    joins = child.held and not re.match(r"[ \t]*(\r?\n|\Z)", rest)
    start = child.start if joins else child.lead
    if comma is not None and comma < start:
        return text[:comma] + text[comma + 1 : start] + rest
    return text[:start] + rest


def _child(node: Node, step: str | int) -> Child | None:
    if node.children is None:
        return None
    if isinstance(step, int):
        return node.children[step] if not node.is_object and step < len(node.children) else None
    named = [child for child in node.children if child.key == step]
    return named[-1] if named else None


def _comments_end(text: str, pos: int) -> int:
    """Where the comments that begin in the same line as `pos`, right after it, end."""
    while match := _COMMENT_BESIDE.match(text, pos):
        pos = match.end()
    return pos


def _indent(text: str, pos: int) -> str:
    """The blanks that begin the line of `pos`."""
    start = text.rfind("\n", 0, pos) + 1
    line = text[start:pos].removeprefix(BOM)
    return line[: len(line) - len(line.lstrip(" \t"))]


def _not(text: str, node: Node, path: Keys, kind: str) -> TextError:
    what = dotted(path) or "the whole"
    return TextError(f"{what} is not {kind}", _line(text, node.start))


def _dense(text: str) -> str:
    return "".join(text.split())


def _line(text: str, pos: int) -> int:
    return text.count("\n", 0, pos) + 1


def _end(pattern: re.Pattern[str], text: str, pos: int) -> int:
    match = pattern.match(text, pos)
    return match.end() if match else pos


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
