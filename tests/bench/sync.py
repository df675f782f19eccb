"""Syncing two clones over a bare repository: how long do conflicts and many files take?

    python tests/bench/sync.py [--conflicts 200] [--files 10000]

Prints seconds of whole processes: `avm sync` that merges memories which both sides changed in the
same lines; `avm sync` that brings many new memories, after which they are searchable; and beside
it, for the same files, `git pull` and then `avm index`, with the ratio.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_PERSON = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "Pat Person"), ("EMAIL", "pat@example.org"))
}


def run(folder: Path, *command: str) -> float:
    """Run a program, which must succeed; returns its seconds."""
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **_PERSON}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return time.perf_counter() - began


def avm(vault: Path, *args: str) -> float:
    """`avm ARGS` for a vault; returns its seconds."""
    return run(vault, sys.executable, "-m", "avm", "--vault", str(vault), *args)


def fill(vault: Path, folder: str, count: int, word: str) -> None:
    """Write memories, 500 a folder."""
    for number in range(count):
        place = vault / "memory/shared" / folder / str(number // 500) / f"{number}.md"
        place.parent.mkdir(parents=True, exist_ok=True)
        front = f"---\ntitle: number {number}\ntags: [a, {word}]\nimportance: 0.4\n---\n"
        place.write_text(f"{front}the first line\nthe line that {word} wrote\nthe last line\n")


def main() -> None:
    """Run both, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conflicts", type=int, default=200)
    parser.add_argument("--files", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        remote = top / "remote.git"
        run(top, "git", "init", "-q", "--bare", "-b", "main", str(remote))
        one, two, three = (top / name for name in ("one", "two", "three"))
        run(top, sys.executable, "-m", "avm", "init", str(one))
        run(one, "git", "remote", "add", "origin", str(remote))
        fill(one, "talk", options.conflicts, "nobody")
        avm(one, "sync")
        for clone in (two, three):
            run(top, sys.executable, "-m", "avm", "clone", str(remote), str(clone))
        for clone, word in ((one, "ann"), (two, "bob")):
            fill(clone, "talk", options.conflicts, word)
            avm(clone, "commit")
        avm(one, "sync")
        seconds = avm(two, "sync")
        copies = len(list((two / "memory/shared/talk").glob("*/*.conflict-*")))
        print(f"avm sync that merges {copies} conflicts       {seconds:6.2f} s")
        avm(one, "sync")
        run(three, "git", "pull", "-q")
        avm(three, "index")
        fill(one, "many", options.files, "somebody")
        avm(one, "sync")
        synced = avm(two, "sync")
        pulled = run(three, "git", "pull", "-q") + avm(three, "index")
        print(f"avm sync that brings {options.files} files    {synced:6.2f} s")
        print(f"git pull and avm index                 {pulled:6.2f} s")
        print(f"ratio                                  {synced / pulled:6.2f}")


if __name__ == "__main__":
    main()
