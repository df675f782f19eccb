"""Virtual nodes' answers for a mount: a memo, so that the calls behind one `cat` compute once.

Beside virtual.py, as what it stands on loads `logging`, which no command needs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import NamedTuple, TypeVar

from avm.api import View
from avm.overlay.names import Answer, Asked
from avm.overlay.virtual import answer, check_exists
from avm.vault import files, history
from avm.vault.files import Stamp

#: A `cat` is a lookup, a getattr, an open: all within this. Longer would keep an answer that was
#: ranked before the model was ready.
_MEMO_SECONDS = 2.0
_MEMO_ENTRIES = 64
#: How long the lookup of a name may hold its folder.
_LOOKUP_SECONDS = 0.02
_GUESS = 4096
#: Answers that are computed side by side; more would take the processor from each other.
_COMPUTING = 4
#: As long as most answers take: for less nobody is asked to step in.
_SOON_SECONDS = 0.002
#: How often whoever waits for an answer looks whether the mount is to end.
_GLANCE_SECONDS = 0.1

_Key = tuple[object, ...]
_Value = TypeVar("_Value")


class _State(NamedTuple):
    generation: int
    head: str | None
    refusals: int
    #: Of the file that a node is on: git may ignore it, and then the index does not know it.
    file: Stamp | None

    def holds(self, now: _State) -> bool:
        """Whether what was begun in this state is as new as what is begun in the state `now`."""
        counts = self.generation >= now.generation and self.refusals >= now.refusals
        return counts and (self.head, self.file) == (now.head, now.file)


class _Running:
    """A computation; `state` once it is known which files it sees at least."""

    def __init__(self) -> None:
        self.future: Future[Answer] = Future()
        self.state: _State | None = None


class _Memo(NamedTuple):
    state: _State
    until: float  # time.monotonic
    ends: float | None  # the next expiry: the answer lapses with it
    answer: Answer


class Answers:
    """`answer` with the memo, each computed once however many ask for it at a time."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._memos: OrderedDict[_Key, _Memo] = OrderedDict()
        self._sizes: OrderedDict[_Key, int] = OrderedDict()
        self._running: dict[_Key, _Running] = {}
        self._workers = _Workers()
        self._guard = threading.Lock()
        #: Whether nobody will be told an answer any more.
        self.ended: Callable[[], bool] = lambda: False
        #: Called before a wait: other calls of the mount's are to be answered meanwhile.
        self.aside: Callable[[], None] = lambda: None

    def close(self) -> None:
        """End; what is computed is not waited for."""
        self._workers.close()

    def get(self, asked: Asked, on: str) -> Answer:
        """The text of a node; at most 2 s old, and never older than the last write, commit or
        expiry. Raises AVMError."""
        memo = self._memo(asked, on)
        while memo is None:
            mine, running = self._begun(asked, on)
            if mine or self._is_fresh(running, asked, on):
                self._wait_for(running)
                return running.future.result()
        return memo

    def size(self, asked: Asked, on: str) -> int:
        """How many bytes it has. The first who asks, while nobody computes it yet, waits a moment
        at most and is then told what it had last, or a guess: the kernel holds the folder while it
        looks a name up. It asks again before anybody sees a size. Raises AVMError."""
        memo = self._memo(asked, on)
        if memo is not None:
            return len(memo.data)
        check_exists(self._view, asked, on)
        mine, running = self._begun(asked, on)
        if not mine:
            return len(self.get(asked, on).data)
        if not wait((running.future,), _SOON_SECONDS).done:
            self.aside()
            if not wait((running.future,), _LOOKUP_SECONDS).done:
                return self._sizes.get(_key(asked, on), _GUESS)
        return len(running.future.result().data)

    def _memo(self, asked: Asked, on: str) -> Answer | None:
        """What was computed a moment ago, if it still holds."""
        with self._guard:
            memo = self._memos.get(_key(asked, on))
        if memo is None or time.monotonic() >= memo.until:
            return None
        ended = memo.ends is not None and self._view.store.now() >= memo.ends
        return None if ended or memo.state != self._state(asked, on) else memo.answer

    def _state(self, asked: Asked, on: str) -> _State:
        """What all answers depend on, as it is now."""
        store = self._view.store
        store.refresh()
        head, file = history.head(store.vault), None
        if asked.node.place == "file" and (status := files.regular_file(store.vault, on)):
            file = Stamp.of(status)
        return _State(store.index.generation(), head, self._view.refusal_count, file)

    def _is_fresh(self, running: _Running, asked: Asked, on: str) -> bool:
        """Whether what another asked for is as new as now, once it has ended."""
        now = self._state(asked, on)
        self._wait_for(running)
        return running.state is not None and running.state.holds(now)

    def _wait_for(self, running: _Running) -> None:
        """Wait until it has ended. Raises OSError if the mount ends before."""
        if wait((running.future,), _SOON_SECONDS).done:
            return
        self.aside()
        while not wait((running.future,), _GLANCE_SECONDS).done:
            if self.ended():
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))

    def _begun(self, asked: Asked, on: str) -> tuple[bool, _Running]:
        """Whether the computation was begun just now, and it."""
        key = _key(asked, on)
        with self._guard:
            if running := self._running.get(key):
                return False, running
            running = self._running[key] = _Running()
        try:
            self._workers.do(partial(self._compute, running, key, asked, on))
        except BaseException as error:
            with self._guard:
                self._running.pop(key, None)
            running.future.set_exception(error)
            raise
        return True, running

    def _compute(self, running: _Running, key: _Key, asked: Asked, on: str) -> None:
        try:
            running.state = self._state(asked, on)
            ends = self._view.store.index.next_end(self._view.store.now())
            found = answer(self._view, asked, on)
            if found.read_whole is not None:
                found = found._replace(read_whole=self._forgetting(key, found.read_whole))
            until = time.monotonic() + _MEMO_SECONDS
            with self._guard:
                _keep(self._memos, key, _Memo(running.state, until, ends, found))
                _keep(self._sizes, key, len(found.data))
                del self._running[key]
            running.future.set_result(found)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            with self._guard:
                self._running.pop(key, None)
            running.future.set_exception(error)

    def _forgetting(self, key: _Key, act: Callable[[], None]) -> Callable[[], None]:
        """`act`, after which what was computed does not hold any more."""

        def both() -> None:
            act()
            with self._guard:
                self._memos.pop(key, None)

        return both


class _Workers:
    """Threads that stay, for what they have open. The process does not wait for them at its end."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0
        self._guard = threading.Lock()

    def do(self, task: Callable[[], None]) -> None:
        """Have it done by one of them."""
        with self._guard:
            if not self._idle.acquire(blocking=False) and self._threads < _COMPUTING:
                threading.Thread(target=self._work, name="avm-answer", daemon=True).start()
                self._threads += 1
        self._tasks.put(task)

    def close(self) -> None:
        """End; what nobody has begun is not done."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._tasks.get_nowait()
        for _ in range(self._threads):
            self._tasks.put(None)

    def _work(self) -> None:
        while task := self._tasks.get():
            task()
            del task  # and what it holds, while nothing is asked
            self._idle.release()


def _key(asked: Asked, on: str) -> _Key:
    return (asked.node.place, asked.node.name, asked.on, on, asked.arguments)


def _keep(kept: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _MEMO_ENTRIES:
        kept.popitem(last=False)
