"""The wire to a vault's keeper: lines of JSON over a unix socket that only its user can reach.

Each side begins with a hello: {"protocol", "version", "schema", "root", "pid", "abilities"}. Then a
request {"op": …} gets one line, {"ok": true, …} or {"error": "one line"}, in order.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from avm.base.threads import Runner

#: The number of the form of these messages. Keepers of another one are left alone.
PROTOCOL = 1
#: Far above any request or answer; a line that is longer is no message of ours.
MAX_LINE = 16 * 1024 * 1024
_HELLO_SECONDS = 0.1
_READ_BYTES = 1 << 16


class Hello(NamedTuple):
    """Who speaks: AVM's version, the index's schema number, the vault's root, what it can do."""

    version: str
    schema: int
    root: str
    pid: int
    abilities: tuple[str, ...] = ()
    protocol: int = PROTOCOL

    def pack(self) -> bytes:
        """This as a line."""
        return line({
            "protocol": self.protocol, "version": self.version, "schema": self.schema,
            "root": self.root, "pid": self.pid, "abilities": self.abilities,
        })  # fmt: skip

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Hello:
        """A hello from its message. Raises ValueError if it is none."""
        try:
            return cls(
                version=str(message["version"]),
                schema=int(message["schema"]),
                root=str(message["root"]),
                pid=int(message["pid"]),
                abilities=tuple(map(str, message["abilities"])),
                protocol=int(message["protocol"]),
            )
        except (KeyError, TypeError, OverflowError) as err:
            raise ValueError(f"no hello: {err}") from None

    def understands(self, other: Hello) -> bool:
        """Whether the two can work together on their vault: the same messages and index."""
        return (self.protocol, self.schema) == (other.protocol, other.schema)

    def replaces(self, other: Hello) -> bool:
        """Whether a keeper like this is to take the place of one like `other`: newer, or abler."""
        mine, its = _rank(self), _rank(other)
        return mine > its or (mine == its and set(self.abilities) > set(other.abilities))


def _rank(hello: Hello) -> tuple[int, int, tuple[int, ...]]:
    release = re.match(r"\d+(?:\.\d+)*", hello.version)  # 1.10rc1 is a 1.10
    numbers = release[0].split(".") if release else ()
    return hello.protocol, hello.schema, tuple(map(int, numbers))


def line(message: Mapping[str, Any]) -> bytes:
    """A message as bytes."""
    return json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def message_of(data: bytes) -> dict[str, Any]:
    """A line as a message. Raises ValueError if it is none."""
    try:
        message = json.loads(data)
    except RecursionError:
        raise ValueError("a message is nested too deep") from None
    if not isinstance(message, dict):
        raise ValueError("a message is a JSON object")
    return message


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end of a unix socket, as the kernel noted at its listen or connect."""
    if sys.platform == "darwin":
        # struct xucred: version, uid, …; SOL_LOCAL is 0, LOCAL_PEERCRED is 1.
        data = connection.getsockopt(0, 1, 76)
        return int(struct.unpack_from("=II", data)[1])
    else:
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", data)[1])


class Connection:
    """One conversation. Not thread-safe. Raises OSError (a time-out is one) and ValueError, after
    which it is of no more use."""

    def __init__(self, path: Path, mine: Hello) -> None:
        """Connect and exchange hellos, within a tenth of a second.

        Whoever is another user, or keeps another vault, is nobody to talk to.
        """
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._buffer = b""
        try:
            self._socket.settimeout(_HELLO_SECONDS)
            self._socket.connect(os.fspath(path))
            if peer_uid(self._socket) != os.getuid():
                raise PermissionError(f"{path} belongs to somebody else")
            self._socket.sendall(mine.pack())
            self.other = Hello.of(self._receive())
            if self.other.root != mine.root:
                raise ValueError(f"{path} is of the keeper of {self.other.root}")
        except BaseException:
            self._socket.close()
            raise

    def ask(self, timeout: float | None, message: Mapping[str, Any]) -> dict[str, Any]:
        """One request and its answer. `timeout` in seconds, None waits for ever."""
        self.tell(message)
        return self.listen(timeout)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a line."""
        self._socket.settimeout(_HELLO_SECONDS)
        self._socket.sendall(line(message))

    def listen(self, timeout: float | None) -> dict[str, Any]:
        """Wait for a line."""
        self._socket.settimeout(timeout)
        return self._receive()

    def shut(self) -> None:
        """End the conversation while another thread may be waiting for a line."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _receive(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            data = self._socket.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError("the keeper hung up")
            self._buffer += data
            if len(self._buffer) > MAX_LINE:
                raise ValueError("a line without an end")
        first, _, self._buffer = self._buffer.partition(b"\n")
        return message_of(first)


class KeeperClient:
    """Asks a vault's keeper: a connection a thread, made anew when the last one failed."""

    def __init__(self, place: Callable[[], Path | None], mine: Hello) -> None:
        """`place`: where the keeper listens now, asked for each connection; None: nowhere."""
        self._place = place
        self._mine = mine
        self._begin()
        #: The keeper that was met last; one that does not understand us is not asked.
        self.met: Hello | None = None

    def _begin(self) -> None:
        self._local = threading.local()
        self._guard = threading.Lock()
        self._all: list[tuple[Runner, Connection]] = []
        self._forget_after_fork = os.getpid()

    def ask(self, op: str, *, timeout: float, **fields: Any) -> dict[str, Any] | None:
        """The keeper's answer to `op`; None if there is no keeper or no answer in `timeout` s."""
        try:
            connection = self._connection()
            if connection is None:
                return None
            return connection.ask(timeout, {"op": op, **fields})
        except (OSError, ValueError):
            self.hang_up()
            return None

    def connect(self) -> Connection | None:
        """A conversation of its own, None if there is no keeper to have it with."""
        path = self._place()
        if path is None:
            return None
        try:
            connection = Connection(path, self._mine)
        except (OSError, ValueError):
            self.met = None
            return None
        self.met = connection.other
        if self._mine.understands(connection.other):
            return connection
        connection.close()
        return None

    def hang_up(self) -> None:
        """Close this thread's connection."""
        connection: Connection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            self._keep_of_those_that_run(but=connection)

    def _keep_of_those_that_run(
        self, *, but: Connection | None = None, new: Connection | None = None
    ) -> None:
        """Hang up `but` and the connections of threads that have ended; note a `new` one."""
        left = []
        with self._guard:
            for runner, other in self._all:
                if other is but or not runner.runs():
                    other.close()
                else:
                    left.append((runner, other))
            if new is not None:
                left.append((Runner.current(), new))
            self._all = left

    def _connection(self) -> Connection | None:
        if self._forget_after_fork != os.getpid():
            # Two processes on one conversation would get each other's answers.
            self._begin()
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self.connect()
            if connection is not None:
                self._keep_of_those_that_run(new=connection)
        return connection
