"""libfuse's requests, read by threads of ours.

libfuse lets any number of threads wait for the next request, and the kernel wakes them in turn. So
each call is answered on another thread than the last, mostly on another processor, and with
Python's lock on top that costs more than the answer: a stat took 40 µs instead of 26. Here one
thread leads: it waits for a request, answers it, and waits for the next. One that is about to wait
for something steps aside, and who takes longer than a moment is passed by: another leads then.

The threads are Python's own, so that they keep their state, and they end with the mount.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import queue
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

#: How long a request may keep all others waiting.
_MOMENT = 0.02
#: So many moments without a request, and nobody looks any more.
_QUIET_MOMENTS = 50
#: Threads that wait for something at a time; further requests wait until one has ended.
_MOST_THREADS = 64
_END_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: What interrupts the leader's wait.
_NUDGE: Final = signal.SIGUSR1
_JOIN_SECONDS = 0.02


def is_possible() -> bool:
    """Whether this thread can hear of signals, as who serves by this must."""
    return threading.current_thread() is threading.main_thread()


class Loop:
    """Serves one mount: `main` stands in for libfuse's `fuse_main_real`."""

    def __init__(self, library: Any) -> None:
        self._library = _declared(library)
        self._session: Any = None
        self._channel: Any = None
        self._turn = threading.Condition()
        self._leader: threading.Thread | None = None
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._ended = False
        #: Something is put in when the main thread must look: at the end, and at the first request
        #: after a pause. A handler of signals may put, whatever it has interrupted.
        self._look: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._failed = False
        self._asleep = True
        self._served = 0
        self._answering: threading.Thread | None = None

    def main(self, count: int, words: Any, operations: Any, size: int, data: Any) -> int:
        """Mount, serve until unmounted or told to end, unmount; 0, or 1 if it cannot be mounted."""
        mountpoint, threads = ctypes.c_char_p(), ctypes.c_int()
        with self._signals():
            found = ctypes.byref(mountpoint), ctypes.byref(threads)
            fuse = self._library.fuse_setup(count, words, operations, size, *found, data)
            if not fuse:
                return 1
            try:
                self._session = self._library.fuse_get_session(fuse)
                self._channel = self._library.fuse_session_next_chan(self._session, None)
                self._serve()
            finally:
                self._end()
                self._library.fuse_teardown(fuse, mountpoint)
        return 1 if self._failed else 0

    def step_aside(self) -> None:
        """Before a wait: let another thread read on, if the caller's leads."""
        if self._leader is threading.current_thread():
            self._pass_by(threading.current_thread())

    # The main thread

    def _serve(self) -> None:
        with self._turn:
            self._begin_thread()
        while not self._is_over():
            self._asleep = True
            if self._answering is None:  # else a request began before it could know
                self._look.get()
            self._asleep = False
            self._watch()

    def _watch(self) -> None:
        """While there are requests: pass by who takes too long for one."""
        quiet = 0
        while quiet < _QUIET_MOMENTS and not self._is_over():
            served, leader = self._served, self._leader
            with contextlib.suppress(queue.Empty):
                self._look.get(timeout=_MOMENT)
            quiet = quiet + 1 if self._served == served else 0
            if quiet and leader is not None and leader is self._leader is self._answering:
                self._pass_by(leader)
                quiet = 0

    def _is_over(self) -> bool:
        return self._ended or bool(self._library.fuse_session_exited(self._session))

    def _end(self) -> None:
        """End the threads; one that waits for an answer is told by whom it asks."""
        with self._turn:
            self._ended = True
            self._turn.notify_all()
        if self._session:
            self._library.fuse_session_exit(self._session)
        for thread in self._threads:
            while thread.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    signal.pthread_kill(thread.ident or 0, _NUDGE)
                thread.join(_JOIN_SECONDS)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """libfuse leaves signals alone for which somebody else listens."""

        def end(number: int, frame: FrameType | None) -> None:
            self._ended = True
            self._look.put(None)

        heard = [n for n in _END_SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, end) for number in heard}
        before[_NUDGE] = signal.signal(_NUDGE, lambda number, frame: None)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # The threads that serve

    def _begin_thread(self) -> None:
        thread = threading.Thread(target=self._work, name="avm-fuse", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _pass_by(self, leader: threading.Thread) -> None:
        with self._turn:
            if self._leader is not leader:
                return
            self._leader = None
            if self._idle:
                self._turn.notify()
            elif len(self._threads) < _MOST_THREADS:
                self._begin_thread()

    def _work(self) -> None:
        size = self._library.fuse_chan_bufsize(self._channel)
        buffer = ctypes.create_string_buffer(size)
        while self._lead():
            self._read_on(buffer, size)
        self._look.put(None)

    def _lead(self) -> bool:
        """Wait until it is this thread's turn; False at the end."""
        me = threading.current_thread()
        with self._turn:
            self._idle += 1
            self._turn.wait_for(lambda: self._leader is None or self._ended)
            self._idle -= 1
            if self._ended:
                return False
            self._leader = me
            return True

    def _read_on(self, buffer: Any, size: int) -> None:
        """Serve as long as this thread leads."""
        me, library, session = threading.current_thread(), self._library, self._session
        channel = ctypes.c_void_p(self._channel)
        while self._leader is me:
            length = library.fuse_chan_recv(ctypes.byref(channel), buffer, size)
            if length <= 0 or library.fuse_session_exited(session):
                if length != -errno.EINTR or library.fuse_session_exited(session):
                    self._failed = length < 0 and length != -errno.EINTR
                    self._ended = True
                    return
                continue
            self._answering = me
            if self._asleep:
                self._look.put(None)
            library.fuse_session_process(session, buffer, length, channel)
            if self._answering is me:
                self._answering = None
            self._served += 1


def _declared(library: Any) -> Any:
    """The library with the types of what is called."""
    pointer = ctypes.c_void_p
    library.fuse_setup.restype = pointer
    library.fuse_setup.argtypes = [
        ctypes.c_int, pointer, pointer, ctypes.c_size_t, pointer, pointer, pointer,
    ]  # fmt: skip
    library.fuse_teardown.argtypes = [pointer, ctypes.c_char_p]
    library.fuse_teardown.restype = None
    library.fuse_get_session.argtypes, library.fuse_get_session.restype = [pointer], pointer
    library.fuse_session_next_chan.argtypes = [pointer, pointer]
    library.fuse_session_next_chan.restype = pointer
    library.fuse_chan_bufsize.argtypes = [pointer]
    library.fuse_chan_bufsize.restype = ctypes.c_size_t
    library.fuse_chan_recv.argtypes = [pointer, pointer, ctypes.c_size_t]
    library.fuse_chan_recv.restype = ctypes.c_int
    library.fuse_session_process.argtypes = [pointer, pointer, ctypes.c_size_t, pointer]
    library.fuse_session_process.restype = None
    library.fuse_session_exited.argtypes = [pointer]
    library.fuse_session_exited.restype = ctypes.c_int
    library.fuse_session_exit.argtypes = [pointer]
    library.fuse_session_exit.restype = None
    return library
