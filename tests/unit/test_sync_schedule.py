"""When the keeper syncs: the period, a burst of commits, backing off, and at once after success."""

from __future__ import annotations

import pytest

from avm.keeper.syncing import Schedule


def made(every: float | None = 60.0, *, on_commit: bool = True, chance: float = 0.0) -> Schedule:
    """A schedule made at 1000, whose first sync is done."""
    schedule = Schedule(every, 1000.0, on_commit=on_commit, chance=lambda: chance)
    schedule.began()
    schedule.done(1000.0)
    return schedule


def test_the_first_is_due_at_once() -> None:
    for every in (None, 60.0):
        assert Schedule(every, 1000.0, on_commit=True).due == 1000.0


def test_the_period_begins_at_the_end_of_the_last_one() -> None:
    schedule = made()
    assert schedule.due == 1060.0
    schedule.began()
    schedule.done(1070.0)
    assert schedule.due == 1130.0


def test_a_period_is_never_longer_than_said() -> None:
    assert made(chance=1.0).due == 1054.0


def test_without_a_period_nothing_is_due_until_there_is_a_commit() -> None:
    schedule = made(None)
    assert schedule.due is None
    schedule.committed(1500.0)
    assert schedule.due == 1502.0


def test_commits_are_nothing_where_they_are_not_asked_for() -> None:
    schedule = made(None, on_commit=False)
    schedule.committed(1500.0)
    assert schedule.due is None


def test_a_burst_of_commits_is_one_sync_and_is_not_waited_for_for_ever() -> None:
    schedule = made(None)
    schedule.committed(1000.0)
    schedule.committed(1001.5)
    assert schedule.due == 1003.5
    for tenth in range(20, 200):
        schedule.committed(1000.0 + tenth / 10)
    assert schedule.due == 1010.0
    schedule.began()
    schedule.done(1012.0)
    assert schedule.due is None


def test_a_burst_does_not_put_the_period_off() -> None:
    schedule = made()
    schedule.committed(1059.0)
    assert schedule.due == 1060.0


def waits(schedule: Schedule, count: int) -> list[float]:
    """How long it waits after each of so many that fail, one right after the other."""
    now, found = 2000.0, []
    for _ in range(count):
        schedule.began()
        schedule.offline(now)
        assert schedule.due is not None
        found.append(schedule.due - now)
        now = schedule.due
    return found


@pytest.mark.parametrize("every", [None, 1.0, 86_400.0])
def test_offline_it_backs_off_up_to_minutes_whatever_the_period(every: float | None) -> None:
    assert waits(made(every), 9) == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert waits(made(every), 2000)[-1] == 300


def test_two_that_went_offline_together_do_not_come_back_together() -> None:
    assert waits(made(chance=1.0), 3) == [2.5, 5, 10]


def test_commits_do_not_hasten_what_is_offline() -> None:
    schedule = made()
    schedule.began()
    schedule.offline(2000.0)
    schedule.committed(2001.0)
    assert schedule.due == 2005.0


def test_after_success_it_is_at_once_again() -> None:
    schedule = made(None)
    waits(schedule, 9)
    schedule.began()
    schedule.done(5000.0)
    schedule.committed(5000.0)
    assert schedule.due == 5002.0
    assert waits(schedule, 1) == [5]


def test_what_is_refused_is_tried_at_the_period_and_after_a_commit_but_not_at_once() -> None:
    schedule = made(60.0)
    schedule.began()
    schedule.refused(2000.0)
    assert schedule.due == 2060.0
    for tenth in range(30):
        schedule.committed(2000.0 + tenth / 10)
    assert schedule.due == 2010.0
    schedule.began()
    schedule.refused(2010.0)
    assert schedule.due == 2070.0
    schedule.committed(2065.0)
    assert schedule.due == 2067.0


def test_what_is_refused_and_has_no_period_is_tried_now_and_then() -> None:
    schedule = made(None)
    schedule.began()
    schedule.refused(2000.0)
    assert schedule.due == 2300.0


def test_where_another_one_is_at_work_it_looks_again_soon() -> None:
    schedule = made(None)
    schedule.committed(2000.0)
    schedule.began()
    schedule.at_work(2002.0)
    assert schedule.due == 2004.0
    schedule.began()
    schedule.done(2005.0)
    assert schedule.due is None
