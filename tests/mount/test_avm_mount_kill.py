"""`kill -9` of a mount, and of the helper that would tidy up after it, while it is written to."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import threading
from functools import partial
from pathlib import Path

from conftest import DEEP, git, gone, needs_fuse, run_avm, wait_for

from mount.conftest import Mount, Mounting, bash, failing

pytestmark = needs_fuse

ROUNDS = 50 if DEEP else 3


def helpers(point: Path) -> list[int]:
    """libfuse's auto-unmount helper of this mount point: a fusermount that waits."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            command = (Path("/proc") / pid / "cmdline").read_bytes().split(b"\0")
            if b"fusermount" in command[0] and os.fsencode(point) in command:
                found.append(int(pid))
    return found


def kill(*pids: int) -> None:
    """End them at once, and wait for that."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: all(map(gone, pids)), f"the end of {pids}")


def kill_all(mount: Mount) -> None:
    """The helper first, so that nobody tidies up."""
    kill(*helpers(mount.point), mount.pid)
    # What was asked while its last threads ended is answered ECONNABORTED.
    stat_fails = partial(failing, partial(os.stat, mount.point))
    wait_for(lambda: stat_fails() == "ENOTCONN", "a dead mount", 2)


class Writer(threading.Thread):
    """Writes memories into a folder until that fails; `acknowledged` names what was taken."""

    def __init__(self, folder: Path, prefix: str) -> None:
        super().__init__()
        self.acknowledged: list[str] = []
        self._folder, self._prefix = folder, prefix

    def run(self) -> None:
        """Write."""
        with contextlib.suppress(OSError):
            for number in range(100_000):
                name = f"{self._prefix}_{number}.md"
                (self._folder / name).write_text(f"word {name}\n")
                self.acknowledged.append(name)


def test_every_acknowledged_write_survives_kill_9(mounting: Mounting) -> None:
    """It is in the vault, the next mount finds it, and git has it as the agent's."""
    for number in range(ROUNDS):
        one_kill(mounting, f"w{number}", after=5 + 20 * (number % 7))
    vault = mounting(agent="akashi").vault
    git(vault, "fsck", "--strict")
    assert not (vault / ".git" / "index.lock").exists()


def one_kill(mounting: Mounting, prefix: str, after: int) -> None:
    """Mount, write until the mount is killed after so many writes, mount again and look."""
    akashi = mounting(agent="akashi")
    writer = Writer(akashi.private, prefix)
    writer.start()
    wait_for(lambda: len(writer.acknowledged) >= after, "some writes")
    kill_all(akashi)
    writer.join()
    names, folder = writer.acknowledged, akashi.behind / "private" / "akashi"
    assert {name: (folder / name).read_text() for name in names} == {
        name: f"word {name}\n" for name in names
    }
    mounting(agent="akashi")
    assert names[-1] in akashi.search(names[-1].removesuffix(".md"))
    akashi.wait_committed(f"private/akashi/{names[-1]}", "akashi")
    log = git(akashi.vault, "log", "--author=akashi", "--format=", "--name-only")
    assert set(names) - {Path(line).name for line in log.splitlines()} == set()
    akashi.unmount()


def test_a_dead_mount_is_named_and_the_next_one_repairs_it(akashi: Mount) -> None:
    (akashi.private / "last.md").write_text("the last word\n")
    kill_all(akashi)
    assert failing((akashi.private / "last.md").read_bytes) == "ENOTCONN"
    assert akashi.mounted
    line = f"stale: avm mount it again or avm unmount it  {akashi.point}  for akashi"
    assert line in run_avm("status").stdout.splitlines()
    assert (akashi.behind / "private/akashi/last.md").read_text() == "the last word\n"
    akashi.bash("avm mount M --daemon --agent akashi")
    assert (akashi.private / "last.md").read_text() == "the last word\n"
    assert "last.md" in akashi.search("last")
    akashi.wait_committed("private/akashi/last.md", "akashi")
    status = run_avm("status").stdout
    assert "stale" not in status
    assert f"mounted  {akashi.point}  for akashi" in status


def test_doctor_names_a_dead_mount_and_takes_it_away(akashi: Mount) -> None:
    assert "all is well" in run_avm("doctor").stdout
    kill_all(akashi)
    said = run_avm("doctor")
    line = (
        f"stale-mount: {akashi.point}: a mount whose server has died; avm doctor --fix unmounts it"
    )
    assert (said.returncode, line in said.stdout.splitlines()) == (1, True)
    mended = run_avm("doctor", "--fix")
    assert f"mended: stale-mount: {akashi.point}\n" in mended.stdout
    assert mended.returncode == 0, mended.stdout
    assert not akashi.mounted


def test_a_dead_mount_that_somebody_sits_in_is_repaired_too(akashi: Mount) -> None:
    holder = os.open(akashi.private.parent, os.O_RDONLY)
    try:
        kill_all(akashi)
        akashi.bash("avm mount M --daemon --agent akashi")
        assert ":search" in akashi.ask(":help")
    finally:
        os.close(holder)


def test_a_dead_mount_can_be_unmounted(mount: Mount) -> None:
    kill_all(mount)
    mount.unmount()
    assert not mount.mounted
    assert list(mount.point.iterdir()) == []
    assert run_avm("status").stdout.splitlines()[1] == "mounted  nowhere"
    assert run_avm("unmount", str(mount.point)).returncode == 10


def test_commands_go_on_beside_a_dead_mount(akashi: Mount) -> None:
    """The one that looks where it stands must not stumble over it."""
    kill_all(akashi)
    line = "avm remember --agent akashi --title beside 'a word' && avm search --agent akashi word"
    assert "beside.md" in akashi.bash(line)
    done = bash("avm cat /memory/private/akashi/beside.md", akashi.home)
    assert done.endswith("a word\n")


def test_a_mount_whose_server_alone_is_killed_is_tidied_up(mount: Mount) -> None:
    """By libfuse's helper; that one gives up if it looks before the server's last thread has
    ended, and then the next mount does it."""
    (mount.shared / "last.md").write_text("the last word\n")
    assert len(helpers(mount.point)) == 1
    kill(mount.pid)
    wait_for(lambda: not helpers(mount.point), "the helper's end")
    said = run_avm("status").stdout.splitlines()[1]
    if mount.mounted:
        assert said.startswith("stale: avm mount it again")
    else:
        assert stat.S_ISDIR(os.stat(mount.point).st_mode)
        assert said == "mounted  nowhere"
    mount.bash("avm mount M --daemon")
    assert "last.md" in mount.search("word")


def test_an_open_unlinked_file_of_a_killed_mount_leaves_the_work_tree_clean(akashi: Mount) -> None:
    path = akashi.private / "open.md"
    path.write_text("open\n")
    with path.open() as file:
        path.unlink()
        assert len(list(akashi.state.glob("hidden/*/*"))) == 1
        kill_all(akashi)
        assert failing(partial(os.fstat, file.fileno())) == "ENOTCONN"
    akashi.bash("avm mount M --daemon --agent akashi")
    assert os.listdir(akashi.private) == []
    akashi.unmount()
    assert git(akashi.vault, "status", "--porcelain", "-uall") == ""


def test_what_a_dead_process_left_is_swept_away_or_out_of_sight(mount: Mount) -> None:
    mount.unmount()
    hidden = mount.state / "hidden" / f"{2**22 + 1}-x"  # a number that no process has
    hidden.mkdir(parents=True)
    (hidden / ".fuse_hidden0000000500000001").write_text("unlinked\n")
    (mount.behind / "shared" / ".avm-tmp-abc").write_text("half a word\n")
    mount.bash("avm mount M --daemon")
    assert not hidden.exists()
    assert mount.bash("ls -A M/memory/shared") == ".gitkeep\n"
    assert "Nothing found" in mount.search("word")
    mount.unmount()
    assert git(mount.vault, "status", "--porcelain", "-uall") == ""


def test_a_killed_keeper_is_followed_by_another(mount: Mount) -> None:
    """Writing and searching through the mount go on meanwhile, and all is committed."""
    pids = []
    for number in range(3):
        (mount.shared / f"n{number}.md").write_text(f"word{number}")
        wait_for(lambda: (keeper_pid(mount) or 0) not in (0, *pids), "a keeper", 30)
        pids.append(keeper_pid(mount))
        os.kill(pids[-1] or 0, signal.SIGKILL)
        for word in range(5):
            (mount.shared / f"m{number}_{word}.md").write_text(f"text{number}x{word}")
            assert f"m{number}_{word}.md" in mount.search(f"text{number}x{word}")
    mount.wait_committed("shared/m2_4.md", "Pat Person")
    mount.unmount()
    assert git(mount.vault, "status", "--porcelain") == ""


def keeper_pid(mount: Mount) -> int | None:
    """The keeper that the mount is attached to, or another."""
    done = run_avm("--vault", str(mount.vault), "keeper", "status", "--json")
    return json.loads(done.stdout)["pid"] if done.returncode == 0 else None
