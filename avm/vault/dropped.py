"""Memories that lost their front matter to a program that wrote a whole file without any."""

from __future__ import annotations

import time
from collections.abc import Collection

from avm.base import memory_file, paths
from avm.vault import files
from avm.vault.journal import Journal
from avm.vault.location import Vault


def note(vault: Vault, rels: Collection[str]) -> None:
    """Note that a commit took the front matter of these."""
    for rel in sorted(rels):
        _journal(vault).append({"path": rel, "at": time.time()})


def standing(vault: Vault) -> list[str]:
    """Those that were noted, are there and have none to this day."""
    noted = dict.fromkeys(
        str(record["path"]) for record in _journal(vault).records() if "path" in record
    )
    return [rel for rel in noted if _has_none(vault, rel)]


def _has_none(vault: Vault, rel: str) -> bool:
    if not paths.is_memory(rel) or files.regular_file(vault, rel) is None:
        return False
    return not memory_file.split(files.read(vault, rel)).has_front


def _journal(vault: Vault) -> Journal:
    return Journal(vault.own_state / "dropped.jsonl")
