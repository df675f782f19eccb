"""The keeper's loop and its threads: who waits for whom, and what it does when there is no more."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for

from avm import AVM
from avm.api import open_avm
from avm.api.keeper import hello, socket_path
from avm.api.waiting import Waiting
from avm.base.keeper_client import Connection
from avm.embed.model_folder import semantic_installed
from avm.index.text import Filter
from avm.keeper import server as module
from avm.keeper.keeper import Keeper
from avm.keeper.server import Reply, Server


@pytest.fixture
def avm(tmp_path: Path) -> Iterator[AVM]:
    """A vault as its keeper opens it; nothing of the keeper runs yet."""
    AVM(tmp_path / "v", semantic="off").close()
    with open_avm(tmp_path / "v", {"semantic": "off"}, Waiting.KEEPER) as avm:
        yield avm


def test_nobody_waits_behind_those_who_wait_for_the_model(avm: AVM) -> None:
    vault = avm.store.vault
    keeper = Keeper(avm.store, hello(vault))  # its model is never started: it loads for ever
    serving = threading.Thread(target=keeper._server.run, args=(lambda: None, lambda: True))
    serving.start()
    talks = [Connection(socket_path(vault), hello(vault)) for _ in range(9)]
    *waiting, other = talks
    try:
        where = Filter(None, "", avm.store.now()).as_json()
        asked = {"op": "nearest", "text": "x", "where": where, "limit": 3, "also": []}
        for talk in waiting:
            talk.tell({**asked, "wait": 60.0})
        assert other.ask(10.0, {**asked, "wait": 0.1}) == {"off": "the model is still loading"}
        assert "pid" in other.ask(10.0, {"op": "status"})
        for wait in (None, "long", [], {}):
            assert "error" in other.ask(10.0, {"op": "nearest", "wait": wait})
    finally:
        for talk in talks:
            talk.close()
        keeper._server.stop()
        serving.join()
        keeper._meaning.stop()
        keeper._server.close()
        keeper._watcher.close()


def test_without_a_descriptor_left_it_rests_and_goes_on(
    avm: AVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TICK_SECONDS", 0.2)
    vault, used = avm.store.vault, list[float]()
    server = Server(socket_path(vault), hello(vault), None)

    def tick() -> bool:
        used.append(time.thread_time())
        return True

    serving = threading.Thread(target=server.run, args=(lambda: None, tick))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10.0)
        lowest = os.dup(client.fileno())
        os.close(lowest)
        serving.start()
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
            client.connect(os.fspath(socket_path(vault)))
            seen = len(used)
            wait_for(lambda: len(used) > seen + 5, "five ticks of a second without a descriptor")
            assert used[seen + 5] - used[seen] < 0.1
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert client.recv(1 << 16).endswith(b"\n")  # its hello
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            server.stop()
            serving.join()
            server.close()


def test_status_asks_once_what_one_answer_tells(avm: AVM) -> None:
    vault, asked = avm.store.vault, list[str]()
    server = Server(socket_path(vault), hello(vault), None)
    told = {"pid": 7, "watched": 3, "problem": None, "hindrance": "no more watches"}

    def answer(request: Mapping[str, Any], reply: Reply) -> None:
        asked.append(request["op"])
        reply({**told, "meaning": {"have": 1, "total": 2, "problem": "the model is ill"}})

    for op in ("barrier", "status"):
        server.quick(op, answer)
    serving = threading.Thread(target=server.run, args=(lambda: None, lambda: True))
    serving.start()
    try:
        with open_avm(vault.root, {"semantic": "auto"}, Waiting.COMMAND) as command:
            status = command.status()
        assert status.keeper == "process 7, watches 3 folders; no more watches"
        if semantic_installed():
            assert status.semantic == "off (the model is ill)"
        assert asked == ["barrier", "status"]
    finally:
        server.stop()
        serving.join()
        server.close()
