"""Committing in the background: one of many does it, another takes over, an end flushes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import git, wait_for
from vault_helpers import assert_clean, committed, note, private, put, python, remember, show

from avm.base.config import Config
from avm.vault.authors import Authors
from avm.vault.background import BackgroundCommitter
from avm.vault.committer import Committer
from avm.vault.init import make
from avm.vault.location import Vault
from avm.vault.locks import try_lock


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return make(tmp_path / "v")


def quiet(seconds: float) -> Config:
    """Settings under which agents' writes rest for `seconds`."""
    return Config({"commit.quiet": timedelta(seconds=seconds)})


@contextmanager
def running(
    vault: Vault, config: Config, held: Callable[[], Collection[str]] = tuple
) -> Iterator[BackgroundCommitter]:
    """A background committer that ends without committing unless the test ended it."""
    background = BackgroundCommitter(vault, config, Committer(vault, config), held)
    background.start()
    try:
        yield background
    finally:
        background.stop(flush=False)


def is_held(vault: Vault) -> bool:
    """Whether somebody has the role."""
    lock = try_lock(vault.git_state / "committer.lock")
    if lock:
        lock.release()
    return lock is None


def log(vault: Vault) -> list[str]:
    """`author: subject` of every commit after the first, newest first."""
    return git(vault.root, "log", "--format=%an: %s").splitlines()[:-1]


def test_a_memory_is_committed_once_it_has_rested(vault: Vault) -> None:
    with running(vault, quiet(1.0)):
        began = time.monotonic()
        remember(vault, private("a.md"))
        wait_for(lambda: log(vault), "the commit")
        assert time.monotonic() - began >= 1.0
        assert log(vault) == ["akashi: remember: a"]
        wait_for(lambda: Authors(vault).size() == 0, "the journal is settled")
        assert_clean(vault)


def test_writes_that_go_on_are_one_commit(vault: Vault) -> None:
    with running(vault, quiet(0.8)):
        for number in range(10):
            remember(vault, private(f"{number}.md"), f"{number}\n")
        wait_for(lambda: log(vault), "the commit")
    assert log(vault) == ["akashi: remember 10 memories"]


def test_what_is_open_for_writing_waits_until_it_is_closed(vault: Vault) -> None:
    held = {private("open.md")}
    with running(vault, quiet(0), held=lambda: held):
        remember(vault, private("open.md"))
        remember(vault, private("closed.md"))
        wait_for(lambda: log(vault) == ["akashi: remember: closed"], "the closed one's commit")
        held.clear()
        wait_for(lambda: len(log(vault)) == 2, "the other one's commit")


def test_of_two_one_has_the_role_and_the_other_takes_over(vault: Vault) -> None:
    with running(vault, quiet(0.1)) as first:
        wait_for(lambda: is_held(vault), "the first has the role")
        with running(vault, quiet(0)) as second:
            # Without the role an end commits nothing: the first one will.
            remember(vault, private("a.md"))
            wait_for(lambda: log(vault) == ["akashi: remember: a"], "the first one's commit")
            first.stop()
            wait_for(lambda: is_held(vault), "the second takes over")
            remember(vault, private("b.md"))
            wait_for(lambda: log(vault)[0] == "akashi: remember: b", "the second one's commit")
            second.stop()
        assert not is_held(vault)


def test_one_that_ends_without_the_role_leaves_the_commit_to_the_other(vault: Vault) -> None:
    with running(vault, quiet(3600)) as first:
        wait_for(lambda: is_held(vault), "the first has the role")
        with running(vault, quiet(0)) as second:
            remember(vault, private("a.md"))
            assert second.stop() is None
        assert log(vault) == []
        assert first.stop() is not None
    assert log(vault) == ["akashi: remember: a"]


def test_an_end_commits_at_once_what_has_not_rested(vault: Vault) -> None:
    with running(vault, quiet(3600)) as background:
        remember(vault, private("a.md"))
        put(vault, "memory/shared/mine.md", "not yet: the person's edits rest\n")
        report = background.stop()
    assert report is not None and len(report.commits) == 1
    assert log(vault) == ["akashi: remember: a"]
    assert not is_held(vault)


def test_an_end_without_flush_commits_nothing(vault: Vault) -> None:
    with running(vault, quiet(3600)) as background:
        remember(vault, private("a.md"))
        assert background.stop(flush=False) is None
    assert log(vault) == []
    assert not is_held(vault)


def test_an_end_that_is_blocked_says_so_and_ends(vault: Vault) -> None:
    git(vault.root, "checkout", "-q", "--detach")
    with running(vault, quiet(3600)) as background:
        remember(vault, private("a.md"))
        report = background.stop()
    assert report is not None and report.blocked == "HEAD is detached"
    assert not is_held(vault)


def test_after_a_failure_it_tries_again(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")  # no git
    with running(vault, quiet(0)):
        remember(vault, private("a.md"))
        wait_for(lambda: "not installed" in caplog.text, "the failure is logged")
        monkeypatch.undo()
        wait_for(lambda: committed(vault.root) >= {private("a.md")}, "the commit")


def test_a_fault_of_ours_is_logged_and_ends_no_committing(
    vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [ValueError("what nobody thought of")]

    def held() -> Collection[str]:
        if faults:
            raise faults.pop()
        return ()

    with running(vault, quiet(0), held):
        remember(vault, private("a.md"))
        wait_for(lambda: committed(vault.root) >= {private("a.md")}, "the commit")
    assert "what nobody thought of" in caplog.text


@pytest.mark.parametrize("name", ["b.md", "of another length.md"])
def test_what_another_left_to_us_while_we_committed_is_committed(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with running(vault, quiet(3600)) as background:
        remember(vault, private("a.md"))
        committer = background._committer
        real, calls = committer.commit, []

        def commit(**named: bool) -> object:
            report = real(**named)
            if not calls:  # another process remembers, finds the role taken, and ends
                monkeypatch.setattr(time, "time", lambda: 1_800_000_000.5)
                remember(vault, private(name))
                monkeypatch.undo()
            calls.append(1)
            return report

        monkeypatch.setattr(time, "time", lambda: 1_800_000_000.5)
        Authors(vault).settle({private("a.md")}, Authors(vault).size())
        note(vault, private("a.md"))  # a journal of the same size as the other's
        monkeypatch.undo()
        monkeypatch.setattr(committer, "commit", commit)
        background.stop()
    assert committed(vault.root) >= {private("a.md"), private(name)}
    assert_clean(vault)


SHORT = """
import sys, time
from datetime import timedelta
from pathlib import Path
from avm.base import atomic
from avm.base.config import Config
from avm.vault.authors import Authors, Entry
from avm.vault.background import BackgroundCommitter
from avm.vault.committer import Committer
from avm.vault.location import open_vault

root, name = sys.argv[1:]
vault = open_vault(Path(root))
config = Config({"commit.quiet": timedelta(hours=1)})
background = BackgroundCommitter(vault, config, Committer(vault, config))
background.start()
print("ready", flush=True)
sys.stdin.readline()
rel = f"memory/private/akashi/{name}.md"
vault.path(rel).parent.mkdir(parents=True, exist_ok=True)
atomic.write_new(vault.path(rel), name.encode())
Authors(vault).record(Entry(rel, "akashi", "remember", time.time()))
background.stop()
"""


def test_short_programs_that_end_together_leave_nothing_uncommitted(vault: Vault) -> None:
    names = [f"m{number}" for number in range(4)]
    programs = [python(SHORT, vault.root, name) for name in names]
    try:
        for program in programs:
            assert program.stdout and program.stdout.readline() == b"ready\n"
        for program in programs:
            assert program.stdin
            program.stdin.write(b"\n")
            program.stdin.flush()
        ends = [program.communicate(timeout=60) for program in programs]
    finally:
        for program in programs:
            program.kill()
            program.communicate()
    assert [program.returncode for program in programs] == [0] * 4, ends
    assert committed(vault.root) >= {private(f"{name}.md") for name in names}
    assert show(vault.root, "%an") == "akashi"
    assert Authors(vault).size() == 0
    assert_clean(vault)


def test_what_is_written_to_all_the_time_is_committed_after_the_longest_wait(vault: Vault) -> None:
    config = Config(
        {"commit.quiet": timedelta(seconds=60), "commit.max_wait": timedelta(seconds=1)}
    )
    with running(vault, config):
        remember(vault, private("a.md"), "0\n")

        def write_on() -> bool:
            remember(vault, private("a.md"), f"{time.monotonic()}\n", op="edit")
            return bool(log(vault))

        wait_for(write_on, "the commit of a memory that never rests")
    assert log(vault) == ["akashi: remember: a"]


@pytest.mark.parametrize("who", ["agents", "off"])
def test_whose_writes_are_committed_is_the_user_s_to_say(vault: Vault, who: str) -> None:
    config = Config({"commit.quiet": timedelta(0), "commit.who": who})
    put(vault, "memory/shared/mine.md", "mine\n")
    with running(vault, config) as background:
        remember(vault, private("a.md"))
        if who == "agents":
            wait_for(lambda: log(vault), "the agent's commit")
        background.stop()
    assert log(vault) == (["akashi: remember: a"] if who == "agents" else [])
    report = Committer(vault, config).commit(now=True, people=True)
    assert len(report.commits) == (0 if who == "agents" else 2), "`avm commit` is no background"
