"""When what comes through a mount is committed, and as whose: open files, busy mounts, the person's
own work beside it."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import git, needs_fuse, run_avm

from avm.index.database import FILE
from mount.conftest import Mount, Mounting

pytestmark = needs_fuse


def test_an_open_file_waits_for_its_close(akashi: Mount) -> None:
    with (akashi.private / "open.md").open("w") as file:
        file.write("half a")
        file.flush()
        (akashi.private / "other.md").write_text("other\n")
        akashi.wait_committed("private/akashi/other.md", "akashi")
        assert akashi.authors_of("private/akashi/open.md") == []
        file.write(" thought\n")
    akashi.wait_committed("private/akashi/open.md", "akashi")
    assert akashi.authors_of("private/akashi/open.md") == ["akashi"]


def test_a_file_that_was_back_to_what_git_has_while_open_is_still_its_writers(
    akashi: Mount,
) -> None:
    path = akashi.private / "note.md"
    path.write_text("one\n")
    akashi.wait_committed("private/akashi/note.md", "akashi")
    with path.open("r+") as file:
        file.write("one\n")
        file.flush()
        (akashi.private / "other.md").write_text("other\n")
        akashi.wait_committed("private/akashi/other.md", "akashi")
        file.write("two\n")
    akashi.wait_committed("private/akashi/note.md", "akashi")
    assert akashi.authors_of("private/akashi/note.md") == ["akashi", "akashi"]


def test_what_is_written_after_somebody_committed_an_open_file_is_its_writers(
    akashi: Mount,
) -> None:
    """`avm commit`, or another mount that holds the committer's lock, knows nothing of it."""
    with (akashi.private / "log.md").open("w") as file:
        file.write("one\n")
        file.flush()
        assert "1 commit" in run_avm("commit").stdout
        file.write("two\n")
    akashi.wait_committed("private/akashi/log.md", "akashi")
    assert akashi.authors_of("private/akashi/log.md") == ["akashi", "akashi"]


@pytest.fixture
def chatter(akashi: Mount) -> Iterator[None]:
    """A writer that never rests as long as the quiet time."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.05):
            number += 1
            (akashi.shared / f"chatter{number}.md").write_text("word\n")

    thread = threading.Thread(target=write)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_a_busy_mount_is_committed_all_the_same(akashi: Mount, chatter: None) -> None:
    (akashi.private / "note.md").write_text("one\n")
    akashi.wait_committed("private/akashi/note.md", "akashi")


def test_a_persons_edit_behind_the_mount_is_left_to_the_person(akashi: Mount) -> None:
    (akashi.behind / "shared" / "mine.md").write_text("mine\n")
    (akashi.private / "note.md").write_text("one\n")
    akashi.wait_committed("private/akashi/note.md", "akashi")
    assert git(akashi.vault, "status", "--porcelain", "-uall") == "?? memory/shared/mine.md"
    assert run_avm("commit", "-m", "By hand").returncode == 0
    assert akashi.authors_of("shared/mine.md") == ["Pat Person"]


def test_what_the_person_staged_stays_staged(akashi: Mount) -> None:
    mine = akashi.behind / "shared" / "mine.md"
    mine.write_text("mine\n")
    git(akashi.vault, "add", "memory/shared/mine.md")
    (akashi.shared / "mine.md").write_text("the agent's\n")
    (akashi.private / "note.md").write_text("one\n")
    akashi.wait_committed("private/akashi/note.md", "akashi")
    assert git(akashi.vault, "diff", "--cached", "--name-only") == "memory/shared/mine.md"
    assert git(akashi.vault, "show", ":memory/shared/mine.md") == "mine"
    assert "/memory/shared/mine.md: staged by you" in run_avm("status").stdout
    git(akashi.vault, "commit", "-qm", "mine")
    akashi.wait_committed("shared/mine.md", "akashi")
    assert akashi.authors_of("shared/mine.md") == ["akashi", "Pat Person"]


def test_nothing_is_committed_during_a_merge_and_all_is_after(akashi: Mount) -> None:
    vault = akashi.vault
    git(vault, "checkout", "-q", "-b", "side")
    git(vault, "commit", "-q", "--allow-empty", "-m", "side")
    git(vault, "checkout", "-q", "main")
    git(vault, "merge", "-q", "--no-ff", "--no-commit", "side")
    (akashi.private / "note.md").write_text("one\n")
    assert "one" in akashi.search("one")
    refused = run_avm("commit")
    assert (refused.returncode, refused.stdout) == (9, "")
    assert "not now: merge in progress" in refused.stderr
    assert "commits wait: merge in progress" in run_avm("status").stdout
    assert akashi.authors_of("private/akashi/note.md") == []
    git(vault, "commit", "-qm", "merged")
    akashi.wait_committed("private/akashi/note.md", "akashi")


def test_an_attachment_is_committed_and_not_searched(akashi: Mount) -> None:
    data = b"\x89PNG\r\n\x1a\n needle \x00\xff"
    (akashi.shared / "chart.png").write_bytes(data)
    (akashi.shared / "chart.md").write_text("see chart.png, a needle\n")
    akashi.wait_committed("shared/chart.png", "akashi")
    assert "chart.png#" not in akashi.search("needle")
    assert "chart.md#L1" in akashi.search("needle")
    assert not (akashi.shared / "chart.png:meta").exists()
    assert (akashi.shared / "chart.png").read_bytes() == data


def test_a_state_folder_on_another_disk_holds_nothing_up(
    mounting: Mounting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Commits, unlinked open files and rescues all move files beside the work tree."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system")
    with tempfile.TemporaryDirectory(dir=shm) as state:
        monkeypatch.setenv("AVM_STATE_DIR", state)
        akashi = mounting(agent="akashi")
        path = akashi.private / "note.md"
        path.write_text("one\n")
        akashi.wait_committed("private/akashi/note.md", "akashi")
        with path.open() as file:
            path.unlink()
            assert file.read() == "one\n"
        (akashi.behind / "private/akashi/note.md").write_text("---\nexpires: 2001-01-01\n---\n")
        path.write_text("new\n")
        assert "note.md" in akashi.search("new")
        akashi.unmount()
        assert akashi.authors_of("private/akashi/note.md")[:1] == ["akashi"]
        assert len(list(Path(state).glob("*/state/rescue/*-note.md"))) == 1
        assert len(list(Path(state).glob(f"*/index/{FILE}"))) == 1


def test_the_mount_s_own_process_does_none_of_the_work(mount: Mount) -> None:
    """The keeper watches, embeds and commits: nothing shares the mount's interpreter lock."""
    (mount.shared / "a.md").write_text("alpha")
    assert "a.md" in mount.search("alpha")
    mount.wait_committed("shared/a.md", "Pat Person")
    keeper = json.loads(run_avm("--vault", str(mount.vault), "keeper", "status", "--json").stdout)
    assert keeper["mounts"] == 1
    held = {pid: opened(pid) for pid in (mount.pid, keeper["pid"])}
    for what in ("anon_inode:inotify", str(mount.state / "committer.lock")):
        assert what in held[keeper["pid"]] and what not in held[mount.pid]
    children = Path(f"/proc/{mount.pid}/task/{mount.pid}/children").read_text().split()
    assert not any("avm.embed" in Path(f"/proc/{pid}/cmdline").read_text() for pid in children)


def opened(pid: int) -> set[str]:
    """What a process has open."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(link))
    return found
