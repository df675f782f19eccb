"""How long `avm log PATH` takes on a repository of many commits: `python tests/bench/log_path.py`.

Makes the repository with git fast-import, packs it, writes the commit-graph with changed-path Bloom
filters, and prints the least and the median time of the whole process, beside `git log -- PATH`.
The promise: at most 200 ms at 10,000 commits.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

AGENTS = ("akashi", "hermes", "juno")
FILES = 2_000
#: The file that is asked for: edited now and then, once renamed.
OLD, NEW = "memory/shared/market/rule_old.md", "memory/shared/market/rule.md"
EVERY = 250
LIMIT_MS = 200.0


def stream(commits: int) -> bytes:
    """The input of git fast-import: one edit a commit, by agents in turn."""
    parts, number, renamed = [], 0, commits // 2
    for number in range(commits):
        agent = AGENTS[number % len(AGENTS)]
        who = f"{agent} <{agent}@agents.avm.invalid> {1_750_000_000 + number * 60} +0000"
        subject = f"edit: note {number}\n\nAgent: {agent}\nMemory-Op: edit\n"
        name = f"memory/private/{agent}/f{number % 40}/n{number % FILES}.md"
        rule = OLD if number < renamed else NEW
        text = f"Note {number}\n\nWhat was learned the {number}th time.\n"
        if number % EVERY == 0:
            name, text = rule, _rule(number)
        parts.append(f"commit refs/heads/main\nauthor {who}\ncommitter {who}\n")
        parts.append(f"data {len(subject)}\n{subject}\n")
        if number == 0:
            parts.append("M 100644 inline .avm/format\ndata 2\n1\n\n")
        if number == renamed:
            parts.append(f"R {OLD} {NEW}\n")
        parts.append(f"M 100644 inline {name}\ndata {len(text)}\n{text}\n")
    return "".join(parts).encode()


def _rule(number: int) -> str:
    return "".join(f"Line {line} of the rule.\n" for line in range(20)) + f"Seen {number} times.\n"


def make(root: Path, commits: int) -> None:
    """The repository, as housekeeping leaves it."""
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "fast-import", "--quiet", stdin=stream(commits))
    git(root, "reset", "--quiet", "--hard")
    git(root, "commit-graph", "write", "--reachable", "--changed-paths")


def git(root: Path, *args: str, stdin: bytes | None = None) -> str:
    """`git ARGS` in `root`."""
    root.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["git", *args], cwd=root, input=stdin, capture_output=True, check=True)
    return done.stdout.decode()


def timed(command: Sequence[str], root: Path, rounds: int) -> tuple[float, float, int]:
    """Least and median time in ms, and the number of lines printed."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    taken, lines = [], 0
    for _ in range(rounds + 1):
        start = time.perf_counter()
        done = subprocess.run(command, cwd=root, capture_output=True, check=True, env=env)
        taken.append((time.perf_counter() - start) * 1000)
        lines = done.stdout.count(b"\n")
    return min(taken[1:]), statistics.median(taken[1:]), lines


def main() -> int:
    """Make, measure, print; 1 if it takes longer than promised."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commits", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "vault"
        make(root, options.commits)
        avm = [sys.executable, "-m", "avm"]
        cases = {
            "avm log PATH": [*avm, "log", NEW],
            "avm --agent akashi log PATH": [*avm, "--agent", "akashi", "log", NEW],
            "avm log PATH --limit 10": [*avm, "log", NEW, "--limit", "10"],
            "avm show PATH@~3": [*avm, "show", f"{NEW}@~3"],
            "git log -- PATH": ["git", "log", "--oneline", "--", NEW],
            "git log --follow -- PATH": ["git", "log", "--oneline", "--follow", "--", NEW],
            "python -c pass": [sys.executable, "-c", "pass"],
            "import click": [sys.executable, "-c", "import click"],
        }
        slow = False
        print(f"{options.commits} commits, {options.rounds} rounds: least, median in ms, lines")
        for name, command in cases.items():
            least, median, lines = timed(command, root, options.rounds)
            slow |= name == "avm log PATH" and least > LIMIT_MS
            print(f"{name:30} {least:7.0f} {median:7.0f} {lines:6}")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
