"""Using real mounts of a pass-through tree (test_fuse_server.py): what files do there."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mount.test_fuse_site import (
    KINDS,
    Site,
    clean_up,
    new_site,
    wait_for,
)

if not os.path.exists("/dev/fuse"):
    pytest.skip("no /dev/fuse", allow_module_level=True)


@pytest.fixture(scope="module", params=KINDS, ids="/libfuse".join)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One mount for all tests of a kind that only use it."""
    site = new_site(tmp_path_factory.mktemp("served"), request.param)
    try:
        site.start()
        yield site
        site.unmount()
        assert site.closings == 1
    finally:
        clean_up(site)


@pytest.fixture
def both(served: Site, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """A folder of the test's own: through the mount, and in the vault."""
    name = request.node.originalname
    shutil.rmtree(served.vault / name, ignore_errors=True)
    (served.vault / name).mkdir()
    return served.mount / name, served.vault / name


# Files


def test_write_append_read_and_truncate(both: tuple[Path, Path]) -> None:
    mnt, vault = both
    (mnt / "a.md").write_bytes(b"one\n")
    assert (vault / "a.md").read_bytes() == b"one\n"
    with (mnt / "a.md").open("ab") as file:
        file.write(b"two\n")
        os.fsync(file.fileno())
    assert (vault / "a.md").read_bytes() == b"one\ntwo\n"
    with (mnt / "a.md").open("r+b") as file:
        file.truncate(5)
        assert os.fstat(file.fileno()).st_size == 5
    os.truncate(mnt / "a.md", 3)
    assert (mnt / "a.md").read_bytes() == b"one"
    (mnt / "a.md").write_bytes(b"")
    assert (vault / "a.md").stat().st_size == 0


def test_large_files_come_back_whole(both: tuple[Path, Path]) -> None:
    mnt, vault = both
    data = os.urandom(3_000_017)
    (mnt / "large").write_bytes(data)
    assert (vault / "large").read_bytes() == data
    assert (mnt / "large").read_bytes() == data
    fd = os.open(mnt / "large", os.O_RDWR)
    try:
        os.pwrite(fd, b"xyz", 1_000_000)
        assert (
            os.pread(fd, 5, 999_999) == data[999_999:1_000_000] + b"xyz" + data[1_000_003:1_000_004]
        )
    finally:
        os.close(fd)


def test_rename_over_and_links(both: tuple[Path, Path]) -> None:
    mnt, vault = both
    (mnt / "a").write_text("a")
    (mnt / "b").write_text("b")
    os.replace(mnt / "a", mnt / "b")
    assert (vault / "b").read_text() == "a" and not (vault / "a").exists()
    os.link(mnt / "b", mnt / "c")
    one, two = (mnt / "b").stat(), (mnt / "c").stat()
    assert (one.st_ino, one.st_nlink) == (two.st_ino, 2)
    os.symlink("b", mnt / "l")
    assert os.readlink(mnt / "l") == "b" == os.readlink(vault / "l")
    os.chmod(mnt / "b", 0o600)
    assert stat.S_IMODE((vault / "b").stat().st_mode) == 0o600
    os.mkfifo(mnt / "pipe")
    assert stat.S_ISFIFO((vault / "pipe").lstat().st_mode)
    (mnt / "d").mkdir()
    (mnt / "d" / "x").touch()
    with pytest.raises(OSError) as caught:
        (mnt / "d").rmdir()
    assert caught.value.errno == errno.ENOTEMPTY
    (mnt / "d" / "x").unlink()
    (mnt / "d").rmdir()
    assert sorted(os.listdir(mnt)) == ["b", "c", "l", "pipe"]


def test_an_unlinked_open_file_lives_on(both: tuple[Path, Path]) -> None:
    mnt, _ = both
    with (mnt / "gone").open("w+b", buffering=0) as file:
        file.write(b"still here")
        (mnt / "gone").unlink()
        assert not (mnt / "gone").exists()
        os.ftruncate(file.fileno(), 5)
        assert os.fstat(file.fileno()).st_size == 5
        file.seek(0)
        assert file.read() == b"still"
        os.fchmod(file.fileno(), 0o640)
    wait_for(lambda: os.listdir(mnt) == [], "the hidden file's end")


def test_a_time_can_be_left_alone(both: tuple[Path, Path]) -> None:
    mnt, vault = both
    (vault / "a").touch()
    os.utime(vault / "a", ns=(1_000_000_001, 2_000_000_002))
    subprocess.run(["touch", "-m", "-d", "@7", mnt / "a"], check=True)
    seen = (vault / "a").stat()
    assert (seen.st_atime_ns, seen.st_mtime_ns) == (1_000_000_001, 7_000_000_000)
    before = time.time_ns()
    subprocess.run(["touch", "-a", mnt / "a"], check=True)
    seen = (mnt / "a").stat()
    assert abs(seen.st_atime_ns - before) < 60_000_000_000 and seen.st_mtime_ns == 7_000_000_000
    os.utime(mnt / "a", ns=(3_000_000_003, 4_000_000_004))
    seen = (mnt / "a").stat()
    assert (seen.st_atime_ns, seen.st_mtime_ns) == (3_000_000_003, 4_000_000_004)


def test_names_need_not_be_utf8(both: tuple[Path, Path]) -> None:
    mnt, vault = both
    names = {b"latin-\xe9.md", "記憶 🧠.md".encode(), b"line\nbreak", b"x" * 255}
    for name in names:
        fd = os.open(os.path.join(os.fsencode(mnt), name), os.O_CREAT | os.O_WRONLY, 0o600)
        os.write(fd, name)
        os.close(fd)
    assert set(os.listdir(os.fsencode(mnt))) == names == set(os.listdir(os.fsencode(vault)))
    for name in names:
        with open(os.path.join(os.fsencode(mnt), name), "rb") as file:
            assert file.read() == name
    with pytest.raises(OSError) as caught:
        os.stat(os.path.join(os.fsencode(mnt), b"z" * 1025))
    assert caught.value.errno == errno.ENAMETOOLONG
    os.symlink(b"\xff", os.path.join(os.fsencode(mnt), b"link"))
    assert os.readlink(os.path.join(os.fsencode(mnt), b"link")) == b"\xff"


def test_listings_tell_type_and_inode(both: tuple[Path, Path]) -> None:
    mnt, vault = both
    (vault / "d").mkdir()
    for number in range(300):
        (vault / f"f{number}").touch()
    with os.scandir(mnt) as entries:
        seen = {e.name: (e.inode(), e.is_dir(follow_symlinks=False)) for e in entries}
    wanted = {p.name: (p.stat().st_ino, p.is_dir()) for p in vault.iterdir()}
    assert seen == wanted
    done = subprocess.run(["ls", "-a", mnt], capture_output=True, text=True, check=True)
    assert {".", "..", "d", "f299"} <= set(done.stdout.splitlines())


def test_of_two_creators_one_wins(both: tuple[Path, Path]) -> None:
    barrier = threading.Barrier(2)
    winners: list[str] = []

    def create(folder: Path) -> None:
        for number in range(60):
            barrier.wait()
            with contextlib.suppress(FileExistsError):
                os.close(os.open(folder / f"f{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                winners.append(f"f{number}")

    threads = [threading.Thread(target=create, args=(folder,)) for folder in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(winners) == sorted({f"f{number}" for number in range(60)})


def test_eight_processes_append_every_line(both: tuple[Path, Path]) -> None:
    mnt, vault = both
    program = (
        "import os, sys\n"
        "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)\n"
        "for n in range(100): os.write(fd, f'{sys.argv[2]} {n}\\n'.encode())\n"
    )
    for folders in ([mnt] * 8, [mnt, vault] * 4):
        (vault / "log").unlink(missing_ok=True)
        writers = [
            subprocess.Popen([sys.executable, "-S", "-c", program, folder / "log", str(number)])
            for number, folder in enumerate(folders)
        ]
        assert [writer.wait(60) for writer in writers] == [0] * 8
        lines = (vault / "log").read_text().splitlines()
        assert sorted(lines) == sorted(f"{w} {n}" for w in range(8) for n in range(100))


def test_foreign_writes_are_seen_at_once(both: tuple[Path, Path]) -> None:
    mnt, vault = both
    for number in range(20):
        text = "x" * number
        (vault / "in-place").write_text(text)
        assert (mnt / "in-place").read_text() == text
        (vault / "temp").write_text(text * 2)
        os.replace(vault / "temp", vault / "replaced")
        assert (mnt / "replaced").stat().st_size == 2 * number
        assert (mnt / "replaced").read_text() == text * 2
        assert not (mnt / f"new{number}").exists()
        (vault / f"new{number}").touch()
        assert (mnt / f"new{number}").exists()
        (vault / f"new{number}").unlink()
        assert not (mnt / f"new{number}").exists()


def test_a_name_that_went_behind_the_mount_can_be_made_again(both: tuple[Path, Path]) -> None:
    mnt, vault = both
    for number, flags in enumerate([0, os.O_TRUNC, os.O_EXCL, os.O_APPEND]):
        name = f"f{number}"
        (mnt / name).write_text("old")
        assert (mnt / name).exists()  # the kernel remembers it for a second
        (vault / name).unlink()
        with pytest.raises(FileNotFoundError):
            os.open(mnt / name, os.O_RDWR)
        (mnt / name).write_text("old")
        (vault / name).unlink()
        fd = os.open(mnt / name, os.O_CREAT | os.O_WRONLY | flags)
        os.write(fd, b"new")
        os.close(fd)
        assert (vault / name).read_text() == "new"


def test_odd_open_flags_do_no_harm(both: tuple[Path, Path]) -> None:
    mnt, vault = both
    (vault / "a").write_bytes(b"direct")
    for flags in (os.O_NONBLOCK, os.O_NOATIME, os.O_SYNC, os.O_DSYNC):
        fd = os.open(mnt / "a", os.O_RDWR | flags)
        try:
            assert os.read(fd, 100) == b"direct"
            os.pwrite(fd, b"D", 0)
        finally:
            os.close(fd)
        (vault / "a").write_bytes(b"direct")


def test_the_disk_has_room(served: Site) -> None:
    room = os.statvfs(served.mount)
    assert room.f_blocks > 0 and room.f_namemax >= 255


# Virtual nodes and errors


def test_a_virtual_node_has_its_exact_size(served: Site, tmp_path: Path) -> None:
    text = "".join(f"line {number} ü\n" for number in range(3000)).encode()
    (served.vault / "source.txt").write_bytes(text)
    expected, node = text.upper(), served.mount / ":upper"
    assert node.stat().st_size == len(expected)
    cat = subprocess.run(["cat", node], capture_output=True, check=True)
    assert cat.stdout == expected
    wc = subprocess.run(["wc", "-c", node], capture_output=True, check=True)
    assert int(wc.stdout.split()[0]) == len(expected)
    tail = subprocess.run(["tail", "-c", "9", node], capture_output=True, check=True)
    assert tail.stdout == expected[-9:]
    subprocess.run(["cp", node, tmp_path / "copy"], check=True)
    shutil.copyfile(node, tmp_path / "copy2")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "copy2").read_bytes() == expected
    assert ":upper" not in os.listdir(served.mount)


def test_an_open_virtual_node_keeps_its_text(served: Site) -> None:
    node = served.mount / ":upper"
    for new in ("new text", "quite new text"):
        (served.vault / "source.txt").write_text("old text")
        with node.open("rb", buffering=0) as old:
            assert old.read(3) == b"OLD"
            (served.vault / "source.txt").write_text(new)
            assert node.stat().st_size == len(new)
            assert node.read_text() == new.upper()
            assert old.read() == b" TEXT"
            assert os.pread(old.fileno(), 100, 0) == b"OLD TEXT"


def test_errors_arrive_as_what_they_are(served: Site) -> None:
    for name, number in ((":bug", errno.EIO), (":bare", errno.EIO), (":denied", errno.EACCES)):
        with pytest.raises(OSError) as caught:
            os.stat(served.mount / name)
        assert caught.value.errno == number
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
        with pytest.raises(OSError) as caught:
            os.open(served.mount / ":upper", flags)
        assert caught.value.errno == errno.EACCES
    assert "a bug" in served.log.read_text()


def test_a_native_thread_keeps_its_python_state(served: Site) -> None:
    def work() -> None:
        for _ in range(100):
            os.stat(served.mount / "source.txt")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states, natives = map(int, (served.mount / ":threads").read_text().split())
    assert 1 <= states <= natives + 1


def test_one_slow_answer_keeps_nobody_waiting(served: Site) -> None:
    """Elsewhere: the kernel itself holds the folder of a name that it looks up."""
    (served.vault / "other").mkdir(exist_ok=True)
    (served.vault / "other" / "a.md").write_text("a\n")
    (served.mount / "other" / "a.md").read_bytes()
    slow = threading.Thread(target=lambda: os.stat(served.mount / ":slow"))
    slow.start()
    reads, longest = 0, 0.0
    while slow.is_alive():
        start = time.monotonic()
        assert (served.mount / "other" / "a.md").read_bytes() == b"a\n"
        longest = max(longest, time.monotonic() - start)
        reads += 1
    assert reads > 20
    assert longest < 0.5
