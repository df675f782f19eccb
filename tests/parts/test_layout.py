"""Where new memories go once a folder is full."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from vault_helpers import assert_well, python

from avm import AVM
from avm.vault.layout import MOST_FILES, Layout

NOVEMBER = datetime(2026, 11, 20, 9, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)


class Filler:
    """Writes files where a layout says, as `remember()` does."""

    def __init__(self, root: Path, most: int) -> None:
        self.root = root
        self.layout = Layout(root, most)
        self._serial = 0

    def write(self, times: int = 1, now: datetime = NOVEMBER) -> str:
        """Put files into `notes`; returns the folder of the last."""
        for _ in range(times):
            folder = self.layout.place("notes", now).folder
            (self.root / folder).mkdir(parents=True, exist_ok=True)
            (self.root / folder / f"{self._serial}.md").write_text("text")
            self.layout.wrote(folder)
            self._serial += 1
        return folder

    def files(self) -> dict[str, int]:
        """How many files each folder holds."""
        return files(self.root)


def files(root: Path) -> dict[str, int]:
    """How many memories each folder below `root` holds."""
    found = (path for path in root.rglob("*.md") if ".git" not in path.parts)
    return dict(Counter(str(path.parent.relative_to(root)) for path in found))


@pytest.fixture
def filler(tmp_path: Path) -> Filler:
    return Filler(tmp_path, 5)


def test_what_does_not_fit_goes_to_the_month_s_folder_and_its_parts(filler: Filler) -> None:
    filler.write(17)
    # A part is an entry of the month's folder too, which came after its five files.
    assert filler.files() == {
        "notes": 5,
        "notes/2026-11": 5,
        "notes/2026-11/2": 5,
        "notes/2026-11/3": 2,
    }
    filler.write(6, DECEMBER)
    assert filler.files() == {
        "notes": 5,
        "notes/2026-11": 5,
        "notes/2026-11/2": 5,
        "notes/2026-11/3": 2,
        "notes/2026-12": 5,
        "notes/2026-12/2": 1,
    }


def test_the_month_is_that_of_utc(filler: Filler) -> None:
    filler.write(5)
    west = timezone(timedelta(hours=-8))
    assert filler.write(now=datetime(2026, 11, 30, 20, tzinfo=west)) == "notes/2026-12"


def test_room_in_the_folder_is_used_again(filler: Filler) -> None:
    filler.write(7)
    for number in range(3):
        (filler.root / f"notes/{number}.md").unlink()
    # Two of the three: the shard is an entry too.
    filler.write(3)
    assert filler.files() == {"notes": 4, "notes/2026-11": 3}


def test_what_others_write_is_counted(filler: Filler) -> None:
    filler.write(2)
    for name in ("a", "b", "c"):
        (filler.root / f"notes/{name}.txt").touch()
    # As if a tick of the clock had passed.
    os.utime(filler.root / "notes", ns=(0, 1))
    assert filler.write() == "notes/2026-11"


def test_an_existing_flat_folder_is_left_alone(filler: Filler) -> None:
    (filler.root / "notes").mkdir()
    for number in range(30):
        (filler.root / f"notes/old{number}.md").touch()
    filler.write(3)
    assert filler.files() == {"notes": 30, "notes/2026-11": 3}


def test_a_file_in_a_shard_s_place_is_no_folder(filler: Filler) -> None:
    filler.write(5)
    (filler.root / "notes/2026-11").touch()
    assert filler.layout.place("notes", NOVEMBER).folder == "notes/2026-11"  # the write will say it
    assert filler.write(now=DECEMBER) == "notes/2026-12"


def test_a_folder_is_listed_only_when_somebody_else_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filler = Filler(tmp_path, 1000)
    listed: list[str] = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(str(path)) or real(path))
    filler.write(100)
    assert len(listed) <= 2  # before the folder was there, and when it was new
    (tmp_path / "notes/foreign.md").touch()
    os.utime(tmp_path / "notes", ns=(0, 1))
    before = len(listed)
    filler.write(1)
    assert len(listed) == before + 1
    filler.write(800)
    # Ever more often towards the end: eight writers as fast as this one would not go over it.
    assert len(listed) < 40


def test_two_layouts_that_take_turns_hold_the_bound_within_a_tick(tmp_path: Path) -> None:
    """The mtime cannot tell: both write within one tick of the kernel's clock."""
    (tmp_path / "notes").mkdir()
    layouts = [Layout(tmp_path, 300) for _ in range(4)]
    for number in range(1000):
        layout = layouts[number % 4]
        folder = layout.place("notes", NOVEMBER).folder
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / f"{number}.md").touch()
        for each in ("notes", folder):
            os.utime(tmp_path / each, ns=(0, 1))
        layout.wrote(folder)
    assert sum(files(tmp_path).values()) == 1000
    assert max(files(tmp_path).values()) <= 300


def test_threads_hold_it_too(tmp_path: Path) -> None:
    layout = Layout(tmp_path, 100)
    (tmp_path / "notes").mkdir()

    def work(name: str) -> None:
        for number in range(100):
            folder = layout.place("notes", NOVEMBER).folder
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / f"{name}{number}.md").touch()
            layout.wrote(folder)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(files(tmp_path).values()) == 400
    assert max(files(tmp_path).values()) <= 100 + 4


# Through the API


@pytest.fixture
def avm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AVM]:
    """A vault whose folders hold five entries."""
    monkeypatch.setenv("AVM_CLOCK", "2026-11-20T09:00:00Z")
    with AVM(tmp_path / "vault", semantic="off") as opened:
        opened.store.layout = Layout(opened.store.vault.root, 5)
        yield opened
        assert_well(opened)


def fill(avm: AVM, times: int, title: str = "note") -> list[str]:
    """Remember texts that differ under titles that differ; returns the paths."""
    return [
        avm.remember(f"text {n}", title=f"{title} {n}", namespace="market").path
        for n in range(times)
    ]


def test_remember_puts_shards_where_it_picks_the_place(avm: AVM) -> None:
    assert fill(avm, 7)[4:] == [
        "/memory/shared/market/note 4.md",
        "/memory/shared/market/2026-11/note 5.md",
        "/memory/shared/market/2026-11/note 6.md",
    ]
    in_folder = [
        avm.remember(f"x {n}", title=f"x {n}", namespace="market", folder="deep").path
        for n in range(6)
    ]
    assert in_folder[4:] == [
        "/memory/shared/market/deep/x 4.md",
        "/memory/shared/market/deep/2026-11/x 5.md",
    ]
    assert len(avm.memories("memory/shared/market")) == 13
    assert [hit.path for hit in avm.search('"text 6"', folder="memory/shared/market")][:1] == [
        "/memory/shared/market/2026-11/note 6.md"
    ]


def test_the_same_again_is_found_in_the_folder_and_in_its_shards(avm: AVM) -> None:
    made = fill(avm, 17)
    assert fill(avm, 17) == made
    # Another text of a title that is taken in some folder gets a name that is free in all.
    other = avm.remember("another", title="note 0", namespace="market")
    assert other.path == "/memory/shared/market/2026-11/3/note 0-2.md"
    assert avm.remember("another", title="note 0", namespace="market").path == other.path
    for path in made[2:4]:  # room in the folder again
        avm.forget(path)
    again = avm.remember("text 16", title="note 16", namespace="market")
    assert (again.path, len(again.hints)) == (made[16], 1)


def test_a_month_s_shard_that_another_process_made_is_looked_into(avm: AVM) -> None:
    fill(avm, 5)
    with AVM(avm.store.vault.root, semantic="off") as other:
        other.store.layout = Layout(other.store.vault.root, 5)
        there = other.remember("from there", title="theirs", namespace="market").path
    assert there == "/memory/shared/market/2026-11/theirs.md"
    again = avm.remember("from there", title="theirs", namespace="market")
    assert (again.path, len(again.hints)) == (there, 1)


WRITER = """
import sys
from avm import AVM
from avm.vault.layout import Layout
root, name, most, times = sys.argv[1:]
with AVM(root, semantic="off") as avm:
    avm.store.commit_in_background = lambda: None
    if int(most):
        avm.store.layout = Layout(avm.store.vault.root, int(most))
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(times)):
        avm.remember(f"{name} {number}", title=f"{name} {number}", namespace="market")
"""


def test_four_processes_hold_the_bound(tmp_path: Path) -> None:
    root = tmp_path / "vault"
    AVM(root, semantic="off").close()
    writers = [python(WRITER, root, name, "200", "250") for name in "abcd"]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    for writer in writers:
        _, said = writer.communicate(timeout=120)
        assert (writer.returncode, said) == (0, b"")
    counts = files(root / "memory/shared/market")
    assert sum(counts.values()) == 1000
    assert max(counts.values()) <= 200 + 4
    # Not sharded long before it had to be either.
    assert counts["."] >= 180


def test_a_real_folder_never_holds_more_than_two_thousand(tmp_path: Path) -> None:
    root = tmp_path / "vault"
    writer = python(WRITER, root, "a", "0", "2100")
    _, said = writer.communicate(b"\n", timeout=200)
    assert (writer.returncode, said) == (0, b"")
    counts = files(root / "memory/shared/market")
    month = next(name for name in counts if name != ".")
    assert sum(counts.values()) == 2100
    assert MOST_FILES - 50 < counts["."] <= MOST_FILES
    assert counts[month] == 2100 - counts["."]
    assert len(os.listdir(root / "memory/shared/market")) <= MOST_FILES
