"""Programs that want a terminal, typed into as a person does."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from pathlib import Path

_SECONDS = 60.0
_ROWS, _COLUMNS = 24, 100


def typed(command: Sequence[str], folder: Path, keys: str = "", ready: str = "") -> None:
    """Run `command` in a terminal of its own, type `keys` once it has printed `ready`, and wait
    for its end. Raises RuntimeError with what it printed if it fails or does not end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    # setsid --ctty: emacs opens /dev/tty.
    child = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    printed, to_type = b"", keys.encode()
    deadline = time.monotonic() + _SECONDS
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 0.1)[0]:
                continue
            part = _read(ours)
            if not part:
                break
            printed += part
            if to_type and printed and ready.encode() in printed:
                os.write(ours, to_type)
                to_type = b""
        code = child.wait(timeout=max(1.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        child.kill()
        code = child.wait()
    finally:
        os.close(ours)
    if code != 0:
        raise RuntimeError(f"{command[0]} ended with {code}: {printed[-500:]!r}")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError as err:
        if err.errno == errno.EIO:  # the other end is closed
            return b""
        raise
