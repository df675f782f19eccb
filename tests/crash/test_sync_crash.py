"""A sync that is killed at any step, or whose link is cut: the next one completes, nothing is lost,
no file is half written and no lock is left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import DEEP, ROOT, git, wait_for

sys.path.insert(0, str(ROOT / "tests" / "parts"))
from sync_helpers import X, clone, pair, pushed, sync, write
from vault_helpers import (
    assert_clean,
    assert_sound,
    assert_well,
    commit,
    committed,
    content,
    head,
    python,
)

from avm import AVM
from avm.base.errors import RemoteError
from avm.vault.location import Vault

LONG = "".join(f"line {number}\n" for number in range(12))

KILLED_AT = """
import os, signal, sys
from pathlib import Path
from avm.base import atomic
from avm.base.config import Config
from avm.vault import checkout, committer, index_lock, objects_git, objects_libgit2
from avm.vault import recovery, remote, sync
from avm.vault.location import open_vault

root, owner, name, when, after = sys.argv[1:]
owner = {
    "checkout": checkout, "index_lock": index_lock, "recovery": recovery, "sync": sync,
    "link": remote.Link, "libgit2": objects_libgit2.Libgit2Objects, "atomic": atomic,
    "git": objects_git.GitObjects,
}[owner]
real, left = getattr(owner, name), [int(after)]

def deadly(*args, **named):
    left[0] -= 1
    if left[0] > 0:
        return real(*args, **named)
    if when == "after":
        done = real(*args, **named)
        if hasattr(done, "__enter__"):
            done.__enter__()
    os.kill(os.getpid(), signal.SIGKILL)

vault = open_vault(Path(root))
config = Config()
syncer = sync.Syncer(vault, config, committer.Committer(vault, config))
setattr(owner, name, deadly)
syncer.sync()
"""

#: Where it dies, and at the how manieth call.
DEATHS = [
    ("link", "fetch", "before", 1),
    ("link", "fetch", "after", 1),
    ("sync", "rescue_name", "after", 1),
    ("checkout", "_unpacked", "after", 1),
    ("recovery", "note", "after", 1),
    ("index_lock", "held", "after", 1),
    ("checkout", "_place", "before", 1),
    ("checkout", "_check", "after", 1),
    ("checkout", "_remove", "after", 1),
    ("checkout", "_rename", "before", 1),
    ("checkout", "_rename", "after", 1),
    ("checkout", "_rename", "after", 2),
    ("checkout", "_rename", "after", 4),
    ("checkout", "_place", "after", 1),
    ("checkout", "_write_index", "after", 1),
    ("libgit2", "move_branch", "before", 1),
    ("libgit2", "move_branch", "after", 1),
    ("index_lock", "put_in_place", "before", 1),
    ("index_lock", "put_in_place", "after", 1),
    ("recovery", "forget", "before", 3),
    ("link", "push", "before", 1),
    ("link", "push", "after", 1),
]


def kill(vault: Vault, owner: str, name: str, when: str, after: int) -> None:
    """A sync that dies there."""
    killed = python(KILLED_AT, vault.root, owner, name, when, str(after))
    _, errors = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, errors.decode()


START = {
    X: LONG, "work.txt": LONG, "memory/shared/gone.md": "gone\n", "memory/shared/d": "file\n",
    "memory/shared/folder/a.md": "a\n", "staged.txt": "s\n", "memory/shared/a.win": "one\r\n",
    ".gitattributes": "*.win text eol=crlf\n",
}  # fmt: skip


def diverged(top: Path) -> list[Vault]:
    """Two vaults; the first pushed edits, additions, removals, a file that became a folder and a
    folder that became a file, the second has edits of its own, and staged ones."""
    vaults = one, two = pair(top, START)
    (one.path("memory/shared/gone.md")).unlink()
    write(one, {"memory/shared/d": None, "memory/shared/folder/a.md": None})
    one.path("memory/shared/folder").rmdir()
    pushed(one, {
        X: "theirs\n" + LONG, "work.txt": LONG + "theirs\n", "memory/shared/d/in.md": "in\n",
        "memory/shared/folder": "file now\n", "memory/shared/new/new.md": "new\n",
        "memory/shared/a.win": "two\r\n",
    })  # fmt: skip
    write(two, {X: LONG + "mine\n", "memory/shared/mine.md": "mine\n", "staged.txt": "S\n"})
    git(two.root, "add", "staged.txt")
    commit(two, people=True)
    return vaults


WANTED = {
    X: "theirs\n" + LONG + "mine\n", "work.txt": LONG + "theirs\n", "memory/shared/d/in.md": "in\n",
    "memory/shared/folder": "file now\n", "memory/shared/new/new.md": "new\n",
    "memory/shared/mine.md": "mine\n", "memory/shared/a.win": "two\r\n",
}  # fmt: skip


def assert_all_is_there(one: Vault, two: Vault) -> None:
    """After a sync of both: the trees are equal, and nothing is lost, half written or locked."""
    sync(one)
    for rel, text in WANTED.items():
        assert one.path(rel).read_bytes() == two.path(rel).read_bytes() == text.encode(), rel
    trees = {git(vault.root, "rev-parse", "HEAD^{tree}") for vault in (one, two)}
    assert len(trees) == 1
    assert not {"memory/shared/gone.md", "memory/shared/d"} & committed(two.root)
    git(two.root, "commit", "-qm", "Staged")
    for vault in (one, two):
        assert_clean(vault)
        left = {path.name for path in vault.git_state.iterdir()}
        assert not left & {"checkout.json", "commit.json"}
        assert not any(name.startswith(("tree.", "index.", "merge.")) for name in left)
    with AVM(two.root, semantic="off") as avm:
        assert_well(avm)


@pytest.mark.parametrize("owner, name, when, after", DEATHS)
def test_a_kill_at_any_step_is_mended_by_the_next_sync(
    tmp_path: Path, owner: str, name: str, when: str, after: int
) -> None:
    one, two = diverged(tmp_path)
    staged = git(two.root, "diff", "--cached")
    kill(two, owner, name, when, after)
    sync(two)
    assert git(two.root, "diff", "--cached") == staged
    assert_all_is_there(one, two)


@pytest.mark.parametrize("owner, name, when, after", DEATHS[3:20])
def test_a_kill_at_any_step_is_mended_by_the_next_commit(
    tmp_path: Path, owner: str, name: str, when: str, after: int
) -> None:
    one, two = diverged(tmp_path)
    staged = git(two.root, "diff", "--cached")
    kill(two, owner, name, when, after)
    commits = git(two.root, "rev-list", "--count", "HEAD")
    report = commit(two, people=True)
    assert report.blocked is None
    assert report.commits == []  # what a killed checkout placed is nobody's edit
    assert git(two.root, "rev-list", "--count", "HEAD") == commits
    assert git(two.root, "diff", "--cached") == staged
    assert_sound(two)
    sync(two)
    assert_all_is_there(one, two)


def test_what_was_written_after_a_kill_is_not_put_back(tmp_path: Path) -> None:
    one, two = diverged(tmp_path)
    kill(two, "checkout", "_place", "after", 1)
    write(two, {X: "after the kill\n", "memory/shared/d/mine.md": "mine too\n",
                "memory/shared/new/new.md": "new, edited\n"})  # fmt: skip
    commit(two, people=True)
    assert content(two.root, X) == b"after the kill\n"
    assert two.path("memory/shared/d/mine.md").read_text() == "mine too\n"
    sync(two)
    sync(one)
    assert git(one.root, "rev-parse", "HEAD^{tree}") == git(two.root, "rev-parse", "HEAD^{tree}")
    texts = b"".join(content(one.root, rel) for rel in committed(one.root))
    for text in (b"after the kill\n", b"mine too\n", b"new, edited\n", b"theirs\n", b"in\n"):
        assert text in texts
    assert_sound(two)


def test_a_kill_while_it_is_put_back_is_mended_too(tmp_path: Path) -> None:
    one, two = diverged(tmp_path)
    kill(two, "checkout", "_place", "after", 1)
    for count in (1, 2):
        kill(two, "checkout", "_rename", "after", count)
    sync(two)
    assert_all_is_there(one, two)


def test_a_kill_of_a_fast_forward_of_a_vault_without_a_commit(tmp_path: Path) -> None:
    from avm.vault import init

    one, _ = pair(tmp_path, START)
    git(tmp_path, "init", "-q", "new")
    new = init.adopt(tmp_path / "new")
    git(new.root, "remote", "add", "origin", str(tmp_path / "remote.git"))
    kill(new, "checkout", "_rename", "after", 3)
    sync(new)
    assert head(new.root) == head(one.root)
    assert_clean(new)


# The link is cut


class Proxy:
    """Hands bytes on between a port of its own and a server's, so many; then it cuts the link."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        #: How many bytes may pass in each direction; None: all.
        self.most: dict[str, int | None] = {"up": None, "down": None}
        self.cut = 0
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listening.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._server))
                self._ends += [near, far]
                for way, source, target in (("up", near, far), ("down", far, near)):
                    thread = threading.Thread(target=self._hand_on, args=(way, source, target))
                    thread.start()
                    self._threads.append(thread)

    def _hand_on(self, way: str, source: socket.socket, target: socket.socket) -> None:
        most = self.most[way]
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if most is not None:
                    if len(data) > most:
                        target.sendall(data[:most])
                        self.cut += 1
                        for end in (source, target):
                            end.shutdown(socket.SHUT_RDWR)
                        break
                    most -= len(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for end in self._ends:
            end.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[int]:
    """`git daemon` for what is in `folder`; its port."""
    port = free_port()
    program = subprocess.Popen(
        ["git", "daemon", f"--base-path={folder}", "--export-all", "--enable=receive-pack",
         "--listen=127.0.0.1", f"--port={port}", "--reuseaddr", str(folder)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    try:
        wait_for(answers, "git daemon answers")
        yield port
    finally:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


@pytest.fixture
def linked(tmp_path: Path) -> Iterator[tuple[list[Vault], Proxy]]:
    """Two vaults with a remote behind `git daemon`; the second one's link can be cut."""
    one, two = pair(tmp_path, {X: LONG})
    with daemon(tmp_path) as port:
        proxy = Proxy(port)
        git(two.root, "remote", "set-url", "origin", f"git://127.0.0.1:{proxy.port}/remote.git")
        try:
            yield [one, two], proxy
        finally:
            proxy.close()


def noise(number: int) -> bytes:
    """Bytes that do not shrink: the same for the same number."""
    import random

    return random.Random(number).randbytes(30_000)


CUTS = [0, 1, 300, 700, 1_500, 5_000, 20_000, *(range(2_000, 29_000, 1_000) if DEEP else ())]


@pytest.mark.parametrize("at", CUTS)
@pytest.mark.parametrize("way", ["up", "down"])
def test_a_link_that_is_cut_in_the_middle_loses_nothing(
    linked: tuple[list[Vault], Proxy], way: str, at: int
) -> None:
    (one, two), proxy = linked
    pushed(one, {X: "theirs\n" + LONG, "memory/shared/theirs.bin": noise(1)})
    write(two, {X: LONG + "mine\n", "memory/shared/mine.bin": noise(2)})
    proxy.most[way] = at
    with contextlib.suppress(RemoteError):
        sync(two)
        assert proxy.cut == 0
    assert_sound(two)
    git(one.root.parent / "remote.git", "fsck", "--strict", "--no-dangling")
    assert content(two.root, "memory/shared/mine.bin") == noise(2)
    proxy.most[way] = None
    sync(two)
    sync(one)
    for vault in (one, two):
        assert vault.path(X).read_text() == "theirs\n" + LONG + "mine\n"
        assert vault.path("memory/shared/theirs.bin").read_bytes() == noise(1)
        assert vault.path("memory/shared/mine.bin").read_bytes() == noise(2)
        assert_clean(vault)


def test_a_push_that_arrived_and_whose_answer_did_not_is_done(
    linked: tuple[list[Vault], Proxy],
) -> None:
    (one, two), proxy = linked
    write(two, {"memory/shared/mine.md": "mine\n"})
    # What comes down until the answer to a push is a few hundred bytes.
    for at in range(0, 1_200, 100):
        proxy.most["down"] = at
        with contextlib.suppress(RemoteError):
            sync(two)
    proxy.most["down"] = None
    assert sync(two).remote == "origin"
    sync(one)
    assert one.path("memory/shared/mine.md").read_text() == "mine\n"
    assert_clean(one)
    assert_clean(two)


def test_a_clone_whose_link_is_cut_leaves_nothing_and_works_again(
    linked: tuple[list[Vault], Proxy], tmp_path: Path
) -> None:
    (one, _), proxy = linked
    pushed(one, {"memory/shared/theirs.bin": noise(1)})
    url = f"git://127.0.0.1:{proxy.port}/remote.git"
    from avm.vault import cloning

    proxy.most["down"] = 10_000
    with pytest.raises(RemoteError):
        cloning.clone(url, tmp_path / "c")
    assert not (tmp_path / "c").exists()
    proxy.most["down"] = None
    cloned, _ = cloning.clone(url, tmp_path / "c")
    assert cloned.path("memory/shared/theirs.bin").read_bytes() == noise(1)


def test_a_program_of_the_network_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """ssh that dies after it carried a part."""
    one, two = pair(tmp_path, {X: LONG})
    ssh = tmp_path / "ssh"
    whole = '#!/bin/sh\nfor last; do :; done\neval "$last"'
    ssh.write_text(f"{whole} | (dd bs=1 count=600 2>/dev/null; kill -9 $$)\n")
    ssh.chmod(0o755)
    git(two.root, "config", "core.sshCommand", str(ssh))
    git(two.root, "remote", "set-url", "origin", f"ssh://nowhere{tmp_path}/remote.git")
    pushed(one, {"memory/shared/theirs.bin": noise(1)})
    write(two, {X: LONG + "mine\n"})
    with pytest.raises(RemoteError):
        sync(two)
    assert_sound(two)
    ssh.write_text(f"{whole}\n")
    sync(two)
    assert two.path("memory/shared/theirs.bin").read_bytes() == noise(1)
    sync(one)
    assert one.path(X).read_text() == LONG + "mine\n"
    third = clone(tmp_path / "remote.git", tmp_path / "c")
    assert_clean(third)
