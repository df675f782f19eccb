"""The only façade: AVM and AgentMemory. Every door goes through here; so does the access check.

Names are fetched when they are used: a question needs few of the answers' classes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avm.api.avm import AVM, open_avm
    from avm.api.commits import BlameLine, Commit
    from avm.api.facts import Info, Stats, Status
    from avm.api.recalled import Recalled
    from avm.api.resembling import Alike, AlikePair, Similar, SimilarPairs
    from avm.api.results import Hit
    from avm.api.view import AgentMemory, View
    from avm.api.written import Collected, Remembered, Restored, Undone

_PLACES = {
    "AVM": "avm.api.avm",
    "AgentMemory": "avm.api.view",
    "Alike": "avm.api.resembling",
    "AlikePair": "avm.api.resembling",
    "BlameLine": "avm.api.commits",
    "Collected": "avm.api.written",
    "Commit": "avm.api.commits",
    "Hit": "avm.api.results",
    "Info": "avm.api.facts",
    "Recalled": "avm.api.recalled",
    "Remembered": "avm.api.written",
    "Restored": "avm.api.written",
    "Similar": "avm.api.resembling",
    "SimilarPairs": "avm.api.resembling",
    "Stats": "avm.api.facts",
    "Status": "avm.api.facts",
    "Undone": "avm.api.written",
    "View": "avm.api.view",
    "open_avm": "avm.api.avm",
}
__all__ = [
    "AVM",
    "AgentMemory",
    "Alike",
    "AlikePair",
    "BlameLine",
    "Collected",
    "Commit",
    "Hit",
    "Info",
    "Recalled",
    "Remembered",
    "Restored",
    "Similar",
    "SimilarPairs",
    "Stats",
    "Status",
    "Undone",
    "View",
    "open_avm",
]


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(place), name)
