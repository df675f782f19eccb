"""Eight programs, two mounts, edits behind them and a person's commits, all in one vault at a time;
and a mount that is killed in the middle."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import DEEP, git, needs_fuse, run_avm, wait_for
from mount.conftest import Mount, Mounting, home, mounting
from mount.test_avm_mount_kill import helpers, kill
from vault_helpers import assert_sound, assert_well, content, git_locks

from avm import AVM
from avm.base.config import mount_registry
from avm.fuse.registry import server_of
from crash import mount_work
from crash.mount_work import differences, replay, snapshot

__all__ = ["home", "mounting"]  # fixtures

pytestmark = needs_fuse

#: Acts of each of the nine.
ACTS = 1000 if DEEP else 60
#: A mount is killed so often.
KILLS = 6 if DEEP else 1
AKASHI, PERSON = "akashi", "Pat Person"
NOTES = "memory/shared/notes"


class Worker(NamedTuple):
    """Who works where: through the owner's mount, the agent's, or behind both."""

    side: str
    folder: str
    #: Whether it gives files second names. Who writes by one is not noted by the other.
    links: bool = True

    @property
    def author(self) -> str:
        """Whose the commits are to be."""
        return AKASHI if self.side == "agent" else PERSON

    @property
    def in_memory(self) -> bool:
        """Whether AVM commits what is there."""
        return self.folder.startswith("memory/")


WORKERS = (
    Worker("owner", "memory/shared/w0"),
    Worker("owner", "memory/shared/w1"),
    Worker("owner", "memory/private/akashi/w2"),
    Worker("owner", "work/w3"),
    Worker("agent", "memory/shared/w4", links=False),
    Worker("agent", "memory/shared/w5"),
    Worker("agent", "memory/private/akashi/w6", links=False),
    Worker("agent", "memory/private/akashi/w7", links=False),
    Worker("behind", "memory/shared/w8"),
)


class Bustle:
    """All of them at work in the vault of two mounts, and a person who commits."""

    def __init__(self, owner: Mount, agent: Mount, logs: Path) -> None:
        self.owner, self.agent = owner, agent
        self.vault = owner.vault
        self._logs = logs
        self._processes: list[subprocess.Popen[bytes]] = []
        self._over = threading.Event()
        self._person = threading.Thread(target=self._commit)
        self.subjects: list[str] = []
        self.killed: list[int] = []

    def root(self, side: str) -> Path:
        """Where a side sees the vault."""
        points = {"owner": self.owner.point, "agent": self.agent.point}
        return points.get(side, self.vault)

    def log(self, number: int) -> Path:
        """What a worker had acknowledged."""
        return self._logs / f"{number}.log"

    def _said(self, number: int) -> Path:
        """What a worker had to complain of."""
        return self._logs / f"{number}.err"

    def acknowledged(self, side: str) -> int:
        """How many acts were, of those who work on a side."""
        logs = [self.log(n) for n, worker in enumerate(WORKERS) if worker.side == side]
        return sum(log.read_bytes().count(b"\n") for log in logs if log.exists())

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Start them; wait for their ends."""
        for worker in WORKERS:
            (self.root(worker.side) / worker.folder).mkdir(parents=True)
        (self.owner / NOTES).mkdir()
        for number, worker in enumerate(WORKERS):
            root = self.root(worker.side)
            command = [sys.executable, mount_work.__file__, "--seed", str(number)]
            command += ["--acts", str(ACTS), "--log", str(self.log(number))]
            if worker.in_memory:
                command += ["--notes", str(root / NOTES)]
            if worker.side == "behind" or not worker.in_memory:
                command += ["--bare"]
            command += [*([] if worker.links else ["--unlinked"]), str(root / worker.folder)]
            with self._said(number).open("wb") as said:
                self._processes.append(subprocess.Popen(command, stdout=said, stderr=said))
        self._person.start()
        try:
            yield
            for process in self._processes:
                process.wait(timeout=1500)
        finally:
            for process in self._processes:
                process.kill()
                process.wait()
            self._over.set()
            self._person.join()
        said = [self._said(number).read_text() for number in range(len(WORKERS))]
        assert "".join(said) == ""
        assert [one.returncode for one in self._processes] == [0] * len(WORKERS)

    def _commit(self) -> None:
        """A person's `git add` and `git commit`, of a file of their own, and now and then of what
        they edited in `memory`."""
        own = self.vault / "work" / "own.txt"
        number = 0
        while not self._over.wait(0.2):
            number += 1
            own.write_text(f"{number}\n")
            names = ["work/own.txt"]
            if number % 3 == 0:
                names.append("memory/shared/w8")
            added = subprocess.run(["git", "add", *names], cwd=self.vault, capture_output=True,
                                   check=False)  # fmt: skip
            subject = f"By hand {number}"
            done = subprocess.run(["git", "commit", "-qm", subject], cwd=self.vault,
                                  capture_output=True, check=False)  # fmt: skip
            if added.returncode == done.returncode == 0:
                self.subjects.append(subject)

    # The reckoning

    def check(self) -> None:
        """Contents as in a serial run, on every side and in git; nothing left behind but what the
        killed were just writing."""
        for left in self.vault.rglob(".avm-tmp-*"):
            assert int(left.name.split("-")[2]) in self.killed
            left.unlink()
        expected: dict[str, bytes | str | None] = {}
        lines: list[str] = []
        broken = 0
        for number, worker in enumerate(WORKERS):
            held, acts, broke = replay(self.log(number))
            broken += broke
            expected[worker.folder] = None
            for name, found in held.snapshot().items():
                expected[f"{worker.folder}/{name}"] = found
            lines += [act[2] for act in acts if act[0] == "note"]
            for side in ("owner", "agent", "behind"):
                if worker.in_memory or side != "agent":
                    seen = snapshot(self.root(side) / worker.folder)
                    assert differences(seen, held.snapshot()) == {}, (side, worker)
        assert broken == 0 or self.killed, broken
        self._check_notes(lines)
        self._check_commits(expected)
        wait_for(lambda: not list(self.owner.state.glob("hidden/*/*")), "no hidden file")
        assert self.subjects
        assert git(self.vault, "log", "--format=%s", "--author=Pat", "--grep=^By hand").split(
            "\n"
        ) == list(reversed(self.subjects))

    def _check_notes(self, lines: list[str]) -> None:
        """In the shared files is each line once, those of one worker in the order of its acts."""
        for side in ("owner", "agent", "behind"):
            files = sorted((self.root(side) / NOTES).iterdir())
            found = [line for file in files for line in file.read_text().splitlines(keepends=True)]
            assert Counter(found) == Counter(lines), side
            for file in files:
                numbers: dict[str, list[int]] = {}
                for line in file.read_text().splitlines():
                    numbers.setdefault(line.split()[0], []).append(int(line.split()[1]))
                assert all(each == sorted(each) for each in numbers.values()), (side, file)

    def _check_commits(self, expected: dict[str, bytes | str | None]) -> None:
        """After a commit git has what is there, and whose it is."""
        done = run_avm("--vault", str(self.vault), "commit")
        assert done.returncode == 0, done.stderr
        assert "left:" not in done.stdout, done.stdout
        assert git(self.vault, "status", "--porcelain", "--", "memory") == ""
        listed = git(self.vault, "ls-tree", "-r", "-z", "--name-only", "HEAD", "memory").split("\0")
        wanted = {name: data for name, data in expected.items() if data is not None}
        mine = {name for name in wanted if name.startswith("memory/")}
        folders = tuple(f"{worker.folder}/" for worker in WORKERS)
        assert {name for name in listed if name.startswith(folders)} == mine
        for name in mine:
            data = wanted[name]
            assert content(self.vault, name) == (data.encode() if isinstance(data, str) else data)
        strangers, commit = set(), ""
        log = git(self.vault, "log", "--format=>%an: %s", "--name-only", "--no-renames", "-z")
        for word in log.replace("\n", "\0").split("\0"):
            if word.startswith(">"):
                commit = word[1:]
            for worker in WORKERS:
                sure = worker.author == PERSON or not worker.links
                mine = word.startswith(f"{worker.folder}/")
                if sure and mine and not commit.startswith(worker.author):
                    strangers.add((word, commit))
        assert strangers == set()


@pytest.fixture
def bustle(mounting: Mounting, tmp_path: Path) -> Iterator[Bustle]:
    """Two mounts of a new vault; in the end the index is the vault, and nothing is left."""
    owner = mounting()
    agent = mounting("A", agent=AKASHI, vault=owner.vault)
    bustle = Bustle(owner, agent, tmp_path)
    yield bustle
    owner.unmount()
    agent.unmount()
    with AVM(owner.vault, semantic="off") as avm:
        avm.store.index.refresh()
        assert avm.store.index.check() == []
        assert_well(avm)
        assert git_locks(avm.store.vault) == []
        assert_sound(avm.store.vault)
    assert list(owner.state.glob("hidden/*")) == []
    assert list(owner.vault.rglob(".avm-tmp-*")) == []


def test_what_many_do_at_once_is_as_if_each_did_it_alone(bustle: Bustle) -> None:
    with bustle.going_on():
        pass
    bustle.check()


@pytest.mark.parametrize("side", ["owner", "agent"])
def test_nothing_acknowledged_is_missing_after_kill_9(bustle: Bustle, side: str) -> None:
    mount = bustle.owner if side == "owner" else bustle.agent
    line = f"avm mount {mount.point} --vault {mount.vault} --daemon"
    line += f" --agent {mount.agent}" if mount.agent else ""
    total = sum(worker.side == side for worker in WORKERS) * ACTS
    with bustle.going_on():
        for number in range(1, KILLS + 1):
            part = total * number // (KILLS + 1)
            wait_for(lambda: bustle.acknowledged(side) >= part, f"{part} acts", 600)  # noqa: B023
            server = server_of(mount_registry(), str(mount.point))
            assert server is not None
            kill(*helpers(mount.point), server.pid)
            bustle.killed.append(server.pid)
            mount.bash(line)
    bustle.check()
