"""Whatever three vaults and a person with plain git do, and whoever is offline or killed: once all
have synced twice they are the same, and no text that was ever committed is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest
from conftest import ROOT, git, move_into
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from avm import AVM
from avm.base import memory_file
from avm.base.errors import RemoteError, UnsureError
from avm.vault import cloning, driver
from avm.vault.location import open_vault

sys.path.insert(0, str(ROOT / "tests" / "parts"))
from vault_helpers import assert_well, git_locks

_SHARED = "memory/shared"
_NAMES = ("a.md", "b.md", "deep/c.md", "deep", "t.txt", "t.bin")
_MARKS = (b"<<<<<<< ", b">>>>>>> ", b"||||||| ")
#: Syncs, and dies at a step of the move.
_KILLED = """
import os, signal, sys
from pathlib import Path
from avm.base.config import Config
from avm.vault import checkout, committer, index_lock, sync
from avm.vault.location import open_vault
owner = {"checkout": checkout, "index_lock": index_lock}[sys.argv[2]]
real = getattr(owner, sys.argv[3])
def deadly(*args, **named):
    if sys.argv[4] == "after":
        real(*args, **named)
    os.kill(os.getpid(), signal.SIGKILL)
vault = open_vault(Path(sys.argv[1]))
setattr(owner, sys.argv[3], deadly)
sync.Syncer(vault, Config(), committer.Committer(vault, Config())).sync()
"""
_DEATHS = (
    ("checkout", "_place", "before"),
    ("checkout", "_rename", "after"),
    ("checkout", "_write_index", "after"),
    ("index_lock", "put_in_place", "before"),
    ("index_lock", "put_in_place", "after"),
)

vaults = st.integers(0, 2)
names = st.sampled_from(_NAMES)


class ConvergenceMachine(RuleBasedStateMachine):
    """Three vaults, a person with plain git, and a bare repository between them."""

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp(prefix="avm-machine-"))
        self.patch = pytest.MonkeyPatch()
        (self.top / "home").mkdir()
        move_into(self.top / "home", self.patch)
        self.remote = self.top / "remote.git"
        self.words = 0
        self.avms: list[AVM] = []
        #: A vault's own clock stands still: two texts differ by their words alone.
        self.patch.setenv("AVM_CLOCK", "2026-06-01")

    def teardown(self) -> None:
        try:
            if self.avms:
                self.all_come_together()
        finally:
            for avm in self.avms:
                avm.close()
            self.patch.undo()
            shutil.rmtree(self.top)

    @initialize()
    def begin(self) -> None:
        git(self.top, "init", "-q", "--bare", str(self.remote))
        first = AVM(self.top / "0", semantic="off")
        git(first.store.vault.root, "remote", "add", "origin", str(self.remote))
        self.avms.append(first)
        for name in ("a.md", "deep/c.md", "t.txt"):
            self.write(first, name, self.text())
        first.sync()
        for number in (1, 2):
            vault, _ = cloning.clone(str(self.remote), self.top / str(number))
            self.avms.append(AVM(vault.root, semantic="off"))
        git(self.top, "clone", "-q", str(self.remote), str(self.top / "person"))
        self.person = self.top / "person"
        driver.set_up(open_vault(self.person))

    def word(self) -> str:
        self.words += 1
        return f"word{self.words}"

    def text(self) -> str:
        return "".join(f"{self.word()}\n" for _ in range(5))

    def write(self, avm: AVM, name: str, text: str) -> None:
        place = avm.store.vault.path(f"{_SHARED}/{name}")
        put(place, text)

    # What each does

    @rule(at=vaults, tags=st.lists(st.sampled_from(["x", "y", "z"]), max_size=2, unique=True),
          title=st.sampled_from(["a", "b", "new"]), days=st.sampled_from([None, 30]))  # fmt: skip
    def remember(self, at: int, tags: list[str], title: str, days: int | None) -> None:
        agent = self.avms[at].agent_memory("akashi") if days else self.avms[at]
        agent.remember(self.word(), title=title, tags=tags, ttl=f"{days}d" if days else None)

    @rule(at=vaults, name=names, line=st.integers(0, 6), out=st.booleans())
    def edit(self, at: int, name: str, line: int, out: bool) -> None:
        edit(self.avms[at].store.vault.path(f"{_SHARED}/{name}"), line, out, self.word())

    @rule(at=vaults, name=names, key=st.sampled_from(["tags", "importance", "expires", "title"]),
          value=st.integers(1, 9))  # fmt: skip
    def set_a_key(self, at: int, name: str, key: str, value: int) -> None:
        place = self.avms[at].store.vault.path(f"{_SHARED}/{name}")
        said: object = {
            "tags": [f"t{value}", "t1"], "importance": value / 10,
            "expires": f"2030-01-0{value}", "title": f"title {value}",
        }[key]  # fmt: skip
        if place.is_file() and name.endswith(".md"):
            try:
                place.write_bytes(memory_file.set_key(place.read_bytes(), key, said))
            except UnsureError:
                return

    @rule(at=vaults, name=names, new=names)
    def rename(self, at: int, name: str, new: str) -> None:
        rename(self.avms[at].store.vault.path(_SHARED), name, new)

    @rule(at=vaults, name=names)
    def remove(self, at: int, name: str) -> None:
        remove(self.avms[at].store.vault.path(f"{_SHARED}/{name}"))

    @rule(at=vaults)
    def settle(self, at: int) -> None:
        avm = self.avms[at]
        for memory, copies in avm.conflicts().items():
            if len(copies) == 1 and avm.store.vault.path(memory.lstrip("/")).is_file():
                avm.settle(memory, f"settled {self.word()}\n".encode())
                return

    @rule(at=vaults)
    def sync(self, at: int) -> None:
        self.avms[at].sync(allow_loss=True)

    @rule(at=vaults)
    def sync_offline(self, at: int) -> None:
        self.remote.rename(self.top / "away.git")
        try:
            with pytest.raises(RemoteError):
                self.avms[at].sync(allow_loss=True)
        finally:
            (self.top / "away.git").rename(self.remote)

    @rule(at=vaults, death=st.sampled_from(_DEATHS))
    def killed(self, at: int, death: tuple[str, str, str]) -> None:
        root = self.avms[at].store.vault.root
        command = [sys.executable, "-c", _KILLED, str(root), *death]
        done = subprocess.run(command, check=False, capture_output=True)
        # There may have been nothing to move, or too little was left to be taken without a word.
        assert done.returncode in (0, -signal.SIGKILL) or b"allow-loss" in done.stderr, done.stderr

    # The person, with plain git

    @rule(name=names, line=st.integers(0, 6), out=st.booleans())
    def the_person_edits(self, name: str, line: int, out: bool) -> None:
        edit(self.person / _SHARED / name, line, out, self.word())
        self.the_person_commits()

    @rule(name=names, new=names)
    def the_person_renames(self, name: str, new: str) -> None:
        rename(self.person / _SHARED, name, new)
        self.the_person_commits()

    @rule()
    def the_person_pulls_and_pushes(self) -> None:
        pull = ["git", "pull", "-q", "--no-rebase", "--no-edit"]
        done = subprocess.run(pull, cwd=self.person, capture_output=True, check=False)
        if done.returncode != 0:
            # What no driver merges, as a file against a folder, is git's to ask: both stay.
            subprocess.run(["git", "merge", "--abort"], cwd=self.person, capture_output=True,
                           check=False)  # fmt: skip
            vault = AVM(self.person, semantic="off")
            vault.sync(allow_loss=True)
            vault.close()
            return
        with AVM(self.person, semantic="off") as avm:
            avm.commit()  # what the driver could not put into the merge
        pushed = subprocess.run(["git", "push", "-q"], cwd=self.person, capture_output=True,
                                check=False)  # fmt: skip
        assert pushed.returncode == 0, pushed.stderr

    def the_person_commits(self) -> None:
        git(self.person, "add", "--all")
        git(self.person, "commit", "-q", "--allow-empty", "-m", "By hand")

    # What must hold

    def all_come_together(self) -> None:
        ever: set[str] = set()
        for root in self.roots():
            ever |= words(history(root))
        for _ in range(2):
            for avm in self.avms:
                avm.sync(allow_loss=True)
            self.the_person_pulls_and_pushes()
        for avm in self.avms:
            avm.sync(allow_loss=True)
        git(self.person, "pull", "-q")
        trees = {git(root, "rev-parse", "HEAD^{tree}") for root in self.roots()}
        assert len(trees) == 1
        for root in self.roots():
            assert ever <= words(history(root))
            assert git(root, "status", "--porcelain") == ""
            git(root, "fsck", "--strict", "--no-dangling")
        for place in (self.roots()[0] / "memory").rglob("*"):
            if place.is_file():
                check_text(place.read_bytes())
        for avm in self.avms:
            assert git_locks(avm.store.vault) == []
            avm.store.refresh()
            assert_well(avm)

    def roots(self) -> list[Path]:
        return [*(avm.store.vault.root for avm in self.avms), self.person]


def put(place: Path, text: str) -> None:
    if any(folder.is_file() for folder in place.parents) or place.is_dir():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text.encode() if place.suffix != ".bin" else b"\0" + text.encode())


def edit(place: Path, line: int, out: bool, word: str) -> None:
    if not place.is_file():
        put(place, f"{word}\n")
        return
    lines = place.read_bytes().split(b"\n")
    at = min(max(line, body_line(lines)), len(lines) - 1)
    lines[at : at + out] = [word.encode()]
    place.write_bytes(b"\n".join(lines))


def body_line(lines: list[bytes]) -> int:
    """The first line behind the front matter."""
    if lines[0] != b"---" or b"---" not in lines[1:]:
        return 0
    return lines.index(b"---", 1) + 1


def rename(folder: Path, name: str, new: str) -> None:
    source, target = folder / name, folder / new
    if not source.is_file() or target.exists():
        return
    if any(parent.is_file() for parent in target.parents):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    tidy(source.parent)


def remove(place: Path) -> None:
    if place.is_file():
        place.unlink()
        tidy(place.parent)


def tidy(folder: Path) -> None:
    if folder.name == "deep" and not os.listdir(folder):
        folder.rmdir()


def history(root: Path) -> str:
    """All texts of all commits that are reachable."""
    args = ["git", "log", "--all", "-m", "-p", "--text", "--format=", "--no-renames", "--root"]
    done = subprocess.run(args, cwd=root, capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace")


def words(text: str) -> set[str]:
    return {word for word in text.replace("+", " ").replace("-", " ").split() if "word" in word}


def check_text(data: bytes) -> None:
    assert not any(line.startswith(_MARKS) for line in data.split(b"\n"))
    problems = memory_file.parse(data).problems
    assert not [problem for problem in problems if problem.startswith("front matter")]
    memory_file.entries(data)  # no key is there twice


TestConvergenceMachine = ConvergenceMachine.TestCase
_DEEP = hypothesis.settings().max_examples > 1_000
TestConvergenceMachine.settings = hypothesis.settings(
    max_examples=2_000 if _DEEP else 50,
    stateful_step_count=30 if _DEEP else 8,
    deadline=None,
    derandomize=not _DEEP,
    suppress_health_check=list(hypothesis.HealthCheck),
)
