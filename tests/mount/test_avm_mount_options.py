"""The options of `avm mount`: read-only, for other users, and by the binding's own way."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from conftest import needs_fuse, run_avm

from mount.conftest import Mount, Mounting, failing

pytestmark = needs_fuse

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as another user")
OTHER, OTHERS = 65534, 65533
#: Becomes another user (a program begun as one might not find Python) and prints what each
#: expression in the list on its stdin gives or fails with, as JSON.
ACTING = """
import errno, json, os, sys
umask, uid, gid = map(int, sys.argv[1:])
os.umask(umask)
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
done = []
for line in json.load(sys.stdin):
    try:
        done.append(eval(line))
    except OSError as error:
        done.append(errno.errorcode[error.errno])
print(json.dumps(done))
"""


def as_other(folder: Path, *lines: str, umask: int = 0o022, gid: int = OTHERS) -> list[object]:
    """What another user of the machine gets who runs these expressions in `folder`."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ACTING, *map(str, (umask, OTHER, gid))],
        input=json.dumps(lines),
        cwd=folder,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout)
    return found


@pytest.fixture
def open_home(home: Path) -> Path:
    """The home, which others may pass through."""
    for folder in (home, *home.parents):
        if folder.owner() == home.owner() and str(folder) not in ("/", "/tmp"):
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o711)
    return home


@needs_root
def test_another_user_is_let_in_and_what_it_makes_is_its_own(
    mounting: Mounting, open_home: Path
) -> None:
    mount = mounting(options="--allow-other")
    folder = mount.shared / "open"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "mine.md").write_text("the owner's #word\n")
    made = as_other(
        folder,
        "open('mine.md').read()",
        "open('theirs.md', 'w').write('theirs')",
        "os.mkdir('d')",
        "os.symlink('mine.md', 'l')",
        "os.mkfifo('p')",
        "os.close(os.open('wide.md', os.O_CREAT | os.O_WRONLY, 0o666))",
        "open('mine.md:meta').read() != ''",
        "open(':search?word').read()",
        "os.stat(':search?word').st_size > 0",
        "os.chmod('theirs.md', 0o604)",
        "os.rename('theirs.md', 'moved.md')",
    )
    assert made[0] == "the owner's #word\n"
    assert "mine.md" in str(made[7])
    assert made[1:7] == [6, None, None, None, None, True] and made[8:] == [True, None, None]
    behind = mount.behind / "shared" / "open"
    modes = {"moved.md": 0o604, "d": 0o755, "wide.md": 0o644, "p": 0o644}
    for name, mode in modes.items():
        status = (behind / name).lstat()
        assert (status.st_uid, status.st_gid) == (OTHER, OTHERS), name
        assert stat.S_IMODE(status.st_mode) == mode, name
    assert (behind / "l").lstat().st_uid == OTHER
    mount.wait_committed("shared/open/moved.md", "Pat Person")


@needs_root
def test_modes_decide_what_another_user_may(mounting: Mounting, open_home: Path) -> None:
    mount = mounting(options="--allow-other")
    folder = mount.shared / "kept"
    folder.mkdir(0o755)
    for name, mode in {"open.md": 0o644, "shut.md": 0o600, "wide.md": 0o666}.items():
        (folder / name).write_text("text\n")
        (folder / name).chmod(mode)
    (folder / "private").mkdir(0o700)
    tried = as_other(
        folder,
        "open('open.md').read()",
        "open('open.md', 'a')",
        "open('shut.md')",
        "open('wide.md', 'a').write('more')",
        "open('new.md', 'w')",
        "os.mkdir('d')",
        "os.unlink('open.md')",
        "os.rename('wide.md', 'x')",
        "os.chmod('wide.md', 0o600)",
        "os.chown('wide.md', 65534, -1)",
        "os.truncate('open.md', 0)",
        "os.listdir('private')",
        "open('private/x')",
        "open('open.md:ttl', 'w')",
        "sorted(os.listdir('.'))",
    )
    assert tried[0] == "text\n" and tried[3] == 4
    assert tried[-1] == ["open.md", "private", "shut.md", "wide.md"]
    refused = [*tried[1:3], *tried[4:-1]]
    assert set(refused) <= {"EACCES", "EPERM"}, tried
    assert (mount.behind / "shared/kept/open.md").read_text() == "text\n"
    assert (mount.behind / "shared/kept/wide.md").read_text() == "text\nmore"


@needs_root
def test_the_umask_is_the_callers_and_counts_once(mounting: Mounting, open_home: Path) -> None:
    before = os.umask(0o077)  # the server's
    try:
        mount = mounting(options="--allow-other")
    finally:
        os.umask(before)
    for umask in (0o022, 0o077, 0o002, 0):
        folder = mount.shared / f"{umask:o}"
        folder.mkdir()
        folder.chmod(0o777)
        made = as_other(
            folder,
            "os.close(os.open('f', os.O_CREAT | os.O_WRONLY, 0o666))",
            "os.mkdir('d')",
            "[os.stat(name).st_mode & 0o7777 for name in 'fd']",
            umask=umask,
        )
        assert made[-1] == [0o666 & ~umask, 0o777 & ~umask]


@needs_root
def test_a_setgid_folder_gives_its_group(mounting: Mounting, open_home: Path) -> None:
    mount = mounting(options="--allow-other")
    folder = mount.shared / "team"
    folder.mkdir()
    os.chown(folder, 0, 1234)
    folder.chmod(0o2777)
    made = as_other(
        folder,
        "os.close(os.open('f', os.O_CREAT | os.O_WRONLY, 0o660))",
        "os.mkdir('d', 0o770)",
        "[os.stat(n).st_gid for n in 'fd']",
        "[oct(os.stat(n).st_mode & 0o7777) for n in 'fd']",
        "[os.stat(n).st_uid for n in 'fd']",
        umask=0,
    )
    assert made[2:] == [[1234, 1234], ["0o660", "0o2770"], [OTHER, OTHER]]


@needs_root
def test_without_the_option_others_stay_out(mounting: Mounting, open_home: Path) -> None:
    mount = mounting()
    assert as_other(open_home, f"os.listdir({str(mount.point)!r})") == ["EACCES"]


def test_read_only_shows_all_and_takes_nothing(mounting: Mounting, home: Path) -> None:
    writing = mounting("W")
    (writing.shared / "a.md").write_text("a word\n")
    writing.unmount()
    mount = mounting(options="--read-only")
    path = mount.shared / "a.md"
    assert path.read_text() == "a word\n"
    assert "a.md" in mount.search("word") and "a word" in mount.ask(":recall:word")
    assert '"tags"' in (mount.shared / "a.md:meta").read_text() or mount.ask(":stats")
    assert mount.ask(":stats").startswith("memories 1\n")
    assert os.listdir(mount / ":at:now/memory/shared")
    acts = {
        "create": (mount.shared / "new.md").touch,
        "write": partial(path.write_text, "x"),
        "append": partial(os.open, path, os.O_WRONLY | os.O_APPEND),
        "read and write": partial(os.open, path, os.O_RDWR),
        "node": partial(os.open, mount.shared / "a.md:ttl", os.O_WRONLY),
        "body": partial((mount.shared / "a.md:body").write_text, "x"),
        "truncate": partial(os.truncate, path, 0),
        "unlink": path.unlink,
        "rename": partial(path.rename, mount.shared / "b.md"),
        "link": partial(os.link, path, mount.shared / "b.md"),
        "symlink": partial(os.symlink, "a.md", mount.shared / "b.md"),
        "mkdir": (mount.shared / "d").mkdir,
        "rmdir": mount.shared.rmdir,
        "chmod": partial(path.chmod, 0o600),
        "chown": partial(os.chown, path, -1, os.getgid()),
        "utime": partial(os.utime, path),
        "mkfifo": partial(os.mkfifo, mount.shared / "p"),
    }
    assert {what: failing(act) for what, act in acts.items()} == dict.fromkeys(acts, "EROFS")
    assert mount.bash("echo x > M/memory/shared/a.md:ttl", ok=False) == ""
    (mount.behind / "shared/a.md").write_text("another text\n")
    assert path.read_text() == "another text\n"
    assert "a.md" in mount.search("another")


@pytest.mark.parametrize("fast", ["true", "false"])
def test_files_and_nodes_are_the_same_by_the_bindings_own_way(
    mounting: Mounting, monkeypatch: pytest.MonkeyPatch, fast: str
) -> None:
    monkeypatch.setenv("AVM_MOUNT_FAST", fast)
    akashi = mounting(agent="akashi")
    path = akashi.private / "a.md"
    akashi.bash("echo 'one word' > M/memory/private/akashi/a.md")
    akashi.bash("echo 'and more' >> M/memory/private/akashi/a.md")
    assert path.read_text() == "one word\nand more\n"
    behind = akashi.behind / "private/akashi/a.md"
    seen, real = path.stat(), behind.stat()
    for field in ("st_ino", "st_size", "st_mode", "st_mtime_ns", "st_nlink", "st_uid"):
        assert getattr(seen, field) == getattr(real, field), field
    big = os.urandom(300_001)
    (akashi.private / "big.bin").write_bytes(big)
    assert (akashi.private / "big.bin").read_bytes() == big
    os.truncate(akashi.private / "big.bin", 7)
    assert (akashi.private / "big.bin").read_bytes() == big[:7]
    odd = os.fsencode(akashi.private) + b"/\xff\xc3.md"
    with open(odd, "wb") as file:
        file.write(b"odd\n")
    assert b"\xff\xc3.md" in os.listdir(os.fsencode(akashi.private))
    assert {entry.name: entry.inode() for entry in os.scandir(akashi.private)}["a.md"] == (
        real.st_ino
    )
    found = akashi.search("word")
    assert found.startswith("1.00 /memory/private/akashi/a.md#L1")
    assert (akashi / ":search?word").stat().st_size == len(found.encode())
    akashi.bash("echo 30d > M/memory/private/akashi/a.md:ttl")
    assert path.read_text().startswith("---\nexpires: ")
    assert failing(partial((akashi.private / "a.md:ttl").write_text, "soon")) == "EINVAL"
    for act, number in (
        (partial((akashi / "memory/x.md").write_text, "x"), errno.EACCES),
        (partial(os.stat, akashi.private / "none.md"), errno.ENOENT),
        (partial(os.stat, akashi.private / "a.md:meta?x=1"), errno.ENOENT),
    ):
        with pytest.raises(OSError) as caught:
            act()
        assert caught.value.errno == number
    with path.open() as file:
        path.unlink()
        assert file.read().endswith("more\n") and os.fstat(file.fileno()).st_size
    akashi.wait_committed("private/akashi/big.bin", "akashi")


def test_several_mounts_of_several_vaults_at_once(mounting: Mounting, home: Path) -> None:
    """The owner's and two agents' of one vault, and another vault's beside them."""
    one: dict[str, Mount] = {
        "owner": mounting("O"),
        "akashi": mounting("A", agent="akashi"),
        "hermes": mounting("H", agent="hermes"),
    }
    assert subprocess.run(["avm", "init", home / "two"], check=False).returncode == 0
    other = mounting("B", agent="akashi", vault=home / "two")
    assert len({mount.pid for mount in (*one.values(), other)}) == 4
    for name, mount in one.items():
        (mount.shared / f"by_{name}.md").write_text(f"word of {name}\n")
    (other.shared / "elsewhere.md").write_text("word of another vault\n")
    for mount in one.values():
        assert sorted(os.listdir(mount.shared)) == [
            ".gitkeep", "by_akashi.md", "by_hermes.md", "by_owner.md",
        ]  # fmt: skip
        assert mount.search("word").count("\n") == 3
    assert os.listdir(other.shared) != os.listdir(one["owner"].shared)
    assert other.search("word").count("\n") == 1
    (one["akashi"].private / "secret.md").write_text("word\n")
    assert (one["owner"] / "memory/private/akashi/secret.md").exists()
    assert not (one["hermes"] / "memory/private/akashi/secret.md").exists()
    for name, author in {"owner": "Pat Person", "akashi": "akashi", "hermes": "hermes"}.items():
        one["owner"].wait_committed(f"shared/by_{name}.md", author)
    one["akashi"].unmount()
    assert "by_owner" in one["hermes"].search("owner")
    other.wait_committed("shared/elsewhere.md", "akashi")


@needs_root
def test_a_mount_for_another_user_is_a_wall(mounting: Mounting, open_home: Path) -> None:
    """As docs/access.md says: the vault in the owner's folder, the mount in the group's."""
    shut, point = open_home / "pat", open_home / "srv/akashi"
    vault = shut / "avm"
    assert run_avm("init", str(vault)).returncode == 0
    args = ("--vault", str(vault), "remember", "--agent")
    for agent in ("akashi", "hermes"):
        assert run_avm(*args, agent, f"of {agent}", "--title", "note").returncode == 0
    for folder in (vault / "memory/private/akashi", vault / "memory/shared"):
        folder.mkdir(exist_ok=True)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, -1, OTHERS)
            path.chmod(0o2775 if path.is_dir() else 0o664)
    point.mkdir(parents=True)
    os.chown(point, -1, OTHERS)
    point.chmod(0o750)
    shut.chmod(0o700)
    mount = mounting("srv/akashi/M", agent="akashi", vault=vault, options="--allow-other")
    tried = as_other(
        mount.point,
        "open('memory/private/akashi/note.md').read().endswith('of akashi\\n')",
        "open('memory/private/akashi/note.md', 'a').write('more')",
        "open('memory/shared/new.md', 'w').write('new')",
        "os.listdir('memory/private')",
        "open('memory/private/hermes/note.md')",
        f"os.listdir({str(vault)!r})",
        f"open({str(vault / 'memory/private/hermes/note.md')!r})",
        f"open({str(vault / '.git/config')!r}, 'a')",
        "open(':search?hermes').read()",
    )
    assert tried[:4] == [True, 4, 3, ["akashi"]]
    assert tried[4:8] == ["ENOENT", "EACCES", "EACCES", "EACCES"]
    assert "note" not in tried[8]
    stranger = as_other(open_home, f"os.listdir({str(mount.point)!r})", gid=OTHER)
    assert stranger == ["EACCES"]
    mount.wait_committed("shared/new.md", "akashi")
