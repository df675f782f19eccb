"""`avm bench fuse`: what programs do with files, in a folder, a plain pass-through and a mount.

The three take turns, so that a busy moment of the machine falls on all. The vault's index and
keeper run beside; the model does not, as its work is not the mount's.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from avm.base.errors import MountError
from avm.bench.figures import again, each, median
from avm.bench.keeping import command, keeper
from avm.fuse.mounts import find_mount, unmount, wait_until
from avm.vault.init import make

PLACES: Final = ("folder", "plain", "avm")

_WAIT_SECONDS = 30.0
_TEXT = b"---\ntitle: A rule\nimportance: 0.5\n---\n" + b"RSI above 70 is a reason to wait.\n" * 11
_READERS = 8
_BLOCK = 1 << 20


class Extent(NamedTuple):
    """How much is measured: files that are read, files that are listed, MB that are copied, and how
    often each place has its turn."""

    files: int = 1_000
    listed: int = 10_000
    megabytes: int = 64
    rounds: int = 5

    @property
    def written(self) -> range:
        """The numbers of the files that are written in one turn."""
        return range(self.files // 5)


QUICK: Final = Extent(100, 200, 4, 1)


class Operation(NamedTuple):
    """What one operation took in each of `PLACES`, the middle value: µs, ms, or MB/s."""

    name: str
    unit: str
    values: tuple[float, float, float]

    @property
    def ratio(self) -> float:
        """AVM's mount against the plain pass-through: below 1 is faster; of MB/s, above 1."""
        return self.values[2] / self.values[1]


Act = Callable[[Path, int, Extent], list[float]]


def measure(folder: Path, tell: Callable[[str], None], extent: Extent) -> list[Operation]:
    """Measure in `folder`, in which nothing may be. Raises MountError without FUSE."""
    with _places(folder, tell, extent) as places:
        found = []
        for name, unit, act in _OPERATIONS:
            tell(name)
            taken: list[list[float]] = [[] for _ in places]
            for turn in range(extent.rounds):
                for number, place in enumerate(places):
                    taken[number] += act(place, turn, extent)
            middle = [median(values) for values in taken]
            found.append(Operation(name, unit, (middle[0], middle[1], middle[2])))
        return found


@contextlib.contextmanager
def _places(folder: Path, tell: Callable[[str], None], extent: Extent) -> Iterator[list[Path]]:
    """The folder in which to work, of each of `PLACES`, each with as many files in it."""
    tell("mounting")
    vault = make(folder / "vault")
    inner = "memory/shared/bench"
    roots = [folder / "bare", folder / "behind", vault.root]
    for root in roots:
        _fill(root / inner, extent)
    points = [folder / "plain", folder / "mount"]
    for point in points:
        point.mkdir()
    plain = [sys.executable, "-P", "-m", "avm.bench.plain", str(roots[1]), str(points[0])]
    subprocess.run(command(vault.root, "commit"), stdout=subprocess.DEVNULL, check=True)
    kept = keeper(vault.root, semantic=False)
    server = subprocess.Popen(plain, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        mounted = [str(points[1]), "--daemon"]
        done = subprocess.run(
            command(vault.root, "mount", *mounted), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise MountError(done.stderr.strip() or "avm mount failed")
        if not wait_until(lambda: os.path.ismount(points[0]), _WAIT_SECONDS):
            raise MountError("the plain pass-through did not start")
        yield [root / inner for root in (roots[0], *points)]
    finally:
        server.terminate()
        server.wait(_WAIT_SECONDS)
        if find_mount(points[1]):
            unmount(points[1])
        if kept:
            kept.stop()


def _fill(folder: Path, extent: Extent) -> None:
    for name, files in (("some", extent.files), ("many", extent.listed)):
        (folder / name).mkdir(parents=True)
        for number in range(files):
            (folder / name / f"{number}.md").write_bytes(_TEXT)
    (folder / "new").mkdir()
    (folder / "some" / "large.bin").write_bytes(os.urandom(_BLOCK) * extent.megabytes)


def _create(place: Path, turn: int, extent: Extent) -> list[float]:
    return _micro(lambda name: _write(f"{place}/new/{name}.md"), _names(turn, extent))


def _overwrite(place: Path, turn: int, extent: Extent) -> list[float]:
    return _micro(lambda name: _write(f"{place}/some/{name}.md"), extent.written)


def _save(place: Path, turn: int, extent: Extent) -> list[float]:
    def save(name: object) -> None:
        _write(f"{place}/new/{name}.tmp")
        os.rename(f"{place}/new/{name}.tmp", f"{place}/new/saved-{name}.md")

    return _micro(save, _names(turn, extent))


def _read(place: Path, turn: int, extent: Extent) -> list[float]:
    def read(name: object) -> None:
        fd = os.open(f"{place}/some/{name}.md", os.O_RDONLY)
        os.read(fd, 4096)
        os.close(fd)

    return _micro(read, range(extent.files))


def _open_read(place: Path, turn: int, extent: Extent) -> list[float]:
    return _micro(lambda name: Path(f"{place}/some/{name}.md").read_bytes(), range(extent.files))


def _stat(place: Path, turn: int, extent: Extent) -> list[float]:
    return _micro(lambda name: os.stat(f"{place}/some/{name}.md"), range(extent.files))


def _missing(place: Path, turn: int, extent: Extent) -> list[float]:
    return _micro(lambda name: os.path.exists(f"{place}/some/none-{name}.md"), range(extent.files))


def _list(place: Path, turn: int, extent: Extent) -> list[float]:
    return again(lambda: os.listdir(place / "some"), 3)


def _ls(place: Path, turn: int, extent: Extent) -> list[float]:
    line = ["ls", "-l", str(place / "many")]
    return again(lambda: subprocess.run(line, stdout=subprocess.DEVNULL, check=True), 1)


def _write_large(place: Path, turn: int, extent: Extent) -> list[float]:
    block, new = bytes(_BLOCK), place / "new" / "large.bin"
    start = time.perf_counter()
    with open(new, "wb", buffering=0) as file:
        for _ in range(extent.megabytes):
            file.write(block)
    taken = time.perf_counter() - start
    new.unlink()
    return [extent.megabytes / taken]


def _read_large(place: Path, turn: int, extent: Extent) -> list[float]:
    start = time.perf_counter()
    with open(place / "some" / "large.bin", "rb", buffering=0) as file:
        while file.read(_BLOCK):
            pass
    return [extent.megabytes / (time.perf_counter() - start)]


def _side_by_side(place: Path, turn: int, extent: Extent) -> list[float]:
    """The time of one read while so many programs read."""
    times = len(extent.written)
    program = (
        "import sys, time\nplace = sys.argv[1]\nsys.stdin.read(1)\nstart = time.perf_counter()\n"
        f"for n in range({times}):\n  open(f'{{place}}/some/{{n}}.md', 'rb').read()\n"
        f"print((time.perf_counter() - start) / {times} * 1e6)"
    )
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(_READERS)
    ]
    outputs: list[float] = []
    threads = [
        threading.Thread(target=lambda one=one: outputs.append(float(one.communicate(b"x")[0])))
        for one in readers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outputs


def _write(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(fd, _TEXT)
    os.close(fd)


def _names(turn: int, extent: Extent) -> list[str]:
    return [f"{turn}-{number}" for number in extent.written]


def _micro(act: Callable[[object], object], items: Sequence[object]) -> list[float]:
    return [taken * 1000 for taken in each(act, items)]


_OPERATIONS: Final[tuple[tuple[str, str, Act], ...]] = (
    ("create, write 400 bytes, close", "µs", _create),
    ("overwrite", "µs", _overwrite),
    ("write aside, rename", "µs", _save),
    ("open, read, close", "µs", _read),
    ("Python's read_bytes", "µs", _open_read),
    ("stat", "µs", _stat),
    ("stat of a missing name", "µs", _missing),
    ("read, 8 programs at once", "µs", _side_by_side),
    ("list the names", "ms", _list),
    ("ls -l", "ms", _ls),
    ("write a large file", "MB/s", _write_large),
    ("read a large file", "MB/s", _read_large),
)
