"""The only file that imports a FUSE binding, and what those bindings need to be put right.

fusepy speaks libfuse 2 (and macFUSE's and fuse-t's libfuse, which have its interface); mfusepy also
speaks libfuse 3. fusepy comes first: it is the one that was measured. Both run every callback from
C on libfuse's own threads, which is where most of the corrections below come from.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from avm.base import heap, log
from avm.base.errors import MountError
from avm.fuse.fast import Fast, StatLayout, is_known
from avm.fuse.hints import no_libfuse
from avm.fuse.loop import Loop, is_possible
from avm.fuse.operations import Operations, answer_errno
from avm.fuse.platform import options_for
from avm.overlay.root import Owner

_log = log.logger(__name__)

Choice = Literal["auto", "fusepy", "mfusepy"]

#: The name of the codec under which fusepy, which knows no error handlers, reads and writes names.
CODEC: Final = "avm_surrogateescape"


@dataclass(frozen=True)
class Binding:
    """A binding that could be loaded, and the major version of the libfuse behind it."""

    name: Literal["fusepy", "mfusepy"]
    libfuse: int
    module: Any

    def options(self) -> dict[str, str | int | bool]:
        """The mount options for this libfuse on this system."""
        return options_for(sys.platform, self.libfuse)

    def run(
        self,
        operations: Operations,
        mountpoint: str,
        options: Mapping[str, str | int | bool],
        *,
        threads: bool = True,
        fast: bool = True,
    ) -> int:
        """Mount, serve until unmounted, and return libfuse's exit code (0: a normal end).

        Without `fast` every call takes the binding's own way.

        libfuse says why it could not mount only on file descriptor 2. Raises what `operations.init`
        or `operations.destroy` raised: those have no caller who could be told.
        """
        # With nullpath libfuse 3 gives chmod and chown of an open file no path either, and there
        # is no fchmod to turn to.
        if self.libfuse == 3:
            operations.flag_nullpath_ok = operations.flag_nopath = False
        # On macOS fusepy's statvfs has 64-bit counters, the system's has 32-bit ones.
        if self.name == "fusepy" and sys.platform == "darwin":
            operations.statfs = None  # type: ignore[method-assign, assignment, unused-ignore]
        heap.keep_small()
        if options.get("allow_other"):
            operations.caller = lambda: Owner(*self.module.fuse_get_context()[:2])
        short = fast and self.name == "fusepy" and is_known()
        loop = Loop(self.module._libfuse) if short and threads and is_possible() else None
        aside = loop.step_aside if loop else lambda: None
        operations.watch = lambda: (_session_end(self.module), aside)
        failures: list[BaseException] = []
        mixin = _Fusepy if self.name == "fusepy" else _Mfusepy
        bases: tuple[type, ...] = (mixin, self.module.FUSE)
        members: dict[str, Any] = {
            "failures": failures,
            "end_session": staticmethod(self.module.fuse_exit),
        }
        if short:
            bases = (mixin, Fast, self.module.FUSE)
            stat_type = self.module.c_stat
            members |= {
                "direct": operations, "layout": StatLayout(stat_type), "stat_type": stat_type,
            }  # fmt: skip
        fuse = type("AVMFuse", bases, members)
        arguments: dict[str, Any] = {"nothreads": not threads, "raw_fi": True, **options}
        if self.name == "fusepy":
            codecs.register(_find_codec)
            arguments["encoding"] = CODEC
        code = 0
        try:
            # libfuse's own way into the background forks after our threads have started: they
            # would be gone. avm.fuse.background starts a new program instead.
            with _served_by(self.module, loop):
                fuse(mixin.adapt(operations), mountpoint, foreground=True, **arguments)
        except RuntimeError as error:
            if not (error.args and isinstance(error.args[0], int)):
                raise
            code = error.args[0]
        if failures:
            raise failures[0]
        return code


def load(choice: Choice = "auto") -> Binding:
    """The binding to use: fusepy with libfuse 2, else mfusepy. Raises MountError with a hint."""
    loaders: dict[str, Callable[[], Binding]] = {"fusepy": _load_fusepy, "mfusepy": _load_mfusepy}
    reasons = []
    for name, loader in loaders.items():
        if choice not in ("auto", name):
            continue
        try:
            return loader()
        # Both look for libfuse while they are imported, and each fails in its own way.
        except (ImportError, OSError, AttributeError, NotImplementedError) as error:
            reasons.append(f"{name}: {error}")
    raise MountError(f"no usable libfuse ({'; '.join(reasons)}): {no_libfuse(sys.platform)}")


def _load_fusepy() -> Binding:
    import fuse

    # The package fuse-python has the same import name.
    if not hasattr(fuse, "_libfuse"):
        raise ImportError("another package named fuse is installed")
    major = _major(fuse)
    if major != 2:
        # It would mount, and then misread every structure.
        raise ImportError(f"it needs libfuse 2, this is libfuse {major}")
    return Binding("fusepy", major, fuse)


def _load_mfusepy() -> Binding:
    import mfusepy

    return Binding("mfusepy", _major(mfusepy), mfusepy)


def _major(module: Any) -> int:
    version = int(module._libfuse.fuse_version())
    return version // 10 if version < 100 else version // 100


@contextlib.contextmanager
def _served_by(module: Any, loop: Loop | None) -> Iterator[None]:
    """Have the binding call the loop where it would call libfuse's own."""
    if loop is None:
        yield
        return
    library = module._libfuse
    module._libfuse = _WithLoop(library, loop)
    try:
        yield
    finally:
        module._libfuse = library


class _WithLoop:
    """libfuse, but for its main function."""

    def __init__(self, library: Any, loop: Loop) -> None:
        self._library = library
        self.fuse_main_real = loop.main

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)


def _session_end(module: Any) -> Callable[[], bool]:
    """What says whether the session is to end; called on a thread of libfuse's."""
    library = module._libfuse
    try:
        get, exited = library.fuse_get_session, library.fuse_session_exited
    except AttributeError:  # what only looks like libfuse may lack them: an answer is waited for
        return lambda: False
    get.argtypes, get.restype = [ctypes.c_void_p], ctypes.c_void_p
    exited.argtypes = [ctypes.c_void_p]
    session = get(library.fuse_get_context().contents.fuse)
    return lambda: bool(exited(session))


def _find_codec(name: str) -> codecs.CodecInfo | None:
    if name != CODEC:
        return None
    return codecs.CodecInfo(
        # The binding asks for "strict", under which one bad name hides a whole folder.
        lambda text, errors="strict": codecs.utf_8_encode(text, "surrogateescape"),
        lambda data, errors="strict": codecs.utf_8_decode(data, "surrogateescape", True),
        name=CODEC,
    )


_thread = threading.local()


def _keep_thread_state() -> None:
    """Let this native thread keep its Python state, and with it its thread-locals.

    ctypes makes a new one for every callback and frees it after: thread-local database connections
    would be opened anew each time. One reference too many, taken once a thread, stops that.
    """
    if not getattr(_thread, "kept", False):
        ctypes.pythonapi.PyGILState_Ensure()
        _thread.kept = True
        # What a debugger or coverage set for all threads, which one begun in C has not heard of.
        sys.settrace(threading.gettrace())


class _Callbacks:
    """Goes before a binding's FUSE class in the method order."""

    failures: list[BaseException]
    end_session: Callable[[], None]

    def _wrapper(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function` for C: every exception ends here as an errno."""
        name: str = function.__name__
        try:
            _keep_thread_state()
            return function(*args, **kwargs) or 0
        except BaseException as error:  # noqa: BLE001 - the caller is C
            if name.startswith("init"):
                # Its result is no errno. Ending the session is the only way to say no.
                self.failures.append(error)
                self.end_session()
                return 0
            if name == "destroy":
                self.failures.append(error)
                return 0
            return -answer_errno(name, error)


class _Fusepy(_Callbacks):
    @staticmethod
    def adapt(operations: Operations) -> Any:
        """fusepy calls its operations by name."""
        return _Callable(operations)


class _Mfusepy(_Callbacks):
    operations: Any
    encoding: str
    errors: str

    @staticmethod
    def adapt(operations: Operations) -> Any:
        """mfusepy calls methods, and warns of a `__call__`."""
        return operations

    def truncate_fuse_3(self, path: bytes | None, length: int, info: Any) -> Any:
        """mfusepy forgets the open file, and an unlinked one has no other name."""
        name = None if path is None else path.decode(self.encoding, self.errors)
        return self.operations.truncate(name, length, info.contents if info else None)

    def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> Any:
        """mfusepy forgets the flags: an exchange would be done as a rename, and lose a file."""
        if flags:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        names = (name.decode(self.encoding, self.errors) for name in (old, new))
        return self.operations.rename(*names)


class _Callable:
    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def __getattr__(self, name: str) -> Any:
        return getattr(self._operations, name)

    def __call__(self, operation: str, *args: Any) -> Any:
        return getattr(self._operations, operation)(*args)
