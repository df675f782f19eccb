"""The main job, as typed: mount, write with echo, ask with cat; life and end of a mount."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from conftest import git, gone, needs_fuse, run_avm, wait_for

from mount.conftest import Mount, Mounting, bash, failing

pytestmark = needs_fuse

RULE = "RSI > 70 → exit"
NOTE = "M/memory/private/akashi/rsi_rule.md"


# The lines of the README, typed in a home that has nothing


def test_write_with_echo_and_ask_with_cat(mounting: Mounting) -> None:
    """The defaults all the way: no vault yet, the model found but not waited for."""
    mount = mounting(quick=False)
    assert mount.bash(f'echo "{RULE}" > {NOTE}') == ""
    assert mount.bash(f"cat {NOTE}") == RULE + "\n"
    assert (mount.behind / "private/akashi/rsi_rule.md").read_bytes() == f"{RULE}\n".encode()
    found = mount.bash("cat M/:search?RSI")
    assert found == f"1.00 /memory/private/akashi/rsi_rule.md#L1  {RULE}\n"
    mount.bash('echo "NVDA risk: earnings gap" > M/memory/shared/nvda.md')
    quoted = mount.bash('cat "M/:recall?query=NVDA+risk&max_tokens=2000"')
    assert "memory/shared/nvda.md#L1" in quoted
    assert "earnings gap" in quoted
    assert mount.bash("cat M/:stats").startswith("memories 2\n")


def test_the_ampersand_unquoted_still_answers(mount: Mount) -> None:
    """bash takes it for a background job and an assignment: the budget is lost, not the answer."""
    mount.bash('echo "NVDA risk: earnings gap" > M/memory/shared/nvda.md')
    answer = mount.bash("cat M/:recall?query=NVDA+risk&max_tokens=2000\nwait")
    assert "earnings gap" in answer
    assert answer == mount.bash("cat M/:recall?query=NVDA+risk")


def test_git_names_the_agent_within_seconds(mounting: Mounting) -> None:
    akashi = mounting(agent="akashi", quick=False)
    akashi.bash(f'echo "{RULE}" > {NOTE}')
    last = "git -C avm log -1 --format=%an"
    wait_for(lambda: akashi.bash(last) == "akashi\n", "a commit by akashi", 5)
    assert git(akashi.vault, "log", "-1", "--format=%ae %cn") == (
        "akashi@agents.avm.invalid Pat Person"
    )
    assert git(akashi.vault, "show", "HEAD:memory/private/akashi/rsi_rule.md") == RULE
    assert git(akashi.vault, "status", "--porcelain") == ""


def test_daemon_returns_when_the_mount_answers_and_holds_no_pipe(
    mounting: Mounting, home: Path
) -> None:
    """A caller that reads our stdout to its end (a shell's `$(…)`) must not wait for the mount."""
    mounting().unmount()
    started = subprocess.Popen(
        [sys.executable, "-m", "avm", "mount", "M", "--daemon"],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = started.communicate(timeout=20)
    assert (started.returncode, err) == (0, b"")
    assert out.decode() == f"mounted at {home}/M; cat {home}/M/:help\n"
    assert ":search" in (home / "M/:help").read_text()


def test_help_tells_every_node_and_its_examples_work(mount: Mount) -> None:
    text = mount.ask(":help")
    for number in range(4):  # long enough ago, as far as git knows, for every example of a time
        (mount.behind / "shared/rsi_rule.md").write_text(f"# RSI #rule\n{number}\n")
        done = run_avm("commit", cwd=mount.vault, AVM_CLOCK=f"2026-10-31T10:00:0{number}Z")
        assert done.stdout == "1 commit\n"
    asked = re.findall(r"^    (cat|ls) '(.*)'$", text, re.MULTILINE)
    assert len(asked) >= 10
    head = git(mount.vault, "rev-parse", "HEAD")
    for how, name in asked:
        if how == "ls":
            assert "memory" in os.listdir(mount.point / name.replace("4f2c1e", head)), name
        else:
            assert (mount.shared / name).read_text(), name


# What may be mounted where


def test_an_unfit_place_is_refused_in_one_line(home: Path) -> None:
    vault = home / "deep" / "avm"
    assert run_avm("init", str(vault)).returncode == 0
    (home / "file").write_text("mine")
    (home / "full").mkdir()
    (home / "full" / "mine.txt").write_text("mine")
    for point, words in {
        home / "file": "is not a folder",
        home / "full": "is not empty",
        vault / "memory" / "M": "is inside the vault",
        vault: "is inside the vault",
        home / "deep": "holds the vault",
    }.items():
        done = run_avm("mount", str(point), "--daemon", "--vault", str(vault))
        assert done.returncode == 10
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    assert (home / "file").read_text() == (home / "full" / "mine.txt").read_text() == "mine"
    assert not (vault / "memory" / "M").exists()


def test_mounting_twice_at_one_place_is_refused(mount: Mount) -> None:
    done = run_avm("mount", str(mount.point), "--daemon")
    assert done.returncode == 10
    assert "is mounted already: avm unmount" in done.stderr
    assert ":search" in mount.ask(":help")


def test_unmounting_what_is_no_mount_is_refused(home: Path) -> None:
    (home / "folder").mkdir()
    (home / "folder" / "mine").write_text("mine")
    for name in ("folder", "missing"):
        done = run_avm("unmount", name, cwd=home)
        assert (done.returncode, done.stderr) == (10, f"avm: {name} is not an AVM mount\n")
    assert (home / "folder" / "mine").read_text() == "mine"


def test_a_vault_that_is_none_is_not_made(home: Path) -> None:
    done = run_avm("mount", "M", "--daemon", "--vault", str(home / "typo"), cwd=home)
    assert done.returncode == 5
    assert not (home / "typo").exists()


# Its end


def test_unmount_commits_and_leaves_an_empty_folder(akashi: Mount) -> None:
    (akashi.private / "last.md").write_text("the last word\n")
    pid = akashi.pid
    akashi.unmount()
    assert not akashi.mounted
    assert list(akashi.point.iterdir()) == []
    assert gone(pid)
    assert akashi.authors_of("private/akashi/last.md") == ["akashi"]
    assert git(akashi.vault, "status", "--porcelain") == ""
    assert not list(akashi.state.glob("hidden/*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_unmounts_and_commits(akashi: Mount, number: signal.Signals) -> None:
    (akashi.private / "last.md").write_text("the last word\n")
    pid = akashi.pid
    os.kill(pid, number)
    wait_for(lambda: gone(pid), "the end of the server")
    assert not akashi.mounted
    assert akashi.authors_of("private/akashi/last.md") == ["akashi"]
    assert run_avm("status").stdout.splitlines()[1] == "mounted  nowhere"


def test_unmounting_a_mount_in_use_detaches_it_and_names_who(mount: Mount) -> None:
    (mount.shared / "x.md").write_text("held\n")
    holder = subprocess.Popen(["sleep", "60"], cwd=mount.shared)
    try:
        done = run_avm("unmount", str(mount.point))
        assert done.returncode == 0
        assert f"sleep (pid {holder.pid})" in done.stdout
        assert not mount.mounted
    finally:
        holder.kill()
        holder.wait()


# What status says


def test_status_names_the_mounts_of_this_vault_only(mounting: Mounting, home: Path) -> None:
    first, second = mounting("one"), mounting("two", agent="akashi")
    run_avm("init", str(home / "other"))
    mounting("three", vault=home / "other")
    done = run_avm("status")
    assert done.stdout.splitlines()[:3] == [
        f"vault  {first.vault}",
        f"mounted  {first.point}  for the owner",
        f"mounted  {second.point}  for akashi",
    ]
    found = json.loads(run_avm("status", "--json").stdout)["mounts"]
    assert [(m["mountpoint"], m["pid"], m["stale"]) for m in found] == [
        (str(first.point), first.pid, False),
        (str(second.point), second.pid, False),
    ]
    second.unmount()
    assert "akashi" not in run_avm("status").stdout


def test_a_command_inside_a_mount_speaks_for_its_agent(akashi: Mount) -> None:
    line = "cd M/memory/shared && avm remember --title here 'typed inside the mount'"
    assert akashi.bash(line) == "/memory/private/akashi/here.md\n"
    assert akashi.bash("cd M/memory/private/akashi && avm cat here.md").endswith(
        "typed inside the mount\n"
    )


# Folders that look real before they are, and vaults that were there before AVM


def test_any_agents_folder_looks_real_and_becomes_so_with_its_first_file(mount: Mount) -> None:
    assert mount.bash("ls M/memory/private/nobody-yet") == ""
    assert mount.bash("stat -c %F M/memory/private/nobody-yet") == "directory\n"
    assert mount.bash("ls M/memory/private") == ""
    mount.bash("touch M/memory/private/newagent/x.md")
    assert mount.bash("ls M/memory/private") == "newagent\n"
    assert (mount.behind / "private/newagent/x.md").read_bytes() == b""
    mount.bash("mkdir -p M/memory/private/another/deep && touch M/memory/private/another/deep/y.md")
    assert (mount.behind / "private/another/deep/y.md").exists()


def test_what_cannot_be_an_agent_has_no_such_folder(mount: Mount) -> None:
    for name in ("No Agent", "UPPER", ".hidden", "-dash", "x" * 64):
        folder = mount / f"memory/private/{name}"
        assert not folder.exists()
        assert failing(partial((folder / "x.md").write_text, "x")) == "ENOENT"


def test_a_repository_adopted_as_it_is_takes_an_agents_memories(
    mounting: Mounting, home: Path
) -> None:
    """It has no `memory/`; the person's own edits stay the person's to commit."""
    vault = home / "notes"
    vault.mkdir()
    bash("git init -q && echo mine > todo.md && git add . && git commit -qm mine", vault)
    assert run_avm("init", str(vault)).returncode == 0
    akashi = mounting(agent="akashi", vault=vault)
    assert akashi.bash("ls M M/memory M/memory/private") == "M:\n\nM/memory:\n\nM/memory/private:\n"
    assert not (vault / "memory").exists()
    (akashi.private / "first.md").write_text("a first thought\n")
    (vault / "todo.md").write_text("mine, edited\n")
    akashi.wait_committed("private/akashi/first.md", "akashi")
    assert "a first thought" in akashi.search("thought")
    assert "todo.md" not in akashi.search("mine")
    assert git(vault, "status", "--porcelain") == "M todo.md"


def test_the_owner_of_an_adopted_vault_sees_notes_and_memories(
    mounting: Mounting, home: Path
) -> None:
    vault = home / "notes"
    vault.mkdir()
    (vault / "todo.md").write_text("buy milk\n")
    assert run_avm("init", str(vault)).returncode == 0
    mount = mounting(vault=vault)
    assert mount.bash("ls -A M") == "todo.md\n"
    (mount.shared / "team.md").write_text("the team drinks milk\n")
    assert mount.ask(":stats").splitlines()[3:] == ["1 /", "1 /memory/shared"]
    assert sorted(line.split()[1] for line in mount.search("milk").splitlines()) == [
        "/memory/shared/team.md#L1",
        "/todo.md#L1",
    ]
