"""What happens to a keeper: killed, stopped, flooded, short of watches. No read is ever wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import DEEP, keeper_of, run_avm, wait_for
from vault_helpers import assert_well

from avm import AVM
from avm.api import open_avm
from avm.api.waiting import Waiting
from avm.vault.location import Vault

#: How many files are edited while keepers are killed.
MANY = 10_000 if DEEP else 3_000
#: More than the kernel's queue holds (16,384): each round of the flood is three events.
FLOOD = 6_000


@pytest.fixture
def avm(tmp_path: Path) -> Iterator[AVM]:
    """A vault as a command sees it: it asks a keeper that is there, and starts none."""
    AVM(tmp_path / "v", semantic="off").close()
    with open_avm(tmp_path / "v", {"semantic": "off"}, Waiting.COMMAND) as avm:
        yield avm
        avm.store.index.refresh()
        assert_well(avm)


def write(vault: Vault, number: int, text: str) -> None:
    """Write one of many files, as an editor does in place."""
    place = vault.path(f"memory/shared/{number // 500}/n{number}.md")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def right(avm: AVM, word: str, rel: str) -> bool:
    """Whether a search for `word` finds the one file that has it."""
    return [hit.path for hit in avm.search(word)] == [f"/{rel}"]


def told(avm: AVM) -> dict[str, object]:
    """What the keeper says of itself."""
    found: list[dict[str, object]] = []

    def answers() -> bool:
        answer = avm.store.keeper.ask("status", timeout=10.0)
        found.extend([answer] if answer else [])
        return answer is not None

    wait_for(answers, "the keeper's status", 60)
    return found[-1]


def caught_up(avm: AVM) -> bool:
    """Wait until the keeper answers, and is done with all that was written."""
    keeper = avm.store.keeper
    wait_for(lambda: keeper.ask("barrier", timeout=60.0) == {"ok": True}, "the keeper's answer", 60)
    return True


def test_kill_9_during_many_edits(avm: AVM, tmp_path: Path) -> None:
    root = avm.store.vault.root
    writing = threading.Thread(
        target=lambda: [write(avm.store.vault, n, f"word{n} common") for n in range(MANY)]
    )
    command = [sys.executable, "-m", "avm", "--vault", str(root), "keeper", "--quiet"]
    wrong, probe, killed = [], 0, 0
    writing.start()
    while writing.is_alive() or killed < 3:
        keeper = subprocess.Popen(command)
        for _ in range(3):
            probe += 1
            place = root / f"memory/shared/probe{probe % 5}.md"
            place.write_text(f"probe{probe}")
            if not right(avm, f"probe{probe}", str(place.relative_to(root))):
                wrong.append(probe)
            if keeper.poll() is None and avm.store.keeper.barrier():
                break
        keeper.kill()
        killed += keeper.wait() == -signal.SIGKILL
    writing.join()
    assert wrong == [] and killed >= 3
    with keeper_of(root):
        assert caught_up(avm)
        assert len(avm.memories()) == MANY + min(probe, 5)
        assert right(avm, f"word{MANY - 1}", f"memory/shared/{(MANY - 1) // 500}/n{MANY - 1}.md")
    assert avm.store.index.check() == []


def test_a_queue_that_overflows(avm: AVM) -> None:
    vault = avm.store.vault
    vault.path("memory/shared/0").mkdir(parents=True)
    with keeper_of(vault.root) as pid:
        assert caught_up(avm)
        os.kill(pid, signal.SIGSTOP)
        try:
            place = vault.path("memory/shared/0/passing.md")
            for _ in range(FLOOD):
                os.close(os.open(place, os.O_CREAT | os.O_WRONLY))
                place.unlink()
            write(vault, 6, "unheard")
            # The keeper does not answer: the reader does the work itself.
            assert right(avm, "unheard", "memory/shared/0/n6.md")
        finally:
            os.kill(pid, signal.SIGCONT)
        write(vault, 7, "afterwards")
        assert caught_up(avm)
        assert told(avm)["overflows"] == 1
        assert right(avm, "afterwards", "memory/shared/0/n7.md")
        # Events count again.
        write(vault, 8, "later")
        assert caught_up(avm) and right(avm, "later", "memory/shared/0/n8.md")
    assert avm.store.index.check() == []


def limited(root: Path, setting: str, number: int) -> list[str]:
    """A command that runs a keeper under a limit of the kernel's, in a namespace of its own."""
    keeper = f"{sys.executable} -m avm --vault {root} keeper"
    script = f"echo {number} > /proc/sys/user/{setting} && exec {keeper}"
    return ["unshare", "--user", "--map-root-user", "sh", "-c", script]


def no_namespace_because() -> str | None:
    """Why limits cannot be lowered for one process here."""
    try:
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "true"], capture_output=True, check=False
        )
    except FileNotFoundError:
        return "no unshare"
    return None if done.returncode == 0 else f"no user namespaces: {done.stderr.decode().strip()}"


@pytest.mark.skipif(no_namespace_because() is not None, reason=str(no_namespace_because()))
@pytest.mark.parametrize(
    ("setting", "number"), [("max_inotify_watches", 3), ("max_inotify_instances", 0)]
)
def test_watches_that_run_out(avm: AVM, setting: str, number: int) -> None:
    vault = avm.store.vault
    for n in range(0, 5000, 500):
        write(vault, n, f"word{n} common")
    keeper = subprocess.Popen(limited(vault.root, setting, number))
    try:
        told(avm)
        assert caught_up(avm)
        for n in range(0, 5000, 500):
            write(vault, n, f"changed{n} common")
            assert caught_up(avm)
            assert right(avm, f"changed{n}", f"memory/shared/{n // 500}/n{n}.md")
            assert avm.search(f"word{n}") == []
        status = told(avm)
        assert "raise fs.inotify.max_user_" in str(status["hindrance"])
        assert status["watched"] == number
        shown = run_avm("--vault", str(vault.root), "keeper", "status").stdout
        assert "raise fs.inotify" in shown
    finally:
        assert run_avm("--vault", str(vault.root), "keeper", "stop").stdout == "stopped\n"
        assert keeper.wait(10) == 0
