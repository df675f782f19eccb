"""Two short conversations with questions, in the form that `avm bench recall` reads."""

from __future__ import annotations

import copy
from typing import Any

_DATA = {
    "conversations": [
        {
            "id": "one",
            "sessions": [
                {
                    "n": 1,
                    "date": "1:56 pm on 8 May, 2023",
                    "turns": [
                        {"id": "D1:1", "speaker": "Ada", "text": "I planted  tomatoes\ntoday."},
                        {"id": "D1:2", "speaker": "Ben", "text": "My bicycle has a puncture."},
                    ],
                },
                {
                    "n": 2,
                    "date": "9:00 am on 1 June, 2023",
                    "turns": [
                        {
                            "id": "D2:1",
                            "speaker": "Ada",
                            "text": "Look at this harvest of radishes!",
                        },
                        {"id": "D2:2", "speaker": "Ben", "text": "Splendid, and the kitchen?"},
                    ],
                },
            ],
            "qa": [
                # Evidence in two sessions, of which the words find one.
                {"question": "Tomatoes?", "category": 1, "evidence": ["D1:1", "D2:2"]},
                {"question": "Radishes?", "category": 4, "evidence": ["D2:1"]},
                {"question": "Zeppelin?", "category": 4, "evidence": ["D1:2"]},
                {"question": "Tomatoes?", "category": 5, "evidence": ["D1:1"]},
                {"question": "Tomatoes?", "category": 2, "evidence": []},
            ],
        },
        {
            "id": "two",
            "sessions": [
                {
                    "n": 1,
                    "date": "12:48 am on 1 February, 2023",
                    "turns": [{"id": "D1:1", "speaker": "Cy", "text": "A soup of carrots."}],
                }
            ],
            "qa": [{"question": "Carrots?", "category": 4, "evidence": ["D1:1"]}],
        },
    ]
}


def tiny() -> dict[str, Any]:
    """A copy to change."""
    return copy.deepcopy(_DATA)
