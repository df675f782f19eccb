"""The keeper's socket: one loop that reads requests and the kernel's events, and writes answers."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from avm.base import log
from avm.base.errors import AVMError, RepositoryError
from avm.base.keeper_client import MAX_LINE, Hello, line, message_of, peer_uid

_log = log.logger(__name__)
_READ_BYTES = 1 << 16
_TICK_SECONDS = 1.0
#: How long a mount may take to say which files are open in it.
_HELD_SECONDS = 2.0
#: What accept(2) fails with as long as this process or the system has no descriptor or memory left.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_WORKERS = 4
#: Of a request's fields: whether it may wait for long.
Patient = Callable[[Mapping[str, Any]], bool]
Act = Callable[[dict[str, Any]], Mapping[str, Any]]

#: Sends the answer to one request; may be called from any thread, once.
Reply = Callable[[Mapping[str, Any]], None]


class Peer:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.buffer = b""
        self.outgoing = b""
        self.hello: Hello | None = None
        #: A mount that says which files are open in it, when asked.
        self.attached = False
        self.awaited: Callable[[list[str] | None], None] | None = None


class Server:
    """Answers at the socket `path`: operations that `quick` names in the loop, those that `slow`
    names in a thread. `fd` is watched besides."""

    def __init__(self, path: Path, mine: Hello, fd: int | None) -> None:
        self._path = path
        self._mine = mine
        self._watched_fd = fd
        self._selector = selectors.DefaultSelector()
        self._quick: dict[str, Callable[[dict[str, Any], Reply], None]] = {}
        self._slow: dict[str, tuple[Act, Patient]] = {}
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="avm-keeper")
        #: Who waits for a model may have all of its threads for a minute: nobody else needs them.
        self._patient = ThreadPoolExecutor(_WORKERS, thread_name_prefix="avm-patient")
        self._calls: deque[Callable[[], None]] = deque()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._listening = _listen(path)
        self._socket_inode = path.stat().st_ino
        self._closing = threading.Lock()
        self._closed = False
        self._peers: set[Peer] = set()
        #: Whether whoever connects is let in; else he waits in the kernel's queue.
        self._open = False
        #: Whether the last one could not be let in.
        self._crowded = False
        self._stopping = False
        self._loop = 0
        #: When somebody last asked for something (monotonic seconds).
        self.asked_at = time.monotonic()

    def quick(self, name: str, act: Callable[[dict[str, Any], Reply], None]) -> None:
        """Handle `name` in the loop: `act` must not wait for anything."""
        self._quick[name] = act

    def slow(self, name: str, act: Act, patient: Patient = lambda _: False) -> None:
        """Handle `name` in a thread; a request that is `patient`, where no other one waits for it.

        `patient` is asked in the loop, of whatever came over the socket: it must not raise.
        """
        self._slow[name] = act, patient

    @property
    def attached(self) -> int:
        """How many mounts are attached."""
        return sum(peer.attached for peer in self._peers)

    def run(self, readable: Callable[[], None], tick: Callable[[], bool]) -> None:
        """Serve until `stop` is called or `tick`, asked once a second, returns False.

        `readable` is called when the watched descriptor has something to read.
        """
        select = self._selector
        self._let_in()
        select.register(self._wake_read, selectors.EVENT_READ, self._called)
        if self._watched_fd is not None:
            select.register(self._watched_fd, selectors.EVENT_READ, readable)
        self._loop = threading.get_ident()
        tick_at = time.monotonic() + _TICK_SECONDS
        while not self._stopping:
            for key, _ in select.select(max(0.0, tick_at - time.monotonic())):
                key.data()
            if time.monotonic() >= tick_at:
                tick_at = time.monotonic() + _TICK_SECONDS
                self._let_in()
                if not tick():
                    return

    def stop(self) -> None:
        """End the loop; from any thread."""
        self._stopping = True
        self._call(lambda: None)

    def close(self) -> None:
        """Hang up on everybody and remove the socket."""
        if self.reachable():  # else it is a successor's
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._listening.close()
        for pool in (self._pool, self._patient):
            pool.shutdown(wait=True, cancel_futures=True)
        for call in self._calls:
            call()  # the last answers
        for peer in list(self._peers):
            self._drop(peer)
        self._selector.close()
        with self._closing:
            self._closed = True
            os.close(self._wake_read)
            os.close(self._wake_write)

    def reachable(self) -> bool:
        """Whether the socket is still where others look for it."""
        try:
            return self._path.stat().st_ino == self._socket_inode
        except OSError:
            return False

    def held(self) -> set[str]:
        """The rels that are open for writing in any mount; not to be called in the loop.

        Raises RepositoryError if a mount does not say.
        """
        told: set[str] = set()
        silent: set[Peer] = set()
        done = threading.Event()
        if self._closed:
            return told

        def ask() -> None:
            silent.update(peer for peer in self._peers if peer.attached)
            for peer in list(silent):
                peer.awaited = lambda held, peer=peer: answered(peer, held)
                self._send(peer, {"ask": "held"})
            if not silent:
                done.set()

        def answered(peer: Peer, held: list[str] | None) -> None:
            told.update(held or ())
            silent.discard(peer)
            if not silent:
                done.set()

        self._call(ask)
        if not done.wait(_HELD_SECONDS):
            raise RepositoryError("a mount does not say which files are open in it")
        return told

    # In the loop

    def _call(self, act: Callable[[], None]) -> None:
        """Have `act` called in the loop; from any thread."""
        self._calls.append(act)
        with self._closing, contextlib.suppress(BlockingIOError):
            if not self._closed:  # the number may be another file's by then
                os.write(self._wake_write, b"!")

    def _called(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, _READ_BYTES):
                pass
        while self._calls:
            self._calls.popleft()()

    def _let_in(self) -> None:
        if not self._open:
            with contextlib.suppress(OSError):  # the next tick tries again
                self._selector.register(self._listening, selectors.EVENT_READ, self._accept)
                self._open = True

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError as err:
            if err.errno in _EXHAUSTED:
                # He stays in the queue, and the selector would tell of him again and again.
                self._selector.unregister(self._listening)
                self._open = False
                if not self._crowded:  # it may last for days
                    _log.warning("nobody is let in: %s", err.strerror)
                self._crowded = True
            return
        self._crowded = False
        if peer_uid(connection) != os.getuid():
            connection.close()
            return
        connection.setblocking(False)
        peer = Peer(connection)
        try:
            self._selector.register(connection, selectors.EVENT_READ, lambda: self._converse(peer))
        except OSError:  # epoll has a limit of its own, and needs memory
            connection.close()
            return
        self._peers.add(peer)
        self._send_bytes(peer, self._mine.pack())

    def _converse(self, peer: Peer) -> None:
        if peer.outgoing:
            self._send_bytes(peer, b"")
        if peer in self._peers:
            self._receive(peer)

    def _receive(self, peer: Peer) -> None:
        try:
            data = peer.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(peer)
            return
        *lines, peer.buffer = (peer.buffer + data).split(b"\n")
        if len(peer.buffer) > MAX_LINE:
            self._drop(peer)
            return
        for text in lines:
            try:
                self._heard(peer, message_of(text))
            except (ValueError, TypeError, RuntimeError):  # RuntimeError: no thread is to be had
                self._drop(peer)
                return

    def _heard(self, peer: Peer, message: dict[str, Any]) -> None:
        if peer.hello is None:
            peer.hello = Hello.of(message)
            return
        if peer.attached:
            if peer.awaited:
                awaited, peer.awaited = peer.awaited, None
                awaited([str(rel) for rel in message.get("held") or ()])
            return
        self.asked_at = time.monotonic()
        op = str(message.get("op"))
        if op == "attach":
            peer.attached = True
            self._send(peer, {"ok": True})
        elif op in self._quick:
            try:
                self._quick[op](message, lambda answer: self._answer(peer, answer))
            except (AVMError, OSError) as err:
                self._send(peer, {"error": str(err)})
        elif op in self._slow:
            act, patient = self._slow[op]
            pool = self._patient if patient(message) else self._pool
            pool.submit(self._work, peer, act, message)
        else:
            known = ", ".join(sorted([*self._quick, *self._slow, "attach"]))
            self._send(peer, {"error": f"no operation {op!r}; there are {known}"})

    def _work(self, peer: Peer, act: Act, message: dict[str, Any]) -> None:
        try:
            answer = act(message)
        except AVMError as err:
            answer = {"error": str(err)}
        except Exception as err:  # noqa: BLE001  a request's boundary
            _log.exception("%s", message.get("op"))
            answer = {"error": f"{type(err).__name__}: {err}"}
        self._answer(peer, answer)

    def _answer(self, peer: Peer, answer: Mapping[str, Any]) -> None:
        if threading.get_ident() == self._loop:
            self._send(peer, answer)
        else:
            self._call(lambda: self._send(peer, answer))

    def _send(self, peer: Peer, message: Mapping[str, Any]) -> None:
        self._send_bytes(peer, line(message))

    def _send_bytes(self, peer: Peer, data: bytes) -> None:
        if peer not in self._peers:
            return
        data = peer.outgoing + data
        try:
            sent = peer.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(peer)
            return
        if len(data) - sent > MAX_LINE:  # somebody who asks and does not read
            self._drop(peer)
            return
        if bool(peer.outgoing) != (sent < len(data)):
            more = selectors.EVENT_WRITE if sent < len(data) else 0
            key = self._selector.get_key(peer.socket)
            self._selector.modify(peer.socket, selectors.EVENT_READ | more, key.data)
        peer.outgoing = data[sent:]

    def _drop(self, peer: Peer) -> None:
        self._peers.discard(peer)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(peer.socket)
        peer.socket.close()
        if peer.awaited:
            awaited, peer.awaited = peer.awaited, None
            awaited(None)


def _listen(path: Path) -> socket.socket:
    """The listening socket at `path`, in a folder of this user's alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            listening.bind(os.fspath(path))
        finally:
            os.umask(before)
        listening.listen(64)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening
