"""What committing costs: `remember` beside a committer, a commit of one file beside git's own.

    python tests/bench/commits.py [--memories 10000] [--rounds 15]

Each pair is measured in turn in one run, so that a noisy machine is noisy for both; the ratio of
the medians is what counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from avm import AVM
from avm.base.config import Config
from avm.vault.authors import Authors, Entry
from avm.vault.committer import Committer
from avm.vault.location import Vault

FOLDERS = 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    for role in ("AUTHOR", "COMMITTER"):
        os.environ.setdefault(f"GIT_{role}_NAME", "Pat Person")
        os.environ.setdefault(f"GIT_{role}_EMAIL", "pat@example.org")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "v"
        vault = fill(root, options.memories)
        one_commit(vault, options.rounds)
        remembers(root, options.rounds)


def fill(root: Path, count: int) -> Vault:
    """A vault of `count` committed memories, some hundreds a folder."""
    with AVM(root, semantic="off") as avm:
        vault = avm.store.vault
    for number in range(count):
        place = root / f"memory/shared/n{number % FOLDERS}/{number}.md"
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"---\ntitle: {number}\n---\n" + f"what was learnt, {number}\n" * 12)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "Filled")
    return vault


def one_commit(vault: Vault, rounds: int) -> None:
    """A commit of one edited file: AVM's, the git program's, and AVM's through the git program."""
    from avm.vault import committer as module
    from avm.vault.objects_git import GitObjects

    rel = "memory/shared/n3/3.md"
    authors = Authors(vault)
    through_libgit2 = Committer(vault, Config())
    through_git = Committer(vault, Config())
    real = module.open_objects
    module.open_objects = lambda vault, sign=False: GitObjects(vault)  # type: ignore[assignment]
    through_git._git()
    module.open_objects = real

    def edit() -> None:
        with vault.path(rel).open("a") as file:
            file.write(f"{time.time_ns()}\n")

    def by_avm(committer: Committer) -> None:
        edit()
        authors.record(Entry(rel, "akashi", "edit", time.time()))
        assert len(committer.commit(now=True, journalled=True).commits) == 1

    def by_git() -> None:
        edit()
        git(vault.root, "add", "-A")
        git(vault.root, "commit", "-qm", "By hand")

    named: dict[str, Callable[[], None]] = {
        "avm": lambda: by_avm(through_libgit2),
        "avm, git program": lambda: by_avm(through_git),
        "git add -A, commit": by_git,
    }
    times = alternate(named, rounds)
    base = statistics.median(times["git add -A, commit"])
    print("one commit of one file")
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"  {name:<20} median {1e3 * middle:7.1f} ms  least {1e3 * min(seconds):7.1f} ms"
              f"  git / this {base / middle:5.2f}")  # fmt: skip


def remembers(root: Path, rounds: int) -> None:
    """The median of `remember`, with nobody who commits and with a committer at work."""
    each, times = 150, {"off": [], "all": []}  # type: dict[str, list[float]]
    os.environ |= {"AVM_COMMIT_QUIET": "0.1s", "AVM_COMMIT_MAX_WAIT": "0.2s"}
    serial = 0
    for _ in range(rounds):
        for who, found in times.items():
            os.environ["AVM_COMMIT_WHO"] = who
            with AVM(root, semantic="off") as avm:
                agent = avm.agent_memory("akashi")
                for _ in range(each):
                    serial += 1
                    began = time.perf_counter()
                    agent.remember(f"memory {serial}", title=f"m {serial}", namespace=f"r{who}")
                    found.append(time.perf_counter() - began)
                    time.sleep(0.004)
    print(f"remember, {rounds} × {each} each in turn, a commit every 0.2 s or so")
    for who, found in times.items():
        tail = sorted(found)[int(len(found) * 0.95)]
        print(f"  {who:<4} p50 {1e3 * statistics.median(found):6.3f} ms  p95 {1e3 * tail:6.3f} ms")
    ratio = statistics.median(times["all"]) / statistics.median(times["off"])
    print(f"  with / without {ratio:.2f}")


def alternate(named: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, in turn; the first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in named}
    for number in range(rounds + 1):
        for name, act in named.items():
            began = time.perf_counter()
            act()
            if number:
                times[name].append(time.perf_counter() - began)
    return times


def git(root: Path, *args: str) -> None:
    """`git ARGS`, which must succeed."""
    subprocess.run(["git", *args], cwd=root, check=True, capture_output=True)


if __name__ == "__main__":
    main()
