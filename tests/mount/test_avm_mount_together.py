"""The less usual system calls in real mounts, and several programs at once: in one mount, in two of
one vault, and behind them."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import needs_fuse, wait_for
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.polling import PollingObserver

from mount.conftest import Mount, Room

pytestmark = needs_fuse

#: Rounds of what must be right every time.
ROUNDS = 60


def python(program: str, *args: object, **pipes: int) -> subprocess.Popen[bytes]:
    """Another process that runs a small program."""
    command = [sys.executable, "-I", "-S", "-c", program, *map(str, args)]
    return subprocess.Popen(command, **pipes)  # type: ignore[call-overload, no-any-return]


def endings(processes: list[subprocess.Popen[bytes]]) -> list[int]:
    """Their exit codes, when all have ended."""
    return [process.wait(60) for process in processes]


# System calls


def test_what_is_stored_through_mmap_is_in_the_file(room: Room) -> None:
    (room.mount / "a.md").write_bytes(b"." * 10_000)
    with (room.mount / "a.md").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[5000:5005] = b"store"
        memory.flush()
        assert (room.behind / "a.md").read_bytes()[4999:5006] == b".store."
        memory[9_995:] = b"close"
        assert (room.mount / "a.md").read_bytes()[-6:] == b".close"
    assert (room.behind / "a.md").read_bytes()[-6:] == b".close"


def test_bytes_go_from_file_to_file_in_the_kernel(outside: Room, tmp_path: Path) -> None:
    data = os.urandom(1_000_003)
    (tmp_path / "source").write_bytes(data)
    assert moved(os.sendfile, tmp_path / "source", outside.mount / "in") == len(data)
    assert moved(os.sendfile, outside.mount / "in", outside.mount / "within") == len(data)
    assert moved(os.sendfile, outside.mount / "within", tmp_path / "out") == len(data)
    assert moved(copied_range, outside.mount / "in", outside.mount / "range") == len(data)
    for name in ("in", "within", "range"):
        assert all((side / name).read_bytes() == data for side in outside.sides)
    assert (tmp_path / "out").read_bytes() == data


def moved(call: Callable[[int, int, int, int], int], source: Path, target: Path) -> int:
    """Fill `target` from `source` by a call like `sendfile`; the bytes that it says it moved."""
    with source.open("rb") as start, target.open("wb") as end:
        done = 0
        while step := call(end.fileno(), start.fileno(), done, 1_000_000):
            done += step
        return done


def copied_range(end: int, start: int, offset: int, count: int) -> int:
    """`copy_file_range` in the order of `sendfile`."""
    return os.copy_file_range(start, end, count, offset)


def test_direct_reads_and_writes_pass_the_page_cache(outside: Room) -> None:
    with mmap.mmap(-1, 8192) as page:  # what O_DIRECT wants: memory at a page's beginning
        page[:] = bytes(range(256)) * 32
        fd = os.open(outside.mount / "a.bin", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
        try:
            assert os.writev(fd, [page]) == 8192
            assert (outside.behind / "a.bin").read_bytes() == page[:]
            (outside.behind / "a.bin").write_bytes(b"behind  " * 1000)
            os.lseek(fd, 0, os.SEEK_SET)
            assert os.readv(fd, [page]) == 8000
            assert page[:8000] == b"behind  " * 1000
        finally:
            os.close(fd)


def test_an_unlinked_file_is_a_file_until_it_is_closed(outside: Room) -> None:
    """Also by its other descriptors, and by /proc, which opens it anew."""
    (outside.mount / "a.txt").write_bytes(b"0123456789")
    with (outside.mount / "a.txt").open("r+b", buffering=0) as file:
        other = os.dup(file.fileno())
        (outside.mount / "a.txt").unlink()
        os.fchmod(other, 0o600)
        os.utime(other, ns=(1, 2))
        assert (os.fstat(other).st_mode & 0o777, os.fstat(other).st_mtime_ns) == (0o600, 2)
        with Path(f"/proc/self/fd/{other}").open("ab") as again:
            again.write(b"more")
        assert file.read() == b"0123456789more"
        os.close(other)
        assert file.seek(0, os.SEEK_END) == 14
        assert os.listdir(outside.mount) == os.listdir(outside.behind) == []
        (outside.mount / "a.txt").write_bytes(b"another")
        assert os.pread(file.fileno(), 4, 8) == b"89mo"
    assert (outside.behind / "a.txt").read_bytes() == b"another"


def test_nothing_stays_of_files_that_are_removed_as_soon_as_they_are_closed(
    outside: Room, two_mounts: tuple[Mount, Mount]
) -> None:
    """The mount hears of a close after `close` has returned."""
    program = (
        "import os, sys\nfor n in range(150):\n  name = f'{sys.argv[1]}/{sys.argv[2]}-{n}'\n"
        "  with open(name, 'w') as file: file.write(name)\n"
        "  (os.unlink if n % 2 else lambda old: os.rename(old, sys.argv[1] + '/last'))(name)"
    )
    assert endings([python(program, outside.mount, number) for number in range(4)]) == [0] * 4
    assert os.listdir(outside.mount) == os.listdir(outside.behind) == ["last"]
    hidden = two_mounts[0].state / "hidden"
    wait_for(lambda: not list(hidden.glob("*/*")), "the removal of what was unlinked")


# Names and folders


def test_a_path_may_be_longer_than_three_thousand_bytes(room: Room) -> None:
    folders, name = ["d" * 250] * 11 + ["漢" * 85], "🚀" * 63 + ".md"
    steps = "".join(f"mkdir {folder} && cd {folder} && " for folder in folders)
    room.bash(f"{steps} echo deep > {name} && cat {name} && mv {name} x.md && ln x.md {name}")
    deep = os.path.join(*folders, name)
    assert len(os.fsencode(deep)) > 3250
    for side in room.sides:
        assert (side / deep).read_text() == "deep\n"
        assert [len(found) for _, _, found in os.walk(side)] == [0] * 12 + [2]
    room.bash("rm -r ddd*")
    assert os.listdir(room.behind) == []


def test_a_folder_can_be_emptied_while_it_is_listed(outside: Room) -> None:
    names = {f"note {number} 漢字.txt" for number in range(2000)}
    for name in names:
        (outside.behind / name).touch()
    seen = []
    with os.scandir(outside.mount) as listing:
        for entry in listing:
            seen.append(entry.name)
            os.unlink(entry.path)
    assert sorted(seen) == sorted(names)
    assert os.listdir(outside.mount) == os.listdir(outside.behind) == []


# Several at once


WRITER = (
    "import sqlite3, sys\n"
    "base = sqlite3.connect(sys.argv[1], timeout=50, isolation_level=None)\n"
    "for n in range(50):\n"
    "  base.execute('BEGIN IMMEDIATE')\n"
    "  base.execute('UPDATE total SET rows = rows + 1')\n"
    "  base.execute('INSERT INTO line VALUES (?, ?, ?)', (sys.argv[2], n, 'x' * 500))\n"
    "  base.execute('COMMIT')\n"
)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_four_programs_write_one_database(journal: str, outside: Room) -> None:
    path = outside.mount / "base.db"
    with contextlib.closing(sqlite3.connect(path)) as base:
        assert base.execute(f"PRAGMA journal_mode = {journal}").fetchone() == (journal,)
        base.execute("CREATE TABLE line (writer, number, text, PRIMARY KEY (writer, number))")
        base.execute("CREATE TABLE total (rows)")
        base.execute("INSERT INTO total VALUES (0)")
        base.commit()
        assert endings([python(WRITER, path, number) for number in range(4)]) == [0] * 4
        assert base.execute("SELECT rows FROM total").fetchone() == (200,)
    assert os.listdir(outside.mount) == ["base.db"]
    for side in outside.sides:
        with contextlib.closing(sqlite3.connect(side / "base.db")) as base:
            assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            rows = base.execute("SELECT writer, number FROM line ORDER BY writer, number")
            assert rows.fetchall() == [(str(w), n) for w in range(4) for n in range(50)]


HOLDER = (
    "import fcntl, sys\nfile = open(sys.argv[1], 'r+')\nfcntl.{}(file, fcntl.{})\n"
    "print('held', flush=True)\nsys.stdin.read()"
)


@pytest.mark.parametrize("call", ["flock", "lockf"])
def test_a_lock_keeps_another_process_out(call: str, room: Room) -> None:
    (room.mount / "a.md").write_text("x\n")
    lock = getattr(fcntl, call)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    for held, wanted, free in (("LOCK_EX", "LOCK_SH", False), ("LOCK_SH", "LOCK_SH", True)):
        with (
            (room.mount / "a.md").open("r+") as file,
            python(HOLDER.format(call, held), room.mount / "a.md", **pipes) as holder,
        ):
            assert holder.stdout and holder.stdin
            assert holder.stdout.readline() == b"held\n"
            with contextlib.nullcontext() if free else pytest.raises(BlockingIOError):
                lock(file, getattr(fcntl, wanted) | fcntl.LOCK_NB)
            with pytest.raises(BlockingIOError):
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            holder.stdin.close()
            assert holder.wait(15) == 0
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_eight_programs_append_five_hundred_lines_each(shared_room: Room) -> None:
    """Three through each mount, two behind them."""
    program = (
        "import os, sys\n"
        "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)\n"
        "for n in range(500): os.write(fd, f'{sys.argv[2]} {n} {chr(46) * (n % 90)}\\n'.encode())"
    )
    room = shared_room
    folders = [room.mount] * 3 + [room.agents] * 3 + [room.behind] * 2
    writers = [python(program, folder / "log.md", n) for n, folder in enumerate(folders)]
    assert endings(writers) == [0] * 8
    expected = sorted(f"{w} {n} {'.' * (n % 90)}" for w in range(8) for n in range(500))
    for folder in (room.mount, room.agents, room.behind):
        assert sorted((folder / "log.md").read_text().splitlines()) == expected


def test_of_several_creators_on_all_sides_one_wins(shared_room: Room) -> None:
    sides = (shared_room.mount, shared_room.agents, shared_room.behind)
    start, winners = threading.Barrier(len(sides)), []

    def create(folder: Path) -> None:
        for number in range(ROUNDS):
            start.wait(30)
            with contextlib.suppress(FileExistsError), (folder / f"{number}.txt").open("x"):
                winners.append(number)

    threads = [threading.Thread(target=create, args=(folder,)) for folder in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(winners) == list(range(ROUNDS))


# Watching


def test_tail_follows_what_is_appended_on_every_side(shared_room: Room, tmp_path: Path) -> None:
    (shared_room.mount / "log.md").write_text("first\n")
    command = ["tail", "-f", "-s", "0.05", "-n", "+1", shared_room.mount / "log.md"]
    with (tmp_path / "seen").open("wb") as out, subprocess.Popen(command, stdout=out) as tail:
        try:
            wait_for(lambda: (tmp_path / "seen").read_text() == "first\n", "the first line")
            for folder in (shared_room.behind, shared_room.mount, shared_room.agents):
                with (folder / "log.md").open("a") as file:
                    file.write(f"{folder}\n")
                end = f"\n{folder}\n"
                wait_for(lambda: (tmp_path / "seen").read_text().endswith(end), end)  # noqa: B023
            assert (tmp_path / "seen").read_bytes() == (shared_room.behind / "log.md").read_bytes()
        finally:
            tail.kill()


@contextlib.contextmanager
def watching(polling: bool, folder: Path) -> Iterator[set[tuple[str, str]]]:
    """What an observer tells of: kinds of event, and names."""
    told: set[tuple[str, str]] = set()

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            told.add((event.event_type, Path(os.fsdecode(event.src_path)).name))

    observer = PollingObserver(timeout=0.05) if polling else Observer()
    observer.schedule(Handler(), str(folder), recursive=True)
    observer.start()
    try:
        yield told
    finally:
        observer.stop()
        observer.join()


def changes(folder: Path) -> Iterator[tuple[str, str]]:
    """Makes a change, and yields the event that must tell of it."""
    (folder / "a.md").write_text("one\n")
    yield "created", "a.md"
    (folder / "a.md").write_text("another\n")
    yield "modified", "a.md"
    (folder / "a.md").rename(folder / "b.md")
    yield "moved", "a.md"
    (folder / "b.md").unlink()
    yield "deleted", "b.md"
    (folder / "d").mkdir()
    yield "created", "d"


def test_inotify_tells_of_what_is_done_through_the_mount(room: Room) -> None:
    with watching(False, room.mount) as told:
        for event in changes(room.mount):
            wait_for(lambda: event in told, f"{event} in {told}")  # noqa: B023


@pytest.mark.parametrize("side", ["mount", "behind", "agents"])
def test_who_polls_the_mount_sees_every_change(side: str, shared_room: Room) -> None:
    with watching(True, shared_room.mount) as told:
        for event in changes(getattr(shared_room, side)):
            wait_for(lambda: event in told, f"{event} in {told}")  # noqa: B023
