"""A folder reached by its descriptor: modes, owners, names beyond what a system call takes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avm.base import beneath
from avm.base.beneath import Opening
from avm.overlay.root import Owner, Root

AS_ROOT = os.geteuid() == 0
NOBODY = Owner(65534, 65533)


@pytest.fixture(params=[0o022, 0o077, 0], ids="umask {:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    root = Root(tmp_path)
    yield root
    root.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("wanted", [0o644, 0o600, 0o666, 0o777, 0o4755, 0o2711, 0])
@pytest.mark.usefixtures("umask")
def test_what_is_made_has_the_mode_asked_for(tmp_path: Path, wanted: int) -> None:
    root = Root(tmp_path)
    try:
        os.close(root.create("file", os.O_WRONLY, wanted, None))
        if wanted < 0o1000:  # mkdir(2) takes no more
            root.mkdir("folder", wanted, None)
        root.mknod("pipe", stat.S_IFIFO | wanted, 0, None)
        made = {name: mode(tmp_path / name) for name in os.listdir(tmp_path)}
        assert "file" in made
        assert made == dict.fromkeys(made, wanted)
        assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    finally:
        root.close()


@pytest.mark.skipif(not AS_ROOT, reason="only root gives files away")
def test_what_is_made_is_its_owners(root: Root, tmp_path: Path) -> None:
    os.close(root.create("file", os.O_WRONLY, 0o4755, NOBODY))
    root.mkdir("folder", 0o755, NOBODY)
    root.mknod("pipe", stat.S_IFIFO | 0o600, 0, NOBODY)
    root.symlink("nowhere", "link", NOBODY)
    for name in ("file", "folder", "pipe", "link"):
        status = (tmp_path / name).lstat()
        assert (status.st_uid, status.st_gid) == NOBODY, name
    assert mode(tmp_path / "file") == 0o4755  # to give a file away clears the bit


@pytest.mark.skipif(not AS_ROOT, reason="only root gives files away")
def test_in_a_setgid_folder_the_group_is_the_folders(root: Root, tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    os.chown(tmp_path / "team", 0, 1234)
    (tmp_path / "team").chmod(0o2775)
    os.close(root.create("team/file", os.O_WRONLY, 0o640, NOBODY))
    root.mkdir("team/folder", 0o700, NOBODY)
    root.symlink("x", "team/link", NOBODY)
    for name in ("file", "folder", "link"):
        status = (tmp_path / "team" / name).lstat()
        assert (status.st_uid, status.st_gid) == (NOBODY.uid, 1234), name
    assert mode(tmp_path / "team/folder") == 0o2700
    root.mkdir("team/mine", 0o700, None)
    assert mode(tmp_path / "team/mine") == 0o2700


def test_who_is_not_root_gives_nothing_away(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    os.close(root.create("file", os.O_WRONLY, 0o660, NOBODY))
    root.mkdir("folder", 0o770, NOBODY)
    for name in ("file", "folder"):
        assert (tmp_path / name).stat().st_uid == os.getuid()
    assert (mode(tmp_path / "file"), mode(tmp_path / "folder")) == (0o660, 0o770)


def test_a_create_that_fails_leaves_no_descriptor(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(PermissionError):
        root.create("file", os.O_WRONLY, 0o600, Owner(os.getuid(), os.getgid()))
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def test_chmod_and_the_times_follow_no_link(root: Root, tmp_path: Path) -> None:
    (tmp_path / "target").touch(0o644)
    os.utime(tmp_path / "target", ns=(5, 5))
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(OSError):
        root.chmod("link", 0o777)
    with pytest.raises(FileNotFoundError):
        root.chmod("missing", 0o777)
    root.utime("link", 7, 7)
    root.chown("link", os.getuid(), -1)
    status = (tmp_path / "target").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o644, 5)
    assert (tmp_path / "link").lstat().st_mtime_ns == 7
    root.chmod("target", 0o600)
    assert mode(tmp_path / "target") == 0o600


def test_open_and_list_follow_no_link(root: Root, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "to_folder").symlink_to("folder")
    (tmp_path / "to_file").symlink_to("file")
    for act in (
        lambda: root.open("to_file", os.O_RDONLY),
        lambda: root.create("to_file", os.O_WRONLY, 0o600, None),
        lambda: root.truncate("to_file", 3),
        lambda: root.open_folder("to_folder"),
    ):
        with pytest.raises(OSError):
            act()
    assert root.readlink("to_file") == "file"


def test_a_name_longer_than_a_system_call_takes(root: Root, tmp_path: Path) -> None:
    """4,095 bytes is the most in one; every operation goes on below it."""
    step = "ü" * 120
    folder = ""
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):  # 4,820 bytes
        os.mkdir(step, dir_fd=fd)
        inner = os.open(step, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
        folder += f"{step}/"
    os.close(fd)
    assert len(folder.encode()) > 4095
    file, moved = folder + "file", folder + "moved"
    os.close(root.create(file, os.O_WRONLY, 0o640, None))
    root.truncate(file, 3)
    assert root.lstat(file).st_size == 3
    root.chmod(file, 0o600)
    root.utime(file, 1, 2)
    root.link(file, moved)
    assert (root.lstat(moved).st_nlink, root.lstat(moved).st_mtime_ns) == (2, 2)
    root.unlink(file)
    root.rename(moved, "here")
    assert stat.S_IMODE((tmp_path / "here").stat().st_mode) == 0o600
    root.rename("here", file)
    os.close(root.open(file, os.O_RDONLY))
    root.symlink("x", folder + "link", None)
    assert root.readlink(folder + "link") == "x"
    root.mkdir(folder + "below", 0o700, None)
    listed = root.open_folder(folder + "below")
    assert os.listdir(listed) == []
    os.close(listed)
    root.rmdir(folder + "below")
    assert sorted(root.files_below(folder.rstrip("/"))) == ["file", "link"]


def test_on_a_long_way_no_link_is_followed(root: Root, tmp_path: Path) -> None:
    long = "x" * 200
    inner = "/".join([long] * 25)
    (tmp_path / "real").mkdir()
    (tmp_path / long).symlink_to("real")
    with pytest.raises(OSError):
        root.lstat(inner)


def test_files_below(root: Root, tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/empty").mkdir()
    for name in ("a/one", "a/b/two", "a/b/c/\udcff"):
        os.close(os.open(tmp_path / name, os.O_CREAT | os.O_WRONLY))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/three").touch()
    (tmp_path / "a/link").symlink_to("../elsewhere")
    found = root.files_below("a")
    assert sorted(found) == ["b/c/\udcff", "b/two", "link", "one"]
    assert sorted(root.files_below("a/b")) == ["c/\udcff", "two"]
    assert root.files_below("a/one") == []
    with pytest.raises(FileNotFoundError):
        root.files_below("missing")


OPENINGS = {"at once": beneath.open_without_links, "step by step": beneath.step_by_step}


@pytest.mark.parametrize("opening", OPENINGS.values(), ids=OPENINGS)
@pytest.mark.parametrize("way", ["absolute", "relative"])
def test_no_link_on_the_way_is_followed(tmp_path: Path, opening: Opening, way: str) -> None:
    top = tmp_path.resolve()
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/file").write_text("text")
    (top / "link").symlink_to("a")
    (top / "a/link").symlink_to("b/file")
    fd = os.open(top, os.O_RDONLY)
    before = f"{top}/" if way == "absolute" else ""

    def errno_of(name: str, flags: int = os.O_RDONLY) -> int:
        with pytest.raises(OSError) as raised:
            opening(before + name, flags, fd)
        return raised.value.errno or 0

    try:
        found = opening(f"{before}a/b/file", os.O_RDONLY, fd)
        assert os.read(found, 9) == b"text"
        os.close(found)
        for name in ("link/b/file", "a/link", "link"):
            assert errno_of(name) == errno.ELOOP, name
        assert errno_of("a/b/file/x") == errno.ENOTDIR
        assert errno_of("a/none/x") == errno_of("a/none") == errno.ENOENT
    finally:
        os.close(fd)


def test_a_link_in_the_place_of_a_folder_has_the_kernel_look_again(
    root: Root, tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/file").write_text("text")
    (tmp_path / "mine").symlink_to("theirs")
    (tmp_path / "theirs/link").symlink_to("file")
    acts: dict[str, Callable[[str], object]] = {
        "lstat": root.lstat,
        "open": lambda rel: root.open(rel, os.O_RDONLY),
        "create": lambda rel: root.create(f"{rel}2", os.O_WRONLY, 0o644, None),
        "unlink": root.unlink,
        "rename": lambda rel: root.rename(rel, "other"),
        "rename into": lambda rel: root.rename("theirs/file", rel),
        "link": lambda rel: root.link(rel, "other"),
        "mkdir": lambda rel: root.mkdir(f"{rel}2", 0o755, None),
        "symlink": lambda rel: root.symlink("x", f"{rel}2", None),
        "truncate": lambda rel: root.truncate(rel, 0),
        "chmod": lambda rel: root.chmod(rel, 0o600),
        "utime": lambda rel: root.utime(rel, 0, 0),
        "readlink": lambda rel: root.readlink(rel.replace("file", "link")),
        "list": root.open_folder,
    }
    for what, act in acts.items():
        with pytest.raises(OSError) as raised:
            act("mine/file")
        assert raised.value.errno == errno.ESTALE, what
    with pytest.raises(OSError) as raised:
        root.open("theirs/link", os.O_RDONLY)
    assert raised.value.errno == errno.ELOOP
    assert sorted(os.listdir(tmp_path / "theirs")) == ["file", "link"]
    assert (tmp_path / "theirs/file").read_text() == "text"
