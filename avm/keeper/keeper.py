"""The keeper: its parts put together, and what it answers."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from avm.api.keeper import abilities, hello, note_socket, socket_path
from avm.api.store import Store
from avm.base import heap, log
from avm.base.errors import AVMError
from avm.base.keeper_client import Hello
from avm.keeper.election import lock_path, take_role
from avm.keeper.meaning import Meaning, is_patient
from avm.keeper.reminding import Reminding
from avm.keeper.sequencer import Sequencer
from avm.keeper.server import Reply, Server
from avm.keeper.syncing import AutoSync
from avm.keeper.watcher import Watcher
from avm.vault.background import BackgroundCommitter
from avm.vault.committer import Committer

_log = log.logger(__name__)


class Keeper:
    """Keeps one vault until it is told to stop, has nothing to do for long, or the vault goes."""

    def __init__(self, store: Store, mine: Hello) -> None:
        self._store = store
        self._mine = mine
        self._idle_seconds: float = store.config["keeper.idle"].total_seconds()
        self._watcher = Watcher(store.vault)
        self._meaning = Meaning(store)
        self._sequencer = Sequencer(store.vault, store.index, self._watcher, self._meaning.wake)
        place = socket_path(store.vault)
        self._server = Server(place, mine, self._watcher.fd)
        with contextlib.suppress(OSError):  # a full disk: whoever would listen there too finds it
            note_socket(store.vault, place)
        self._committer = BackgroundCommitter(
            store.vault, store.config, store.committer, self._server.held
        )
        self._reminding = Reminding(store)
        self._sync = AutoSync(store, self._server.held, self._sequencer.wake)
        store.open_here = self._server.held
        self._began = time.time()
        self._lock_inode = _inode(lock_path(store.vault))
        self._rounds = 0
        self._active_at = time.monotonic()
        self._server.quick("barrier", self._barrier)
        self._server.quick("stop", self._stop)
        self._server.slow("nearest", self._meaning.answer, is_patient)
        self._server.slow("embed", self._embed, is_patient)
        self._server.slow("flush", self._flush)
        # With those that wait for the model: it asks this very keeper, who must not wait for it.
        self._server.slow("remind", self._reminding.answer, lambda _: True)
        self._server.slow("held", lambda _: {"held": sorted(self._server.held())})
        self._server.slow("status", self._status)

    def run(self) -> None:
        """Work until the end."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._server.stop())
        self._sequencer.start()
        self._committer.start()
        self._meaning.start()
        self._sync.start()
        try:
            self._server.run(self._stirred, self._tick)
        finally:
            self._end()

    def _end(self) -> None:
        self._sync.halt()  # the network takes a moment to let go
        self._meaning.stop()  # first: whoever waits for the model has its answer
        self._server.close()
        self._reminding.close()
        self._sync.stop()
        self._sequencer.stop()
        self._watcher.close()
        try:
            self._committer.stop()
        except AVMError as err:
            _log.warning("commit: %s", err)
        self._store.close()

    def _stirred(self) -> None:
        """The kernel has events."""
        self._watcher.drain()
        if self._watcher.pending():
            self._sequencer.wake()

    def _tick(self) -> bool:
        """Once a second: False if it is time to end."""
        if self._watcher.gone or _inode(lock_path(self._store.vault)) != self._lock_inode:
            return False  # somebody removed the vault, or the state: others see no keeper now
        if not self._server.reachable():
            return False
        now = time.monotonic()
        busy = self._server.attached or self._meaning.busy or self._sync.is_needed
        if busy or self._sequencer.asked_rounds != self._rounds:
            self._active_at, self._rounds = now, self._sequencer.asked_rounds
        quiet_since = max(self._active_at, self._server.asked_at)
        return now - quiet_since < self._idle_seconds

    def _barrier(self, _: Mapping[str, Any], reply: Reply) -> None:
        def answer(problem: str | None) -> None:
            if self._store.index.private:  # nobody else sees what this process has in memory
                problem = self._store.index.notice
            reply({"error": problem} if problem else {"ok": True})

        if self._sequencer.is_fresh():
            answer(None)
        else:
            self._sequencer.request(answer)

    def _stop(self, _: Mapping[str, Any], reply: Reply) -> None:
        reply({"ok": True})
        self._server.stop()

    def _flush(self, _: Mapping[str, Any]) -> dict[str, Any]:
        # A committer of its own: the background one may be at work in its thread.
        store = self._store
        committer = Committer(store.vault, store.config, store.allowed.held_because)
        report = committer.commit(now=True, journalled=True, held=self._server.held())
        return {"commits": report.commits, "waiting": report.waiting, "blocked": report.blocked}

    def _embed(self, request: Mapping[str, Any]) -> dict[str, Any]:
        vectors = self._meaning.embed(list(map(str, request["texts"])), float(request["wait"]))
        return {"vectors": [vector.hex() for vector in vectors]}

    def _status(self, _: Mapping[str, Any]) -> dict[str, Any]:
        watcher, sequencer = self._watcher, self._sequencer
        return {
            "pid": os.getpid(),
            "version": self._mine.version,
            "started": self._began,
            "watched": watcher.watched,
            "unwatched": watcher.unwatched,
            "hindrance": watcher.hindrance,
            "overflows": watcher.overflows,
            "mounts": self._server.attached,
            "rounds": sequencer.rounds,
            "scan_seconds": round(sequencer.scan_seconds, 3),
            "problem": sequencer.problem,
            "meaning": asdict(self._meaning.progress()),
            "sync": self._sync.told(),
            "rss": _rss(),
        }


def keep(store: Store) -> Hello | None:
    """Be the keeper of `store`'s vault until the end; or, where another one is, say which.

    None: this was the keeper, or the one there is does not speak.
    """
    mine = hello(store.vault, abilities(store.config))
    role = take_role(store.vault, mine)
    if role is None or isinstance(role, Hello):
        return role
    heap.keep_small()
    try:
        Keeper(store, mine).run()
    finally:
        role.release()
    return None


def _inode(file: Path) -> int | None:
    try:
        return file.stat().st_ino
    except OSError:
        return None


def _rss() -> int:
    """The memory this process holds, in bytes."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
