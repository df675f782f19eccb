"""Mounts made as a user makes them, `avm mount M --daemon`, and nothing left of them afterwards."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import move_into, run_avm, wait_for

from avm.fuse.platform import here

#: The model would cost every mount that is asked something six seconds of two processors.
QUICK = {"AVM_COMMIT_MAX_WAIT": "1s", "AVM_SEMANTIC": "off", "AVM_COMMIT_QUIET": "0.1s"}
#: A mount starts the vault's keeper, as it does for a user.
KEPT = {"AVM_KEEPER_AUTOSTART": "true"}


@dataclass(frozen=True)
class Mount:
    """A mount, its vault, whose it is, and the home folder in which it was typed."""

    point: Path
    vault: Path
    agent: str | None
    home: Path

    def __truediv__(self, rel: str) -> Path:
        return self.point / rel

    @property
    def private(self) -> Path:
        """The agent's own folder in the mount."""
        return self.point / "memory" / "private" / (self.agent or "akashi")

    @property
    def shared(self) -> Path:
        """The shared folder in the mount."""
        return self.point / "memory" / "shared"

    @property
    def behind(self) -> Path:
        """The `memory` folder of the vault, behind the mount."""
        return self.vault / "memory"

    @property
    def state(self) -> Path:
        """AVM's own folder in the git dir."""
        return self.vault / ".git" / "avm"

    @property
    def pid(self) -> int:
        """The server's number, from the registry."""
        (note,) = (n for n in self._notes() if n["mountpoint"] == str(self.point))
        return int(str(note["pid"]))

    @property
    def serves(self) -> bool:
        """Whether its server has said that it is there."""
        return any(note["mountpoint"] == str(self.point) for note in self._notes())

    def _notes(self) -> list[dict[str, object]]:
        files = (Path(os.environ["XDG_RUNTIME_DIR"]) / "avm" / "mounts").glob("*.json")
        return [json.loads(file.read_bytes()) for file in files]

    @property
    def mounted(self) -> bool:
        """Whether the mount table shows it."""
        return str(self.point) in here.mountpoints()

    def ask(self, node: str, folder: str = "") -> str:
        """What a virtual node answers, read as `cat` reads it."""
        return (self.point / folder / node).read_bytes().decode()

    def search(self, words: str, folder: str = "") -> str:
        """`cat FOLDER/:search?words`."""
        return self.ask(f":search?{words}", folder)

    def bash(self, line: str, *, ok: bool = True) -> str:
        """A line typed in bash in the home folder, where the mount is `M`; its stdout."""
        return bash(line, self.home, ok=ok)

    def unmount(self) -> None:
        """`avm unmount`; the last memories are committed when it returns."""
        done = run_avm("unmount", str(self.point))
        assert done.returncode == 0, done.stderr

    def authors_of(self, rel: str) -> list[str]:
        """Who committed `memory/REL`, newest first."""
        command = ["git", "log", "--format=%an", "--", f"memory/{rel}"]
        done = subprocess.run(command, cwd=self.vault, capture_output=True, text=True, check=True)
        return done.stdout.split("\n")[:-1]

    def wait_committed(self, rel: str, author: str) -> None:
        """Wait until the newest commit of `memory/REL` is by `author`, and holds what is there."""

        def settled() -> bool:
            command = ["git", "--no-optional-locks", "status", "--porcelain", "--", f"memory/{rel}"]
            done = subprocess.run(command, cwd=self.vault, capture_output=True, check=True)
            return not done.stdout and self.authors_of(rel)[:1] == [author]

        wait_for(settled, f"a commit of {rel} by {author}")


Mounting = Callable[..., Mount]


def bash(line: str, folder: Path, *, ok: bool = True) -> str:
    """A line typed in bash in `folder`; its stdout. `ok`: it must succeed, else it must fail."""
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode == 0) == ok, f"{line}: {done.returncode} {done.stderr.decode()}"
    return done.stdout.decode()


def failing(act: Callable[[], object]) -> str:
    """The name of the errno with which `act` fails."""
    with pytest.raises(OSError) as caught:
        act()
    return errno.errorcode[caught.value.errno or 0]


@pytest.fixture
def home() -> Path:
    """The empty home folder of this test."""
    return Path(os.environ["HOME"])


@pytest.fixture
def mounting(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mounting]:
    """A function that mounts in this test's home."""
    with mounts_in(home, monkeypatch) as mount:
        yield mount


@contextlib.contextmanager
def mounts_in(home: Path, patch: pytest.MonkeyPatch) -> Iterator[Mounting]:
    """A function that mounts; in the end all is unmounted, and no process of ours may be left."""
    made: list[Mount] = []
    served: list[subprocess.Popen[bytes]] = []

    def mount(
        name: str = "M",
        agent: str | None = None,
        vault: Path | None = None,
        quick: bool = True,
        options: str = "",
        program: Sequence[str] = (),
    ) -> Mount:
        """Mount with `avm mount`, or with a program that takes its arguments."""
        for variable, value in (KEPT | QUICK if quick else KEPT).items():
            patch.setenv(variable, value)
        line = f"mount {name} {options}"
        line += f" --agent {agent}" if agent else ""
        line += f" --vault {shlex.quote(str(vault))}" if vault else ""
        if program:
            log = (home / f"{name}.log").open("wb")
            with log:
                command = [*program, *shlex.split(line)]
                served.append(subprocess.Popen(command, cwd=home, stdout=log, stderr=log))
        else:
            bash(f"avm {line} --daemon", home)
        made.append(Mount(home / name, vault or home / "avm", agent, home))
        wait_for(lambda: made[-1].serves, f"the mount {name}")
        return made[-1]

    yield mount
    done = [run_avm("unmount", str(point)) for point in {one.point for one in made if one.mounted}]
    for vault in {one.vault for one in made}:
        done.append(run_avm("--vault", str(vault), "keeper", "stop"))
    left = processes_of(home, seconds=5.0)
    for process in served:
        process.wait()
    for one in made:
        if one.mounted:
            subprocess.run(here.unmount_command(str(one.point), force=True), check=False)
    logs = "".join(
        log.read_text()
        for vault in {one.vault for one in made}
        for log in (vault / ".git" / "avm").glob("*.log")
    )
    assert "".join(unmounting.stderr for unmounting in done) == ""
    assert not left, f"processes left behind: {left}"
    assert "Traceback" not in logs, logs


@pytest.fixture
def mount(mounting: Mounting) -> Mount:
    """The owner's mount `M` of a new vault."""
    return mounting()


@pytest.fixture
def akashi(mounting: Mounting) -> Mount:
    """The agent akashi's mount `M` of a new vault."""
    return mounting(agent="akashi")


@dataclass(frozen=True)
class Room:
    """A folder of a test's own in mounts that are the whole module's: through the owner's, and
    behind it; in `memory/shared` also through the agent's."""

    mount: Path
    behind: Path
    agents: Path

    @property
    def sides(self) -> tuple[Path, Path]:
        """The owner's mount, and the vault."""
        return self.mount, self.behind

    def bash(self, line: str, *, ok: bool = True) -> str:
        """A line typed in bash in the folder, in the owner's mount; its stdout."""
        return bash(line, self.mount, ok=ok)


@pytest.fixture(scope="module")
def two_mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mount, Mount]]:
    """The owner's mount and akashi's, of one vault, for all tests of a module."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        move_into(home, patch)
        with mounts_in(home, patch) as mount:
            owner = mount()
            yield owner, mount("A", agent="akashi", vault=owner.vault)


@pytest.fixture
def shared_room(two_mounts: tuple[Mount, Mount], tmp_path: Path) -> Room:
    """A folder in `memory/shared`."""
    return _room(two_mounts, f"memory/shared/{tmp_path.name}")


@pytest.fixture
def outside(two_mounts: tuple[Mount, Mount], tmp_path: Path) -> Room:
    """A folder outside of `memory`, where there is only the owner."""
    return _room(two_mounts, f"work/{tmp_path.name}")


@pytest.fixture(params=["memory/shared", "work"], ids=["memory", "outside"])
def room(two_mounts: tuple[Mount, Mount], tmp_path: Path, request: pytest.FixtureRequest) -> Room:
    """A folder in `memory/shared`, and one outside of `memory`."""
    return _room(two_mounts, f"{request.param}/{tmp_path.name}")


def _room(two_mounts: tuple[Mount, Mount], rel: str) -> Room:
    owner, agents = two_mounts
    (owner / rel).mkdir(parents=True)
    return Room(owner / rel, owner.vault / rel, agents / rel)


def processes_of(home: Path, seconds: float) -> dict[int, str]:
    """Processes that carry this home and do not end in time; they are killed."""
    deadline = time.monotonic() + seconds
    while (left := processes_in(home)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left


def processes_in(home: Path) -> dict[int, str]:
    """Processes that carry this home, with their command lines."""
    mark = b"\0HOME=%s\0" % os.fsencode(home)
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            folder = Path("/proc") / pid
            if int(pid) != os.getpid() and mark in b"\0" + (folder / "environ").read_bytes():
                command = (folder / "cmdline").read_bytes()
                found[int(pid)] = os.fsdecode(command.replace(b"\0", b" "))
    return found
