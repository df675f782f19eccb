"""The only façade: AVM and AgentMemory. Every door goes through here; so does the access check."""

from avm.api.avm import AVM, open_avm
from avm.api.results import (
    BlameLine,
    Collected,
    Commit,
    Hit,
    Info,
    Recalled,
    Remembered,
    Restored,
    Stats,
    Status,
    Undone,
)
from avm.api.view import AgentMemory, View

__all__ = [
    "AVM",
    "AgentMemory",
    "BlameLine",
    "Collected",
    "Commit",
    "Hit",
    "Info",
    "Recalled",
    "Remembered",
    "Restored",
    "Stats",
    "Status",
    "Undone",
    "View",
    "open_avm",
]
