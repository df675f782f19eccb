"""Dates in revisions and in `--since`: what each means, in which zone, and what is no date."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avm.base.errors import UsageError
from avm.base.times import parse_moment
from avm.vault.revisions import moment_of, since_of

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 20, 23, 30, tzinfo=UTC).timestamp()
days = st.dates(date(1971, 1, 1), date(2100, 1, 1))
FARTHEST = (timezone(timedelta(hours=-11)), timezone(timedelta(hours=14)))
zones = st.sampled_from([UTC, BERLIN, *FARTHEST])


def at(text: str, zone: tzinfo = UTC) -> float:
    """An instant written out."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("rev", "zone", "expected"),
    [
        ("2026-11-01", UTC, at("2026-11-01T23:59:59")),
        ("2026-11-01", BERLIN, at("2026-11-01T22:59:59")),
        ("today", UTC, at("2026-11-20T23:59:59")),
        ("today", BERLIN, at("2026-11-21T23:59:59", BERLIN)),  # it is past midnight there
        ("yesterday", UTC, at("2026-11-19T23:59:59")),
        ("yesterday", BERLIN, at("2026-11-20T23:59:59", BERLIN)),
        ("now", UTC, NOW),
        ("2026-11-01T10:00", UTC, at("2026-11-01T10:00")),
        ("2026-11-01 10:00", BERLIN, at("2026-11-01T10:00", BERLIN)),
        ("2026-11-01T10:00:00+05:00", BERLIN, at("2026-11-01T05:00")),
        ("2026-11-01T10:00:00Z", BERLIN, at("2026-11-01T10:00")),
        ("3d", UTC, NOW - 3 * 86_400),
        ("12h", UTC, NOW - 12 * 3600),
        ("1w2d", UTC, NOW - 9 * 86_400),
        ("365d", UTC, None),  # the beginning of a hash
        ("20261101", UTC, None),
        ("4f2c1e", UTC, None),
        ("HEAD", UTC, None),
        ("~3", UTC, None),
        ("Yesterday", UTC, None),
        ("", UTC, None),
    ],
)
def test_what_a_revision_means(rev: str, zone: tzinfo, expected: float | None) -> None:
    assert moment_of(rev, NOW, zone) == expected


@pytest.mark.parametrize("rev", ["2026-13-01", "2026-02-30", "2026-11-01T25:00", "0000-01-01"])
def test_a_date_in_no_calendar_is_named(rev: str) -> None:
    with pytest.raises(UsageError, match=rev):
        moment_of(rev, NOW, UTC)


def test_a_day_on_which_the_clocks_change_ends_at_its_midnight() -> None:
    start = parse_moment("2026-10-25", NOW, BERLIN, end_of_day=False)
    end = moment_of("2026-10-25", NOW, BERLIN)
    assert start is not None and end is not None
    assert end - start == 25 * 3600 - 1


@given(days, zones)
def test_a_day_lasts_from_its_first_to_its_last_second(day: date, zone: tzinfo) -> None:
    text = day.isoformat()
    start, end = since_of(text, NOW, zone), moment_of(text, NOW, zone)
    assert end is not None
    assert datetime.fromtimestamp(start, zone).date() == day
    assert datetime.fromtimestamp(end, zone).date() == day
    assert datetime.fromtimestamp(start - 1, zone).date() == day - timedelta(days=1)
    assert datetime.fromtimestamp(end + 1, zone).date() == day + timedelta(days=1)


@given(st.text(max_size=30))
def test_any_text_is_a_date_or_none_or_refused_in_a_line(text: str) -> None:
    for ask in (moment_of, since_of):
        try:
            ask(text, NOW, UTC)
        except UsageError as err:
            assert "\n" not in str(err)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", NOW - 7 * 86_400),
        ("365d", NOW - 365 * 86_400),
        ("2026-11-01", at("2026-11-01")),
        ("yesterday", at("2026-11-19")),
        ("2026-11-01T10:00", at("2026-11-01T10:00")),
    ],
)
def test_since(text: str, expected: float) -> None:
    assert since_of(text, NOW, UTC) == expected


@pytest.mark.parametrize("text", ["", "soon", "4f2c1e", "-3d"])
def test_since_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="since"):
        since_of(text, NOW, UTC)
