"""Four agents and a person at work in one vault at the same time; afterwards, who lost what?

    python tests/crash/race.py --seconds 60 [--backend git]

The agents remember and rewrite through the API. The person edits files of their own with staged and
unstaged hunks, and runs `git add`, `git commit`, `git stash` and `git rebase`. Prints a table and
exits 1 if a memory, a staged hunk or a commit of the person's is lost or changed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from avm.base.config import Config
from avm.vault import git as avm_git
from avm.vault.committer import Committer
from avm.vault.init import make
from avm.vault.location import Vault

AGENTS = ("akashi", "bob", "chie", "dora")
OLD = 40
#: How long the person goes on at most beyond the time, where a command never went well in it.
LATE_SECONDS = 60.0

AGENT = """
import json, random, sys, time
from avm import AVM
from avm.base.errors import NotFoundError
if sys.argv[1] == "git":
    from avm.vault import committer, objects_git
    committer.open_objects = lambda vault, sign=False: objects_git.GitObjects(vault)
_, _, root, name, seconds, each, old = sys.argv
chance = random.Random(name)
jobs = ["remember"] * int(each) + ["rewrite"] * int(each)
chance.shuffle(jobs)
pause = float(seconds) / len(jobs)
def read(avm, path):
    # A git command of the person's takes a file away for a moment, to put another in its place.
    deadline = time.monotonic() + 30
    while True:
        try:
            return avm.read(path)
        except NotFoundError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.001)
with AVM(root, semantic="off") as avm:
    agent = avm.agent_memory(name)
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    for number, job in enumerate(jobs):
        time.sleep(max(0.0, began + number * pause - time.monotonic()))
        text = f"{name} {number} {chance.random()}\\n" * 3
        if job == "remember":
            path = agent.remember(text, title=f"{name} {number}", namespace="notes").path
        else:
            path = f"/memory/shared/old/{chance.randrange(int(old))}.md"
            agent.write(path, text)
        print(json.dumps([job, path, read(avm, path)]), flush=True)
"""


@dataclass
class Outcome:
    """What happened. `commands` counts the person's by (command, how it ended)."""

    commands: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    acknowledged: int = 0
    commits: int = 0
    memories_in_stash: int = 0

    @property
    def failed_by_lock(self) -> int:
        """The person's commands that met a lock of ours, or a branch that we moved meanwhile."""
        return sum(n for (_, how), n in self.commands.items() if how == "lock")

    def has_all(self) -> bool:
        """Whether the person did at least once what the race is about."""
        return all(self.commands[name, "ok"] for name in ("commit", "stash"))

    def table(self) -> str:
        """For people."""
        total = sum(self.commands.values())
        share = 100 * self.failed_by_lock / max(1, total)
        lines = [
            f"acknowledged writes   {self.acknowledged}",
            f"commits of agents     {self.commits}",
            f"texts in the stash    {self.memories_in_stash}",
            f"person's commands     {total}",
            f"failed by our lock    {self.failed_by_lock} ({share:.3f} %)",
        ]
        for (command, how), count in sorted(self.commands.items()):
            lines.append(f"  git {command:<10} {how:<22} {count}")
        return "\n".join([*lines, *(f"WRONG {text}" for text in self.wrong or [])]) + "\n"


class Person:
    """Edits, stages, commits, stashes and rebases files of their own."""

    def __init__(self, root: Path, outcome: Outcome) -> None:
        self._root = root
        self._outcome = outcome
        self._chance = random.Random(1)
        self._number = 0
        #: Subject → the patch that was staged when it was committed.
        self.committed: dict[str, str] = {}

    def begin(self) -> None:
        """Three files of forty lines."""
        (self._root / "work").mkdir()
        for name in "abc":
            lines = [f"{name} {n}\n" for n in range(40)]
            (self._root / f"work/{name}.txt").write_text("".join(lines))
        self._git("add", "work")
        self._git("commit", "-qm", "Work", "--", "work")

    def act(self) -> None:
        """One round: stage one hunk, leave another unstaged; then commit, stash or rebase."""
        self._number += 1
        name = self._chance.choice("abc")
        self._edit(name, 0)
        if self._do("add", f"work/{name}.txt") != "ok":
            return
        self._edit(name, 39)
        staged = self._staged()
        act = self._chance.choice([self._commit, self._commit, self._stash, self._rebase])
        act(staged)

    def _edit(self, name: str, line: int) -> None:
        file = self._root / f"work/{name}.txt"
        lines = file.read_text().splitlines(keepends=True)
        lines[line] = f"{name} {line} {self._number}\n"
        file.write_text("".join(lines))

    def _staged(self) -> str:
        return self._git("diff", "--cached", "--", "work").stdout

    def _commit(self, staged: str) -> None:
        if self._staged() != staged:
            self._outcome.wrong.append(f"round {self._number}: what was staged has changed")
        subject = f"person {self._number}"
        if self._do("commit", "-qm", subject) == "ok":
            self.committed[subject] = staged

    def _stash(self, staged: str) -> None:
        if self._do("stash", "push", "-q") != "ok":
            return
        if self._do("stash", "pop", "-q", "--index") != "ok":
            # An agent wrote what was stashed: by hand then, the person's own files first.
            self._do("checkout", "stash@{0}", "--", "work")
            self._git("reset", "-q", "--", "work")
        elif self._staged() != staged:
            self._outcome.wrong.append(f"round {self._number}: the stash changed what was staged")

    def _rebase(self, staged: str) -> None:
        subject = f"person {self._number}"
        if self._do("commit", "-qm", subject) != "ok":
            return
        self.committed[subject] = staged
        self._git("checkout", "-q", "--", "work")
        stash = self._chance.choice([(), ("--autostash",)])
        self._do("rebase", "-q", "--force-rebase", *stash, "HEAD~2")
        begun = self._root / ".git/rebase-merge"
        if (begun / "head-name").exists():
            # A memory that a commit of the rebase writes was edited in the middle of it.
            self._do("rebase", "--abort")
        elif begun.exists():
            # git looks at the tree again after its own autostash. When an agent wrote in between,
            # it refuses, leaves what it stashed there, and --abort then fails.
            self._do("rebase", "--quit")

    def _do(self, *args: str) -> str:
        done = self._git(*args, check=False)
        how = "ok" if done.returncode == 0 else _why(done.stderr)
        self._outcome.commands[args[0], how] += 1
        if how.startswith("?"):
            self._outcome.wrong.append(f"git {args[0]}: {done.stderr.strip()}")
        return how

    def _git(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["git", *args], cwd=self._root, capture_output=True, text=True, check=False
        )
        if check and done.returncode != 0 and _why(done.stderr) == "?":
            self._outcome.wrong.append(f"git {' '.join(args)}: {done.stderr.strip()}")
        return done


def _why(said: str) -> str:
    if "index.lock" in said or "cannot lock ref" in said or "HEAD.lock" in said:
        return "lock"
    for mark in ("unstaged changes", "local changes", "would be overwritten", "uncommitted"):
        if mark in said:
            return "refused: dirty tree"
    if "conflict" in said.lower() or "could not restore untracked" in said:
        return "conflict"
    if "No stash entries" in said or "not a valid reference" in said:
        return "refused: no stash"
    return "?"


def run(root: Path, seconds: float, each: int, backend: str) -> Outcome:
    """The race, and the reckoning."""
    vault = make(root)
    outcome = Outcome()
    person = Person(root, outcome)
    old = root / "memory/shared/old"
    old.mkdir(parents=True)
    for number in range(OLD):
        (old / f"{number}.md").write_text(f"old {number}\n")
    _git(root, "add", "memory")
    _git(root, "commit", "-qm", "Old memories")
    person.begin()
    agents = [
        subprocess.Popen(
            [sys.executable, "-c", AGENT, backend, root, name, f"{seconds * 0.9}", str(each),
             str(OLD)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in AGENTS
    ]  # fmt: skip
    try:
        for agent in agents:
            assert agent.stdout and agent.stdout.readline() == "ready\n"
        for agent in agents:
            assert agent.stdin
            agent.stdin.write("\n")
            agent.stdin.flush()
        deadline = time.monotonic() + seconds
        latest = deadline + LATE_SECONDS  # a machine may stand still for a while
        while (now := time.monotonic()) < deadline or (now < latest and not outcome.has_all()):
            person.act()
        said = [agent.communicate(timeout=120)[0] for agent in agents]
    finally:
        for agent in agents:
            agent.kill()
            agent.wait()
    for agent, name in zip(agents, AGENTS, strict=True):
        if agent.returncode != 0:
            outcome.wrong.append(f"agent {name} ended with {agent.returncode}")
    writes = {
        name: [json.loads(line) for line in text.splitlines()]
        for name, text in zip(AGENTS, said, strict=True)
    }
    _reckon(vault, person, writes, outcome)
    return outcome


def _reckon(
    vault: Vault, person: Person, writes: dict[str, list[list[str]]], outcome: Outcome
) -> None:
    root = vault.root
    report = Committer(vault, Config()).commit(now=True, people=True)
    waiting = {rel: why for rel, why in report.waiting.items() if "stash" not in why}
    if report.blocked or waiting:
        outcome.wrong.append(f"not committed in the end: {report.blocked} {waiting}")
    stashed = _stashed(root)
    authors: dict[str, set[str]] = {}
    for commit, path in _touched(root):
        authors.setdefault(path, set()).add(commit)
    for name, lines in writes.items():
        for job, path, text in lines:
            outcome.acknowledged += 1
            blob = avm_git.blob_id(text.encode())
            if subprocess.run(["git", "cat-file", "-e", blob], cwd=root, check=False).returncode:
                outcome.wrong.append(f"{name}'s text at {path} is lost")
            outcome.memories_in_stash += blob in stashed
            if job == "remember":
                place = root / path[1:]
                if place.exists() and place.read_text() == text:
                    if authors.get(path[1:]) != {name}:
                        outcome.wrong.append(f"{path}: by {authors.get(path[1:])}, not by {name}")
                elif blob not in stashed:
                    outcome.wrong.append(f"{path} of {name} is not there any more")
    dirty = _git(root, "status", "--porcelain", "--", "memory")
    if dirty:
        outcome.wrong.append(f"memory/ is not clean: {dirty[:200]}")
    for subject, patch in person.committed.items():
        made = _git(root, "log", "--format=%H", "--fixed-strings", f"--grep={subject}\n").split()
        found = [one for one in _git(root, "log", "--format=%H %s").splitlines()
                 if one.endswith(f" {subject}")]  # fmt: skip
        if len(found) != 1:
            outcome.wrong.append(f"{len(found)} commits {subject!r} {made}")
            continue
        kept = _git(root, "show", "--format=", found[0].split()[0])
        if kept.strip() != patch.strip():
            outcome.wrong.append(f"commit {subject!r} holds other hunks than were staged")
    log = _git(root, "log", "--format=%an").splitlines()
    outcome.commits = sum(name in AGENTS for name in log)
    done = subprocess.run(
        ["git", "fsck", "--strict", "--no-dangling"], cwd=root, capture_output=True, check=False
    )
    if done.returncode:
        outcome.wrong.append(f"git fsck: {done.stderr.decode()[:300]}")
    locks = [p for p in (root / ".git").rglob("*.lock") if "avm" not in p.parts]
    if locks:
        outcome.wrong.append(f"locks left: {locks}")


def _stashed(root: Path) -> set[str]:
    """The blobs in what is stashed."""
    stashes = _git(root, "stash", "list", "--format=%H").split()
    listed = (_git(root, "ls-tree", "-r", one) for one in stashes)
    return {line.split()[2] for text in listed for line in text.splitlines()}


def _touched(root: Path) -> Iterator[tuple[str, str]]:
    """(author, path) of every commit but the person's first."""
    author = ""
    for line in _git(root, "log", "--format=>%an", "--name-only", "--no-renames").splitlines():
        if line.startswith(">"):
            author = line[1:]
        elif line:
            yield author, line.strip('"')


def _git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def main() -> None:
    """Run the race as a program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--each", type=int, default=50, help="remembers and rewrites an agent")
    parser.add_argument("--backend", choices=("libgit2", "git"), default="libgit2")
    options = parser.parse_args()
    os.environ.setdefault("GIT_AUTHOR_NAME", "Pat Person")
    os.environ.setdefault("GIT_AUTHOR_EMAIL", "pat@example.org")
    os.environ.setdefault("GIT_COMMITTER_NAME", "Pat Person")
    os.environ.setdefault("GIT_COMMITTER_EMAIL", "pat@example.org")
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder) / "v", options.seconds, options.each, options.backend)
    sys.stdout.write(outcome.table())
    sys.exit(1 if outcome.wrong else 0)


if __name__ == "__main__":
    main()
