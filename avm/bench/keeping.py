"""The keeper that a vault has while it is measured, if this AVM has one, and doing without."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avm.api.store import Store

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.05


def command(vault: Path, *words: str) -> list[str]:
    """`avm WORDS` on the vault, as a program of its own."""
    # -P: a plain -m would import from the current folder.
    return [sys.executable, "-P", "-m", "avm", "--vault", str(vault), *words]


class Keeper:
    """`avm keeper`, running until `stop`."""

    def __init__(self, vault: Path, *, semantic: bool) -> None:
        """`semantic`: whether it embeds what it finds, with a model beside it."""
        self._vault = vault
        self._process = subprocess.Popen(
            command(vault, "keeper"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "AVM_SEMANTIC": "auto" if semantic else "off"},
        )
        deadline = time.monotonic() + _READY_SECONDS
        while self.pid is None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    @property
    def pid(self) -> int | None:
        """Its process, as `avm keeper status --json` says; None while it does not answer."""
        done = subprocess.run(
            command(self._vault, "keeper", "status", "--json"), capture_output=True, check=False
        )
        try:
            told: Any = json.loads(done.stdout)
            return int(told["pid"])
        except (ValueError, KeyError, TypeError):
            return None

    def resident_mb(self) -> float | None:
        """What it holds in memory, in MB; None where /proc does not say."""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        except OSError:
            return None
        return next((int(row.split()[1]) / 1024 for row in lines if row.startswith("VmRSS")), None)

    def stop(self) -> None:
        """End it and wait for its end."""
        subprocess.run(command(self._vault, "keeper", "stop"), capture_output=True, check=False)
        try:
            self._process.wait(timeout=_READY_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def keeper(vault: Path, *, semantic: bool) -> Keeper | None:
    """A keeper of the vault that answers; None if it does not start."""
    started = Keeper(vault, semantic=semantic)
    if started.pid is not None:
        return started
    started.stop()
    return None


@contextlib.contextmanager
def without_scans(store: Store) -> Iterator[None]:
    """Questions inside begin without a scan, as beside a keeper whose barrier is free."""
    store.refresh = lambda: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        vars(store).pop("refresh", None)
