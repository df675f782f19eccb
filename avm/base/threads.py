"""Threads that Python did not begin: who still runs."""

from __future__ import annotations

import os
import threading
from typing import NamedTuple

_TASKS = "/proc/self/task"


class Runner(NamedTuple):
    """A thread. One that libfuse began is alive for Python for ever, and what it keeps in
    thread-locals stays: whoever keeps a connection a thread must ask who still runs."""

    thread: threading.Thread
    native: int

    @classmethod
    def current(cls) -> Runner:
        """This one."""
        return cls(threading.current_thread(), threading.get_native_id())

    def runs(self) -> bool:
        """Whether it has not ended."""
        if not self.thread.is_alive():
            return False
        return not os.path.isdir(_TASKS) or os.path.exists(f"{_TASKS}/{self.native}")
