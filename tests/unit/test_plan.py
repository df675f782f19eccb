"""The plan: read what is new, changed or in doubt; drop what is gone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avm.index.plan import is_racy, make_plan
from avm.vault.files import RACY_NS, Stamp

LATE = 10 * RACY_NS
stamps = st.builds(Stamp, *(st.integers(0, 3),) * 4)
found = st.dictionaries(st.sampled_from("abcdef"), stamps)
known = st.dictionaries(st.sampled_from("abcdef"), st.tuples(stamps, st.sampled_from([1, LATE])))


@given(known, found)
def test_a_plan_covers_every_difference_and_nothing_else(
    rows: dict[str, tuple[Stamp, int]], files: dict[str, Stamp]
) -> None:
    plan = make_plan([(p, checked, *stamp) for p, (stamp, checked) in rows.items()], files)
    assert set(plan.gone) == set(rows) - set(files)
    for path, stamp in files.items():
        row = rows.get(path)
        same = row == (stamp, LATE)
        assert (path in plan.read) == (not same)
    assert bool(plan) == bool(plan.read or plan.gone)


def test_a_file_read_within_two_seconds_of_its_stamp_is_in_doubt() -> None:
    stamp = Stamp(mtime_ns=5 * RACY_NS, ctime_ns=6 * RACY_NS, size=1, inode=1)
    assert is_racy(stamp, 6 * RACY_NS)
    assert is_racy(stamp, 7 * RACY_NS - 1)
    assert not is_racy(stamp, 7 * RACY_NS)
