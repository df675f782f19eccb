"""The embedder with the real model, in its real worker program."""

from __future__ import annotations

import math
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import gone, needs_model, wait_for

from avm.base.errors import ModelError
from avm.embed.frames import FrameReader, pack
from avm.embed.model_folder import (
    DIMENSIONS,
    MODEL_ID,
    check_sums,
    find_model_folder,
)
from avm.embed.protocol import Embedder
from avm.embed.worker_client import WorkerEmbedder

#: A load takes 5 s on an idle machine.
LOAD = 120.0


pytestmark = needs_model


def numbers(vector: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{DIMENSIONS}f", vector)


def nearness(a: bytes, b: bytes) -> float:
    return sum(x * y for x, y in zip(numbers(a), numbers(b), strict=True))


@pytest.fixture(scope="module")
def folder() -> Path:
    return find_model_folder(None, None)


@pytest.fixture(scope="module")
def embedder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerEmbedder]:
    log = tmp_path_factory.mktemp("embed") / "model.log"
    embedder = WorkerEmbedder(folder, log_file=log)
    embedder.start()
    yield embedder
    pid = embedder.worker_pid
    embedder.close()
    embedder.close()
    assert pid is None or gone(pid)
    with pytest.raises(ModelError, match="closed"):
        embedder.embed(["x"], timeout=1)


@pytest.fixture
def loaded(embedder: WorkerEmbedder) -> WorkerEmbedder:
    assert embedder.ready(LOAD), embedder.problem
    return embedder


def worker_of(embedder: WorkerEmbedder) -> int:
    pid = embedder.worker_pid
    assert pid is not None
    return pid


def test_the_official_files(folder: Path) -> None:
    check_sums(folder)


def test_near_in_meaning_is_near_in_space(loaded: WorkerEmbedder) -> None:
    as_protocol: Embedder = loaded
    assert (as_protocol.model_id, as_protocol.dimensions) == (MODEL_ID, 384)
    car, vehicle, soup = as_protocol.embed(
        ["How do I fix a flat tyre?", "Repairing a punctured wheel", "A soup of carrots and leek"],
        timeout=30,
    )
    assert nearness(car, vehicle) > 0.4 > 0.2 > nearness(car, soup)
    for vector in (car, vehicle, soup):
        assert len(vector) == 4 * 384
        assert math.isclose(nearness(vector, vector), 1.0, abs_tol=1e-4)


def test_many_texts_keep_their_order(loaded: WorkerEmbedder) -> None:
    texts = [f"note {i}: " + "the price of tea rose again " * (i * 7 % 40) for i in range(80)]
    vectors = loaded.embed(texts, timeout=60)
    assert len(vectors) == 80
    for i in (0, 1, 39, 79):
        [alone] = loaded.embed([texts[i]], timeout=30)
        assert nearness(alone, vectors[i]) > 0.9999


def test_odd_texts(loaded: WorkerEmbedder) -> None:
    odd = [
        "",
        " \n\t",
        "\0",
        "\udcff lone surrogate",
        "日本語" * 300,
        "word " * 200_000,
        "x" * 300_000,
    ]
    vectors = loaded.embed(odd, timeout=60)
    assert all(math.isclose(nearness(v, v), 1.0, abs_tol=1e-4) for v in vectors)
    assert nearness(vectors[0], loaded.embed([""], timeout=30)[0]) > 0.9999
    assert loaded.embed([], timeout=0) == []


def test_a_killed_worker_is_replaced(loaded: WorkerEmbedder) -> None:
    [before] = loaded.embed(["what was learned"], timeout=30)
    pid = worker_of(loaded)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: gone(pid), "the worker's death", 60)
    [after] = loaded.embed(["what was learned"], timeout=LOAD)
    assert nearness(before, after) > 0.9999
    assert worker_of(loaded) != pid
    assert loaded.problem is None


def test_a_worker_that_dies_at_work_is_an_error_and_then_replaced(loaded: WorkerEmbedder) -> None:
    pid = worker_of(loaded)
    os.kill(pid, signal.SIGSTOP)
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    killer.start()
    try:
        with pytest.raises(ModelError, match=r"killed by signal 9; see .*model\.log$"):
            loaded.embed(["x"], timeout=30)
    finally:
        killer.join()
    assert gone(pid)
    assert len(loaded.embed(["x"], timeout=LOAD)) == 1


def test_an_impatient_caller_costs_nobody_the_worker(loaded: WorkerEmbedder) -> None:
    [expected] = loaded.embed(["the second question"], timeout=30)
    pid = worker_of(loaded)
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(ModelError, match="did not answer in time"):
        loaded.embed(["the first question " * 50] * 100, timeout=0.1)
    assert time.monotonic() - began < 5
    os.kill(pid, signal.SIGCONT)
    [answer] = loaded.embed(["the second question"], timeout=60)
    assert nearness(answer, expected) > 0.9999
    assert worker_of(loaded) == pid


def test_a_hung_worker_is_killed(loaded: WorkerEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "_answer_limit", 0.2)
    pid = worker_of(loaded)
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(ModelError, match="gave no answer") as caught:
        loaded.embed(["x"], timeout=LOAD)
    assert time.monotonic() - began < 10
    assert "\n" not in str(caught.value)
    assert gone(pid)
    monkeypatch.undo()
    assert len(loaded.embed(["x"], timeout=LOAD)) == 1


def test_a_question_passes_a_long_job(loaded: WorkerEmbedder) -> None:
    texts = [f"{i} " + "long passages about the weather in the mountains " * 20 for i in range(120)]
    results: list[int] = []
    job = threading.Thread(target=lambda: results.append(len(loaded.embed(texts, timeout=60))))
    job.start()
    for _ in range(3):
        loaded.embed(["a question"], timeout=30)
    assert job.is_alive(), "the questions waited for the whole job"
    job.join()
    assert results == [120]


def test_a_forked_child_leaves_the_parents_worker_alone(loaded: WorkerEmbedder) -> None:
    pid = worker_of(loaded)
    child = os.fork()
    if child == 0:
        # No assert and no cleanup of pytest's in here: only the exit code counts.
        os._exit(0 if loaded.worker_pid is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(loaded.embed(["x"], timeout=30)) == 1
    assert worker_of(loaded) == pid


def test_loading_is_not_waited_for_and_close_ends_it(folder: Path) -> None:
    embedder = WorkerEmbedder(folder)
    try:
        began = time.monotonic()
        embedder.start()
        assert not embedder.ready(0)
        with pytest.raises(ModelError, match="still loading"):
            embedder.embed(["x"], timeout=0.05)
        assert time.monotonic() - began < 2
        pid = worker_of(embedder)
    finally:
        embedder.close()
    assert gone(pid)
    assert not embedder.ready(0)


def test_a_load_that_hangs_is_given_up(folder: Path) -> None:
    embedder = WorkerEmbedder(folder, load_limit=0.2)
    try:
        assert not embedder.ready(30)
        assert embedder.problem == "the embedding model did not load within 0.2 s"
        assert embedder.worker_pid is None
    finally:
        embedder.close()


def test_close_interrupts_a_call(folder: Path) -> None:
    embedder = WorkerEmbedder(folder, threads=1)
    caught: list[str] = []

    def call() -> None:
        try:
            embedder.embed(["x"], timeout=LOAD)
        except ModelError as err:
            caught.append(str(err))

    thread = threading.Thread(target=call)
    thread.start()
    wait_for(lambda: embedder.worker_pid is not None, "the worker's start", 60)
    pid = worker_of(embedder)
    embedder.close()
    thread.join(30)
    assert not thread.is_alive()
    assert len(caught) == 1
    assert gone(pid)


def test_a_wrong_file_is_named_once_and_backed_off(folder: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "model"
    for path in folder.rglob("*"):
        target = wrong / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            target.symlink_to(path)
    (wrong / "modules.json").unlink()
    (wrong / "modules.json").write_text("[]")
    embedder = WorkerEmbedder(wrong)
    try:
        with pytest.raises(ModelError) as first:
            embedder.embed(["x"], timeout=LOAD)
        assert str(first.value).startswith(f"{wrong / 'modules.json'} is not the official file")
        assert "\n" not in str(first.value)
        assert embedder.worker_pid is None
        began = time.monotonic()
        with pytest.raises(ModelError, match=r"modules\.json.*not tried again for \d+ s$"):
            embedder.embed(["x"], timeout=LOAD)
        with pytest.raises(ModelError, match="not tried again"):
            embedder.start()
        assert not embedder.ready(LOAD)
        assert time.monotonic() - began < 1
    finally:
        embedder.close()


def test_noise_before_the_worker_has_its_pipes_is_an_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('hello from a library', flush=True)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    embedder = WorkerEmbedder(folder)
    try:
        with pytest.raises(ModelError, match="malformed frame"):
            embedder.embed(["x"], timeout=LOAD)
        assert embedder.worker_pid is None
    finally:
        embedder.close()


def test_nothing_is_imported_from_the_current_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current folder may be a vault, and a vault never makes AVM run code."""
    ran = tmp_path / "ran"
    for name in ("torch", "sentence_transformers", "json", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(ran)!r}, 'w').close()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    embedder = WorkerEmbedder(folder)
    try:
        assert embedder.ready(LOAD), embedder.problem
    finally:
        embedder.close()
    assert not ran.exists()


NOISY_WORKER = """
import os, subprocess, sys, threading, time
from pathlib import Path
from avm.embed import worker
pipes = worker._take_pipes()
stop = threading.Event()
def chatter():
    while not stop.wait(0.05):
        print("noise from print", flush=True)
        os.write(1, b"noise from C")
        subprocess.run(["echo", "noise from a child"], check=True)
thread = threading.Thread(target=chatter)
thread.start()
try:
    code = worker.serve(*pipes, Path(sys.argv[1]), None)
finally:
    stop.set()
    thread.join()
sys.exit(code)
"""


def test_what_libraries_print_stays_out_of_the_frames(folder: Path) -> None:
    requests = pack({"id": 1, "texts": ["a", "b"]}) + pack({"id": 2, "texts": ["c"]})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NOISY_WORKER, str(folder)],
        check=False,
        input=requests,
        capture_output=True,
        timeout=LOAD,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"noise from print" in done.stderr and b"noise from C" in done.stderr
    reader = FrameReader()
    reader.feed(done.stdout)
    assert reader.next() == (
        {"kind": "ready", "model": MODEL_ID, "dimensions": DIMENSIONS},
        b"",
    )
    frames = [reader.next(), reader.next()]
    assert [(f[0], len(f[1])) for f in frames if f] == [({"id": 1}, 3072), ({"id": 2}, 1536)]
    assert reader.next() is None


PARENT = """
import os, sys, time
from pathlib import Path
from avm.embed.worker_client import WorkerEmbedder
embedder = WorkerEmbedder(Path(sys.argv[1]))
embedder.start()
if sys.argv[2] == "idle":
    assert embedder.ready(120), embedder.problem
pid = embedder.worker_pid
fork = os.fork()
if fork == 0:
    time.sleep(600)
    os._exit(0)
print(pid, fork, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("state", ["idle", "loading"])
def test_the_worker_dies_with_its_parent(folder: Path, state: str) -> None:
    """Killed, so that no cleanup runs, while a fork of it, which had a copy of the pipe, lives."""
    command = [sys.executable, "-c", PARENT, str(folder), state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker, fork = map(int, parent.stdout.readline().split())
        try:
            assert not gone(worker)
            parent.kill()
            parent.wait()
            wait_for(lambda: gone(worker), "the worker's end", 60)  # it loads meanwhile
            assert not gone(fork)
        finally:
            parent.kill()
            os.kill(fork, signal.SIGKILL)
