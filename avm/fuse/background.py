"""Starting a mount's server as a program of its own and waiting until it serves.

Nothing forks without exec: threads, locks and open databases of the caller stay the caller's.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from avm.base.errors import MountError
from avm.fuse.mounts import find_mount, repair

READY_OPTION: Final = "--ready-fd"
_READY: Final = b"R"
#: How long a server that is told to end may take before it is killed.
_END_SECONDS = 5.0

#: Servers that outlive this process. Kept so that one that ends earlier is reaped at the next
#: start instead of staying a zombie.
_started: list[subprocess.Popen[bytes]] = []


def start(command: Sequence[str], mountpoint: Path, log_file: Path, timeout: float) -> int:
    """Run `command` + `--ready-fd N` in the background until it serves `mountpoint`; its pid.

    The program calls `announce(N)` when it serves. It gets a session of its own, no input, and
    writes to the end of `log_file`, so it holds none of the caller's pipes. Raises MountError with
    its last words if it ends before, and after `timeout` seconds (then it is ended).
    """
    _started[:] = [process for process in _started if process.poll() is None]
    log_file.parent.mkdir(parents=True, exist_ok=True)
    read_end, write_end = os.pipe()
    try:
        with log_file.open("ab") as log:
            words_from = log.tell()
            process = subprocess.Popen(
                [*command, READY_OPTION, str(write_end)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(write_end,),
            )
        os.close(write_end)
        write_end = -1
        answer = _wait(read_end, timeout)
    except OSError as error:
        raise MountError(f"cannot start {command[0]}: {error.strerror}") from error
    finally:
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)
    if answer == _READY and _serves(mountpoint):
        _started.append(process)
        return process.pid
    late = answer is None
    status = _end(process, at_once=answer != b"")
    repair(mountpoint)
    words = _last_words(log_file, words_from)
    if late:
        raise MountError(
            f"the mount at {mountpoint} did not answer in {timeout:g} s"
            f" ({words or 'no word'}; log: {log_file})"
        )
    raise MountError(words or f"the mount's server ended with status {status}; log: {log_file}")


def announce(ready_fd: int) -> Callable[[], None]:
    """For the program that `start` ran: the function to call when the mount serves.

    Call this early: from now on no child inherits `ready_fd`, whose end tells of a failure.
    """
    os.set_inheritable(ready_fd, False)

    def tell() -> None:
        os.write(ready_fd, _READY)
        os.close(ready_fd)

    return tell


def _wait(fd: int, timeout: float) -> bytes | None:
    """The byte, b"" at the end of the pipe, None after `timeout` seconds."""
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLHUP)
    return os.read(fd, 1) if poll.poll(max(0, round(timeout * 1000))) else None


def _serves(mountpoint: Path) -> bool:
    entry = find_mount(mountpoint)
    return entry is not None and not entry.stale


def _end(process: subprocess.Popen[bytes], *, at_once: bool) -> int:
    """Wait for it, and make it end if it does not (or `at_once`); its exit status."""
    deadline = time.monotonic() + _END_SECONDS
    if at_once:
        process.terminate()
    try:
        return process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _last_words(log_file: Path, offset: int) -> str:
    with log_file.open("rb") as log:
        log.seek(offset)
        lines = [line.strip() for line in os.fsdecode(log.read()).splitlines() if line.strip()]
    return lines[-1] if lines else ""
