"""A memory with a time to live: there, then absent by every way through the mount; never lost."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from conftest import git, needs_fuse, run_avm, wait_for

from mount.conftest import Mount, Mounting, failing

pytestmark = needs_fuse

LATER = "2030-01-01T00:00:00Z"
OLD = b"---\nexpires: 2029-12-31T23:59:59Z\ntags: [fleeting]\n---\nthe desk closes early\n"


def sights(mount: Mount, path: Path) -> dict[str, bool]:
    """Each way of seeing a memory, and whether it shows."""
    name = path.name
    ways: dict[str, Callable[[], bool]] = {
        "ls": lambda: name in os.listdir(path.parent),
        "find": lambda: name in mount.bash("find M"),
        "exists": path.exists,
        ":search": lambda: name in mount.search("desk"),
        ":recall": lambda: name in mount.ask(":recall:desk"),
        ":recall bare": lambda: name in mount.ask(":recall"),
        ":tags": lambda: "fleeting" in mount.ask(":tags"),
        ":stats": lambda: mount.ask(":stats").startswith("memories 1\n"),
        ":meta": (path.parent / f"{name}:meta").exists,
        "avm search": lambda: name in run_avm("search", "desk").stdout,
        "avm cat": lambda: run_avm("cat", f"/memory/private/akashi/{name}").returncode == 0,
    }
    return {what: look() for what, look in ways.items()}


def test_a_memory_ends_in_every_sight_at_once_and_stays_in_vault_and_git(akashi: Mount) -> None:
    line = "avm remember --agent akashi --ttl 2s --title fleeting --tag fleeting 'the desk closes'"
    assert akashi.bash(line) == "/memory/private/akashi/fleeting.md\n"
    path, kept = akashi.private / "fleeting.md", akashi.behind / "private/akashi/fleeting.md"
    assert "the desk closes" in akashi.bash(f"cat {path}; cat M/:search?desk M/:tags")
    text = kept.read_bytes()
    wait_for(lambda: not path.exists(), "the end of its two seconds", 5)
    assert not any(sights(akashi, path).values())
    assert failing(path.read_bytes) == "ENOENT"
    assert kept.read_bytes() == text
    assert "expired  1" in run_avm("status").stdout
    akashi.wait_committed("private/akashi/fleeting.md", "akashi")
    assert git(akashi.vault, "show", f"HEAD:memory/private/akashi/{path.name}").encode() in text


@pytest.fixture
def later(mounting: Mounting, monkeypatch: pytest.MonkeyPatch) -> Mount:
    """akashi's mount on a later day, with one memory that has ended, `old.md`."""
    monkeypatch.setenv("AVM_CLOCK", LATER)
    mount = mounting(agent="akashi")
    folder = mount.behind / "private" / "akashi"
    folder.mkdir()
    (folder / "old.md").write_bytes(OLD)
    return mount


def rescued(mount: Mount) -> list[bytes]:
    """The bytes that were moved out of new files' ways, oldest first."""
    return [file.read_bytes() for file in sorted((mount.state / "state" / "rescue").glob("*"))]


def test_the_clock_decides_and_an_ending_ahead_shows(later: Mount) -> None:
    path = later.private / "old.md"
    assert not any(sights(later, path).values())
    (later.behind / "private/akashi/old.md").write_bytes(OLD.replace(b"2029", b"2039"))
    assert all(sights(later, path).values())


def test_what_has_ended_cannot_be_touched(later: Mount) -> None:
    path, new = later.private / "old.md", later.private / "new.md"
    new.write_text("new\n")
    for act in (
        lambda: os.truncate(path, 0),
        path.unlink,
        lambda: path.rename(new),
        lambda: path.chmod(0o600),
        lambda: os.utime(path),
        lambda: os.link(path, later.private / "second.md"),
        lambda: path.open("r+"),
    ):
        assert failing(act) == "ENOENT"
    assert (later.behind / "private/akashi/old.md").read_bytes() == OLD
    assert new.read_text() == "new\n"


#: Ways of making a new file at a name.
MAKING = (
    "echo new > {0}",
    "echo new >> {0}",
    "set -C; echo new > {0}",
    "echo new > {0}.t && mv {0}.t {0}",
    "echo new > {0}.t && mv -n {0}.t {0}",
    "echo new > {0}.t && ln {0}.t {0}",
    "echo new > file && cp file {0}",
    "echo new > file && mv file {0}",
)


def test_a_new_file_takes_the_name_and_the_old_bytes_are_kept(later: Mount) -> None:
    """The longest name, with a stamp before it, must fit in the rescue folder too."""
    for number, line in enumerate(MAKING):
        name = f"{number}" * 250 + ".md"
        old = OLD + b"%d\n" % number
        (later.behind / "private" / "akashi" / name).write_bytes(old)
        assert not (later.private / name).exists()
        later.bash(line.format(f"M/memory/private/akashi/{name}"))
        assert (later.private / name).read_text() == "new\n", line
        assert rescued(later)[-1] == old, line
        assert len(rescued(later)) == number + 1
    assert "new" in later.search("new")


def test_a_folder_of_ended_memories_looks_empty_and_can_be_removed(later: Mount) -> None:
    folder = later.private / "done"
    folder.mkdir()
    (later.behind / "private/akashi/done/old.md").write_bytes(OLD)
    assert os.listdir(folder) == []
    folder.rmdir()
    assert not (later.behind / "private/akashi/done").exists()
    assert rescued(later) == [OLD]
    assert "/memory/private/akashi/done/old.md: " in later.ask(":status")
    (later.behind / "private/akashi/kept").mkdir()
    (later.behind / "private/akashi/kept/old.md").write_bytes(OLD)
    (later.behind / "private/akashi/kept/.hidden").touch()
    assert failing((later.private / "kept").rmdir) == "ENOTEMPTY"
    assert (later.behind / "private/akashi/kept/old.md").read_bytes() == OLD


def test_a_memory_that_ends_while_it_is_open_can_be_read_to_its_end(akashi: Mount) -> None:
    (akashi.private / "a.md").write_text("---\nexpires: 2039-01-01\n---\nstill\n")
    with (akashi.private / "a.md").open("r+") as file:
        (akashi.behind / "private/akashi/a.md").write_text("---\nexpires: 2001-01-01\n---\nstill\n")
        assert not (akashi.private / "a.md").exists()
        assert file.read().endswith("still\n")
        file.write("more\n")
    assert (akashi.behind / "private/akashi/a.md").read_text().endswith("still\nmore\n")


# At the very instant


class Fleeting:
    """Memories in akashi's folder that all end at one instant, a moment ahead."""

    def __init__(self, mount: Mount, *names: str) -> None:
        self.mount = mount
        self.end = float(int(time.time()) + 3)
        moment = datetime.fromtimestamp(self.end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.texts = {name: f"---\nexpires: {moment}\n---\nold {name}\n" for name in names}
        for name, text in self.texts.items():
            path = mount.private / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def wait(self) -> None:
        """Until they end; the kernel knows their names."""

        def ended() -> bool:
            for name in self.texts:
                (self.mount.private / name).exists()
            return time.time() >= self.end

        wait_for(ended, "the end of the memories", 5)

    def check_kept(self) -> None:
        """Nothing of them is lost: rescued, in git, and listed."""
        assert sorted(rescued(self.mount)) == sorted(t.encode() for t in self.texts.values())
        told = self.mount.ask(":status"), run_avm("status").stdout
        for name in self.texts:
            assert all(f"/memory/private/akashi/{name}: " in text for text in told), name

        def in_git() -> bool:
            log = git(self.mount.vault, "log", "-p", "--format=", "--", "memory/private/akashi")
            return all(f"\n+old {name}\n" in log + "\n" for name in self.texts)

        wait_for(in_git, "the old texts in git")


def test_sights_change_at_the_instant(akashi: Mount) -> None:
    """Asked without a pause: whatever was answered before it shows, after it does not."""
    fleeting = Fleeting(akashi, "a.md")
    path = akashi.private / "a.md"

    def opens() -> bool:
        with contextlib.suppress(FileNotFoundError):
            os.close(os.open(path, os.O_RDWR))
            return True
        return False

    ways: dict[str, Callable[[], bool]] = {
        "stat": path.exists,
        "open": opens,
        "readdir": lambda: "a.md" in os.listdir(akashi.private),
        "node": (akashi.private / "a.md:meta").exists,
        ":search": lambda: "a.md" in akashi.search("old"),
        ":stats": lambda: "memories 1\n" in akashi.ask(":stats"),
    }
    seen: dict[str, set[tuple[str, bool]]] = {what: set() for what in ways}

    def look() -> bool:
        for what, way in ways.items():
            began = time.time()
            shows = way()
            if time.time() < fleeting.end:
                seen[what].add(("before", shows))
            elif began >= fleeting.end:
                seen[what].add(("after", shows))
        return time.time() > fleeting.end + 0.5

    wait_for(look, "the end of the memory", 10)
    assert seen == {what: {("before", True), ("after", False)} for what in ways}
    path.write_text("new\n")
    fleeting.check_kept()


#: Ways of putting something at a name, whose text or kind is then the last.
PLACING = {
    "create.md": "set -C; echo new > {0}",
    "append.md": "echo new >> {0}",
    "mkdir.md": "mkdir {0} && echo new > {0}/new",
    "move.md": "echo new > {0}.t && mv -T {0}.t {0}",
    "link.md": "echo new > {0}.t && ln {0}.t {0}",
    "symlink.md": "ln -s new {0}",
    "mknod.md": "mkfifo {0}",
}


def test_what_is_put_at_a_name_at_the_instant_moves_the_old_bytes_aside(akashi: Mount) -> None:
    """The kernel remembers the names for another second, and is right all the same."""
    fleeting = Fleeting(akashi, *PLACING)
    fleeting.wait()
    for name, line in PLACING.items():
        akashi.bash(line.format(f"M/memory/private/akashi/{name}"))
    assert time.time() < fleeting.end + 5
    for name in ("create.md", "append.md", "move.md", "link.md"):
        assert (akashi.private / name).read_text() == "new\n", name
    assert (akashi.private / "mkdir.md/new").read_text() == "new\n"
    assert os.readlink(akashi.private / "symlink.md") == "new"
    assert stat.S_ISFIFO((akashi.private / "mknod.md").stat().st_mode)
    fleeting.check_kept()


def test_folders_that_look_empty_give_way_and_lose_nothing(akashi: Mount) -> None:
    """At rmdir and when a folder is renamed over them; a folder with more in it stays as it is."""
    fleeting = Fleeting(akashi, "removed/a.md", "covered/b.md")
    (akashi.private / "full").mkdir()
    (akashi.private / "full/c.md").write_text(fleeting.texts["removed/a.md"])
    (akashi.private / "full/kept.md").write_text("kept\n")
    (akashi.private / "new").mkdir()
    (akashi.private / "new/n.md").write_text("new\n")
    fleeting.wait()
    assert os.listdir(akashi.private / "covered") == []
    assert failing((akashi.private / "full").rmdir) == "ENOTEMPTY"
    assert failing(partial(os.rename, akashi.private / "new", akashi.private / "full")) == (
        "ENOTEMPTY"
    )
    (akashi.private / "removed").rmdir()
    os.rename(akashi.private / "new", akashi.private / "covered")
    assert os.listdir(akashi.private / "covered") == ["n.md"]
    assert sorted(os.listdir(akashi.private)) == ["covered", "full"]
    assert (akashi.behind / "private/akashi/full/c.md").exists()
    fleeting.check_kept()


def test_who_has_it_open_at_the_instant_reads_on(akashi: Mount) -> None:
    fleeting = Fleeting(akashi, "a.md")
    with (akashi.private / "a.md").open() as file:
        assert file.readline() == "---\n"
        fleeting.wait()
        assert not (akashi.private / "a.md").exists()
        assert file.read().endswith("old a.md\n")
        (akashi.private / "a.md").write_text("new\n")
        file.seek(0)
        assert file.read() == fleeting.texts["a.md"]
    assert (akashi.private / "a.md").read_text() == "new\n"
    fleeting.check_kept()
