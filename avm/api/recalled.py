"""What a recall is answered with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recalled:
    """An answer within its budget. `tokens` is an upper bound of its o200k tokens; `ranked_by` is
    `text` or `text+vectors`."""

    text: str
    tokens: int
    passages: int
    memories: int
    ranked_by: str
