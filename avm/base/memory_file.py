"""A memory file's bytes: where its front matter stands, what it says, and how to change one key.

Nothing is ever written back through a YAML writer: that sorts keys, loses comments and turns `1.10`
into `1.1`. A change splices the bytes of one key's lines and leaves every other byte alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from avm.base.errors import UnsureError, UsageError
from avm.base.times import format_instant, parse_duration, parse_instant

#: A front matter block over this many bytes is not read: no person writes one, and the YAML
#: parser's cost and memory grow with what a pull may bring.
MAX_FRONT_BYTES = 64 * 1024
#: libyaml's composer recurses in C: 60,000 nested brackets end the process (seen).
_MAX_DEPTH = 64
_BOM = b"\xef\xbb\xbf"
_OPEN = re.compile(rb"---[ \t]*(\r?\n)")
_CLOSE = re.compile(rb"^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
_REST_OF_LINE = re.compile(r"\A[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)|\A\r?\n?")
_NESTING = re.compile(r"[\[{]|- |\? |:\s")
_WORDS = r"[a-zA-Z0-9_](?:[\w./+ -]*[\w./+-])?"
_PLAIN_LINE = re.compile(
    r"([a-zA-Z_][\w-]{0,99}): {1,9}"
    rf"(?:\[ ?((?:{_WORDS}(?:, ?{_WORDS})*)?) ?\]"
    r"|([a-zA-Z0-9_](?:[\w./+ ,()-]|:(?=[\w/]))*(?<! )))",
    re.ASCII,
)
_PLAIN = re.compile(r"[^\W_][\w./+-]*(?: [\w./+-]+)*")


class Split(NamedTuple):
    """Byte offsets of a file: YAML in [yaml_start, yaml_end), body from body_start.

    Without front matter all three are the length of the BOM (0 or 3). `newline` is the file's own.
    """

    yaml_start: int
    yaml_end: int
    body_start: int
    newline: bytes
    has_front: bool


class Front(NamedTuple):
    """What the front matter says; None or empty where it says nothing readable."""

    title: str | None = None
    importance: float | None = None
    tags: tuple[str, ...] = ()
    created: datetime | None = None
    expires: datetime | None = None
    ttl: timedelta | None = None
    agent: str | None = None
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    supersedes: tuple[str, ...] = ()
    pinned: bool = False
    source: str | None = None
    #: Keys that AVM does not read: text, lists and mappings of text, as written.
    other: Mapping[str, Any] = MappingProxyType({})


class MemoryFile(NamedTuple):
    """A memory file taken apart. `problems` says, a line each, what could not be read."""

    split: Split
    front: Front
    body: str
    problems: tuple[str, ...] = ()


class _Unreadable(ValueError):
    """Front matter that is not a YAML mapping; the argument says why."""


def split(raw: bytes) -> Split:
    """Find the front matter block: `---` on the first line, closed by `---` or `...`.

    Never raises: whatever has no such block is all body.
    """
    bom = len(_BOM) if raw.startswith(_BOM) else 0
    opened = _OPEN.match(raw, bom)
    if opened:
        closed = _CLOSE.search(raw, opened.end(), opened.end() + MAX_FRONT_BYTES)
        # `search` with an end treats it as the end of the text: look at the real end too.
        if closed and (closed.end() < opened.end() + MAX_FRONT_BYTES or closed.end() == len(raw)):
            return Split(opened.end(), closed.start(), closed.end(), opened.group(1), True)
    newline = b"\r\n" if b"\r\n" in raw[:4096] else b"\n"
    return Split(bom, bom, bom, newline, False)


def parse(raw: bytes, *, max_body: int | None = None) -> MemoryFile:
    """Take a file apart; never raises. Broken front matter leaves the whole file as its body.

    `max_body` bounds the body, in bytes; undecodable bytes become U+FFFD.
    """
    parts = split(raw)
    problems: list[str] = []
    front = Front()
    if parts.has_front:
        try:
            front = _read_front(_load(_yaml_text(raw, parts)), problems)
        except _Unreadable as reason:
            problems.append(f"front matter: {reason}")
            parts = Split(parts.yaml_start, parts.yaml_start, 0, parts.newline, False)
    end = len(raw) if max_body is None else parts.body_start + max_body
    body = raw[parts.body_start : end].decode("utf-8", "replace").removeprefix("\ufeff")
    return MemoryFile(parts, front, body, tuple(problems))


def load_mapping(text: str) -> dict[str, Any]:
    """What YAML says: text as it is written, lists and mappings of it. Raises UsageError."""
    try:
        return _load(text)
    except _Unreadable as reason:
        raise UsageError(f"front matter: {reason}") from None


def render(front: Mapping[str, object], body: str) -> bytes:
    """The bytes of a new memory file; keys in the given order, None left out."""
    lines = [f"{line(key, value)}\n" for key, value in front.items() if value is not None]
    text = ("---\n" + "".join(lines) + "---\n" if lines else "") + body
    try:
        return text.encode("utf-8", "surrogateescape")  # bytes from a pipe stay what they were
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def set_key(raw: bytes, key: str, value: object | None) -> bytes:
    """Set one top-level key (None removes it); only the bytes of that key's lines change.

    `value` is a str, bool, int, float, datetime or a sequence of str. The result is parsed
    again and compared; raises UnsureError if any other key would read differently.
    """
    parts = split(raw)
    if not parts.has_front:
        return _with_new_block(raw, parts, key, value)
    try:
        text = _yaml_text(raw, parts)
        before = _load(text)
        said = None if value is None else line(key, value)
        new_text = _spliced(text, key, said, parts.newline.decode())
        result = raw[: parts.yaml_start] + new_text.encode() + raw[parts.yaml_end :]
        after = _load(_yaml_text(result, split(result)))
    except _Unreadable as reason:
        raise UnsureError(f"front matter left as it is: {reason}; edit the file") from None
    wanted = {**before, key: _load(f"k: {_yaml(value)}")["k"] if value is not None else None}
    if value is None:
        del wanted[key]
    if after != wanted or list(after) != list(wanted):
        raise UnsureError(f"front matter left as it is: cannot change {key!r} alone; edit the file")
    return result


def _with_new_block(raw: bytes, parts: Split, key: str, value: object | None) -> bytes:
    if value is None:
        return raw
    newline = parts.newline.decode()
    block = f"---{newline}{line(key, value)}{newline}---{newline}".encode()
    result = raw[: parts.body_start] + block + raw[parts.body_start :]
    if split(result).body_start != parts.body_start + len(block):
        raise UnsureError(f"front matter left as it is: cannot add {key!r}; edit the file")
    return result


def entries(raw: bytes) -> dict[str, tuple[Any, str]]:
    """The top-level keys of the front matter, in order: what each says, and its `key: value` as it
    is written, without the newline after it.

    Raises UnsureError for front matter that cannot be read, is no plain block or has a key twice.
    """
    parts = split(raw)
    if not parts.has_front:
        return {}
    try:
        text = _yaml_text(raw, parts)
        said = _load(text)
    except _Unreadable as reason:
        raise UnsureError(f"front matter: {reason}") from None
    spans = list(_spans(text))
    found = {key: (said.get(key), text[start:end]) for key, start, end in spans}
    if len(found) < len(spans) or found.keys() != said.keys():
        raise UnsureError("front matter has a key twice")
    return found


def with_entries(raw: bytes, lines: Mapping[str, str | None]) -> bytes:
    """Put the `key: value` of each key in as it is given, None: take the key out.

    The caller checks what the result says. Raises UnsureError.
    """
    parts = split(raw)
    newline = parts.newline.decode()
    if not parts.has_front:
        block = "".join(f"{said}{newline}" for said in lines.values() if said is not None)
        whole = f"---{newline}{block}---{newline}".encode() if block else b""
        return raw[: parts.body_start] + whole + raw[parts.body_start :]
    try:
        text = _yaml_text(raw, parts)
    except _Unreadable as reason:
        raise UnsureError(f"front matter: {reason}") from None
    for key, said in lines.items():
        text = _spliced(text, key, said, newline)
    return raw[: parts.yaml_start] + text.encode() + raw[parts.yaml_end :]


def line(key: str, value: object) -> str:
    """`key: value` on one line, as YAML."""
    return f"{key}: {_yaml(value)}"


def listed(key: str, value: object) -> tuple[str, ...]:
    """The names in the value of a key that is a list: of tags words, else `[[links]]` too."""
    reader = _Reader({key: value}, [])
    return reader.tags() if key == "tags" else reader.names(key)


def _spliced(text: str, key: str, said: str | None, newline: str) -> str:
    """The YAML `text` with `said` for its `key: value`, None: without it."""
    span = next(((start, end) for name, start, end in _spans(text) if name == key), None)
    if span is None:
        if said is None:
            return text
        if text.strip() and not text.endswith("\n"):
            text += newline
        return f"{text}{said}{newline}"
    start, end = span
    if said is None:
        return text[:start] + _REST_OF_LINE.sub("", text[end:], count=1)
    return f"{text[:start]}{said}{text[end:]}"


def _spans(text: str) -> Iterator[tuple[str, int, int]]:
    """Each key with the character offsets of `key: value`, from the key to the value's last line
    (newline left out).

    Raises UnsureError unless the mapping is in block style and each key begins its line.
    """
    import yaml

    try:
        root = yaml.compose(text, Loader=_c_loader())
    except yaml.YAMLError:  # two keys that are put together may have one anchor, say
        raise UnsureError("front matter left as it is: it is no YAML; edit the file") from None
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise UnsureError("front matter left as it is: it is one {…} mapping; edit the file")
    for name, node in root.value:
        start, end = name.start_mark.index, max(node.end_mark.index, name.end_mark.index)
        if start and text[start - 1] not in "\n":
            raise UnsureError(
                f"front matter left as it is: {name.value!r} does not begin its line; edit the file"
            )
        yield name.value, start, start + len(_without_trailing_notes(text[start:end]))


def _without_trailing_notes(value: str) -> str:
    """`value` less the blank lines and the comments at the margin that follow it.

    The parser ends a block value where the next key begins, so it counts these in.
    """
    lines = value.splitlines(keepends=True)
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].startswith("#")):
        lines.pop()
    return "".join(lines).rstrip("\r\n")


def _yaml_text(raw: bytes, parts: Split) -> str:
    try:
        return raw[parts.yaml_start : parts.yaml_end].decode("utf-8")
    except UnicodeDecodeError:
        raise _Unreadable("it is not UTF-8") from None


def _c_loader() -> Any:
    import yaml

    # Every scalar stays the text that was written: YAML would make `no` False and `12:30` 750.
    return getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def _load(text: str) -> dict[str, Any]:
    """The block as a mapping of text, lists and mappings. Raises _Unreadable with the reason."""
    plain = _load_plain(text)
    if plain is not None:
        return plain
    import yaml
    from frontmatter.default_handlers import YAMLHandler

    if len(text.encode()) > MAX_FRONT_BYTES:
        raise _Unreadable(f"it is longer than {MAX_FRONT_BYTES // 1024} kB")
    try:
        _check_shape(text)
        loaded = YAMLHandler().load(text, Loader=_c_loader())
    except yaml.MarkedYAMLError as err:
        line = f", line {err.problem_mark.line + 2}" if err.problem_mark else ""
        raise _Unreadable(f"{err.problem or err.context or 'not YAML'}{line}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        raise _Unreadable(str(err).splitlines()[0] if str(err) else "not YAML") from None
    if loaded is None or loaded == "":
        return {}
    if not isinstance(loaded, dict):
        raise _Unreadable("not a mapping of keys to values")
    if not all(isinstance(key, str) for key in loaded):
        raise _Unreadable("a key is not a plain name")
    return loaded


def _load_plain(text: str) -> dict[str, Any] | None:
    """What the YAML loader makes of nothing but `key: words` and `key: [words, …]`; else None.

    Most front matter is so, and the loader takes ten times as long.
    """
    if len(text) > MAX_FRONT_BYTES:
        return None
    found: dict[str, Any] = {}
    for line in text.split("\n"):
        match = _PLAIN_LINE.fullmatch(line)
        if match is not None:
            key, items, value = match.groups()
            words = [item.strip(" ") for item in items.split(",")] if items else []
            found[key] = value if items is None else words
        elif line:
            return None
    return found


def _check_shape(text: str) -> None:
    """Refuse what a few bytes could make huge: deep nesting, and aliases of aliases."""
    if "*" not in text and len(_NESTING.findall(text)) <= _MAX_DEPTH:
        return
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=_c_loader()):
        if isinstance(event, yaml.AliasEvent):
            raise _Unreadable("it uses a YAML alias (*name): write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise _Unreadable(f"nested more than {_MAX_DEPTH} deep")


def _read_front(data: dict[str, Any], problems: list[str]) -> Front:
    reader = _Reader(data, problems)
    return Front(
        title=reader.text("title"),
        importance=reader.importance(),
        tags=reader.tags(),
        created=reader.instant("created"),
        expires=reader.instant("expires"),
        ttl=reader.duration("ttl"),
        agent=reader.text("agent"),
        aliases=reader.names("aliases"),
        links=reader.names("links"),
        supersedes=reader.names("supersedes"),
        pinned=(reader.text("pinned") or "").lower() in ("true", "yes", "on", "1"),
        source=reader.text("source"),
        other={key: value for key, value in data.items() if key not in reader.read},
    )


class _Reader:
    """Reads AVM's keys out of a mapping of text; what is unreadable is absent and noted."""

    def __init__(self, data: dict[str, Any], problems: list[str]) -> None:
        self._data = data
        self._problems = problems
        self.read: set[str] = set()

    def text(self, key: str) -> str | None:
        self.read.add(key)
        value = self._data.get(key)
        if value is None or value in ("", "~", "null"):
            return None
        if isinstance(value, str):
            return value.strip() or None
        self._problems.append(f"{key}: not a single value")
        return None

    def names(self, key: str) -> tuple[str, ...]:
        """A list of text, or one text; `[[wikilink]]` brackets are taken off."""
        return self._list(key, lambda text: [text])

    def tags(self) -> tuple[str, ...]:
        """A list of text, or one text of words separated by commas or blanks."""
        words = self._list("tags", lambda text: text.replace(",", " ").split())
        return tuple(tag.lstrip("#") for tag in words if tag.strip("#"))

    def _list(self, key: str, split_text: Any) -> tuple[str, ...]:
        value = self._data.get(key)
        if isinstance(value, list):
            self.read.add(key)
            items = [_unbracket(item) for item in value]
            if not all(isinstance(item, str) for item in items):
                self._problems.append(f"{key}: not a list of names")
            found = [item.strip() for item in items if isinstance(item, str)]
        else:
            text = self.text(key)
            found = [_strip_brackets(part) for part in split_text(text)] if text else []
        return tuple(dict.fromkeys(item for item in found if item))

    def importance(self) -> float | None:
        text = self.text("importance")
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if 0.0 <= value <= 1.0:
            return value
        self._problems.append(f"importance {text[:40]!r}: not a number from 0.0 to 1.0")
        return None

    def instant(self, key: str) -> datetime | None:
        text = self.text(key)
        if text is None:
            return None
        instant = parse_instant(text)
        if instant is None:
            self._problems.append(f"{key} {text[:40]!r}: not a date such as 2026-11-22T10:04:00Z")
        return instant

    def duration(self, key: str) -> timedelta | None:
        text = self.text(key)
        if text is None:
            return None
        try:
            return parse_duration(text)
        except UsageError:
            self._problems.append(f"{key} {text[:40]!r}: not a duration such as 30d")
            return None


def _unbracket(item: object) -> object:
    """`[[name]]` in a YAML list without quotes arrives as a list in a list: take it as the name."""
    while isinstance(item, list) and len(item) == 1:
        item = item[0]
    return _strip_brackets(item) if isinstance(item, str) else item


def _strip_brackets(text: str) -> str:
    return text[2:-2] if text.startswith("[[") and text.endswith("]]") else text


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, str):
        return _scalar(value)
    if isinstance(value, Sequence):
        return "[" + ", ".join(_scalar(str(item)) for item in value) + "]"
    raise TypeError(f"no YAML form for {type(value).__name__}")


def _scalar(text: str) -> str:
    """One-line YAML for `text`: plain where that reads back as the same text, else quoted."""
    if _PLAIN.fullmatch(text) and not _looks_typed(text):
        return text
    # A JSON string is a YAML one; what YAML calls unprintable must be escaped as well.
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else _escape(c) for c in quoted)


def _looks_typed(text: str) -> bool:
    """Whether YAML readers may take `text` for a number, a date, a time, a bool or null."""
    return text[0].isdigit() or text[0] in "+-." or text.lower() in _TYPED_WORDS


_TYPED_WORDS = frozenset(
    ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf")
)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xD800 <= code <= 0xDFFF:
        code = 0xFFFD
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
