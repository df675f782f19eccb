"""The columns: where programs work, and how it is read right afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from avm import AVM
from avm.bench.keeping import keeper

_LINE = re.compile(r"\d\.\d\d /(.+)#L\d+  ")
_MOST = 50
#: Answers with the rels of the memories that hold a word.
Read = Callable[[str], set[str]]


class Column(NamedTuple):
    """A column, open: where the programs work, and how it is read.

    `second`: one more way to read, too slow for every change.
    """

    place: Path
    first: Read
    second: Read | None = None


@contextlib.contextmanager
def keeper_running(vault: Path) -> Iterator[None]:
    """A keeper of the vault while the block runs."""
    running = keeper(vault, semantic=False)
    assert running is not None, "the keeper does not start"
    try:
        yield
    finally:
        running.stop()


@contextlib.contextmanager
def with_keeper(vault: Path, folder: Path) -> Iterator[Column]:
    """Programs work in the vault, a keeper watches it."""
    with keeper_running(vault), AVM(vault, semantic="off") as avm:
        yield Column(vault, _by_api(avm), _by_command(vault))


@contextlib.contextmanager
def without_keeper(vault: Path, folder: Path) -> Iterator[Column]:
    """Programs work in the vault, each reader scans."""
    os.environ["AVM_KEEPER_AUTOSTART"] = "false"
    try:
        with AVM(vault, semantic="off") as avm:
            yield Column(vault, _by_api(avm), _by_command(vault))
    finally:
        os.environ.pop("AVM_KEEPER_AUTOSTART", None)


@contextlib.contextmanager
def in_mount(vault: Path, folder: Path) -> Iterator[Column]:
    """Programs work in a mount, and it is read there."""
    with _mounted(vault, folder / "mount") as point:
        yield Column(point, _by_node(point))


@contextlib.contextmanager
def behind_mount(vault: Path, folder: Path) -> Iterator[Column]:
    """Programs work in the vault, and a mount of it is read."""
    with _mounted(vault, folder / "mount") as point:
        yield Column(vault, _by_node(point))


COLUMNS = {
    "keeper": with_keeper,
    "no keeper": without_keeper,
    "mount": in_mount,
    "behind the mount": behind_mount,
}


def no_mount_because() -> str:
    """Why there can be no mount here; empty if there can."""
    if not os.path.exists("/dev/fuse"):
        return "no /dev/fuse"
    if not (shutil.which("fusermount3") or shutil.which("fusermount")):
        return "no fusermount"
    return ""


@contextlib.contextmanager
def _mounted(vault: Path, point: Path) -> Iterator[Path]:
    with keeper_running(vault):
        _avm(vault, "mount", str(point), "--daemon")
        try:
            yield point
        finally:
            _avm(vault, "unmount", str(point))


def _by_api(avm: AVM) -> Read:
    return lambda word: {hit.path[1:] for hit in avm.search(word, _MOST)}


def _by_command(vault: Path) -> Read:
    """`avm search`, a process of its own."""

    def read(word: str) -> set[str]:
        found = _avm(vault, "search", word, "--json", "--limit", str(_MOST), codes=(0, 1))
        return {hit["path"][1:] for hit in json.loads(found)}

    return read


def _by_node(point: Path) -> Read:
    """`cat MOUNT/:search:word`."""

    def read(word: str) -> set[str]:
        answer = (point / f":search:{word},limit={_MOST}").read_text()
        lines = [line for line in answer.splitlines() if not line.startswith("Nothing found")]
        found = [_LINE.match(line) for line in lines]
        if not all(found):
            raise RuntimeError(f":search answered {answer!r}")
        return {match[1] for match in found if match}

    return read


def _avm(vault: Path, *words: str, codes: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "avm", "--vault", str(vault), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode not in codes:
        raise RuntimeError(f"avm {' '.join(words)}: {done.stderr}")
    return done.stdout
