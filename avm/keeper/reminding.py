"""The keeper's part in reminding: it has open what a hook of a coding agent would have to load."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from avm.api.store import Store
from avm.api.view import View
from avm.api.waiting import Waiting
from avm.base.access import OWNER, Rules, Viewer
from avm.base.paths import check_agent


class Reminding:
    """Answers the op `remind`, as a process would that stays: it asks this keeper in turn."""

    def __init__(self, store: Store) -> None:
        self._keepers = store
        self._own: Store | None = None
        self._opening = threading.Lock()

    def answer(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What is told, by the rules that the one who asks has read just now. Raises AVMError."""
        view = View(self._store(), _viewer(fields))
        known = frozenset(map(int, fields["known"]))
        told = view.reminded(fields["prompt"], int(fields["max_tokens"]), known)
        if told is None:
            return {"ok": True}
        return {"text": told.text, "tokens": told.tokens, "keys": told.keys}

    def close(self) -> None:
        """Let go of the index."""
        if self._own is not None:
            self._own.close()

    def _store(self) -> Store:
        with self._opening:
            if self._own is None:
                self._own = Store(self._keepers.vault, self._keepers.config, Waiting.LIBRARY)
            return self._own


def _viewer(fields: Mapping[str, Any]) -> Viewer:
    if fields["agent"] is None:
        return OWNER
    read, write, deny = (tuple(map(str, fields[name])) for name in ("read", "write", "deny"))
    return Viewer(check_agent(fields["agent"]), Rules(read, write, deny))
