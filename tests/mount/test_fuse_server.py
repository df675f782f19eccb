"""The program that test_fuse_mount.py runs: a pass-through tree with a few virtual nodes, mounted.

It holds no tests; its name keeps it beside them.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from avm.base.errors import AccessError, AVMError
from avm.fuse import background, registry
from avm.fuse.mount import prepare, serve
from avm.overlay.attributes import Attributes, Entry
from avm.overlay.root import Owner
from avm.overlay.times import set_times

#: Before a binding's name: every call takes the binding's own way.
GENERIC = "generic "
_thread = threading.local()


class File:
    virtual = False

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def attributes(self) -> Attributes:
        return Attributes.of(os.fstat(self._fd))

    def read(self, size: int, offset: int) -> bytes:
        return os.pread(self._fd, size, offset)

    def read_into(self, memory: memoryview, offset: int) -> int:
        return os.preadv(self._fd, [memory], offset)

    def write(self, data: bytes | memoryview, offset: int) -> int:
        return os.pwrite(self._fd, data, offset)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def fsync(self, data_only: bool) -> None:
        os.fsync(self._fd)

    def release(self) -> None:
        os.close(self._fd)


class Text:
    virtual = True

    def __init__(self, text: bytes) -> None:
        self._text = text

    def attributes(self) -> Attributes:
        return _virtual(self._text)

    def read(self, size: int, offset: int) -> bytes:
        return self._text[offset : offset + size]

    def read_into(self, memory: memoryview, offset: int) -> int:
        found = self.read(len(memory), offset)
        memory[: len(found)] = found
        return len(found)

    def write(self, data: bytes | memoryview, offset: int) -> int:
        raise OSError(errno.EACCES, "read-only")

    def truncate(self, size: int) -> None:
        raise OSError(errno.EACCES, "read-only")

    def fsync(self, data_only: bool) -> None:
        pass

    def release(self) -> None:
        pass


class Passthrough:
    """The files of a folder, and virtual nodes at its top that are not listed."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self._states = 0
        self._threads: set[int] = set()
        self.closed = root.with_name(root.name + ".closed")

    def _node(self, path: str) -> bytes | None:
        if not getattr(_thread, "seen", False):
            _thread.seen = True
            self._states += 1
            self._threads.add(threading.get_native_id())
        if path == "/:upper":
            with open(os.open("source.txt", os.O_RDONLY, dir_fd=self._root), "rb") as file:
                return file.read().upper()
        if path == "/:threads":
            return f"{self._states:04} {len(self._threads):04}\n".encode()
        if path == "/:slow":
            time.sleep(1.0)
            return b"at last\n"
        if path == "/:bug":
            raise ValueError("a bug")
        if path == "/:bare":
            raise OSError("without an errno")
        if path == "/:denied":
            raise AccessError("not yours")
        return None

    def attributes(self, path: str) -> Attributes:
        node = self._node(path)
        if node is None:
            return Attributes.of(os.lstat("." + path, dir_fd=self._root))
        return _virtual(node)

    def list(self, path: str) -> list[Entry]:
        fd = os.open("." + path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._root)
        try:
            with os.scandir(fd) as entries:
                return [
                    Entry(e.name, e.inode(), stat.S_IFMT(e.stat(follow_symlinks=False).st_mode))
                    for e in entries
                ]
        finally:
            os.close(fd)

    def fsync_folder(self, path: str) -> None:
        pass

    def readlink(self, path: str) -> str:
        return os.readlink("." + path, dir_fd=self._root)

    def open(self, path: str, flags: int) -> File | Text:
        node = self._node(path)
        if node is None:
            return File(os.open("." + path, flags | os.O_NOFOLLOW, dir_fd=self._root))
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EACCES, "read-only")
        return Text(node)

    def create(self, path: str, mode: int, flags: int, owner: Owner | None) -> File:
        return File(os.open("." + path, flags | os.O_CREAT, mode, dir_fd=self._root))

    def truncate(self, path: str, size: int) -> None:
        fd = os.open("." + path, os.O_WRONLY, dir_fd=self._root)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)

    def mkdir(self, path: str, mode: int, owner: Owner | None) -> None:
        os.mkdir("." + path, mode, dir_fd=self._root)

    def rmdir(self, path: str) -> None:
        os.rmdir("." + path, dir_fd=self._root)

    def unlink(self, path: str) -> None:
        os.unlink("." + path, dir_fd=self._root)

    def rename(self, old: str, new: str) -> None:
        os.rename("." + old, "." + new, src_dir_fd=self._root, dst_dir_fd=self._root)

    def symlink(self, target: str, path: str, owner: Owner | None) -> None:
        os.symlink(target, "." + path, dir_fd=self._root)

    def link(self, old: str, new: str) -> None:
        os.link(
            "." + old, "." + new, src_dir_fd=self._root, dst_dir_fd=self._root,
            follow_symlinks=False,
        )  # fmt: skip

    def mknod(self, path: str, mode: int, dev: int, owner: Owner | None) -> None:
        os.mknod("." + path, mode, dev, dir_fd=self._root)

    def chmod(self, path: str, mode: int) -> None:
        os.chmod("." + path, mode, dir_fd=self._root)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown("." + path, uid, gid, dir_fd=self._root, follow_symlinks=False)

    def utimens(self, path: str, atime_ns: int, mtime_ns: int) -> None:
        set_times("." + path, atime_ns, mtime_ns, dir_fd=self._root)

    def statvfs(self) -> os.statvfs_result:
        return os.fstatvfs(self._root)

    def begun(self, ended: Callable[[], bool], aside: Callable[[], None]) -> None:
        self.ended = ended

    def close(self) -> None:
        with self.closed.open("ab") as file:
            file.write(b"closed\n")
        os.close(self._root)


def _virtual(text: bytes) -> Attributes:
    return Attributes.virtual(
        inode=1 << 63 | 7, mode=stat.S_IFREG | 0o444, size=len(text), time_ns=10**18
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("mountpoint", type=Path)
    parser.add_argument("--binding", default="auto")
    parser.add_argument("--option", action="append", default=[])
    parser.add_argument("--registry", type=Path)
    parser.add_argument("--failing", choices=["start", "ready", "never"])
    parser.add_argument(background.READY_OPTION, type=int)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG)
    announce = background.announce(arguments.ready_fd) if arguments.ready_fd else lambda: None
    if arguments.failing == "start":
        sys.exit("avm: no such agent")

    def ready() -> None:
        if arguments.failing == "never":
            print("thinking", file=sys.stderr, flush=True)
            return
        if arguments.failing == "ready":
            raise AVMError("the registry is full")
        if arguments.registry:
            registry.register(
                arguments.registry, mountpoint=point, vault=arguments.root, agent="akashi",
                started=time.time(),
            )  # fmt: skip
        announce()

    try:
        point = prepare(arguments.mountpoint, arguments.root)
        serve(
            Passthrough(arguments.root),
            arguments.mountpoint,
            vault_root=arguments.root,
            on_ready=ready,
            binding=arguments.binding.removeprefix(GENERIC),
            fast=not arguments.binding.startswith(GENERIC),
            options=dict.fromkeys(arguments.option, True),
        )
    except AVMError as error:
        sys.exit(f"avm: {error}")
    if arguments.registry:
        registry.forget(arguments.registry, mountpoint=point)
    return 0


if __name__ == "__main__":
    sys.exit(main())
