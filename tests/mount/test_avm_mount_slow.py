"""An answer that takes a second or more: nobody else waits for it, nor does the mount's end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import pytest
from conftest import git, gone, needs_fuse, needs_model, run_avm, wait_for

from mount.conftest import Mount, Mounting, failing, processes_in

pytestmark = needs_fuse

#: `avm mount` whose `:recall` sleeps, or computes, for so many seconds.
PROGRAM = Path(__file__).with_name("slow_mount.py")
#: Far above what is measured (2 ms), far below the second that a recall takes.
SOON = 0.25


def slow(kind: str, seconds: float) -> list[str]:
    """The program to mount with."""
    return [sys.executable, str(PROGRAM), kind, str(seconds)]


class Asking(threading.Thread):
    """Reads a node; `text` or `error`, and how many `seconds` it took."""

    def __init__(self, node: Path) -> None:
        super().__init__()
        self.node = node
        self.text = ""
        self.error: OSError | None = None
        self.seconds = 0.0

    def run(self) -> None:
        began = time.monotonic()
        try:
            self.text = self.node.read_text()
        except OSError as error:
            self.error = error
        self.seconds = time.monotonic() - began


def took(act: Callable[[], object]) -> float:
    """Seconds."""
    began = time.monotonic()
    act()
    return time.monotonic() - began


@pytest.fixture(params=["sleep", "burn"])
def mount(mounting: Mounting, request: pytest.FixtureRequest) -> Iterator[Mount]:
    """The owner's mount, in which a recall takes a second; files in two folders."""
    mount = mounting(program=slow(request.param, 1))
    (mount.shared / "other").mkdir()
    for folder in (mount.shared, mount.shared / "other"):
        for number in range(5):
            (folder / f"f{number}.md").write_text(f"word {number}\n")
    mount.wait_committed("shared/other/f4.md", "Pat Person")
    yield mount


def test_nothing_else_waits_for_a_recall_that_takes_a_second(mount: Mount) -> None:
    other, node = mount.shared / "other", mount.shared / ":recall?word"
    held = os.open(mount.shared / "f1.md", os.O_RDWR)
    ways: dict[str, Callable[[int], object]] = {
        "stat": lambda n: os.stat(other / f"f{n % 5}.md"),
        "cat": lambda n: (other / f"f{n % 5}.md").read_bytes(),
        "list": lambda n: os.listdir(other),
        "write": lambda n: (other / "new.md").write_text(f"word {n}\n"),
        "cat of what is open": lambda n: os.pread(held, 100, 0),
        "stat of what is open": lambda n: os.fstat(held),
        "search": lambda n: (other / f":search?word{n % 5}").read_bytes(),
    }
    asking = Asking(node)
    asking.start()
    first = took(partial(os.stat, mount.shared / "f2.md"))
    waits: dict[str, list[float]] = {what: [] for what in ways}
    number = 0
    while asking.is_alive():
        for what, way in ways.items():
            waits[what].append(took(partial(way, number)))
        number += 1
    asking.join()
    os.close(held)
    assert asking.text == "slowly: word\n"
    assert asking.seconds >= 1
    assert first < SOON
    medians = {what: round(median(seconds), 4) for what, seconds in waits.items()}
    assert number > 1
    assert all(seconds < SOON for seconds in medians.values()), medians


def test_the_folder_of_the_node_waits_a_moment_only(mount: Mount) -> None:
    """Without, the first lookup of the name would hold it for the whole second."""
    asking = Asking(mount.shared / ":recall?again")
    asking.start()
    waits = [took(partial(os.stat, mount.shared / f"f{number % 5}.md")) for number in range(10)]
    waits.append(took(partial(os.listdir, mount.shared)))
    still = asking.is_alive()
    asking.join()
    assert still
    assert max(waits) < 2 * SOON
    assert asking.text == "slowly: again\n"


def test_all_who_ask_at_once_are_told_the_same_after_one_second(mount: Mount) -> None:
    asking = [Asking(mount.shared / ":recall?same") for _ in range(6)]
    began = time.monotonic()
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert {one.text for one in asking} == {"slowly: same\n"}
    assert time.monotonic() - began < 5  # one after the other it would be six
    assert took(partial(Path.read_text, mount.shared / ":recall?same")) < 1
    assert (mount.shared / ":recall?same").stat().st_size == len("slowly: same\n")


@pytest.mark.parametrize("kind", ["sleep", "burn"])
def test_sigterm_does_not_wait_for_an_answer_nor_for_an_open_file(
    mounting: Mounting, kind: str
) -> None:
    mount = mounting(agent="akashi", program=slow(kind, 60))
    pid = mount.pid
    asking = [Asking(mount.private / f":recall?{number}") for number in range(6)]
    with (mount.private / "open.md").open("w", buffering=1) as file:
        file.write("so far\n")
        for one in asking:
            one.start()
        (mount.private / "last.md").write_text("the last word\n")
        began = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: gone(pid), "the end of the server")
        seconds = time.monotonic() - began
        for one in asking:
            one.join(10)
        assert not any(one.is_alive() for one in asking)
        assert all(one.error for one in asking)
        assert failing(partial(os.fstat, file.fileno())) == "ENOTCONN"
        assert failing(partial(os.write, file.fileno(), b"more")) == "ENOTCONN"
    assert seconds < 20
    assert not mount.mounted
    for name, text in {"open.md": "so far", "last.md": "the last word"}.items():
        assert git(mount.vault, "show", f"HEAD:memory/private/akashi/{name}") == text
        assert mount.authors_of(f"private/akashi/{name}") == ["akashi"]
    assert git(mount.vault, "status", "--porcelain") == ""


def test_unmounting_while_an_answer_is_computed(mounting: Mounting) -> None:
    mount = mounting(program=slow("sleep", 1))
    asking = Asking(mount.shared / ":recall?word")
    asking.start()
    (mount.shared / "last.md").write_text("the last word\n")
    mount.unmount()
    asking.join()
    assert not mount.mounted
    wait_for(lambda: not git(mount.vault, "status", "--porcelain"), "the commit")


@needs_model
def test_the_models_start_and_death_do_not_show(mounting: Mounting) -> None:
    mount = mounting(quick=False)
    for number in range(5):
        (mount.shared / f"f{number}.md").write_text(f"word {number}\n")

    def worker() -> int | None:
        found = processes_in(mount.home)
        return next((pid for pid, line in found.items() if "avm.embed.worker" in line), None)

    def all_embedded() -> bool:
        return "without embedding" not in run_avm("status").stdout

    def read_all(number: int) -> None:
        assert (mount.shared / f"f{number % 5}.md").read_text() == f"word {number % 5}\n"
        assert "f1.md" in mount.search(f"word+{number}")

    def read_until(condition: Callable[[], object], what: str) -> float:
        waits: list[float] = []

        def look() -> object:
            waits.append(took(partial(read_all, len(waits))))
            return condition()

        wait_for(look, what, 60)
        return median(waits)

    starting = read_until(worker, "the model's worker")
    loading = read_until(all_embedded, "the embeddings")
    pid = worker() or 0
    os.kill(pid, signal.SIGKILL)
    dying = read_until(lambda: gone(pid) and worker() not in (None, pid), "another worker")
    assert max(starting, loading, dying) < SOON
