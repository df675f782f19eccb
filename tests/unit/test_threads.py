"""Connections, one a thread: they are closed when their threads have ended."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from avm.base.keeper_client import Connection, Hello, KeeperClient, line
from avm.base.threads import Runner

HELLO = Hello("1", 1, "/v", 1, ())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where somebody answers hellos and every question, as a keeper does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        threads = []

        def serve() -> None:
            while True:
                try:
                    talk, _ = listening.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=answer, args=(talk,)))
                threads[-1].start()

        def answer(talk: socket.socket) -> None:
            with talk, talk.makefile("rb") as lines:
                for number, _ in enumerate(lines):
                    talk.sendall(line({"ok": True}) if number else HELLO.pack())

        threads.append(threading.Thread(target=serve))
        threads[0].start()
        yield tmp_path / "s"
        listening.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def test_what_threads_that_ended_had_open_is_closed(place: Path) -> None:
    client = KeeperClient(lambda: place, HELLO)
    # As what is in the thread-locals of a thread that C code began, these stay.
    talks: list[Connection] = []
    runners: list[Runner] = []

    def ask() -> None:
        assert client.ask("status", timeout=5.0) == {"ok": True}
        talks.append(client._local.connection)
        runners.append(Runner.current())

    for _ in range(3):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    ask()
    assert [runner.runs() for runner in runners] == [False, False, False, True]
    assert [talk._socket.fileno() >= 0 for talk in talks] == [False, False, False, True]
    client.hang_up()
    assert talks[-1]._socket.fileno() == -1
