"""Whether what was found deserves to be told to somebody who did not ask for it.

Scores order what was found for one question; here they must mean the same for all. With vectors
that is the cosine, with what the words say added; without, what the words say alone. Thresholds
were found on conversations: tests/bench/reminders.py has what they let through.
"""

from __future__ import annotations

import math

#: What the words must say without vectors, and with them together with the cosine.
_LEAST_BY_TEXT, _LEAST_BY_MEANING = 0.45, 0.6
_TEXT_SHARE = 0.5


def deserves(text: float, telling: float, passages: int, cosine: float | None) -> bool:
    """Whether the best of what was found is near enough.

    `text`: its BM25, of at most about `telling`, the sum of the idf of the words asked for, of
    which the rarest of `passages` passages has ln(passages). `cosine`: None without vectors.
    """
    words = _by_words(text, telling, passages)
    if cosine is None:
        return words >= _LEAST_BY_TEXT
    return cosine + _TEXT_SHARE * words >= _LEAST_BY_MEANING


def _by_words(text: float, telling: float, passages: int) -> float:
    """What share of the words it has, weighed by how telling they are. One or two words are worth
    no more than they tell, and several rare ones something however many others there are."""
    share = text / telling if telling > 0 else 0.0
    rare = text / math.log(passages + 1) if passages > 0 else 0.0  # so many rare words' worth
    return max(min(share, rare / 2), rare / 6)
