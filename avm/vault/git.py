"""The git program: network, bulk, plumbing that libgit2 lacks, and long history."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avm.base.errors import RepositoryError

if TYPE_CHECKING:
    import signal
    import subprocess

#: Variables that point git at a repository or an index; inside a hook they name the person's own.
POINTERS = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_PREFIX",
    "GIT_NAMESPACE",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_REPLACE_REF_BASE",
    "GIT_QUARANTINE_PATH",
)
#: Variables that change what a path on a command line means.
_PATHSPECS = ("GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS")
_NOT_OURS = frozenset((*POINTERS, *_PATHSPECS))
_SHA256_DIGITS = 64
_MISSING = "the git program is not installed: apt install git"
_POLL_SECONDS = 0.05
_CHUNK_BYTES = 1 << 16
#: What a program has to end by itself.
_GRACE_SECONDS = 5.0


def run(
    folder: Path,
    args: Sequence[str],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[bytes]:
    """Run `git ARGS` in `folder`; never prompts, runs no hooks, takes no optional locks.

    Raises RepositoryError with git's own last line if it fails (unless `check` is false) or is
    not installed.
    """
    import subprocess

    feed: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    try:
        done = subprocess.run(
            _command(args),
            cwd=folder,
            env=_environment(env),
            capture_output=True,
            check=False,
            **feed,
        )
    except FileNotFoundError:
        raise RepositoryError(_MISSING) from None
    if check and done.returncode != 0:
        raise RepositoryError(f"git {_verb(args)} in {folder}: {last_line(done.stderr)}")
    return done


def fields(folder: Path, args: Sequence[str]) -> Iterator[bytes]:
    """What `git ARGS` prints, split at its NULs, as it comes. Raises RepositoryError as `run`."""
    import subprocess
    import tempfile

    with tempfile.TemporaryFile() as said:
        try:
            child = subprocess.Popen(
                _command(args), cwd=folder, env=_environment(None), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=said,
            )  # fmt: skip
        except FileNotFoundError:
            raise RepositoryError(_MISSING) from None
        with child:
            try:
                assert child.stdout is not None
                rest = b""
                while chunk := child.stdout.read(_CHUNK_BYTES):
                    *whole, rest = (rest + chunk).split(b"\0")
                    yield from whole
                yield rest
            except BaseException:
                child.kill()
                raise
        if child.returncode != 0:
            said.seek(0)
            raise RepositoryError(f"git {_verb(args)} in {folder}: {last_line(said.read())}")


class Started:
    """`git ARGS`, running beside us: begin with one, do other things, `finish`."""

    #: What a pipe holds in any case: more is fed when we wait.
    _PIPE_BYTES = 4096

    def __init__(
        self, folder: Path, args: Sequence[str], *, stdin: bytes, env: Mapping[str, str]
    ) -> None:
        import subprocess

        pipe = subprocess.PIPE
        try:
            self._child = subprocess.Popen(
                _command(args), cwd=folder, env=_environment(env), stdin=pipe, stdout=pipe,
                stderr=pipe,
            )  # fmt: skip
        except FileNotFoundError:
            raise RepositoryError(_MISSING) from None
        self._rest: bytes | None = stdin
        if len(stdin) <= self._PIPE_BYTES and self._child.stdin:
            with contextlib.suppress(BrokenPipeError), self._child.stdin as feed:
                feed.write(stdin)
            self._child.stdin, self._rest = None, None

    def finish(self) -> bool:
        """Wait for its end; whether it did what it should."""
        self._child.communicate(self._rest)
        return self._child.returncode == 0

    def end(self) -> None:
        """Kill it if it still runs."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.communicate()


def run_low(folder: Path, args: Sequence[str], halt: Callable[[], bool]) -> bool:
    """Run `git ARGS` at the lowest priority; ends it, with its children, once `halt()` is true.

    Returns whether it ran to its end. Raises RepositoryError as `run` does.
    """
    import shutil
    import subprocess

    tools = (("nice", "-n", "19"), ("ionice", "-c", "3"))
    low = [word for tool in tools if shutil.which(tool[0]) for word in tool]
    try:
        # A session of its own: gc is a tree of programs, and all of them are to end.
        child = subprocess.Popen(
            [*low, *_command(args)],
            cwd=folder,
            env=_environment(None),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise RepositoryError(_MISSING) from None
    with child:
        _, said, ended = _until_halted(child, halt)
    if ended and child.returncode != 0:
        raise RepositoryError(f"git {_verb(args)} in {folder}: {last_line(said)}")
    return ended


def run_until(
    folder: Path,
    args: Sequence[str],
    halt: Callable[[], bool],
    *,
    env: Mapping[str, str],
    hooks: bool = False,
    asking: bool = False,
) -> tuple[int, bytes, bytes]:
    """Run `git ARGS` until it ends, or `halt()` is true, which ends it with its children.

    `hooks`: the person's run; `asking`: it may read from the terminal. Returns its exit code,
    output and errors. Raises RepositoryError if git is not installed.
    """
    import subprocess

    try:
        child = subprocess.Popen(
            _command(args, hooks=hooks),
            cwd=folder,
            env=_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Without a terminal nothing can ask: ssh opens it by itself, and as a group in the
            # background it would stop there for ever.
            start_new_session=not asking,
        )
    except FileNotFoundError:
        raise RepositoryError(_MISSING) from None
    with child:
        told, said, _ = _until_halted(child, halt)
    return child.returncode, told, said


def _until_halted(
    child: subprocess.Popen[bytes], halt: Callable[[], bool]
) -> tuple[bytes, bytes, bool]:
    """What the child said on stdout and stderr, and whether it came to its end by itself."""
    import signal
    import subprocess

    halted_at: float | None = None
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            told, said = child.communicate(timeout=_POLL_SECONDS)
            return told or b"", said, halted_at is None
        if halted_at is None and halt():
            halted_at = time.monotonic()
            _end_group(child, signal.SIGTERM)  # git removes its temporary files
        elif halted_at is not None and time.monotonic() - halted_at > _GRACE_SECONDS:
            _end_group(child, signal.SIGKILL)


def _end_group(child: subprocess.Popen[bytes], how: signal.Signals) -> None:
    try:
        os.killpg(child.pid, how)
    except ProcessLookupError:
        child.send_signal(how)


def last_line(said: bytes) -> str:
    """The last line of what a program said: git puts the reason there."""
    lines = said.decode("utf-8", "replace").strip().splitlines()
    if lines and "dubious ownership" in said.decode("utf-8", "replace"):
        return f"it belongs to another user: {lines[-1].strip()}"
    return lines[-1] if lines else "no message"


def _command(args: Sequence[str], *, hooks: bool = False) -> list[str]:
    without = [] if hooks else ["-c", "core.hooksPath=/dev/null"]
    return ["git", *without, "-c", "core.quotePath=false", *args]


def _verb(args: Sequence[str]) -> str:
    """git's command among its arguments, behind what is said of git itself."""
    return next((w for w in args if not w.startswith("-") and "=" not in w), args[0])


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    fixed = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    return environ | fixed | dict(more or {})


def output(folder: Path, *args: str) -> str:
    """The output of `git ARGS`, stripped. Raises RepositoryError."""
    return run(folder, args).stdout.decode("utf-8", "surrogateescape").strip()


def version() -> tuple[int, int]:
    """The git program's version: (2, 39). Raises RepositoryError if it is not installed."""
    done = run(Path("/"), ("--version",))
    numbers = re.findall(rb"\d+", done.stdout)
    return (int(numbers[0]), int(numbers[1])) if len(numbers) > 1 else (0, 0)


def blob_id(raw: bytes, like: str = "") -> str:
    """git's id of a blob with these bytes, in hex; `like` is another id of the repository, which
    tells SHA-256 from SHA-1."""
    import hashlib

    sha = hashlib.sha256 if len(like) == _SHA256_DIGITS else hashlib.sha1
    return sha(b"blob %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest()


def config_value(folder: Path, *args: str) -> str:
    """`git config ARGS`, the empty string if it is not set."""
    done = run(folder, ("config", *args), check=False)
    return done.stdout.decode("utf-8", "surrogateescape").strip() if done.returncode == 0 else ""
