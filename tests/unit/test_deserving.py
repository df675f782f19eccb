"""Whether what was found deserves to be told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avm.recall.deserving import deserves

RARE = math.log(1001)  # what a word is worth that one of 1,000 passages has


@pytest.mark.parametrize(
    ("text", "telling", "cosine", "told"),
    [
        (2 * RARE, 4 * RARE, None, True),  # half of what was asked for, two rare words
        (1 * RARE, 4 * RARE, None, False),
        (3 * RARE, 20 * RARE, None, True),  # three rare words in a page of others
        (0.7 * RARE, 0.7 * RARE, None, False),  # all of one common word: "continue"
        (0.0, 0.0, None, False),
        (0.0, 5 * RARE, 0.61, True),  # other words, the same meaning
        (0.0, 5 * RARE, 0.59, False),
        (2 * RARE, 4 * RARE, 0.36, True),
        (2 * RARE, 4 * RARE, 0.2, False),  # the words alone are not enough where meaning speaks
    ],
)
def test_what_is_told(text: float, telling: float, cosine: float | None, told: bool) -> None:
    assert deserves(text, telling, 1000, cosine) is told


@given(
    st.floats(0, 100), st.floats(0, 100), st.integers(0, 10**7), st.none() | st.floats(-1, 1),
    st.floats(0, 10),
)  # fmt: skip
def test_more_never_tells_less(
    text: float, telling: float, passages: int, cosine: float | None, more: float
) -> None:
    if deserves(text, telling, passages, cosine):
        assert deserves(text + more, telling, passages, cosine)
        if cosine is not None:
            assert deserves(text, telling, passages, cosine + more)
