"""A mount at work for long: does its server, or the keeper, grow?

    python tests/bench/soak.py [--acts 1000000] [--each 20000] [--agent akashi]

Mixed acts through one mount of a new vault, with files whose names are always new; what is read is
checked (tests/crash/mount_work.py). Prints memory, descriptors and threads of the two processes,
the size of what they keep on disk, and acts a second. In the end a verdict on each: flat, if in the
second half memory grew by less than `--slack` MB for each million acts, by the straight line
through it, and no more descriptors or threads were open than in the first half, but for `--few`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path[0] = str(Path(__file__).parent.parent)

from crash.mount_work import Choice, Content, Hands  # noqa: E402


class Look(NamedTuple):
    """A process at a moment: resident memory in MB, open descriptors, threads."""

    memory: float
    descriptors: int
    threads: int


def look(pid: int) -> Look:
    """At a process that runs."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    open_now = len(os.listdir(f"/proc/{pid}/fd"))
    return Look(int(status["VmRSS"].split()[0]) / 1024, open_now, int(status["Threads"]))


def avm(*args: str) -> str:
    """`avm ARGS`, which must succeed."""
    command = [sys.executable, "-m", "avm", *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def number_in(folder: str, *words: str) -> int:
    """The process whose command line has these words, in this order."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if folder in command and [word for word in command if word in words] == list(words):
            return int(pid)
    raise SystemExit(f"no process: avm {' '.join(words)}")


def sizes(vault: Path) -> dict[str, float]:
    """MB on disk of what may grow."""
    own = vault / ".git" / "avm"
    folders = {"git objects": vault / ".git" / "objects", "avm": own}
    files = {file.name: file for file in own.glob("state/*.jsonl")}
    found = {name: _weight(folder) / 1e6 for name, folder in folders.items()}
    return found | {name: file.stat().st_size / 1e6 for name, file in files.items()}


def _weight(folder: Path) -> int:
    """The bytes of the files below; git may tidy up meanwhile."""
    weight = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                weight += os.lstat(f"{place}/{name}").st_size
    return weight


def slope(points: list[tuple[int, float]]) -> float:
    """The growth for each million acts, of the straight line through them."""
    if len(points) < 2:
        return 0.0
    acts, values = zip(*points, strict=True)
    return 1e6 * statistics.linear_regression(acts, values).slope


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--acts", type=int, default=1_000_000)
    parser.add_argument("--each", type=int, default=20_000, help="acts from line to line")
    parser.add_argument("--agent", default="akashi")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slack", type=float, default=10.0, help="MB a million acts")
    parser.add_argument("--few", type=int, default=3)
    options = parser.parse_args()
    for role in ("AUTHOR", "COMMITTER"):
        os.environ.setdefault(f"GIT_{role}_NAME", "Pat Person")
        os.environ.setdefault(f"GIT_{role}_EMAIL", "pat@example.org")
    os.environ["AVM_SEMANTIC"] = "off"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    with tempfile.TemporaryDirectory() as folder:
        vault, point = Path(folder) / "vault", Path(folder) / "M"
        avm("init", str(vault))
        avm("--vault", str(vault), "mount", str(point), "--agent", options.agent, "--daemon")
        try:
            sys.exit(soak(vault, point, options))
        finally:
            avm("unmount", str(point))
            avm("--vault", str(vault), "keeper", "stop")


def soak(vault: Path, point: Path, options: argparse.Namespace) -> int:
    """The acts; 0 if nothing grew."""
    place = point / "memory" / "shared" / "work"
    place.mkdir()
    (place / ":search?anything").read_bytes()
    pids = {
        "server": number_in(str(point), "mount", "--ready-fd"),
        "keeper": number_in(str(vault), "keeper"),
    }
    hands, content = Hands(place, None), Content()
    choice = Choice(options.seed, nodes=True, notes=False)
    seen: dict[str, list[tuple[int, Look]]] = {name: [] for name in pids}
    began = time.monotonic()
    for number in range(1, options.acts + 1):
        act = choice.next(content)
        hands.do(act, content)
        content.apply(act)
        if number % options.each == 0 or number == options.acts:
            speed = options.each / (time.monotonic() - began)
            line = f"{number:>8} acts {speed:6.0f}/s"
            for name, pid in pids.items():
                now = look(pid)
                seen[name].append((number, now))
                line += f"  {name} {now.memory:6.1f} MB {now.descriptors:3} fd {now.threads:2} thr"
            disk = (f"{name} {size:.1f}" for name, size in sizes(vault).items())
            print(f"{line}  on disk, MB: {', '.join(disk)}", flush=True)
            began = time.monotonic()
    return max([verdict(name, looks, options) for name, looks in seen.items()])


def verdict(name: str, looks: list[tuple[int, Look]], options: argparse.Namespace) -> int:
    """Print it; 0 for flat."""
    half = len(looks) // 2
    grown = slope([(number, now.memory) for number, now in looks[half:]])
    good = grown < options.slack
    for kind in ("descriptors", "threads"):
        first = max(getattr(now, kind) for _, now in looks[: half + 1])
        second = max(getattr(now, kind) for _, now in looks[half:])
        good = good and second <= first + options.few
    print(f"{name}: {'flat' if good else 'GROWS'}, {grown:+.1f} MB a million acts")
    return not good


if __name__ == "__main__":
    main()
