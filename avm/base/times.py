"""Instants and durations as people write them in front matter and on command lines."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo

from avm.base.errors import UsageError

SECONDS_A_DAY = 86_400
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": SECONDS_A_DAY, "w": 604_800, "y": 31_536_000}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhdwy])+", re.IGNORECASE)
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdwy])", re.IGNORECASE)
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
LONGEST = timedelta(days=365_000)
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ].*)?", re.DOTALL)
_DAYS_AGO = {"today": 0, "yesterday": 1}


def parse_instant(text: str) -> datetime | None:
    """Read an ISO date or date-time; None if unreadable.

    No zone means UTC; a bare date is its first instant in UTC.
    """
    try:
        instant = datetime.fromisoformat(text.strip())
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def instant_of(seconds: float) -> datetime:
    """The instant so many seconds after the epoch, UTC; one beyond the years 1–9999 is the nearest.

    A file or a commit may bear any date, and a sum of a date and a `ttl` any other.
    """
    return datetime.fromtimestamp(min(max(seconds, _FIRST_SECOND), _LAST_SECOND), UTC)


def format_instant(instant: datetime) -> str:
    """Write an instant as `2026-11-22T10:04:00Z`, seconds precise."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_duration(text: str) -> timedelta:
    """Read `30d`, `12h`, `1d12h` (units s m h d w y; y is 365 days).

    Raises UsageError that names the value and the form, also for 0 and for over 1,000 years.
    """
    compact = text.strip().replace(" ", "")
    if _DURATION.fullmatch(compact):
        seconds = sum(
            float(number) * _UNIT_SECONDS[unit.lower()] for number, unit in _PART.findall(compact)
        )
        if 0 < seconds <= LONGEST.total_seconds():
            return timedelta(seconds=seconds)
    raise UsageError(f"duration {text!r}: write a number and a unit, such as 30d, 12h or 1d12h")


def parse_moment(text: str, now: float, zone: tzinfo | None, *, end_of_day: bool) -> float | None:
    """When a date means, in seconds since the epoch; None if `text` has not the form of one.

    `now`, `today`, `yesterday`, `2026-11-01`, or a date-time, which is in `zone` (None: the
    process's own) unless it names another. A whole day means its last second if `end_of_day`, else
    its first. Raises UsageError for a date that is in no calendar.
    """
    try:
        if text == "now":
            return now
        if text in _DAYS_AGO:
            day = datetime.fromtimestamp(now, zone).date() - timedelta(days=_DAYS_AGO[text])
            return _day_edge(day, zone, end=end_of_day)
        if not _DATE.fullmatch(text):
            return None
        if len(text) == 10:
            return _day_edge(date.fromisoformat(text), zone, end=end_of_day)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{text!r} is no date: write 2026-11-01 or 2026-11-01T10:00") from None


def _day_edge(day: date, zone: tzinfo | None, *, end: bool) -> float:
    # The next midnight, not 24 hours on: a day in which the clocks change is longer or shorter.
    edge = day + timedelta(days=1) if end else day
    return datetime(edge.year, edge.month, edge.day, tzinfo=zone).timestamp() - end
