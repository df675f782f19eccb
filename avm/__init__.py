"""AVM: agent memory as plain files. The public names, nothing else.

Imported lazily: `import avm` alone costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avm.api import (
        AVM,
        AgentMemory,
        BlameLine,
        Commit,
        Hit,
        Info,
        Remembered,
        Restored,
        Stats,
        Undone,
    )
    from avm.base.errors import AVMError
    from avm.recall.scoring import ScoringStrategy

__version__ = "0.1.0"
_PLACES = {
    "AVM": "avm.api",
    "AgentMemory": "avm.api",
    "BlameLine": "avm.api",
    "Commit": "avm.api",
    "Hit": "avm.api",
    "Info": "avm.api",
    "Remembered": "avm.api",
    "Restored": "avm.api",
    "Stats": "avm.api",
    "Undone": "avm.api",
    "AVMError": "avm.base.errors",
    "ScoringStrategy": "avm.recall.scoring",
}
__all__ = [
    "AVM",
    "AVMError",
    "AgentMemory",
    "BlameLine",
    "Commit",
    "Hit",
    "Info",
    "Remembered",
    "Restored",
    "ScoringStrategy",
    "Stats",
    "Undone",
    "__version__",
]


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(place), name)
