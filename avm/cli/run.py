"""`avm run`: a command with a mount of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from avm.base.config import mount_registry
from avm.base.errors import UsageError
from avm.cli.door import Door, shared, warn
from avm.cli.mount import start

#: What a shell answers for a command that is not there, and for one that cannot be run.
_MISSING, _UNFIT = 127, 126


@click.command("run", context_settings={"ignore_unknown_options": True})
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
    with tempfile.TemporaryDirectory(prefix="avm-run-") as folder:
        point = Path(folder) / "vault"
        start(door, point, ["--read-only"] if read_only else [])
        try:
            code = _run(words, point)
        finally:
            line = mounts.unmount(point, registry_dir=mount_registry())
            if "in use" in line:
                warn(line)
    sys.exit(code)


def _run(words: tuple[str, ...], folder: Path) -> int:
    with _signals_left_to_the_command():
        try:
            process = subprocess.Popen(words, cwd=folder)
        except FileNotFoundError:
            warn(f"no command {words[0]!r}")
            return _MISSING
        except OSError as error:
            warn(f"{words[0]}: {error.strerror}")
            return _UNFIT
        code = process.wait()
    return 128 - code if code < 0 else code


@contextlib.contextmanager
def _signals_left_to_the_command() -> Iterator[None]:
    """A terminal's Ctrl-C reaches the command as well: whether it ends is the command's matter."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGQUIT)}
    for number in before:
        signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
