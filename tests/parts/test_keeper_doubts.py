"""What no event tells of, or tells too late: a barrier is right all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import git, keeper_of, run_avm, wait_for
from vault_helpers import assert_well

from avm import AVM
from avm.api import open_avm
from avm.api.waiting import Waiting
from avm.keeper.sequencer import Sequencer
from avm.keeper.watcher import Watcher

NAME = "v with a blank"


@pytest.fixture
def avm(tmp_path: Path) -> Iterator[AVM]:
    """A vault whose keeper answers every question of this process."""
    root = tmp_path / NAME
    AVM(root, semantic="off").close()
    with (
        keeper_of(root, AVM_SEMANTIC="off"),
        open_avm(root, {"semantic": "off"}, Waiting.COMMAND) as avm,
    ):
        yield avm
        assert found(avm, "nothing like this") == []
        assert_well(avm)


def found(avm: AVM, word: str) -> list[str]:
    """The notes in shared that have a word, after a barrier that must be answered."""
    assert avm.store.keeper.ask("barrier", timeout=30.0) == {"ok": True}
    hits = avm.search(word, 100)
    return sorted(hit.path.removeprefix("/memory/shared/") for hit in hits)


def write(avm: AVM, name: str, text: str) -> Path:
    """Write a note in shared."""
    place = avm.store.vault.path(f"memory/shared/{name}")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def test_both_names_of_a_file(avm: AVM) -> None:
    first = write(avm, "a.md", "one")
    assert found(avm, "one") == ["a.md"]
    second = first.with_name("b.md")
    os.link(first, second)
    assert found(avm, "one") == ["a.md", "b.md"]
    second.write_text("two")
    assert found(avm, "two") == ["a.md", "b.md"] and found(avm, "one") == []
    second.rename(avm.store.vault.root.parent / "away.md")
    assert found(avm, "two") == ["a.md"]


def test_a_tracked_file_in_an_ignored_folder_comes_back(avm: AVM) -> None:
    root = avm.store.vault.root
    place = write(avm, "b/a.md", "one")
    (root / ".gitignore").write_text("b/\n")
    git(root, "add", "--force", "memory/shared/b/a.md")
    assert found(avm, "one") == ["b/a.md"]
    shutil.rmtree(place.parent)
    assert found(avm, "one") == []
    place.parent.mkdir()
    assert found(avm, "one") == []
    place.write_text("one again")
    assert found(avm, "one") == ["b/a.md"]


def test_an_index_put_back_from_a_copy_is_not_trusted(avm: AVM, tmp_path: Path) -> None:
    folder = avm.store.vault.index_dir
    write(avm, "old.md", "older")
    assert found(avm, "older") == ["old.md"]
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    write(avm, "new.md", "newer")
    assert found(avm, "newer") == ["new.md"]
    folder.rename(tmp_path / "was")
    shutil.copytree(tmp_path / "copy", folder, symlinks=True)
    assert found(avm, "newer") == ["new.md"]


def can_mount() -> bool:
    """Whether this user may mount in the system's table, where the keeper sees it."""
    return os.getuid() == 0 and shutil.which("mount") is not None


@pytest.mark.skipif(not can_mount(), reason="only root can mount a folder over another")
def test_a_folder_mounted_over_another_and_in_two_places(avm: AVM, tmp_path: Path) -> None:
    over = write(avm, "t/x.md", "hidden").parent
    write(avm, "s/one.md", "shown")
    other = tmp_path / "other"
    other.mkdir()
    (other / "y.md").write_text("mounted")
    assert found(avm, "hidden") == ["t/x.md"]
    mounts = [(other, over), (over.parent / "s", over.parent / "u")]
    (over.parent / "u").mkdir()
    done = subprocess.run(["mount", "--bind", *map(str, mounts[0])], check=False)
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        assert found(avm, "hidden") == [] and found(avm, "mounted") == ["t/y.md"]
        subprocess.run(["mount", "--bind", *map(str, mounts[1])], check=True)
        assert found(avm, "shown") == ["s/one.md", "u/one.md"]
        write(avm, "s/two.md", "later")
        assert found(avm, "later") == ["s/two.md", "u/two.md"]
    finally:
        for _, place in mounts:
            subprocess.run(["umount", str(place)], check=False, capture_output=True)
    assert found(avm, "hidden") == ["t/x.md"] and found(avm, "shown") == ["s/one.md"]
    write(avm, "s/three.md", "last")
    assert found(avm, "last") == ["s/three.md"]


def test_a_folder_that_gave_way_to_a_link_takes_no_other_s_watch(tmp_path: Path) -> None:
    """The link comes between the look and the watching of what was found."""
    with open_avm(AVM(tmp_path / "v", semantic="off").store.vault.root, {}, Waiting.KEEPER) as avm:
        shared = avm.store.vault.path("memory/shared")
        for folder in ("a/b/c", "d/c"):
            (shared / folder).mkdir(parents=True)
            (shared / folder / "x.md").write_text("text")
        watcher = Watcher(avm.store.vault)
        settle = watcher.settle

        def replaced(*args: object) -> set[str]:
            if (shared / "a/b").is_dir() and not (shared / "a/b").is_symlink():
                shutil.rmtree(shared / "a/b")
                (shared / "a/b").symlink_to("../d")
            return settle(*args)  # type: ignore[arg-type]

        watcher.settle = replaced  # type: ignore[method-assign,assignment]
        sequencer = Sequencer(avm.store.vault, avm.store.index, watcher)
        sequencer.start()
        try:
            wait_for(sequencer.is_fresh, "the first round")
            (shared / "a/b").unlink()
            sequencer.wake()
            wait_for(sequencer.is_fresh, "a round")
            (shared / "d/c/new.md").write_text("new")
            assert not sequencer.is_fresh()
        finally:
            sequencer.stop()
            watcher.close()


def test_rules_that_change_in_the_middle_of_a_round(tmp_path: Path) -> None:
    with open_avm(AVM(tmp_path / "v", semantic="off").store.vault.root, {}, Waiting.KEEPER) as avm:
        index, vault = avm.store.index, avm.store.vault
        link = write(avm, "l.md", "text")
        write(avm, "c.md", "text")
        index.refresh()
        link.unlink()
        link.symlink_to("c.md")
        asked = index._filler._memories_of

        def meanwhile(rels: list[str]) -> object:
            (vault.git_dir / "info/exclude").write_text("c.md\n")
            return asked(rels)

        index._filler._memories_of = meanwhile  # type: ignore[method-assign,assignment]
        index.refresh_paths({"memory/shared/l.md"})
        assert not index.is_current()
        index._filler._memories_of = asked  # type: ignore[method-assign]
        assert index.refresh_paths(()) is None
        index.refresh()
        assert index.memory("memory/shared/c.md") is None


def test_a_file_that_became_a_folder_leaves_nothing_open(avm: AVM) -> None:
    from avm.index.rows import read

    place = write(avm, "x.md", "text")
    place.unlink()
    place.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        assert read(avm.store.vault.root, "memory/shared/x.md").stamp is None
    assert len(os.listdir("/proc/self/fd")) == before
    (place / "in.md").write_text("inside")
    assert found(avm, "inside") == ["x.md/in.md"]


# Its end, and its socket


def test_looking_now_and_then_keeps_no_keeper_from_ending(tmp_path: Path) -> None:
    with open_avm(AVM(tmp_path / "v", semantic="off").store.vault.root, {}, Waiting.KEEPER) as avm:
        watcher = Watcher(avm.store.vault)
        sequencer = Sequencer(avm.store.vault, avm.store.index, watcher)
        sequencer.start()
        try:
            wait_for(sequencer.is_fresh, "the first round")
            asked, rounds = sequencer.asked_rounds, sequencer.rounds
            with sequencer._condition:
                sequencer._scan_at = 0.0
                sequencer._condition.notify()
            wait_for(lambda: sequencer.rounds > rounds, "a look of its own accord")
            assert sequencer.asked_rounds == asked
        finally:
            sequencer.stop()
            watcher.close()


def test_a_keeper_whose_socket_was_removed_makes_room(avm: AVM) -> None:
    from avm.api.keeper import socket_path
    from avm.keeper.election import is_taken

    socket_path(avm.store.vault).unlink()
    wait_for(lambda: not is_taken(avm.store.vault), "its end")
    started = run_avm("--vault", str(avm.store.vault.root), "keeper", "start")
    assert started.returncode == 0, started.stderr


@pytest.mark.parametrize("broken", ["a file", "missing"])
def test_where_no_socket_can_be_a_search_does_without(
    tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "v"
    with AVM(root, semantic="off") as avm:
        avm.remember("common", title="x")
    if broken == "a file":
        folder = Path(os.environ["XDG_RUNTIME_DIR"]) / "avm"
        shutil.rmtree(folder)
        folder.write_text("")
    else:
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        monkeypatch.setenv("TMPDIR", str(tmp_path / "no/such"))
    done = run_avm("--vault", str(root), "search", "common")
    assert done.returncode == 0 and "/memory/shared/x.md" in done.stdout, done.stderr


def test_an_agent_hears_no_counts_of_the_whole(avm: AVM) -> None:
    root = str(avm.store.vault.root)
    told = run_avm("--vault", root, "--agent", "spy", "keeper", "status").stdout
    assert told.startswith("keeper   process ") and "watches" not in told
