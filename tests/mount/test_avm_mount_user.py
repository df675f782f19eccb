"""A mount as a normal user, and where there is no FUSE: each in a mount namespace of its own."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import needs_fuse, run_avm

from mount.conftest import processes_of

USER = 65534
#: What namespaces a test runs in, with its own sight of /dev/fuse.
_UNSHARE = ("unshare", "--mount", "--propagation", "private")
#: Gives everybody /dev/fuse, as on a desktop, and runs the rest as a normal user. A Python that
#: stands in a folder of root's ($3, in $2) is put where all may find it, under the same name.
_OPEN = """
set -e
mknod -m 0666 "$1/fuse" c 10 229
mount --bind "$1/fuse" /dev/fuse
rm "$1/fuse"
if [ -n "$2" ]; then
  mkdir "$1/python"
  mount --bind "$3" "$1/python"
  mount -t tmpfs -o mode=755 none "$2"
  mkdir -p "$3"
  mount --bind "$1/python" "$3"
fi
shift 3
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
"""
#: Takes /dev/fuse away.
_ABSENT = """
set -e
mount -t tmpfs none /dev
mknod -m 0666 /dev/null c 1 3
mknod -m 0666 /dev/urandom c 1 9
exec "$@"
"""


def in_namespace(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a shell program with arguments in a mount namespace of its own."""
    return subprocess.run(
        [*_UNSHARE, "sh", "-c", program, "sh", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def no_namespace_because() -> str | None:
    """Why a mount namespace cannot be had here; None if it can."""
    if sys.platform != "linux" or not shutil.which("unshare") or not shutil.which("setpriv"):
        return "no unshare and setpriv"
    if os.geteuid() != 0:
        return "only root may make a mount namespace"
    done = in_namespace("mount -t tmpfs none /mnt")
    return f"no mount namespace: {done.stderr.strip()}" if done.returncode else None


def as_user(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run words as a normal user to whom /dev/fuse is open; `folder` is empty and for this."""
    folder.mkdir()
    python = Path(sys.base_prefix)
    shut = [up for up in python.parents if not up.stat().st_mode & stat.S_IXOTH]
    hidden = str(shut[-1]) if shut else ""
    return in_namespace(_OPEN, str(folder), hidden, str(python), *words)


def no_user_because(folder: Path) -> str | None:
    """Why a normal user cannot mount here; None if one can."""
    tool = shutil.which("fusermount3") or shutil.which("fusermount")
    if tool is None or not os.stat(tool).st_mode & stat.S_ISUID:
        return "fusermount is not setuid root"
    trial = f"exec 3<>/dev/fuse; exec {sys.executable} -c 'import click, pygit2, fuse'"
    done = as_user(folder, "sh", "-c", trial)
    return f"no normal user: {done.stderr.strip()[-300:]}" if done.returncode else None


needs_namespace = pytest.mark.skipif(
    no_namespace_because() is not None, reason=str(no_namespace_because())
)


@pytest.fixture(autouse=True)
def nothing_left(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A mount ends with its namespace, that one with the last process in it."""
    monkeypatch.setenv("AVM_SEMANTIC", "off")
    yield
    assert processes_of(home, seconds=5.0) == {}


#: What the user does.
_LIFE = """
import os, subprocess, sys, time
from pathlib import Path

home = Path(os.environ["HOME"])
def avm(*args):
    done = subprocess.run([sys.executable, "-m", "avm", *args], capture_output=True, text=True)
    print(args[0], done.returncode, done.stdout + done.stderr, flush=True)
    assert done.returncode == 0
avm("mount", str(home / "M"), "--daemon", "--agent", "akashi")
note = home / "M/memory/private/akashi/a.md"
note.write_text("a word of a normal user\\n")
print(note.read_text(), (home / "M/:search?word").read_text())
assert note.stat().st_uid == os.getuid() == 65534
assert (home / "avm/memory/private/akashi/a.md").stat().st_uid == 65534
avm("unmount", str(home / "M"))
assert os.listdir(home / "M") == []
avm("log")
avm("keeper", "stop")
"""


@needs_fuse
@needs_namespace
def test_a_normal_user_mounts_writes_reads_and_unmounts(home: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/tmp") and folder.is_relative_to("/tmp"):
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o711)
    if reason := no_user_because(tmp_path / "trial"):
        pytest.skip(reason)
    for path in (home, *home.rglob("*")):
        os.chown(path, USER, USER)
    done = as_user(tmp_path / "user", sys.executable, "-c", _LIFE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a word of a normal user" in done.stdout
    assert "1.00 /memory/private/akashi/a.md#L1" in done.stdout
    assert "akashi" in done.stdout.split("log 0")[1]


@needs_namespace
def test_without_dev_fuse_the_hint_is_one_line_and_cat_still_answers(home: Path) -> None:
    assert run_avm("remember", "a word", "--title", "here").returncode == 0
    avm = [sys.executable, "-m", "avm"]
    for more in ("", "--daemon"):
        done = in_namespace(_ABSENT, *avm, "mount", str(home / "M"), *filter(None, [more]))
        assert done.returncode == 10, done.stderr
        assert done.stderr.count("\n") == 1
        assert "--device /dev/fuse" in done.stderr and "modprobe fuse" in done.stderr
        assert done.stdout == ""
    ran = in_namespace(_ABSENT, *avm, "run", "true")
    assert (ran.returncode, "--device /dev/fuse" in ran.stderr) == (10, True)
    for words, text in {
        ("cat", ":search?word"): "1.00 /memory/shared/here.md#L",
        ("cat", "/memory/shared/here.md"): "a word",
        ("search", "word"): "here.md",
        ("recall", "word"): "a word",
    }.items():
        told = in_namespace(_ABSENT, *avm, *words)
        assert (told.returncode, text in told.stdout) == (0, True), told.stderr
