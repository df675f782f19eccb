"""`avm run`: a command with a mount of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

import click

from avm.base.config import mount_registry
from avm.base.errors import UsageError
from avm.cli.door import Door, shared, warn
from avm.cli.mount import start

#: What a shell answers for a command that is not there, and for one that cannot be run.
_MISSING, _UNFIT = 127, 126


# What follows COMMAND is its own, whatever it looks like.
@click.command("run", context_settings={"allow_interspersed_args": False})
@click.option("--read-only", is_flag=True, help="Nothing can be changed through the mount.")
@click.argument("words", metavar="COMMAND", nargs=-1, required=True, type=click.UNPROCESSED)
@shared
@click.pass_obj
def command(door: Door, read_only: bool, words: tuple[str, ...]) -> None:
    """Run COMMAND in the root of a mount made for it, and unmount when it has ended.

    The exit code is the command's. What it wrote is committed when this returns.
    """
    from avm.fuse import mounts

    if door.as_json:
        raise UsageError("avm run prints what the command prints: leave --json out")
    with _Signals() as signals:
        folder = Path(tempfile.mkdtemp(prefix="avm-run-"))
        point = folder / "vault"
        try:
            start(door, point, ["--read-only"] if read_only else [])
            try:
                code = _run(words, point, signals)
            finally:
                line = mounts.unmount(point, registry_dir=mount_registry(), end=True)
                if "in use" in line:
                    warn(line)
        finally:
            # Empty folders only: a mount that could not be taken away shows the vault's files.
            for empty in (point, folder):
                with contextlib.suppress(OSError):
                    os.rmdir(empty)
    sys.exit(code)


def _run(words: tuple[str, ...], folder: Path, signals: _Signals) -> int:
    try:
        process = subprocess.Popen(words, cwd=folder, env={**os.environ, "PWD": str(folder)})
    except FileNotFoundError:
        warn(f"no command {words[0]!r}")
        return _MISSING
    except OSError as error:
        warn(f"{words[0]}: {error.strerror}")
        return _UNFIT
    signals.pass_on_to(process)
    code = process.wait()
    return 128 - code if code < 0 else code


class _Signals:
    """Leaves the signals that end a command to the command, so that its mount goes after it."""

    #: From a terminal these reach the command as well: whether it ends is the command's matter.
    _TYPED = (signal.SIGINT, signal.SIGQUIT)
    _PASSED_ON = (signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._came: list[int] = []

    def __enter__(self) -> _Signals:
        every = (*self._TYPED, *self._PASSED_ON)
        self._before = {number: signal.getsignal(number) for number in every}
        for number, handler in self._before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def pass_on_to(self, process: subprocess.Popen[bytes]) -> None:
        """Send it what came up to now, and what comes."""
        self._process = process
        for number in self._came:
            process.send_signal(number)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self._process is None:
            self._came.append(number)
        elif number in self._PASSED_ON:
            self._process.send_signal(number)
