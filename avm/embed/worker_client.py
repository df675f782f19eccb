"""The embedder that everybody uses: it starts the worker program when needed and asks it.

Importing this costs no torch, no numpy. Nothing here forks without exec, and there is no thread:
the pipes are waited for with deadlines.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from avm.base.errors import ModelError
from avm.embed.model_folder import DIMENSIONS, MODEL_ID
from avm.embed.worker_process import WorkerProcess

#: A request's size. A query that comes while thousands of texts are embedded waits for one request,
#: some 40 ms (90 at worst) of the 150 that it has; with 16 texts or 3,000 characters it was 125 and
#: 210. Larger ones are no faster: 18 to 25 passages/s on two busy cores, the small ones 25. The
#: model reads 256 word pieces of a text, some 1,500 characters.
_CHUNK_TEXTS = 4
_CHUNK_CHARACTERS = 1_500
_MODEL_CHARACTERS = 1_500
#: What is sent of a text at most: tokenizing 1 MB takes 0.4 s, all but its start in vain. Far more
#: than 256 word pieces, so that long words and runs of blanks change nothing.
_SENT_CHARACTERS = 20_000
_BACK_OFF_SECONDS = 30.0
#: A wait that is longer is the same as none, and the system's calls overflow on infinity.
_LONGEST_SECONDS = 1e6


class WorkerEmbedder:
    """all-MiniLM-L6-v2 in a worker program of its own. Implements `Embedder`; thread-safe.

    `folder` is the model's (`find_model_folder`), `log_file` takes the worker's stderr (None:
    nowhere), `threads` is what torch may use (None: its choice), `nice` is added to the worker's
    niceness. `load_limit` and `answer_limit` are seconds after which a worker that loads, or that
    has one request of at most 4 texts, is taken for hung and killed.

    Nothing is started before `start`, `ready` or `embed`. `close` it, or it ends with the process.
    """

    model_id: str = MODEL_ID
    dimensions: int = DIMENSIONS

    def __init__(
        self,
        folder: Path,
        *,
        log_file: Path | None = None,
        threads: int | None = None,
        nice: int = 0,
        load_limit: float = 120.0,
        answer_limit: float = 20.0,
    ) -> None:
        self._folder = folder
        self._log_file = log_file
        self._threads = threads
        self._nice = nice
        self._load_limit = load_limit
        self._answer_limit = answer_limit
        self._worker: WorkerProcess | None = None
        self._closed = False
        self._problem: str | None = None
        self._not_before = 0.0
        self._losses = 0
        self._last_number = 0
        self._make_locks()
        _embedders.add(self)

    @property
    def problem(self) -> str | None:
        """Why the model does not work, in one line; None if it does or was not tried."""
        return self._problem

    @property
    def worker_pid(self) -> int | None:
        """The process id of the worker that was started last and not ended by us."""
        worker = self._worker
        return worker.pid if worker else None

    def start(self) -> None:
        """Begin to load, unless that is done; waits for nothing. Raises ModelError."""
        if self._lock.acquire(blocking=False):
            try:
                self._running_worker()
            finally:
                self._lock.release()

    def ready(self, timeout: float = 0.0) -> bool:
        """Whether the model is loaded, waiting `timeout` seconds for it; begins to load it.

        Never raises: `problem` has the reason for a failure.
        """
        worker = self._worker
        if worker and worker.loaded and worker.alive():
            return True
        deadline = _deadline(timeout)
        try:
            self._enter(deadline)
        except ModelError:
            return False
        try:
            self._loaded_worker(deadline)
        except ModelError:
            return False
        finally:
            self._lock.release()
        return True

    def embed(self, texts: Sequence[str], *, timeout: float) -> list[bytes]:
        """One vector a text: 384 little-endian float32, of length 1.

        The model reads the first 256 word pieces of a text. `timeout` (seconds) covers the wait
        for the model to load and one request of at most 4 texts, and begins anew with each
        further request. Raises ModelError; a load that goes on, and a worker that has taken less
        than `answer_limit`, are left running for the next call.
        """
        cleaned = [_clean(text) for text in texts]
        vectors = [b""] * len(cleaned)
        for chunk in _chunks(cleaned):
            deadline = _deadline(timeout)
            self._enter(deadline)
            try:
                data = self._ask([cleaned[i] for i in chunk], deadline)
            finally:
                self._lock.release()
            size = 4 * DIMENSIONS
            for place, i in enumerate(chunk):
                vectors[i] = data[place * size : (place + 1) * size]
        return vectors

    def close(self) -> None:
        """End the worker; a call under way in another thread raises ModelError."""
        self._closed = True
        while not self._lock.acquire(timeout=0.1):
            worker = self._worker
            if worker:
                worker.kill()
        try:
            self._end_worker()
        finally:
            self._lock.release()

    def _make_locks(self) -> None:
        self._lock = threading.Lock()
        # Whoever waits for the lock holds its queue: else a thread with many requests would take
        # the lock again and again before one that waits has woken up.
        self._queue = threading.Lock()

    def _enter(self, deadline: float) -> None:
        """Take the lock. Raises ModelError if others hold it until the deadline."""
        if self._queue.acquire(timeout=_left(deadline)):
            try:
                if self._lock.acquire(timeout=_left(deadline)):
                    return
            finally:
                self._queue.release()
        raise ModelError("the embedding model is busy")

    def _running_worker(self) -> WorkerProcess:
        """The worker, started if there is none. Raises ModelError, also while that backs off."""
        if self._closed:
            raise ModelError("the embedder is closed")
        worker = self._worker
        if worker and worker.loaded and not worker.alive():
            self._lose("the embedding worker ended")
            worker = None
        if worker is None:
            left = self._not_before - time.monotonic()
            if left > 0:
                raise ModelError(f"{self._problem}; not tried again for {left:.0f} s")
            try:
                worker = self._worker = WorkerProcess(
                    self._folder, self._log_file, self._threads, self._nice
                )
            except ModelError as err:
                self._fail(str(err))
        return worker

    def _loaded_worker(self, deadline: float) -> WorkerProcess:
        worker = self._running_worker()
        if worker.loaded:
            return worker
        load_deadline = worker.started_at + self._load_limit
        try:
            frame = worker.receive(min(deadline, load_deadline))
        except ModelError as err:
            self._fail(str(err))
        if frame is None:
            if time.monotonic() >= load_deadline:
                self._fail(f"the embedding model did not load within {self._load_limit:g} s")
            raise ModelError("the embedding model is still loading")
        header, _ = frame
        if header.get("kind") == "failed":
            self._fail(str(header.get("reason")))
        if header != {"kind": "ready", "model": MODEL_ID, "dimensions": DIMENSIONS}:
            self._fail("the embedding worker did not say that it is ready")
        worker.loaded = True
        self._problem = None
        return worker

    def _ask(self, texts: list[str], deadline: float) -> bytes:
        worker = self._loaded_worker(deadline)
        if worker.pending:
            # Someone else gave up on it; it comes first, and nobody wants it.
            self._answer(worker, deadline)
        self._last_number += 1
        worker.ask(self._last_number, texts)
        error, data = self._answer(worker, deadline)
        if error is not None:
            raise ModelError(error)
        if len(data) != 4 * DIMENSIONS * len(texts):
            self._lose("the embedding worker sent a malformed frame: wrong size")
            raise ModelError("the embedding worker sent a malformed frame: wrong size")
        return data

    def _answer(self, worker: WorkerProcess, deadline: float) -> tuple[str | None, bytes]:
        """The answer to the pending request: (error, vectors). Raises ModelError."""
        assert worker.pending
        number, asked_at = worker.pending
        try:
            # However patient the caller is: one that hangs is of no use to the others either.
            frame = worker.receive(min(deadline, asked_at + self._answer_limit))
            if frame and frame[0].get("id") != number:
                raise ModelError("the embedding worker sent a malformed frame: wrong id")
        except ModelError as err:
            self._lose(str(err))
            raise
        if frame is None:
            took = time.monotonic() - asked_at
            if took < self._answer_limit:
                # Killing it for an impatient caller would cost everybody another load.
                raise ModelError("the embedding model did not answer in time")
            problem = f"the embedding worker gave no answer for {took:.1f} s and was ended"
            self._lose(problem)
            raise ModelError(problem)
        worker.pending = None
        self._losses = 0
        error = frame[0].get("error")
        return (None if error is None else str(error)), frame[1]

    def _lose(self, problem: str) -> None:
        """The worker is of no more use. One loss is an accident; the next backs off."""
        self._end_worker()
        self._problem = problem
        self._losses += 1
        if self._losses > 1:
            self._not_before = time.monotonic() + _BACK_OFF_SECONDS

    def _fail(self, problem: str) -> NoReturn:
        """The model does not load: back off. Raises ModelError."""
        self._end_worker()
        self._problem = problem
        self._not_before = time.monotonic() + _BACK_OFF_SECONDS
        raise ModelError(problem)

    def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker:
            worker.end()

    def _after_fork(self) -> None:
        """In a forked child: its parent's worker and pipes are not ours to use."""
        self._make_locks()
        worker, self._worker = self._worker, None
        if worker:
            worker.abandon()


_embedders: weakref.WeakSet[WorkerEmbedder] = weakref.WeakSet()


def _forget_workers() -> None:
    for embedder in list(_embedders):
        embedder._after_fork()


# A program that uses AVM may fork (multiprocessing does): two processes on one pipe would get each
# other's vectors, and a copy of the pipe would keep the worker alive.
os.register_at_fork(after_in_child=_forget_workers)


def _deadline(timeout: float) -> float:
    return time.monotonic() + min(timeout, _LONGEST_SECONDS)


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def _clean(text: str) -> str:
    """What is sent of a text; a lone surrogate (a file that is not UTF-8) has no bytes to send."""
    return text[:_SENT_CHARACTERS].encode("utf-8", "replace").decode()


def _chunks(texts: Sequence[str]) -> Iterator[list[int]]:
    """Positions of the texts of each request, the longest texts first.

    The model pads a batch to its longest text: like with like is up to twice as fast.
    """
    chunk: list[int] = []
    size = 0
    for i in sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True):
        weight = min(len(texts[i]), _MODEL_CHARACTERS)
        if chunk and (len(chunk) == _CHUNK_TEXTS or size + weight > _CHUNK_CHARACTERS):
            yield chunk
            chunk, size = [], 0
        chunk.append(i)
        size += weight
    if chunk:
        yield chunk
