"""Whatever befalls the index, reading goes on and is right; what cannot be used is done without."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import run_avm
from vault_helpers import index_file, python

from avm import AVM
from avm.index import database
from avm.index.database import FILE

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def avm(tmp_path: Path) -> Iterator[AVM]:
    """A vault with two memories and an index."""
    with AVM(tmp_path / "vault", semantic="off") as made:
        for name in ("a", "b"):
            (tmp_path / f"vault/memory/shared/{name}.md").write_text(f"common {name}\n")
        assert found(made) == ["a", "b"]
        yield made


def found(avm: AVM, query: str = "common") -> list[str]:
    hits = avm.search(query, 100)
    return sorted(hit.path.removeprefix("/memory/shared/").removesuffix(".md") for hit in hits)


def reads_on(avm: AVM) -> None:
    """Searches see what happens to the files."""
    shared = avm.store.vault.path("memory/shared")
    (shared / "new.md").write_text("common new\n")
    (shared / "a.md").unlink()
    assert found(avm) == ["b", "new"]
    (shared / "b.md").write_text("another\n")
    assert (found(avm), found(avm, "another")) == (["new"], ["b"])
    assert avm.status().memories == 2
    assert avm.store.index.check() == []
    threads = [threading.Thread(target=found, args=(avm,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    notice = str(avm.status().notice)
    assert notice.startswith("index in memory: ") and "AVM_STATE_DIR" in notice
    assert avm.store.index.private


@contextlib.contextmanager
def holding(file: Path, begin: str) -> Iterator[None]:
    """Another process holds the file locked."""
    code = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2].split(';'): c.execute(statement)\n"
        "print('held', flush=True); sys.stdin.read()\n"
    )
    with python(code, file, begin) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            other.communicate(b"")


def test_a_process_that_keeps_the_file_locked(avm: AVM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.2)
    avm.store.index.close()
    with contextlib.closing(sqlite3.connect(index_file(avm.store.vault))) as index, index:
        index.execute("UPDATE memory SET checked_ns = checked_ns + 60000000000")  # not racy
    with holding(index_file(avm.store.vault), "BEGIN EXCLUSIVE"):
        assert found(avm) == ["a", "b"]  # a reader needs no lock
        assert not avm.store.index.private
        reads_on(avm)
    # After a while the file is tried again.
    monkeypatch.setattr(avm.store.index._database, "_retry_at", 0.0)
    assert found(avm) == ["new"]
    assert not avm.store.index.private and avm.status().notice is None
    assert avm.store.index.check() == []


def test_a_process_that_keeps_readers_out_too(avm: AVM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.2)
    avm.store.index.close()
    exclusive = (
        "PRAGMA locking_mode = EXCLUSIVE;BEGIN EXCLUSIVE;UPDATE memory SET path = path;COMMIT"
    )
    with holding(index_file(avm.store.vault), exclusive):
        reads_on(avm)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB of our own, where we may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"no mount: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True)


def fill_up(place: Path) -> None:
    """Leave no room on the file system."""
    with contextlib.suppress(OSError), (place / "ballast").open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


@pytest.mark.parametrize("when", ["before", "after it was built", "while it is open"])
@pytest.mark.parametrize("what", ["no room", "read only"])
def test_where_nothing_can_be_written(
    mounted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, when: str
) -> None:
    monkeypatch.setenv("AVM_STATE_DIR", str(mounted))
    root = tmp_path / "vault"
    AVM(root).close()
    for name in ("a", "b"):
        (root / f"memory/shared/{name}.md").write_text(f"common {name}\n")
    avm = AVM(root, semantic="off")
    try:
        if when != "before":
            assert found(avm) == ["a", "b"]
        if when == "after it was built":
            avm.store.index.close()
        if what == "no room":
            fill_up(mounted)
        else:
            avm.store.index.close()  # else it cannot be remounted
            remount(mounted, "ro")
        (root / "memory/shared/b.md").write_text("common b " + "changed " * 20_000)
        assert found(avm) == ["a", "b"]
        reads_on(avm)
        # A way out: the file is used again.
        if what == "no room":
            (mounted / "ballast").unlink()
        else:
            remount(mounted, "rw")
        monkeypatch.setattr(avm.store.index._database, "_retry_at", 0.0)
        assert found(avm) == ["new"]
        assert avm.store.index.check() == []
        if when != "before":
            assert not avm.store.index.private
    finally:
        avm.close()


@pytest.mark.skipif(IS_ROOT, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(avm: AVM) -> None:
    avm.store.index.close()
    folder = avm.store.vault.index_dir
    for place in folder.iterdir():
        place.chmod(0o400)
    folder.chmod(0o500)
    try:
        reads_on(avm)
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("place", ["index", FILE, FILE.replace(".sqlite", ".lock")])
def test_something_else_is_in_its_place(avm: AVM, place: str) -> None:
    avm.store.index.close()
    folder = avm.store.vault.index_dir
    for file in folder.iterdir():
        file.unlink()
    if place == "index":
        folder.rmdir()
        folder.write_text("no folder")
    else:
        (folder / place / "in").mkdir(parents=True)
    reads_on(avm)


def test_a_write_that_fails_half_way_leaves_what_was(
    mounted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVM_STATE_DIR", str(mounted))
    root = tmp_path / "vault"
    with AVM(root, semantic="off") as avm:
        (root / "memory/shared/a.md").write_text("common a\n")
        assert found(avm) == ["a"]
        file = index_file(avm.store.vault)
        before = list(sqlite3.connect(file).execute("SELECT path, hash FROM memory"))
        fill_up(mounted)
        for n in range(50):
            (root / f"memory/shared/n{n}.md").write_text(f"common {n} " + "word " * 2_000)
        assert len(found(avm)) == 51 and avm.store.index.private
        (mounted / "ballast").unlink()
        connection = sqlite3.connect(file)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert list(connection.execute("SELECT path, hash FROM memory")) == before
        connection.close()


# Generations


def test_readers_go_on_with_the_old_one_while_a_new_one_is_built(
    avm: AVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process and in another: they see every write, before, during and after."""
    index = avm.store.index
    halted, go_on = threading.Event(), threading.Event()
    fill = index._filler.fill

    def slowly(connection: sqlite3.Connection) -> None:
        fill(connection)
        halted.set()
        assert go_on.wait(30)

    monkeypatch.setattr(index._filler, "fill", slowly)
    before = index_file(avm.store.vault)
    with (
        AVM(avm.store.vault.root, semantic="off") as builder,
        AVM(avm.store.vault.root, semantic="off") as reader,
    ):
        monkeypatch.setattr(builder.store.index._filler, "fill", slowly)
        thread = threading.Thread(target=builder.store.index.rebuild)
        thread.start()
        assert halted.wait(30)
        place = avm.store.vault.path("memory/shared/during.md")
        place.write_text("common during")
        assert found(avm) == found(reader) == ["a", "b", "during"]
        told = run_avm("search", "during", "--vault", str(avm.store.vault.root), AVM_SEMANTIC="off")
        assert "during.md" in told.stdout
        assert index_file(avm.store.vault) == before
        go_on.set()
        thread.join()
        assert index_file(avm.store.vault) != before and not before.exists()
        place.write_text("common after")
        assert found(avm, "after") == found(reader, "after") == found(builder, "after") != []
        assert avm.store.index.check() == []


def test_a_build_that_is_killed_leaves_nothing_in_the_way(avm: AVM) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from avm.index import filler\n"
        "from avm.index.index import Index\n"
        "from avm.vault.location import open_vault\n"
        "fill = filler.fill\n"
        "def halted(*args):\n"
        "    fill(*args)\n"
        "    print('filled', flush=True); sys.stdin.read()\n"
        "filler.fill = halted\n"
        "Index(open_vault(Path(sys.argv[1]))).rebuild()\n"
    )
    root = avm.store.vault.root
    folder = avm.store.vault.index_dir
    before = index_file(avm.store.vault)
    with python(code, root) as other:
        assert other.stdout is not None and other.stdout.readline() == b"filled\n"
        other.send_signal(signal.SIGKILL)
        other.communicate()
    assert len(list(folder.glob("index-*-*.sqlite"))) == 2
    assert found(avm) == ["a", "b"] and index_file(avm.store.vault) == before
    (root / "memory/shared/c.md").write_text("common c")
    avm.store.index.rebuild()
    assert found(avm) == ["a", "b", "c"] and avm.status().notice is None
    assert len(list(folder.glob("index-*-*.sqlite"))) == 1


def test_many_processes_without_an_index_build_one(avm: AVM) -> None:
    root, folder = avm.store.vault.root, avm.store.vault.index_dir
    for file in folder.iterdir():
        file.unlink()
    code = (
        "import sys; from avm import AVM\n"
        "with AVM(sys.argv[1], semantic='off') as a: print(len(a.search('common')))\n"
    )
    others = [python(code, root) for _ in range(3)]
    assert [other.communicate()[0] for other in others] == [b"2\n"] * 3
    assert len(list(folder.glob("index-*-*.sqlite"))) == 1


def test_another_schema_has_another_file(avm: AVM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two AVM versions on one vault do not throw each other's index away."""
    folder = avm.store.vault.index_dir
    mine = index_file(avm.store.vault)
    old = folder / "index.sqlite"
    old.write_bytes(b"of the first AVM")
    newer = folder / "index-99-1f.sqlite"
    newer.write_bytes(b"of a newer AVM")
    (folder / "index-99.sqlite").symlink_to(newer.name)
    avm.store.index.rebuild()
    assert old.exists() and newer.exists() and not mine.exists()
    # Unused for a month, they go.
    for place in (old, folder / "index-99.sqlite", folder / FILE):
        os.utime(place, (time.time() - 40 * 86_400,) * 2, follow_symlinks=False)
    with AVM(avm.store.vault.root, semantic="off") as later:
        assert found(later) == ["a", "b"]
    assert not old.exists() and not newer.exists() and not (folder / "index-99.sqlite").exists()
    assert time.time() - (folder / FILE).lstat().st_mtime < 86_400


def test_connections_of_threads_that_ended_are_closed(avm: AVM) -> None:
    held = avm.store.index._database._all

    def ask() -> None:
        avm.store.index.generation()

    for _ in range(20):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert len(avm.store.index._database._all) <= 3, held


@pytest.mark.parametrize("when", ["applying", "committed"])
def test_kill_in_the_middle_of_a_write(avm: AVM, when: str) -> None:
    """What another process was about to write is written by the next reader."""
    root = avm.store.vault.root
    code = (
        "import os, sys, signal\n"
        "from pathlib import Path\n"
        "from avm.index import apply\n"
        "from avm.index.index import Index\n"
        "from avm.vault.location import open_vault\n"
        "write, kill = apply._write, lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        "def killed(connection, *others):\n"
        "    write(connection, *others)\n"
        "    if sys.argv[2] == 'committed': connection.execute('COMMIT')\n"
        "    kill()\n"
        "apply._write = killed\n"
        "Index(open_vault(Path(sys.argv[1]))).refresh()\n"
    )
    (root / "memory/shared/c.md").write_text("common c")
    (root / "memory/shared/a.md").rename(root / "memory/shared/d.md")
    with python(code, root, when) as other:
        assert other.wait(60) == -signal.SIGKILL
    assert found(avm) == ["b", "c", "d"]
    assert avm.store.index.check() == []
