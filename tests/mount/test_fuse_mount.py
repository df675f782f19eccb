"""Real mounts of a pass-through tree (test_fuse_server.py), served by processes of their own."""

from __future__ import annotations

import contextlib
import ctypes.util
import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from avm.base.errors import MountError
from avm.fuse import background, mounts, registry
from avm.fuse.mount import prepare
from avm.fuse.platform import here

SERVER = Path(__file__).with_name("test_fuse_server.py")
ROOT = SERVER.parent.parent.parent
START_SECONDS = 20.0

if not os.path.exists("/dev/fuse"):
    pytest.skip("no /dev/fuse", allow_module_level=True)

#: binding, libfuse. The first is the one that AVM prefers; "auto" must see that fusepy cannot.
KINDS = [("fusepy", "2"), ("mfusepy", "2"), ("auto", "3")]
PREFERRED = KINDS[0]


@dataclass
class Site:
    """A vault, a mount point, and how to serve one at the other."""

    folder: Path
    kind: tuple[str, str]

    @property
    def vault(self) -> Path:
        return self.folder / "vault"

    @property
    def mount(self) -> Path:
        return self.folder / "mnt"

    @property
    def registry(self) -> Path:
        return self.folder / "registry"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def closings(self) -> int:
        file = self.folder / "vault.closed"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def command(self, *more: str) -> list[str]:
        return [
            sys.executable, str(SERVER), str(self.vault), str(self.mount),
            "--binding", self.kind[0], "--registry", str(self.registry), *more,
        ]  # fmt: skip

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(ROOT))
            patch.setenv("FUSE_LIBRARY_PATH", library(self.kind[1]))
            yield

    def start(self, *more: str, timeout: float = START_SECONDS) -> int:
        with self.environment():
            return background.start(self.command(*more), self.mount, self.log, timeout)

    def foreground(self) -> subprocess.Popen[bytes]:
        with self.environment(), self.log.open("ab") as log:
            process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        wait_for(lambda: registry.read_all(self.registry), "the registration")
        return process

    def unmount(self) -> str:
        return mounts.unmount(self.mount, registry_dir=self.registry)

    def mounted(self) -> bool:
        return str(self.mount) in here.mountpoints()


def library(libfuse: str) -> str:
    path = ctypes.util.find_library({"2": "fuse", "3": "fuse3"}[libfuse])
    if path is None:
        pytest.skip(f"no libfuse {libfuse}")
    return path


def wait_for(condition: Callable[[], object], what: str, seconds: float = 15.0) -> None:
    assert mounts.wait_until(lambda: bool(condition()), seconds), f"not in {seconds} s: {what}"


def helpers(mountpoint: Path) -> list[int]:
    """The fusermount that waits to unmount when the server of `mountpoint` dies."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
            if b"fusermount" in words[0] and os.fsencode(mountpoint) in words:
                found.append(int(pid))
    return found


def clean_up(site: Site) -> None:
    """Whatever the test left: no mount and no process of this site stays."""
    for _ in range(3):
        if not site.mounted():
            break
        subprocess.run(here.unmount_command(str(site.mount), force=True), check=False)
    for process in background._started:
        if str(site.folder) in " ".join(map(str, process.args)):  # type: ignore[arg-type]
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
    wait_for(lambda: not helpers(site.mount), "the helper's end")
    assert not site.mounted()


def new_site(folder: Path, kind: tuple[str, str]) -> Site:
    site = Site(folder.resolve(), kind)
    site.vault.mkdir()
    (site.vault / "source.txt").write_text("hello\n")
    return site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = new_site(tmp_path, PREFERRED)
    yield site
    clean_up(site)


@pytest.fixture(params=KINDS, ids="/libfuse".join)
def each_site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    site = new_site(tmp_path, request.param)
    yield site
    clean_up(site)


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


# Life


def test_start_and_unmount(each_site: Site) -> None:
    site = each_site
    pid = site.start()
    (entry,) = registry.read_all(site.registry)
    assert (entry.mountpoint, entry.vault, entry.pid) == (site.mount, site.vault, pid)
    assert mounts.MountEntry(site.mount, False) in mounts.find_mounts()
    assert os.getsid(pid) == pid
    for fd in ("0", "1", "2"):
        assert os.readlink(f"/proc/{pid}/fd/{fd}") in ("/dev/null", str(site.log))
    alias = site.folder / "alias"
    alias.symlink_to(site.mount)
    assert mounts.find_mount(alias) == mounts.MountEntry(site.mount, False)
    with pytest.raises(MountError, match="is mounted already"):
        prepare(alias, site.vault)
    with pytest.raises(MountError, match="is mounted already"):
        site.start()
    assert mounts.unmount(alias, registry_dir=site.registry) == f"unmounted {alias}"
    assert here.process_token(pid) is None and site.closings == 1
    assert registry.read_all(site.registry) == [] and list(site.registry.iterdir()) == []
    site.start()
    site.unmount()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_good_order(each_site: Site, number: signal.Signals) -> None:
    process = each_site.foreground()
    try:
        os.stat(each_site.mount)
        process.send_signal(number)
        assert process.wait(10) == 0, each_site.log.read_text()
    finally:
        process.kill()
        process.wait()
    assert not each_site.mounted() and each_site.closings == 1


def test_unmounted_by_somebody_else(each_site: Site) -> None:
    process = each_site.foreground()
    try:
        subprocess.run(here.unmount_command(str(each_site.mount), force=False), check=True)
        assert process.wait(10) == 0, each_site.log.read_text()
    finally:
        process.kill()
        process.wait()
    assert each_site.closings == 1


def test_a_start_that_fails_says_why(each_site: Site) -> None:
    site = each_site
    cases = {
        ("--failing", "start"): "no such agent",
        ("--failing", "ready"): "the registry is full",
        ("--option", "no_such_option"): r"unknown option.*another libfuse",
    }
    for arguments, words in cases.items():
        with pytest.raises(MountError, match=words) as caught:
            site.start(*arguments)
        assert "\n" not in str(caught.value)
        assert not site.mounted()
    # Only the tree of the first case was never made.
    assert site.closings == 2
    with pytest.raises(MountError, match="cannot start /no/such/program"):
        background.start(["/no/such/program"], site.mount, site.log, 5)
    site.start()
    site.unmount()


def test_a_start_that_takes_too_long_is_ended(site: Site) -> None:
    with pytest.raises(MountError, match=r"did not answer in 0.7 s \(thinking"):
        site.start("--failing", "never", timeout=0.7)
    assert not site.mounted()
    wait_for(lambda: not helpers(site.mount), "the helper's end")


def test_a_daemon_holds_no_pipe_of_its_starter(site: Site) -> None:
    program = (
        "import sys; from pathlib import Path; from avm.fuse import background\n"
        "m, log, *command = sys.argv[1:]\n"
        "print(background.start(command, Path(m), Path(log), 20))\n"
    )
    arguments = [str(site.mount), str(site.log), *site.command()]
    with site.environment():
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    assert site.mounted() and done.stderr == ""
    assert site.unmount() == f"unmounted {site.mount}"
    assert here.process_token(int(done.stdout)) is None


def kill(site: Site, pid: int) -> None:
    """Leave a stale mount: the helper goes first, or it would unmount."""
    for helper in helpers(site.mount):
        os.kill(helper, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: here.process_token(pid) is None, "the server's death")


def test_a_stale_mount_is_seen_and_repaired(each_site: Site) -> None:
    site = each_site
    kill(site, site.start())
    wait_for(lambda: mounts.is_stale(site.mount), "a stale mount")
    assert mounts.MountEntry(site.mount, True) in mounts.find_mounts()
    (entry,) = registry.read_all(site.registry)
    assert entry.stale
    site.start()
    (entry,) = registry.read_all(site.registry)
    assert not entry.stale and (site.mount / "source.txt").read_text() == "hello\n"
    site.unmount()


def test_a_busy_stale_mount_is_repaired(site: Site) -> None:
    pid = site.start()
    holder = subprocess.Popen(["sleep", "60"], cwd=site.mount)
    try:
        kill(site, pid)
        assert mounts.repair(site.mount)
        assert not site.mounted() and not mounts.repair(site.mount)
    finally:
        holder.kill()
        holder.wait()


def test_a_stale_mount_can_be_unmounted(site: Site) -> None:
    kill(site, site.start())
    assert site.unmount() == f"unmounted {site.mount}"
    assert registry.read_all(site.registry) == []


def test_after_kill_9_the_helper_unmounts(site: Site) -> None:
    os.kill(site.start(), signal.SIGKILL)
    wait_for(lambda: not site.mounted(), "the helper's unmount")
    site.start()
    os.kill(registry.read_all(site.registry)[0].pid, signal.SIGKILL)
    site.start()
    assert (site.mount / "source.txt").read_text() == "hello\n"
    site.unmount()


def test_a_busy_mount_is_detached(each_site: Site) -> None:
    site = each_site
    pid = site.start()
    holder = subprocess.Popen(["sleep", "60"], cwd=site.mount)
    try:
        line = site.unmount()
        assert "in use by sleep" in line and f"(pid {holder.pid})" in line
        assert f"its server (pid {pid}) ends when they let go" in line
        assert not site.mounted() and registry.read_all(site.registry) == []
        # A second server at the same place is not the first one's helper's business.
        second = site.start()
        assert here.process_token(pid) is not None
    finally:
        holder.kill()
        holder.wait()
    wait_for(lambda: here.process_token(pid) is None, "the first server's end")
    wait_for(lambda: len(helpers(site.mount)) == 1, "the first helper's end")
    assert (site.mount / "source.txt").read_text() == "hello\n"
    (entry,) = registry.read_all(site.registry)
    assert entry.pid == second
    assert site.unmount() == f"unmounted {site.mount}" and site.closings == 2


def test_a_mount_over_the_vault_is_refused(site: Site) -> None:
    for place in (site.vault, site.vault / "inside", site.folder):
        command = [sys.executable, str(SERVER), str(site.vault), str(place)]
        with site.environment(), pytest.raises(MountError, match="vault"):
            background.start(command, place, site.log, START_SECONDS)
