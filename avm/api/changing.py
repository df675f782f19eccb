"""Changing one memory as one viewer: keys of its front matter, its tags, its end, its body.

Only the bytes of what changes are touched: comments, the order of keys and the rest stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from avm.api import values
from avm.api.writing import Writing
from avm.base import paths
from avm.base.errors import SecretError, UsageError
from avm.base.times import format_instant, instant_of, parse_instant
from avm.vault import files

if TYPE_CHECKING:
    from avm.api.written import Remembered

#: Written for `expires` and `ttl` where a memory is to stay.
NEVER = "never"
_NO_KEYS = b"---\n---\n"


class Changing(Writing):
    """What a viewer may change in a memory that is there.

    Every method raises NotFoundError, AccessError, UsageError for a bad value, UnsureError where
    the front matter cannot be changed with certainty, and SecretError for a token.
    """

    def set_meta(self, path: str, keys: Mapping[str, Any]) -> Remembered:
        """Set keys of the front matter; None takes one out.

        AVM's own keys take what `remember` takes, and `expires` a date; `ttl` sets `expires`, from
        now on. Any other key takes a str, a number, a bool or a list of str.
        """
        now = self.store.config.clock.now()
        changes: dict[str, object] = {}
        for key, value in keys.items():
            changes |= _change(key, value, now)
        return self._spliced(path, lambda raw: _with_keys(raw, changes))

    def set_tags(self, path: str, tags: str | Iterable[str], *, add: bool = False) -> Remembered:
        """Set the tags of the front matter, or `add` some; `#tags` in the text stay."""
        from avm.base import memory_file

        wanted = values.tags(tags)

        def change(raw: bytes) -> bytes:
            there = memory_file.parse(raw, max_body=0).front.tags
            new = tuple(dict.fromkeys((*there, *wanted) if add else wanted))
            return raw if new == there else memory_file.set_key(raw, "tags", list(new) or None)

        return self._spliced(path, change)

    def set_ttl(self, path: str, ttl: str | timedelta | None) -> Remembered:
        """Set the memory's end: a duration such as `30d` from now on, a date, `never` or None."""
        return self.set_meta(path, {"ttl": ttl})

    def add_links(self, path: str, targets: Iterable[str]) -> Remembered:
        """Add to the front matter's `links`; what the memory links to already stays once."""
        from avm.base import memory_file

        wanted = values.names(list(targets))
        if not wanted:
            raise UsageError("no link: give paths or titles, one a line")

        def change(raw: bytes) -> bytes:
            there = memory_file.parse(raw, max_body=0).front.links
            new = tuple(dict.fromkeys((*there, *wanted)))
            return raw if new == there else memory_file.set_key(raw, "links", list(new))

        return self._spliced(path, change)

    def set_body(self, path: str, text: str | bytes, *, add: bool = False) -> Remembered:
        """Write the text below the front matter, byte for byte, or `add` some at its end.

        A text that would be front matter itself gets an empty block above it.
        """
        from avm.base import memory_file

        data = values.data(text)

        def change(raw: bytes) -> bytes:
            begins = memory_file.split(raw).body_start
            return _with_body(raw, raw[begins:] + data if add else data)

        return self._spliced(path, change)

    def append(self, path: str, text: str | bytes) -> Remembered:
        """Add a paragraph at the end: on a line of its own, and ended by a line feed."""
        from avm.base import memory_file

        data = values.data(text)
        data += b"" if data.endswith(b"\n") else b"\n"

        def change(raw: bytes) -> bytes:
            begins = memory_file.split(raw).body_start
            gap = b"" if raw.endswith(b"\n") or len(raw) == begins else b"\n"
            return _with_body(raw, raw[begins:] + gap + data)

        return self._spliced(path, change)

    def edit(self, path: str, old: str | bytes, new: str | bytes) -> Remembered:
        """Put `new` in the place of `old`, which must stand in the file exactly once, front matter
        included; what that would make unreadable stays."""
        piece, data = values.data(old), values.data(new)

        def change(raw: bytes) -> bytes:
            if not piece or raw.count(piece) != 1:
                count = raw.count(piece) if piece else 0
                raise UsageError(
                    f"old stands {count} times in {paths.display(paths.clean_rel(path))}: give a"
                    " piece of its text that stands there once"
                )
            changed = raw.replace(piece, data)
            _refuse_new_problems(raw, changed)
            return changed

        return self._spliced(path, change)

    def body(self, path: str) -> bytes:
        """The bytes below the front matter. Raises NotFoundError."""
        from avm.base import memory_file

        raw = files.read(self.store.vault, self._existing(path))
        return raw[memory_file.split(raw).body_start :]

    def ends(self, path: str) -> str:
        """When the memory expires, `2026-12-22T00:00:00Z`, or `never`. Raises NotFoundError."""
        ends = self.store.ends(self._existing(path))
        return NEVER if ends is None else format_instant(instant_of(ends))

    def _spliced(self, path: str, change: Callable[[bytes], bytes]) -> Remembered:
        from avm.api.written import Remembered

        rel = self._existing(path)
        if not paths.is_memory(rel):
            raise UsageError(f"{paths.display(rel)} is no memory: its name does not end in .md")
        self._check_writable(rel)
        with self.store.changing(rel, self.viewer.agent):
            raw = files.read(self.store.vault, rel)
            data = change(raw)
            hints = []
            if data != raw:
                self._refuse_new_tokens(rel, raw, data)
                if rel in self.store.open_here():
                    self.store.rewrite(rel, data, self.viewer.agent)
                else:
                    self.store.replace(rel, data, self.viewer.agent)
                hints = self._settle_secrets(rel, data, False)
                self.wrote(rel, "edit")
        return Remembered(paths.display(rel), tuple(hints))

    def _refuse_new_tokens(self, rel: str, raw: bytes, data: bytes) -> None:
        """Raise SecretError if `data` holds a certain secret in a line that is not in `raw`."""
        from avm.base import secrets

        there = set(raw.splitlines())
        lines = data.split(b"\n")
        certain = [finding for finding in secrets.find(data) if finding.certain]
        if new := [found for found in certain if lines[found.line - 1].rstrip(b"\r") not in there]:
            why = f"nothing was written: the text holds a secret ({secrets.told(new)}); take it out"
            raise self.denied("write", rel, SecretError(why))


def _refuse_new_problems(raw: bytes, data: bytes) -> None:
    """Raise UsageError if the front matter of `data` is wrong and that of `raw` is not."""
    from avm.base import memory_file

    problems = memory_file.parse(data, max_body=0).problems
    if problems and not memory_file.parse(raw, max_body=0).problems:
        raise UsageError(f"nothing was changed: it would be wrong then: {'; '.join(problems)}")


def _with_body(raw: bytes, body: bytes) -> bytes:
    """A file with another body, which is not to be taken for front matter."""
    from avm.base import memory_file

    begins = memory_file.split(raw).body_start
    new = raw[:begins] + body
    if memory_file.split(new).body_start == begins:
        return new
    return raw[:begins] + _NO_KEYS + body


def _with_keys(raw: bytes, changes: Mapping[str, object]) -> bytes:
    from avm.base import memory_file

    for key, value in changes.items():
        raw = memory_file.set_key(raw, key, value)
    return raw


def _change(key: str, value: object, now: datetime) -> dict[str, object]:
    """What to write for a key that is set to `value`, by key of the front matter."""
    if key in ("ttl", "expires"):
        return {"expires": _end(key, value, now), "ttl": None}
    if value is None:
        return {_key(key): None}
    if key in _CHECKS:
        return {key: _CHECKS[key](value)}
    if isinstance(value, (str, bool, int, float)):
        return {_key(key): value}
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return {_key(key): list(value)}
    raise UsageError(f"{key} {value!r}: give text, a number, true, false or a list of text")


def _end(key: str, value: object, now: datetime) -> datetime | None:
    if value is None or value == NEVER:
        return None
    if isinstance(value, (str, datetime)) and (date := _instant(value)):
        return date
    if key == "expires":
        raise UsageError(f"expires {value!r}: give a date such as 2026-12-22, or never")
    lifetime = values.ttl(value)  # type: ignore[arg-type]  # checked and named there
    return None if lifetime is None else now + lifetime


def _date(value: object) -> datetime:
    date = _instant(value)
    if date is None:
        raise UsageError(f"created {value!r}: give a date such as 2026-12-22")
    return date


def _instant(value: object) -> datetime | None:
    """A date, which without a zone is UTC; None if it is none."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value if isinstance(value, datetime) else parse_instant(str(value))


def _key(name: str) -> str:
    if not _KEY.fullmatch(name):
        raise UsageError(f"key {name!r}: begin with a letter; letters, digits, - and _ follow")
    return name


_KEY = re.compile(r"[^\W\d][\w-]{0,99}")
_CHECKS: Mapping[str, Callable[[Any], object]] = {
    "title": lambda value: values.line(value, "title"),
    "importance": values.importance,
    "tags": lambda value: values.tags(value) or None,
    "created": _date,
    "agent": paths.check_agent,
    "pinned": values.yes_or_no,
    "aliases": values.names,
    "links": values.names,
    "supersedes": values.names,
}
