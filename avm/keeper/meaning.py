"""The keeper's part in meaning: it owns the model, embeds what is missing, and ranks for everybody.

The queue is in the index (the passages that have no vector), so a killed keeper loses nothing. One
thread embeds; questions are answered by whoever asks, between two of its small requests.
"""

from __future__ import annotations

import os
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avm.api.embedding import INSTALL_HINT, Filling
from avm.api.semantic import WORTH_EMBEDDING, short
from avm.base import log
from avm.base.config import hub_cache, model_home
from avm.base.errors import AVMError, ModelError
from avm.embed.model_folder import MODEL_ID, find_model_folder, semantic_installed

if TYPE_CHECKING:
    from avm.api.store import Store
    from avm.embed.protocol import Embedder
    from avm.index.text import Filter

_log = log.logger(__name__)
_LOAD_SECONDS = 180.0
_LOADING = "the model is still loading"
_FIRST_BACK_OFF, _LAST_BACK_OFF = 1.0, 300.0
_CACHED_QUERIES = 2_048
#: A question that gets no vector in time shows that the model hangs if nobody heard of it for so
#: long; else it is merely busy.
_SILENT_SECONDS = 2.0
#: A longer wait is that of somebody who wants the model loaded, and what is new embedded, first.
_PATIENT_SECONDS = 1.0
#: The older model answers until the new one has embedded this share of the passages.
_NEARLY_ALL = 0.98
#: Added to the niceness of the model's program. More makes questions slow on a busy machine, since
#: the program that embeds is the one that they wait for.
_NICE = 5


@dataclass(frozen=True)
class Answer:
    """The nearest passages as (content key, cosine), or the reason why there are none."""

    hits: tuple[tuple[bytes, float], ...] = ()
    model: str | None = None
    off: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The answer as it goes over the socket."""
        if self.off is not None:
            return {"off": self.off}
        hits = [[key.hex(), round(cosine, 6)] for key, cosine in self.hits]
        return {"hits": hits, "model": self.model}


@dataclass(frozen=True)
class Progress:
    """Passages with a vector, of how many; `problem`: why it does not go on, if so."""

    have: int
    total: int
    problem: str | None


def is_patient(fields: Mapping[str, Any]) -> bool:
    """Whether a request, its fields as they came over the socket, waits for the model if need be:
    its `wait`, in seconds, is long enough."""
    wait = fields.get("wait")
    return isinstance(wait, int | float) and wait >= _PATIENT_SECONDS


class Meaning:
    """The model of one vault's keeper."""

    def __init__(
        self,
        store: Store,
        embedder: Embedder | None = None,
        older: Sequence[Embedder] = (),
    ) -> None:
        """`embedder`: the model, else the configured one; `older`: models that were in use before,
        whose vectors serve until the new one has nearly all. They are closed by `stop`."""
        self._store = store
        self._vectors = store.index.vectors
        self._similar = store.index.similar
        self._given = embedder
        self._current: Embedder | None = None
        self._older = list(older)
        self._serving: Embedder | None = None
        self._filling: Filling | None = None
        #: Why the model does not work, and whether that is more than a matter of time.
        self._reason, self._failed = _LOADING, False
        #: When the model last answered anybody; seconds of the monotonic clock.
        self._heard = 0.0
        self._embedding = False
        self._works = threading.Event()
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._guard = threading.Lock()
        self._cache: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to load the model and to embed what is missing; waits for nothing.

        With `semantic = "off"` nothing is started.
        """
        if self._store.config["semantic"] == "off":
            self._reason, self._failed = "configured", True
            return
        self._thread = threading.Thread(target=self._run, name="avm-meaning", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """The index changed: there may be something to embed."""
        self._woken.set()

    def stop(self) -> None:
        """End the thread and the model; what is under way is lost, what was kept is not."""
        self._stopped.set()
        self._woken.set()
        for embedder in (self._current or self._given, *self._older):
            if embedder is not None:
                embedder.close()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        # It may have been made while this began.
        if self._current is not None:
            self._current.close()

    def progress(self) -> Progress:
        """How far the embedding is. Raises IndexDamagedError."""
        embedder = self._current or self._given
        model = embedder.model_id if embedder else MODEL_ID
        return Progress(*self._vectors.progress(model), self._reason if self._failed else None)

    @property
    def busy(self) -> bool:
        """Whether it is embedding, or comparing what was embedded."""
        return self._embedding

    def embed(self, texts: Sequence[str], timeout: float) -> list[bytes]:
        """Vectors of texts, by the current model. Raises ModelError."""
        if not self._wait(timeout):
            raise ModelError(self._reason)
        assert self._current is not None
        return self._current.embed(texts, timeout=timeout)

    def nearest(
        self, text: str, where: Filter, limit: int, also: Sequence[bytes], timeout: float
    ) -> Answer:
        """The passages nearest to `text` that `where` lets through, and the cosines of `also`.

        `timeout`: seconds for the query's vector. A model that is not there, or hangs, is a reason
        at once, unless whoever asks is patient (a second or more), and then what is new is embedded
        first, if it is little.
        """
        deadline = time.monotonic() + timeout
        try:
            if timeout >= _PATIENT_SECONDS:
                self._wait(timeout)
                self._wait_for_few(deadline)
            serving = self._serving
            if not self._works.is_set() or serving is None:
                return Answer(off=self._reason)
            if not self._vectors.any_of(serving.model_id):
                return Answer(off="no passage is embedded yet")
            query = self._query(serving, text, max(0.0, deadline - time.monotonic()))
            found = self._vectors.cosines(query, serving.model_id, where, limit, also)
            return Answer(tuple(found.items()), serving.model_id)
        except AVMError as err:
            return Answer(off=short(err))

    def answer(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The op `nearest`: its fields as they came over the socket, and what goes back."""
        from avm.index.text import Filter

        also = [bytes.fromhex(key) for key in fields["also"]]
        where = Filter.from_json(fields["where"])
        wait = float(fields.get("wait", 0.1))
        return self.nearest(fields["text"], where, int(fields["limit"]), also, wait).as_json()

    def _query(self, embedder: Embedder, text: str, timeout: float) -> bytes:
        """A query's vector, remembered. Raises ModelError."""
        key = embedder.model_id, unicodedata.normalize("NFC", text)
        with self._guard:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        try:
            (vector,) = embedder.embed([key[1]], timeout=timeout)
        except ModelError as err:
            if time.monotonic() - self._heard > _SILENT_SECONDS:
                # The next ones are not to wait in vain; the loop finds out whether it still works.
                self._reason = short(err)
                self._works.clear()
                self._woken.set()
            raise
        self._heard = time.monotonic()
        with self._guard:
            self._cache[key] = vector
            if len(self._cache) > _CACHED_QUERIES:
                self._cache.popitem(last=False)
        return vector

    def _wait(self, timeout: float) -> bool:
        """Whether the model works, waiting for it to load, unless it has failed."""
        deadline = time.monotonic() + timeout
        while not self._works.wait(0.05):
            if self._failed or self._stopped.is_set() or time.monotonic() > deadline:
                return False
        return True

    def _wait_for_few(self, deadline: float) -> None:
        while time.monotonic() < deadline and self._works.is_set():
            state = self.progress()
            if not 0 < state.total - state.have <= WORTH_EMBEDDING:
                return
            self._woken.set()
            time.sleep(0.05)

    # The thread

    def _run(self) -> None:
        back_off = _FIRST_BACK_OFF
        while not self._stopped.is_set():
            self._woken.clear()
            try:
                self._round()
                self._embedding = False
                back_off = _FIRST_BACK_OFF
                self._woken.wait()
            except (AVMError, OSError) as err:
                back_off = self._rest(err, back_off)
            except Exception as err:  # noqa: BLE001  the thread's boundary: it must not end, nor spin
                _log.exception("embedding failed")
                back_off = self._rest(err, back_off)

    def _rest(self, err: Exception, seconds: float) -> float:
        """Say what is wrong and wait; returns how long to wait the next time."""
        self._embedding = False
        if not self._stopped.is_set():
            _log.info("embedding waits %s s: %s", seconds, err)
            self._reason, self._failed = short(err), True
            if isinstance(err, ModelError):
                self._works.clear()
            self._stopped.wait(seconds)
        return min(_LAST_BACK_OFF, seconds * 2)

    def _round(self) -> None:
        """Have the model work, then embed all that is missing. Raises AVMError, OSError."""
        embedder = self._load()
        if self._filling is None:
            self._filling = Filling(self._vectors, embedder)
        if not self._works.is_set():
            embedder.embed(["warm"], timeout=_LOAD_SECONDS)
            self._heard = time.monotonic()
            self._choose(embedder)
        self._reason, self._failed = "the model does not answer", False
        self._works.set()
        while not self._interrupted() and self._filling.window(self._interrupted):
            self._embedding = True
            self._heard = time.monotonic()
            self._choose(embedder)
            self._similar.compare(embedder.model_id)
        if not self._interrupted():
            self._choose(embedder)
            self._vectors.compact(embedder.model_id)
        # What an index that was built anew, or a file that was compacted, has to compare again.
        while not (self._interrupted() or self._woken.is_set()):
            if not self._similar.compare(embedder.model_id):
                break
            self._embedding = True

    def _interrupted(self) -> bool:
        """Whether to stop between two batches, the last of which was answered."""
        if self._works.is_set():
            self._heard = time.monotonic()
        return self._stopped.is_set() or not self._works.is_set()

    def _load(self) -> Embedder:
        if self._current is None:
            self._current = self._given or self._configured()
        return self._current

    def _configured(self) -> Embedder:
        if not semantic_installed():
            raise ModelError(INSTALL_HINT)
        from avm.embed.worker_client import WorkerEmbedder

        folder = find_model_folder(self._store.config["model"], hub_cache(), model_home())
        log_file = self._store.vault.state_dir / "model.log"
        # Half of the processors: whoever writes, searches or mounts has the others.
        threads = max(1, (os.cpu_count() or 1) // 2)
        return WorkerEmbedder(folder, log_file=log_file, threads=threads, nice=_NICE)

    def _choose(self, current: Embedder) -> None:
        """Whose vectors answer: the current model's, or an older one's that has embedded more."""
        if self._older:
            have, total = self._vectors.progress(current.model_id)
            if have < _NEARLY_ALL * total:
                counts = {e: self._vectors.count(e.model_id, None)[0] for e in self._older}
                best = max(self._older, key=lambda embedder: counts[embedder])
                if counts[best] > have:
                    self._serving = best
                    return
            if have == total:
                for embedder in self._older:
                    embedder.close()
                self._older = []
        self._serving = current
        if not self._older:
            self._vectors.drop_others(current.model_id)
