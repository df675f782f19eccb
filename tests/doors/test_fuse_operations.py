"""The FUSE adapter over a tree in memory: no mount, no libfuse."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import stat
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from avm.base.errors import AccessError, AVMError, ExistsError, NotFoundError
from avm.fuse import binding
from avm.fuse.fast import StatLayout, is_known
from avm.fuse.operations import Operations, answer_errno
from avm.fuse.platform import here
from avm.overlay.attributes import Attributes, Entry
from avm.overlay.root import Owner
from avm.overlay.times import UTIME_NOW, UTIME_OMIT


class FakeHandle:
    def __init__(self, text: bytes = b"", *, virtual: bool = False) -> None:
        self.text, self.virtual = bytearray(text), virtual
        self.calls: list[Any] = []

    def attributes(self) -> Attributes:
        return Attributes.virtual(inode=9, mode=stat.S_IFREG, size=len(self.text), time_ns=5)

    def read(self, size: int, offset: int) -> bytes:
        return bytes(self.text[offset : offset + size])

    def read_into(self, memory: memoryview, offset: int) -> int:
        found = self.read(len(memory), offset)
        memory[: len(found)] = found
        return len(found)

    def write(self, data: bytes | memoryview, offset: int) -> int:
        self.text[offset : offset + len(data)] = data
        return len(data)

    def truncate(self, size: int) -> None:
        del self.text[size:]

    def fsync(self, data_only: bool) -> None:
        self.calls.append(("fsync", data_only))

    def release(self) -> None:
        self.calls.append("release")


class FakeTree:
    """Answers from `answers`, raises what is an exception there, and notes every call."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self.calls.append((name, *args))
            answer = self.answers.get(name)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return call


def adapt(**answers: Any) -> tuple[Operations, FakeTree]:
    tree = FakeTree(**answers)
    return Operations(tree, lambda: None), tree


def info(flags: int = 0, fh: int = 0) -> Any:
    return SimpleNamespace(fh=fh, flags=flags, direct_io=7)


class FakeFUSE(binding._Callbacks):
    """The wrapper that stands between C and a callback, without the C."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self.ended = 0

    def end_session(self) -> None:
        self.ended += 1


# Errors


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (FileNotFoundError(errno.ENOENT, "no"), errno.ENOENT),
        (OSError(errno.ENOTEMPTY, "no"), errno.ENOTEMPTY),
        (AccessError("not yours"), errno.EACCES),
        (NotFoundError("nothing"), errno.ENOENT),
        (ExistsError("there"), errno.EEXIST),
        (MemoryError(), errno.ENOMEM),
    ],
)
def test_an_error_with_an_errno_is_that_errno(error: BaseException, number: int) -> None:
    operations, _ = adapt(unlink=error)
    fuse = FakeFUSE()
    assert fuse._wrapper(operations.unlink, "/x") == -number


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        OSError("no errno"),
        OSError(0, "zero"),
        OSError(-5, "negative"),
        OSError(552468112, "nonsense"),
        TimeoutError("of a lock"),
        AVMError("general"),
        KeyboardInterrupt(),
        SystemExit(3),
    ],
)
def test_any_other_error_is_eio_and_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    operations, _ = adapt(unlink=error)
    assert FakeFUSE()._wrapper(operations.unlink, "/x") == -errno.EIO
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "unlink" in record.getMessage()
    assert record.exc_info and record.exc_info[1] is error


def test_plain_errors_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert answer_errno("open", FileNotFoundError(errno.ENOENT, "no")) == errno.ENOENT
    assert answer_errno("open", AccessError("no")) == errno.EACCES
    assert not caplog.records


def test_results_pass_the_wrapper() -> None:
    operations, _ = adapt(unlink=None, readlink="a")
    assert FakeFUSE()._wrapper(operations.unlink, "/x") == 0
    assert FakeFUSE()._wrapper(operations.readlink, "/x") == "a"


def test_a_failing_init_ends_the_session_and_is_kept() -> None:
    error = AVMError("cannot start")

    def ready() -> None:
        raise error

    fuse = FakeFUSE()
    assert fuse._wrapper(Operations(FakeTree(), ready).init, "/") == 0
    assert fuse.failures == [error] and fuse.ended == 1


def test_a_failing_destroy_is_kept() -> None:
    error = AVMError("not committed")
    operations, _ = adapt(close=error)
    fuse = FakeFUSE()
    assert fuse._wrapper(operations.destroy, "/") == 0
    assert fuse.failures == [error] and fuse.ended == 0


# Names


def test_attributes_become_a_stat() -> None:
    attributes = Attributes(0o100644, 2, 3, 1, 5, 6, 7, 8, 9, 10, 11, 12, 13)
    operations, tree = adapt(attributes=attributes)
    assert operations.getattr("/x") == {
        "st_mode": 0o100644, "st_ino": 2, "st_dev": 3, "st_nlink": 1, "st_uid": 5, "st_gid": 6,
        "st_rdev": 7, "st_size": 8, "st_blksize": 9, "st_blocks": 10,
        "st_atime": 11, "st_mtime": 12, "st_ctime": 13,
    }  # fmt: skip
    assert tree.calls == [("attributes", "/x")]


def test_arguments_arrive_in_the_order_of_the_tree() -> None:
    operations, tree = adapt(readlink="there")
    operations.caller = lambda: Owner(7, 8)
    operations.mkdir("/d", 0o755)
    operations.mknod("/p", 0o10644, 3)
    operations.rename("/a", "/b")
    operations.symlink("/new", "text")
    operations.link("/new", "/old")
    operations.chmod("/a", 0o600)
    operations.chown("/a", -1, 5)
    operations.truncate("/a", 9)
    operations.utimens("/a", (1, UTIME_OMIT))
    operations.utimens("/a")
    operations.rmdir("/d")
    operations.unlink("/a")
    assert operations.readlink("/l") == "there"
    assert tree.calls == [
        ("mkdir", "/d", 0o755, Owner(7, 8)),
        ("mknod", "/p", 0o10644, 3, Owner(7, 8)),
        ("rename", "/a", "/b"),
        ("symlink", "text", "/new", Owner(7, 8)),
        ("link", "/old", "/new"),
        ("chmod", "/a", 0o600),
        ("chown", "/a", -1, 5),
        ("truncate", "/a", 9),
        ("utimens", "/a", 1, UTIME_OMIT),
        ("utimens", "/a", UTIME_NOW, UTIME_NOW),
        ("rmdir", "/d"),
        ("unlink", "/a"),
        ("readlink", "/l"),
    ]


def test_statfs_has_every_field(tmp_path: Path) -> None:
    room = os.statvfs(tmp_path)
    operations, _ = adapt(statvfs=room)
    answer = operations.statfs("/")
    assert answer["f_namemax"] == room.f_namemax and answer["f_bavail"] == room.f_bavail


def test_a_folder_is_listed_with_types_and_anew_on_a_rewind() -> None:
    operations, tree = adapt(list=[Entry("a\udcff", 4, stat.S_IFDIR)])
    fh = operations.opendir("/d")
    expected = [(".", None, 0), ("..", None, 0), ("a\udcff", {"st_mode": 0o40000, "st_ino": 4}, 0)]
    assert operations.readdir(None, fh) == expected
    assert operations.readdir(None, fh) == expected
    operations.fsyncdir(None, 0, fh)
    operations.releasedir(None, fh)
    assert tree.calls == [("list", "/d"), ("list", "/d"), ("fsync_folder", "/d")]
    with pytest.raises(OSError) as caught:
        operations.readdir(None, fh)
    assert caught.value.errno == errno.EBADF


# Open files


def test_open_passes_only_the_flags_that_mean_something() -> None:
    operations, tree = adapt(open=FakeHandle())
    everything = sum(
        (os.O_RDWR, os.O_APPEND, os.O_TRUNC, os.O_DIRECT, os.O_NONBLOCK, os.O_NOATIME, 0o100000)
    )
    operations.open("/x", info(everything | os.O_EXCL | os.O_CREAT))
    operations.open("/x", info(os.O_WRONLY | os.O_SYNC))
    assert tree.calls == [
        ("open", "/x", os.O_RDWR | os.O_APPEND | os.O_TRUNC),
        ("open", "/x", os.O_WRONLY | os.O_SYNC),
    ]


def test_create_passes_exclusive() -> None:
    operations, tree = adapt(create=FakeHandle())
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
    operations.create("/x", 0o640, info(flags | os.O_DIRECT | os.O_NOFOLLOW))
    assert tree.calls == [("create", "/x", 0o640, flags, None)]


@pytest.mark.parametrize(
    ("flags", "appends"),
    [(os.O_RDWR | os.O_APPEND, False), (os.O_WRONLY, False), (os.O_WRONLY | os.O_APPEND, True)],
)
@pytest.mark.parametrize("virtual", [True, False])
@pytest.mark.parametrize("operation", ["open", "create"])
def test_direct_io_is_for_virtual_nodes_and_appending(
    operation: str, virtual: bool, flags: int, appends: bool
) -> None:
    operations, _ = adapt(**{operation: FakeHandle(virtual=virtual)})
    fi = info(flags)
    arguments = ("/x", 0o600) if operation == "create" else ("/x",)
    assert getattr(operations, operation)(*arguments, fi) == 0
    assert fi.direct_io == int(virtual or appends) and fi.fh > 0


def test_an_open_file_is_asked_without_its_path() -> None:
    handle = FakeHandle(b"hello world")
    operations, tree = adapt(open=handle)
    fi = info(os.O_RDWR)
    operations.open("/x", fi)
    fi = info(fh=fi.fh)
    assert operations.read(None, 5, 6, fi) == b"world"
    assert operations.write(None, b"J", 0, fi) == 1
    operations.truncate("", 5, fi)
    assert operations.getattr("", fi)["st_size"] == 5
    operations.fsync(None, 1, fi)
    operations.fsync(None, 0, fi)
    operations.release(None, fi)
    assert handle.text == b"Jello"
    assert handle.calls == [("fsync", True), ("fsync", False), "release"]
    assert tree.calls == [("open", "/x", os.O_RDWR)]
    with pytest.raises(OSError) as caught:
        operations.read(None, 1, 0, fi)
    assert caught.value.errno == errno.EBADF
    operations.release(None, fi)
    assert handle.calls[-1:] == ["release"] and handle.calls.count("release") == 1


def test_a_failed_open_leaves_nothing_open() -> None:
    operations, _ = adapt(open=AccessError("no"))
    with pytest.raises(AccessError):
        operations.open("/x", info())
    assert not operations._files._items


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "no"), NotFoundError("no")])
def test_a_name_that_has_gone_is_to_be_looked_up_again(error: Exception) -> None:
    operations, _ = adapt(open=error, create=error)
    assert FakeFUSE()._wrapper(operations.open, "/x", info()) == -here.gone_errno
    assert FakeFUSE()._wrapper(operations.create, "/x", 0o600, info()) == -errno.ENOENT


def test_handles_have_numbers_of_their_own_across_threads() -> None:
    tree = FakeTree()
    handles = [FakeHandle(str(number).encode()) for number in range(400)]
    waiting = iter(handles)
    lock = threading.Lock()

    def open_next(path: str, flags: int) -> FakeHandle:
        with lock:
            return next(waiting)

    tree.open = open_next  # type: ignore[attr-defined]
    operations = Operations(tree, lambda: None)
    numbers: list[int] = []

    def work() -> None:
        for _ in range(50):
            fi = info()
            operations.open("/x", fi)
            numbers.append(fi.fh)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(numbers)) == 400
    texts = {operations.read(None, 9, 0, info(fh=number)) for number in numbers}
    assert len(texts) == 400
    operations.close()
    assert all(handle.calls == ["release"] for handle in handles)


def test_closing_releases_what_is_open_and_closes_the_tree_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Bad(FakeHandle):
        def release(self) -> None:
            super().release()
            raise OSError(errno.ENOSPC, "full")

    handles = [FakeHandle(), Bad(), FakeHandle()]
    operations, tree = adapt()
    for handle in handles:
        operations._opened(handle, info())
    operations.destroy("/")
    operations.close()
    assert [handle.calls for handle in handles] == [["release"]] * 3
    assert tree.calls == [("close",)]
    assert "closing a file failed" in caplog.text


def test_what_the_kernel_must_not_ask_is_none() -> None:
    operations, _ = adapt()
    for name in ("flush", "access", "ioctl", "getxattr", "setxattr", "listxattr", "removexattr"):
        assert getattr(operations, name) is None
    assert operations.use_ns and operations.flag_nullpath_ok and operations.flag_nopath
    assert operations.flag_utime_omit_ok


def test_the_codec_keeps_every_byte() -> None:
    codec = binding._find_codec(binding.CODEC)
    assert codec is not None and binding._find_codec("utf-8") is None
    every = bytes(range(1, 256)) + "ü記".encode()
    text, length = codec.decode(every, "strict")
    assert length == len(every) and codec.encode(text, "strict")[0] == every


# The bindings


class Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class Stat(ctypes.Structure):
    """A `struct stat` in an order of its own, with a hole and a field that is not ours."""

    _fields_ = (
        ("st_mode", ctypes.c_uint32), ("st_ino", ctypes.c_ulong), ("st_gen", ctypes.c_uint32),
        ("st_mtimespec", Timespec), ("st_atimespec", Timespec), ("st_ctimespec", Timespec),
        ("st_nlink", ctypes.c_uint16), ("st_uid", ctypes.c_uint32), ("st_gid", ctypes.c_uint32),
        ("st_dev", ctypes.c_ulong), ("st_rdev", ctypes.c_ulong), ("st_size", ctypes.c_longlong),
        ("st_blocks", ctypes.c_long), ("st_blksize", ctypes.c_long), ("spare", ctypes.c_byte),
    )  # fmt: skip


def test_a_packed_stat_is_what_field_by_field_gives() -> None:
    values = Attributes(
        0o100644, 1 << 63 | 7, 1 << 40, 3, 4_000_000_000, 5, 6, 1 << 50, 4096, 9,
        -1, 1_700_000_000_123_456_789, 999_999_999,
    )  # fmt: skip
    layout = StatLayout(Stat)
    data = layout.pack(values)
    assert len(data) == layout.size == ctypes.sizeof(Stat)
    packed = Stat.from_buffer_copy(data)
    times = {"st_atime_ns": "st_atimespec", "st_mtime_ns": "st_mtimespec"}
    times |= {"st_ctime_ns": "st_ctimespec"}
    for name, value in values._asdict().items():
        if name in times:
            moment = getattr(packed, times[name])
            assert (moment.tv_sec, moment.tv_nsec) == divmod(value, 10**9)
        else:
            assert getattr(packed, name) == value, name
    assert (packed.st_gen, packed.spare) == (0, 0)


def test_only_where_every_value_fits_is_a_stat_packed() -> None:
    assert is_known("linux") == (sys.maxsize > 2**32) and not is_known("darwin")


class Declared:
    """A library in which every function can be declared."""

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace()


class FakeModule:
    """A binding whose FUSE class only notes how it was called."""

    c_stat = Stat
    _libfuse = Declared()

    def __init__(self, outcome: BaseException | None = None) -> None:
        self.calls: list[Any] = []
        calls = self.calls

        class FUSE:
            def __init__(self, operations: Any, mountpoint: str, **options: Any) -> None:
                calls.append((operations, mountpoint, options))
                if outcome:
                    raise outcome

        self.FUSE = FUSE

    def fuse_exit(self) -> None:
        self.calls.append("exit")


def test_fusepy_is_called_with_the_codec_and_a_callable() -> None:
    module = FakeModule()
    operations, tree = adapt(readlink="there")
    assert binding.Binding("fusepy", 2, module).run(operations, "/m", {"use_ino": True}) == 0
    ((given, point, options),) = module.calls
    assert point == "/m" and given("readlink", "/l") == "there" and given.flush is None
    assert given.flag_nullpath_ok and tree.calls == [("readlink", "/l")]
    assert options == {
        "foreground": True, "nothreads": False, "raw_fi": True, "use_ino": True,
        "encoding": binding.CODEC,
    }  # fmt: skip


@pytest.mark.parametrize("libfuse", [2, 3])
def test_mfusepy_is_called_with_the_operations(libfuse: int) -> None:
    module = FakeModule()
    operations, _ = adapt()
    loaded = binding.Binding("mfusepy", libfuse, module)
    assert loaded.run(operations, "/m", {}, threads=False) == 0
    ((given, _, options),) = module.calls
    assert given is operations and not callable(given)
    assert options == {"foreground": True, "nothreads": True, "raw_fi": True}
    assert given.flag_nullpath_ok is given.flag_nopath is (libfuse == 2)


def test_a_code_of_libfuse_is_returned_and_anything_else_raised() -> None:
    operations, _ = adapt()
    assert binding.Binding("fusepy", 2, FakeModule(RuntimeError(1))).run(operations, "/m", {}) == 1
    for error in (RuntimeError("internal"), ValueError(3)):
        with pytest.raises(type(error)):
            binding.Binding("fusepy", 2, FakeModule(error)).run(operations, "/m", {})


def test_libfuse_3_truncates_the_open_file() -> None:
    handle = FakeHandle(b"hello")
    operations, tree = adapt(open=handle)
    fi = info()
    operations.open("/x", fi)
    fuse = binding._Mfusepy()
    fuse.operations, fuse.encoding, fuse.errors = operations, "utf-8", "surrogateescape"
    fuse.truncate_fuse_3(None, 2, SimpleNamespace(contents=fi))
    fuse.truncate_fuse_3(b"/\xff", 3, None)
    assert handle.text == b"he" and tree.calls[1:] == [("truncate", "/\udcff", 3)]


class FakeLibrary:
    """libfuse, of whose session 7 it is told whether it is to end."""

    def __init__(self) -> None:
        self.exited = 0
        self.fuse_get_context = lambda: SimpleNamespace(contents=SimpleNamespace(fuse=5))

        def get(handle: int) -> int:
            return handle + 2

        def session_exited(session: int) -> int:
            assert session == 7
            return self.exited

        self.fuse_get_session, self.fuse_session_exited = get, session_exited


def test_a_tree_is_told_what_says_that_the_mount_ends() -> None:
    library = FakeLibrary()
    operations, tree = adapt()
    module = SimpleNamespace(_libfuse=library)
    operations.watch = lambda: (binding._session_end(module), sys.stdout.flush)
    operations.init("/")
    ((name, ended, aside),) = tree.calls
    assert (name, ended(), aside) == ("begun", False, sys.stdout.flush)
    library.exited = 1
    assert ended()
    del library.fuse_session_exited
    assert not binding._session_end(SimpleNamespace(_libfuse=library))()
