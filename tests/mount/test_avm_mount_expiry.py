"""A memory with a time to live: there, then absent by every way through the mount; never lost."""

from __future__ import annotations

import os
from collections.abc import Callable
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
