"""The only façade: AVM and AgentMemory. Every door goes through here; so does the access check."""

from avm.api.avm import AVM, open_avm
from avm.api.results import BlameLine, Commit, Hit, Info, Recalled, Remembered, Stats, Status
from avm.api.view import AgentMemory, View

__all__ = [
    "AVM",
    "AgentMemory",
    "BlameLine",
    "Commit",
    "Hit",
    "Info",
    "Recalled",
    "Remembered",
    "Stats",
    "Status",
    "View",
    "open_avm",
]
