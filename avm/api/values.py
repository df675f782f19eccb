"""Checking what callers pass: each refusal names the value and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from avm.base import paths
from avm.base.config import ON_DUPLICATE
from avm.base.errors import UsageError
from avm.base.times import LONGEST, parse_duration


def text(value: object) -> str:
    """The text of a memory: a str that is not blank."""
    if not isinstance(value, str):
        raise UsageError(f"text is a {type(value).__name__}: give a str")
    if not value.strip():
        raise UsageError("text is empty: there is nothing to remember")
    return value


def question(value: object) -> str:
    """What to look for: a str, which may be empty."""
    if not isinstance(value, str):
        raise UsageError(f"query {value!r}: give a str")
    return value


def data(value: object) -> bytes:
    """The bytes of a file: as they are, or a str's UTF-8."""
    if isinstance(value, bytes):
        return value
    try:
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape")  # bytes from a pipe stay what they were
    except UnicodeEncodeError:
        raise UsageError("text holds half a character: give it as bytes") from None
    raise UsageError(f"text is a {type(value).__name__}: give a str or bytes")


def line(value: object, what: str) -> str | None:
    """One line that is not blank, or None."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value.splitlines()) != 1:
        raise UsageError(f"{what} {value!r}: give one line of text")
    return value.strip()


def importance(value: object) -> float | None:
    """An importance from 0.0 to 1.0, or None."""
    return None if value is None else share(value, "importance")


def share(value: object, what: str) -> float:
    """A number from 0.0 to 1.0."""
    try:
        number = float(value) if not isinstance(value, bool) else -1.0  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if not 0.0 <= number <= 1.0:
        raise UsageError(f"{what} {value!r}: give a number from 0.0 to 1.0")
    return number


def tags(value: str | Iterable[str] | None) -> list[str]:
    """Tags: names, or one str of names with commas between them; a leading `#` is taken off."""
    if value is None:
        return []
    if not isinstance(value, Iterable):
        raise UsageError(f"tags {value!r}: give names, such as ['trading', 'risk/fx']")
    items = value.split(",") if isinstance(value, str) else list(value)
    found = []
    for item in items:
        name = item.strip().lstrip("#") if isinstance(item, str) else ""
        strange = any(c.isspace() or c in ",[]{}\"'" for c in name)
        if not name or strange or not paths.is_utf8(name):
            raise UsageError(f"tag {item!r}: a tag is one word, such as trading or risk/fx")
        found.append(name)
    return list(dict.fromkeys(found))


def names(value: object) -> list[str]:
    """Names of memories: one, or several; the brackets of `[[…]]` are taken off."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, Iterable):
        raise UsageError(f"{value!r}: give names, such as ['btc_lesson', 'notes/risk.md']")
    found = []
    for item in items:
        name = item.strip() if isinstance(item, str) else ""
        name = name.removeprefix("[[").removesuffix("]]").strip()
        if not name or len(name.splitlines()) != 1:
            raise UsageError(f"{item!r}: give a name such as btc_lesson or notes/risk.md")
        found.append(name)
    return list(dict.fromkeys(found))


def yes_or_no(value: object) -> bool:
    """A bool, or `true` or `false` as text."""
    found = {"true": True, "yes": True, "false": False, "no": False}.get(str(value).lower())
    if found is None:
        raise UsageError(f"{value!r}: give true or false")
    return found


def ttl(value: str | timedelta | None) -> timedelta | None:
    """A time to live: a duration such as `30d`, or None for ever."""
    if value is None:
        return None
    if isinstance(value, timedelta):
        if not timedelta(0) < value <= LONGEST:
            raise UsageError(f"ttl {value}: give a time of up to 1,000 years")
        return value
    try:
        return parse_duration(str(value))
    except UsageError as err:
        raise UsageError(f"ttl: {err}") from None


def on_duplicate(value: object) -> str:
    """What to do where a memory says nearly the same: one of `ON_DUPLICATE`."""
    if value not in ON_DUPLICATE:
        raise UsageError(f"on_duplicate {value!r}: use one of {', '.join(ON_DUPLICATE)}")
    return str(value)


def folder(namespace: object, sub_folder: object, home: str) -> str:
    """The folder (a rel) of a new memory: `namespace` is under shared, else it is `home`."""
    base = home
    if namespace is not None:
        base = f"{paths.SHARED}/{paths.clean_folder(str(namespace), 'namespace')}"
    if sub_folder is not None:
        base = f"{base}/{paths.clean_folder(str(sub_folder), 'folder')}"
    return base


def positive(value: object, what: str) -> int:
    """A whole number of 1 or more."""
    return whole(value, what, 1)


def whole(value: object, what: str, least: int) -> int:
    """A whole number of `least` or more."""
    try:
        number = int(str(value))
    except ValueError:
        number = least - 1
    if not least <= number < 2**63:
        raise UsageError(f"{what} {value!r}: give a whole number of {least} or more")
    return number
