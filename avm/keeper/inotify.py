"""Watching folders on Linux: watchdog's inotify, read in our own loop.

watchdog's observers hand events through two threads and hold moves back for half a second to pair
them. The plan pairs moves by content, and a barrier must know that the kernel's queue was read, so
the descriptor is read directly. One descriptor for all folders: its queue is in order.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import termios
from collections.abc import Iterator
from dataclasses import dataclass

from watchdog.observers.inotify_c import (
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
    inotify_rm_watch,
)

#: No opening and reading: a search of the vault by `rg` is no event.
_MASK = Mask(
    InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_DONT_FOLLOW
    | InotifyConstants.IN_EXCL_UNLINK
)
#: A folder went with all that is in it. (One that is deleted was empty before.)
_MOVED = (
    InotifyConstants.IN_MOVED_FROM | InotifyConstants.IN_MOVE_SELF | InotifyConstants.IN_UNMOUNT
)
#: The watched folder itself went.
_ENDED = (
    InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_UNMOUNT
    | InotifyConstants.IN_IGNORED
)
#: The queue's usual limit is 16,384 events of at most 272 bytes: so many reads have read past all
#: that was in it at their beginning, however many are added meanwhile.
_MOST_READS = 256


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to `name` in the folder watched as `watch`; `name` "": to the folder.

    `moved`: away, with all that is in it; `ended`: the watched
    folder is not there any more.
    """

    watch: int
    name: bytes
    is_folder: bool
    moved: bool
    ended: bool
    overflow: bool


class LimitReachedError(OSError):
    """The system allows no more watches."""


class Inotify(InotifyFD):
    """An inotify instance that is read by `drain`; its thread is never started."""

    @property
    def fd(self) -> int:
        """The descriptor, to be waited for."""
        return self._inotify_fd

    def watch(self, path: bytes) -> int:
        """Watch the folder `path`; the watch's number, the same for one that is watched already.

        Raises LimitReachedError, OSError if it is no folder or cannot be read.
        """
        try:
            with self._lock:
                watch = self._get_or_create_watch(path, _MASK).wd
        except OSError as err:
            if err.errno in (errno.ENOSPC, errno.ENOMEM):
                raise LimitReachedError(err.errno, "no more inotify watches") from None
            raise
        if watch < 0:  # watchdog says nothing of a folder that may not be read
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return watch

    def forget(self, watch: int) -> None:
        """Watch no more; one that is gone already is no error."""
        with self._lock:
            self._remove_watch(WatchDescriptor(watch))
            inotify_rm_watch(self._inotify_fd, WatchDescriptor(watch))

    def drain(self) -> Iterator[Event]:
        """All that the kernel has queued up to now; waits for nothing."""
        for _ in range(_MOST_READS):
            if not self._queued():
                return
            for event in self.read_events():
                if event.is_ignored:
                    self._remove_watch(event.wd)
                yield _event(event)
        yield _OVERFLOW  # there was more than any queue holds: look at everything

    def end(self) -> None:
        """Close the descriptor."""
        self._is_reading = False
        self.close()

    def _queued(self) -> int:
        count = array.array("i", [0])
        fcntl.ioctl(self._inotify_fd, termios.FIONREAD, count)
        return count[0]


_OVERFLOW = Event(watch=-1, name=b"", is_folder=False, moved=False, ended=False, overflow=True)


def _event(event: InotifyEvent) -> Event:
    mask = event.mask
    return Event(
        watch=event.wd,
        name=event.name,
        is_folder=bool(mask & InotifyConstants.IN_ISDIR),
        moved=bool(mask & _MOVED),
        ended=bool(mask & _ENDED),
        overflow=event.is_queue_overflow,
    )
