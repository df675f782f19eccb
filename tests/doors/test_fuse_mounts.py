"""Platforms, hints, the registry and mount points, without a mount."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from avm.base.errors import MountError
from avm.fuse import binding, hints, mounts, platform, registry
from avm.fuse.mount import prepare
from avm.fuse.noise import without_noise
from avm.fuse.platform import Darwin, Linux, options_for, parse_mount_output, parse_mountinfo
from avm.overlay.attributes import Entry


def test_options_for_linux() -> None:
    common = {
        "fsname": "avm", "subtype": "avm", "use_ino": True,
        "attr_timeout": 0, "entry_timeout": 1, "negative_timeout": 0,
    }  # fmt: skip
    two = {**common, "big_writes": True, "atomic_o_trunc": True, "auto_unmount": True}
    assert options_for("linux") == two
    assert options_for("linux", 3) == {**common, "auto_unmount": True}


@pytest.mark.parametrize("libfuse", [2, 3])
def test_options_for_macos(libfuse: int) -> None:
    """None that only Linux knows, such as big_writes, atomic_o_trunc and auto_unmount."""
    assert options_for("darwin", libfuse) == {
        "fsname": "avm", "subtype": "avm", "use_ino": True,
        "attr_timeout": 0, "entry_timeout": 1, "negative_timeout": 0,
        "volname": "AVM", "noappledouble": True, "noapplexattr": True, "nobrowse": True,
    }  # fmt: skip


def test_mountinfo() -> None:
    data = (
        rb"""22 27 0:20 / /sys rw,nosuid - sysfs sysfs rw
40 27 0:41 / /mnt/a\040b\134c\011d rw,nosuid shared:7 master:2 - fuse.avm avm rw,user_id=0
41 27 0:42 / /mnt/other rw - fuse.sshfs me@host: rw
42 27 0:43 / /mnt/ext rw - ext4 avm rw
43 27 0:44 / """
        + "/mnt/ü".encode()
        + b"\xff rw - fuse avm rw\nbroken\n"
    )
    assert parse_mountinfo(data) == ["/mnt/a b\\c\td", "/mnt/ü\udcff"]


def test_macos_mount_output() -> None:
    data = b"""/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
avm on /Users/pat/my (own) mount (macfuse, nodev, nosuid, synchronized, mounted by pat)
fuse-t:/avm on /Users/pat/t (nfs, nodev, nosuid, mounted by pat)
avm@macfuse0 on /Volumes/on it (macfuse_avm, mounted by pat)
avmx on /Users/pat/x (macfuse, mounted by pat)
me@host: on /Users/pat/ssh (macfuse, mounted by pat)
"""
    assert parse_mount_output(data) == [
        "/Users/pat/my (own) mount",
        "/Users/pat/t",
        "/Volumes/on it",
    ]


def test_unmount_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    darwin, linux = Darwin(), Linux()
    assert darwin.unmount_command("/m", force=False) == ["/sbin/umount", "/m"]
    forced = ["/usr/sbin/diskutil", "unmount", "force", "/m"]
    assert darwin.unmount_command("/m", force=True) == forced
    monkeypatch.setenv("PATH", "/nowhere")
    assert linux.unmount_command("/m", force=False) == ["umount", "/m"]
    assert linux.unmount_command("/m", force=True) == ["umount", "-l", "/m"]


def test_a_process_has_a_token_while_it_lives() -> None:
    linux = Linux()
    token = linux.process_token(os.getpid())
    assert token and token == linux.process_token(os.getpid())
    assert linux.process_token(2**22 + 1) is None


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("fuse: device not found, try 'modprobe fuse' first", "--device /dev/fuse"),
        ("fuse: failed to open /dev/fuse: Permission denied", "0666"),
        ("fuse: failed to exec fusermount: No such file or directory", "install fuse3"),
        ("fusermount: mount failed: Operation not permitted", "setuid"),
        (
            "fusermount3: option allow_other only allowed if 'user_allow_other' is set in"
            " /etc/fuse.conf",
            "user_allow_other into",
        ),
        ("fusermount: user has no write access to mountpoint /m", "belong to you"),
        ("fuse: unknown option `big_writes'", "another libfuse"),
        ("fuse: mountpoint is not empty\nfuse: if you are sure, use 'nonempty'", "an empty folder"),
        ("The system extension required for mounting macFUSE volumes could not be loaded.",
         "Privacy & Security"),
    ],
)  # fmt: skip
def test_libfuse_words_get_a_hint(words: str, hint: str) -> None:
    line = hints.explain(f"debug noise\n{words}\n\n")
    assert hint in line and words.splitlines()[0] in line and "\n" not in line


def test_libfuse_words_without_a_hint() -> None:
    assert hints.explain("first\nsomething new\n") == "something new"
    assert hints.explain("") == "libfuse gave no reason"


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_without_libfuse_the_error_says_what_to_install(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> binding.Binding:
        raise OSError("Unable to find libfuse")

    monkeypatch.setattr(binding, "_load_fusepy", missing)
    monkeypatch.setattr(binding, "_load_mfusepy", missing)
    monkeypatch.setattr("sys.platform", platform)
    with pytest.raises(MountError) as caught:
        binding.load()
    expected = {"linux": "apt install fuse3 libfuse2", "darwin": "macFUSE"}[platform]
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_the_second_binding_serves_where_the_first_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> binding.Binding:
        raise ImportError("it needs libfuse 2, this is libfuse 3")

    other = binding.Binding("mfusepy", 3, SimpleNamespace())
    monkeypatch.setattr(binding, "_load_fusepy", wrong)
    monkeypatch.setattr(binding, "_load_mfusepy", lambda: other)
    assert binding.load() is other
    with pytest.raises(MountError, match="libfuse 3"):
        binding.load("fusepy")


# macOS, whose commands are only noted here


class Mac(Darwin):
    """A Mac whose mount table is `/m`; `idle` says whether umount succeeds, `forced` diskutil."""

    def __init__(self, patch: pytest.MonkeyPatch, *, idle: bool, forced: bool = True) -> None:
        self.commands: list[list[str]] = []
        self.points = ["/m"]
        self.obeys = {"/sbin/umount": idle, "/usr/sbin/diskutil": forced}

        def run(command: list[str]) -> str:
            self.commands.append(command)
            if not self.obeys[command[0]]:
                return f"{command[0]}: Resource busy"
            self.points.clear()
            return ""

        patch.setattr(mounts, "here", self)
        patch.setattr(mounts, "_run", run)
        patch.setattr(mounts, "_GRACE_SECONDS", 0.0)
        patch.setattr(mounts, "is_stale", lambda path: self.is_stale)
        self.is_stale = False

    def mountpoints(self) -> list[str]:
        return list(self.points)


UMOUNT = ["/sbin/umount", "/m"]
DISKUTIL = ["/usr/sbin/diskutil", "unmount", "force", "/m"]


def test_a_mac_unmounts_what_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    mac = Mac(monkeypatch, idle=True)
    assert mounts.unmount(Path("/m")) == "unmounted /m"
    assert mac.commands == [UMOUNT]


def test_a_mac_takes_force_to_what_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    mac = Mac(monkeypatch, idle=False)
    said = mounts.unmount(Path("/m"))
    assert said == "/m was in use by a process that cannot be seen: detached"
    assert mac.commands == [UMOUNT, DISKUTIL]


def test_a_mac_says_why_it_cannot_unmount(monkeypatch: pytest.MonkeyPatch) -> None:
    mac = Mac(monkeypatch, idle=False, forced=False)
    with pytest.raises(MountError, match="cannot unmount /m: /usr/sbin/diskutil: Resource busy"):
        mounts.unmount(Path("/m"), timeout=0.0)
    assert mac.commands == [UMOUNT, DISKUTIL]


@pytest.mark.parametrize("idle", [True, False])
def test_a_mac_repairs_a_dead_mount(monkeypatch: pytest.MonkeyPatch, idle: bool) -> None:
    mac = Mac(monkeypatch, idle=idle)
    assert not mounts.repair(Path("/m"))
    mac.is_stale = True
    assert mounts.repair(Path("/m"))
    assert mac.commands == [UMOUNT, *([] if idle else [DISKUTIL])]
    assert not mounts.repair(Path("/m"))


@pytest.mark.parametrize(
    ("name", "number", "stale"),
    [
        ("darwin", errno.ENXIO, True),
        ("darwin", errno.EIO, True),
        ("darwin", errno.ENOTCONN, True),
        ("darwin", errno.ENOENT, False),
        ("linux", errno.ENOTCONN, True),
        ("linux", errno.ECONNABORTED, True),
        ("linux", errno.ENXIO, False),
        ("linux", errno.EACCES, False),
    ],
)
def test_a_dead_mount_is_known_by_its_errno(
    monkeypatch: pytest.MonkeyPatch, name: str, number: int, stale: bool
) -> None:
    def fail(path: Path) -> None:
        raise OSError(number, "")

    monkeypatch.setattr(platform, "here", {"darwin": Darwin(), "linux": Linux()}[name])
    monkeypatch.setattr(platform.os, "stat", fail)
    assert platform.is_stale(Path("/m")) is stale


def test_what_a_mac_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """By absolute path: a launchd or venv PATH often lacks /sbin."""
    told = {
        "/sbin/mount": b"avm on /Users/pat/m (macfuse, nodev, nosuid, mounted by pat)\n",
        "/bin/ps": b"Ss   Fri Nov 20 09:00:00 2026\n",
    }
    monkeypatch.setattr(platform, "_output", lambda command: told[command[0]])
    mac = Darwin()
    assert (mac.name, mac.gone_errno) == ("darwin", errno.ENOENT)
    assert mac.mountpoints() == ["/Users/pat/m"]
    token = mac.process_token(7)
    assert token == "Fri Nov 20 09:00:00 2026"
    told["/bin/ps"] = b"R+   Fri Nov 20 09:00:00 2026\n"
    assert mac.process_token(7) == token
    for gone in (b"", b"Z    Fri Nov 20 09:00:00 2026\n"):
        told["/bin/ps"] = gone
        assert mac.process_token(7) is None
    assert mac.holders("/m") == []


NOISE = ("._x.md", "._", ".DS_Store", ".Spotlight-V100", ".Trashes", ".fseventsd",
         ".metadata_never_index")  # fmt: skip


class Quieted:
    """A tree in which everything is there."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def list(self, path: str) -> list[Entry]:
        return [Entry(name, 1, 0) for name in ("x.md", ".hidden", *NOISE)]

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.calls.append((name, *args))


def refusal(act: Any, *args: Any) -> str:
    with pytest.raises(OSError) as caught:
        act(*args)
    return errno.errorcode[caught.value.errno or 0]


@pytest.mark.parametrize("name", NOISE)
@pytest.mark.parametrize("path", ["/{}", "/memory/{}", "/memory/{}/x.md"])
def test_what_a_mac_strews_is_not_there_and_cannot_be_made(name: str, path: str) -> None:
    inner = Quieted()
    tree: Any = without_noise(inner, "darwin")  # type: ignore[arg-type]
    noise = path.format(name)
    for method in ("attributes", "open", "readlink", "truncate", "unlink", "rmdir", "chmod",
                   "chown", "utimens", "list"):  # fmt: skip
        assert refusal(getattr(tree, method), noise) == "ENOENT"
    for method in ("create", "mkdir", "mknod"):
        assert refusal(getattr(tree, method), noise, 0o644, 0, None) == "EACCES"
    for method in ("rename", "link", "symlink"):
        assert refusal(getattr(tree, method), "/x.md", noise) == "EACCES"
    for method in ("rename", "link"):
        assert refusal(getattr(tree, method), noise, "/x.md") == "ENOENT"
    assert inner.calls == []


def test_a_mac_shows_all_else(tmp_path: Path) -> None:
    inner = Quieted()
    tree: Any = without_noise(inner, "darwin")  # type: ignore[arg-type]
    assert [entry.name for entry in tree.list("/")] == ["x.md", ".hidden"]
    tree.symlink("._x", "/link", None)
    tree.rename("/a._b", "/.DS_Store.md")
    tree.attributes("/.Trash")
    tree.close()
    assert inner.calls == [
        ("symlink", "._x", "/link", None),
        ("rename", "/a._b", "/.DS_Store.md"),
        ("attributes", "/.Trash"),
        ("close",),
    ]


def test_linux_takes_every_name() -> None:
    inner: Any = Quieted()
    assert without_noise(inner, "linux") is inner


# The registry


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A mount table and process table that a test can change."""
    state: dict[str, Any] = {"points": ["/mnt/a"], "tokens": {7: "t7"}, "stale": False}
    fake = SimpleNamespace(
        mountpoints=lambda: state["points"],
        process_token=lambda pid: dict(state["tokens"]).get(pid),
    )
    monkeypatch.setattr(registry, "here", fake)
    monkeypatch.setattr(registry, "is_stale", lambda path: state["stale"])
    return state


def note(folder: Path, pid: int = 7, started: float = 1.0) -> None:
    registry.register(
        folder, mountpoint=Path("/mnt/a"), vault=Path("/v\udcff"), agent="akashi",
        started=started, pid=pid,
    )  # fmt: skip


def test_a_registration_comes_back(tmp_path: Path, table: dict[str, Any]) -> None:
    note(tmp_path / "new" / "folder")
    (entry,) = registry.read_all(tmp_path / "new" / "folder")
    assert entry.mountpoint == Path("/mnt/a") and entry.vault == Path("/v\udcff")
    assert (entry.agent, entry.pid, entry.started, entry.stale) == ("akashi", 7, 1.0, False)
    registry.forget(tmp_path / "new" / "folder", mountpoint=Path("/mnt/a"), pid=7)
    registry.forget(tmp_path / "new" / "folder", mountpoint=Path("/mnt/a"), pid=7)
    assert registry.read_all(tmp_path / "new" / "folder") == []


@pytest.mark.parametrize(
    ("mounted", "running", "stale", "listed", "kept"),
    [
        (True, True, False, True, True),
        (True, False, True, True, True),
        (True, False, False, False, False),
        (False, False, False, False, False),
        (False, True, False, False, True),
    ],
)
def test_notes_of_mounts_that_are_gone_are_dropped(
    tmp_path: Path, table: dict[str, Any],
    mounted: bool, running: bool, stale: bool, listed: bool, kept: bool,
) -> None:  # fmt: skip
    note(tmp_path)
    table["points"] = ["/mnt/a"] if mounted else []
    table["tokens"] = {7: "t7"} if running else {7: "another process"}
    table["stale"] = stale
    entries = registry.read_all(tmp_path)
    assert [entry.stale for entry in entries] == [not running] * listed
    assert len(list(tmp_path.glob("*.json"))) == kept


def test_a_damaged_note_is_dropped(tmp_path: Path, table: dict[str, Any]) -> None:
    note(tmp_path)
    for number, text in enumerate([b"", b"{", b"[]", b'{"mountpoint": 3}']):
        (tmp_path / f"{number}.json").write_bytes(text)
    assert len(registry.read_all(tmp_path)) == 1
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_the_newest_running_server_is_the_server(tmp_path: Path, table: dict[str, Any]) -> None:
    table["tokens"] = {7: "t7", 8: "t8", 9: "t9"}
    for pid, started in ((7, 1.0), (8, 3.0), (9, 2.0)):
        note(tmp_path, pid, started)
    server = registry.server_of(tmp_path, "/mnt/a")
    assert server and server.pid == 8
    assert registry.server_of(tmp_path, "/mnt/b") is None
    table["tokens"] = {}
    assert registry.server_of(tmp_path, "/mnt/a") is None


# Mount points


def test_unfit_mount_points_are_refused(tmp_path: Path) -> None:
    vault = tmp_path / "outer" / "vault"
    (vault / "memory").mkdir(parents=True)
    file, full = tmp_path / "file", tmp_path / "full"
    file.write_text("x")
    full.mkdir()
    (full / "x").write_text("x")
    (tmp_path / "alias").symlink_to(vault)
    for place, reason in (
        (file, "is not a folder"),
        (file / "below", "is not a folder"),
        (full, "is not empty"),
        (vault, "inside the vault"),
        (vault / "memory", "inside the vault"),
        (vault / "not" / "yet", "inside the vault"),
        (tmp_path / "alias" / "memory", "inside the vault"),
        (tmp_path / "outer", "holds the vault"),
        (Path("/"), "holds the vault"),
    ):
        with pytest.raises(MountError, match=reason) as caught:
            prepare(place, vault)
        assert "\n" not in str(caught.value)
    assert not (vault / "not").exists()


def test_a_missing_mount_point_is_made(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    made = prepare(tmp_path / "link" / "a b" / "m", tmp_path / "vault")
    assert made == tmp_path.resolve() / "real" / "a b" / "m" and made.is_dir()
    assert prepare(made, tmp_path / "vault") == made


def test_waiting_asks_at_least_once() -> None:
    counter = itertools.count()
    assert mounts.wait_until(lambda: next(counter) == 0, 0.0)
    assert not mounts.wait_until(lambda: False, 0.0)
    assert mounts.wait_until(lambda: next(counter) == 3, 5.0)


def test_unmount_wants_an_avm_mount(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing", Path("/proc")):
        with pytest.raises(MountError, match="is not an AVM mount"):
            mounts.unmount(place)
