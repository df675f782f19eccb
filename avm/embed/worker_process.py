"""The worker program as seen from its parent: a process, two pipes, frames with deadlines."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from avm.base import programs
from avm.base.errors import ModelError
from avm.embed.frames import FrameReader, pack

_READ_BYTES = 1 << 16
_LOG_BYTES = 1 << 20
#: What the worker gets to end when asked to, and what the kernel gets to kill it.
_END_SECONDS = 2.0
_KILL_SECONDS = 10.0


class WorkerProcess:
    """One run of `avm.embed.worker`. Not thread-safe, but for `kill` and `alive`.

    The worker ends when its input does, and the kernel ends that with us, even on `kill -9`:
    nobody else holds the pipe, because pipes are not inherited by other children.
    """

    def __init__(self, folder: Path, log_file: Path | None, threads: int | None, nice: int) -> None:
        """Start the program; it loads the model meanwhile. Raises ModelError."""
        command = programs.python_command("avm.embed.worker")
        if not command:
            raise ModelError("the embedding worker needs a Python program, and none is known")
        command += ["--model", str(folder.absolute())]
        if threads is not None:
            command += ["--threads", str(threads)]
        if nice:
            command += ["--nice", str(nice)]
        log = _open_log(log_file)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                cwd="/",  # a current folder inside a mount would keep that mount busy
                env=_environment(os.environ),
                # Ctrl-C and Ctrl-Z in a terminal are meant for the parent, which may live on.
                start_new_session=True,
            )
        except OSError as err:
            raise ModelError(f"the embedding worker cannot be started: {err.strerror}") from err
        finally:
            if log >= 0:
                os.close(log)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        os.set_blocking(self._stdout.fileno(), False)
        self._log_file = log_file
        self._outgoing = bytearray()
        self._frames = FrameReader()
        self.started_at = time.monotonic()
        self.loaded = False
        #: The request that is not answered yet, and when it was asked (monotonic seconds).
        self.pending: tuple[int, float] | None = None

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._process.poll() is None

    def ask(self, number: int, texts: list[str]) -> None:
        """Queue a request, to be sent by `receive`. The last one must have been answered."""
        assert self.pending is None
        self.pending = number, time.monotonic()
        self._outgoing += pack({"id": number, "texts": texts})

    def receive(self, deadline: float) -> tuple[dict[str, Any], bytes] | None:
        """Send what is queued and wait for a frame until `deadline` (monotonic seconds).

        None if none came. Raises ModelError if the program ended or sent something else.
        """
        while True:
            if (frame := self._frames.next()) is not None:
                return frame
            readable, writable = self._wait(deadline)
            if writable:
                self._flush()
            if readable:
                data = os.read(self._stdout.fileno(), _READ_BYTES)
                if not data:
                    raise ModelError(self._obituary())
                self._frames.feed(data)
            elif time.monotonic() >= deadline:
                return None

    def kill(self) -> None:
        """Kill the program; some thread must still call `end`."""
        self._process.kill()

    def end(self) -> None:
        """End the program and wait until it is gone. What it has not answered is lost."""
        self._stdin.close()
        if self.pending is None:
            # It would end with its input, but torch takes a second to clean up after itself.
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_SECONDS)
        self._stdout.close()

    def abandon(self) -> None:
        """Let go of it in a forked child, whose worker it is not: the parent's lives on."""
        self._stdin.close()
        self._stdout.close()
        self._process.returncode = 0  # else Popen warns that nobody waited for it

    def _wait(self, deadline: float) -> tuple[bool, bool]:
        """Until the pipes can be (read, written) or the deadline passes."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            if self._outgoing:
                selector.register(self._stdin, selectors.EVENT_WRITE)
            ready = selector.select(max(0.0, deadline - time.monotonic()))
        files = [key.fileobj for key, _ in ready]
        return self._stdout in files, self._stdin in files

    def _flush(self) -> None:
        try:
            sent = os.write(self._stdin.fileno(), self._outgoing)
        except BlockingIOError:
            return
        except BrokenPipeError:
            # It ended: what it said last, and then the end, are still to be read.
            sent = len(self._outgoing)
        del self._outgoing[:sent]

    def _obituary(self) -> str:
        """One line on how it ended; its pipe ends a moment before it can be waited for."""
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return "the embedding worker closed its pipe"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        where = f"; see {self._log_file}" if self._log_file else ""
        return f"the embedding worker {how}{where}"


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The worker's environment: no network, no progress bars."""
    return programs.environment(
        {
            # torch's threads spin while they wait for each other. On two cores with other work to
            # do a query took up to 490 ms that way, 10 ms like this; large batches are as fast.
            "OMP_WAIT_POLICY": "PASSIVE",
            **environ,
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
    )


def _open_log(log_file: Path | None) -> int:
    """A file descriptor for stderr, or subprocess.DEVNULL; a log is no reason to fail."""
    if log_file is None:
        return subprocess.DEVNULL
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        log = os.open(log_file, flags, 0o600)
    except OSError:
        return subprocess.DEVNULL
    if os.fstat(log).st_size > _LOG_BYTES:
        os.ftruncate(log, 0)
    return log
