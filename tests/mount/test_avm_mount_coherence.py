"""What one program changed is what every other sees next: in the same mount, in another mount of
the vault, and behind them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import needs_fuse

from mount.conftest import Room

pytestmark = needs_fuse

#: Rounds of what must be right every time.
ROUNDS = 60


def rewritten(folder: Path, readers: list[Path]) -> Iterator[tuple[str, str | None]]:
    """One file again and again in place: other lengths, and the same ones."""
    for number in range(ROUNDS):
        text = f"{number:03} " * (1 + number // 2 * 700 % 3000)
        with (folder / "a.md").open("r+" if number else "w") as file:
            file.write(text)
            file.truncate()
        yield "a.md", text


def replaced(folder: Path, readers: list[Path]) -> Iterator[tuple[str, str | None]]:
    """One file again and again by another that is renamed over it."""
    for number in range(ROUNDS):
        text = f"{number:03} " * (1 + number // 2 * 700 % 3000)
        (folder / "new.tmp").write_text(text)
        (folder / "new.tmp").rename(folder / "a.md")
        yield "a.md", text


def removed(folder: Path, readers: list[Path]) -> Iterator[tuple[str, str | None]]:
    """A file that every reader has just seen."""
    for number in range(ROUNDS):
        (folder / "a.md").write_text(f"{number}\n")
        assert {(reader / "a.md").read_text() for reader in readers} == {f"{number}\n"}
        assert all((reader / "a.md").exists() for reader in readers)
        (folder / "a.md").unlink()
        yield "a.md", None


def made(folder: Path, readers: list[Path]) -> Iterator[tuple[str, str | None]]:
    """A file that every reader has just not found."""
    for number in range(ROUNDS):
        assert not any((reader / f"{number}.md").exists() for reader in readers)
        (folder / f"{number}.md").write_text(f"{number}\n")
        yield f"{number}.md", f"{number}\n"


def seen(path: Path, first: str) -> dict[str, object]:
    """What a reader sees of a file: its size, its text, whether it is listed."""
    looks: dict[str, Callable[[], object]] = {
        "size": lambda: path.stat().st_size,
        "text": path.read_text,
        "listed": lambda: path.name in os.listdir(path.parent),
    }
    found: dict[str, object] = {}
    for what in sorted(looks, key=lambda name: name != first):
        try:
            found[what] = looks[what]()
        except FileNotFoundError:
            found[what] = None
    return found


@pytest.mark.parametrize("change", [rewritten, replaced, removed, made], ids=lambda f: f.__name__)
@pytest.mark.parametrize("writer", ["behind", "mount", "agents"])
def test_a_change_is_what_every_other_side_sees_next(
    change: Callable[[Path, list[Path]], Iterator[tuple[str, str | None]]],
    writer: str,
    shared_room: Room,
) -> None:
    readers = [shared_room.mount, shared_room.agents, shared_room.behind]
    for number, (name, text) in enumerate(change(getattr(shared_room, writer), readers)):
        there = None if text is None else len(text)
        right = {"size": there, "text": text, "listed": text is not None}
        for reader in readers:
            assert seen(reader / name, ("size", "text", "listed")[number % 3]) == right, number


#: What the kernel keeps of an open file, it keeps by its name.
one_cache_a_name = pytest.mark.xfail(
    strict=True, reason="the kernel knows nothing of changes behind a mount to a file it has open"
)


@pytest.fixture(params=["behind", "agents"])
def elsewhere(shared_room: Room, request: pytest.FixtureRequest) -> Iterator[tuple[int, Path]]:
    """A descriptor of 8000 bytes in the owner's mount, and the path of the same file elsewhere."""
    (shared_room.mount / "a.md").write_bytes(b"one\n" * 2000)
    fd = os.open(shared_room.mount / "a.md", os.O_RDONLY)
    try:
        assert os.pread(fd, 8000, 0) == b"one\n" * 2000
        yield fd, getattr(shared_room, request.param) / "a.md"
    finally:
        os.close(fd)


def test_an_open_file_shows_what_is_appended_elsewhere(elsewhere: tuple[int, Path]) -> None:
    fd, file = elsewhere
    with file.open("ab") as appending:
        appending.write(b"two\n")
    assert os.pread(fd, 100, 8000) == b"two\n"
    assert os.fstat(fd).st_size == 8004


@one_cache_a_name
def test_an_open_file_shows_a_text_of_the_same_size(elsewhere: tuple[int, Path]) -> None:
    fd, file = elsewhere
    with file.open("r+b") as writing:
        writing.write(b"two\n" * 2000)
    assert os.pread(fd, 4, 0) == b"two\n"


@one_cache_a_name
def test_an_open_file_keeps_its_size_when_it_is_replaced_elsewhere(
    elsewhere: tuple[int, Path],
) -> None:
    fd, file = elsewhere
    file.with_name("new").write_bytes(b"longer\n" * 2000)
    file.with_name("new").rename(file)
    assert os.fstat(fd).st_size == 8000


@one_cache_a_name
def test_an_open_file_keeps_its_text_when_it_is_replaced_elsewhere(
    elsewhere: tuple[int, Path], shared_room: Room
) -> None:
    fd, file = elsewhere
    file.with_name("new").write_bytes(b"longer\n" * 2000)
    file.with_name("new").rename(file)
    assert (shared_room.mount / "a.md").read_bytes() == b"longer\n" * 2000
    assert os.pread(fd, 8000, 0) == b"one\n" * 2000


def test_an_open_file_keeps_its_text_when_it_is_removed_elsewhere(
    elsewhere: tuple[int, Path],
) -> None:
    fd, file = elsewhere
    file.unlink()
    assert os.pread(fd, 9000, 0) == b"one\n" * 2000


@one_cache_a_name
def test_an_open_file_can_be_asked_for_its_size_when_it_is_removed_elsewhere(
    elsewhere: tuple[int, Path],
) -> None:
    fd, file = elsewhere
    file.unlink()
    assert os.fstat(fd).st_size == 8000
