"""Meaning: the embedding model's worker, the vectors of passages, the vector of a query."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from avm.api.waiting import Waiting
from avm.base import log
from avm.base.config import Config, hub_cache
from avm.base.errors import ModelError
from avm.embed.model_folder import MODEL_ID, find_model_folder, semantic_installed
from avm.vault.location import Vault

if TYPE_CHECKING:
    from avm.embed.worker_client import WorkerEmbedder
    from avm.index.index import Index
    from avm.recall.candidates import QueryVector

#: What a recall waits for its query's vector before it ranks by text.
_IMPATIENT_SECONDS = 0.15
#: Loading the model takes about 6 s on two cores; ten times that is no machine worth waiting for.
_PATIENT_SECONDS = 60.0
#: The mode `wait` first embeds what is missing if it is at most this much: some 4 s. More is the
#: business of `avm index --wait`.
_WORTH_EMBEDDING = 256
_BATCH = 64
_BATCH_SECONDS = 120.0


INSTALL_HINT = "semantic search is off: pip install 'avm-memory[semantic]', then avm index --wait"


class Semantic:
    """The model as one vault uses it. Never in this process: the worker is a program of its own."""

    def __init__(self, vault: Vault, config: Config, index: Index, waiting: Waiting) -> None:
        self._mode: str = config["semantic"]
        self._configured: Path | None = config["model"]
        self._index = index
        self._waiting = waiting
        self._log_file = vault.state_dir / "model.log"
        self._guard = threading.Lock()
        self._worker: WorkerEmbedder | None = None

    def describe(self) -> str:
        """One line on whether meaning takes part, and what to do if it does not."""
        if self._mode == "off":
            return "off (configured)"
        if not semantic_installed():
            return INSTALL_HINT
        try:
            return f"{MODEL_ID} in {find_model_folder(self._configured, hub_cache())}"
        except ModelError as err:
            return str(err)

    def query_vector(self, text: str, *, patient: bool = False) -> QueryVector | None:
        """The vector of a query, None if it is not to be had in time.

        A first try is not `patient`: a process that stays starts the model and waits 0.15 s. A
        second one, when text found nothing, waits for it to load, but not in a mount. The mode
        `wait` always waits, and first embeds the passages that lack it, if they are few.
        """
        always = self._mode == "wait"
        unfit = Waiting.MOUNT if patient else Waiting.COMMAND
        if self._mode == "off" or (self._waiting is unfit and not always):
            return None
        if not semantic_installed():
            return None
        from avm.recall.candidates import QueryVector

        timeout = _PATIENT_SECONDS if patient or always else _IMPATIENT_SECONDS
        try:
            if always:
                self._embed_few()
            if not self._index.has_vectors(MODEL_ID):
                return None
            return QueryVector(self._model().embed([text], timeout=timeout)[0], MODEL_ID)
        except ModelError as err:
            told = log.logger(__name__)
            (told.warning if always else told.info)("ranked by text: %s", err)
            return None

    def embed_missing(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Compute the vectors that are missing, newest first. Raises ModelError."""
        if not semantic_installed():
            raise ModelError(INSTALL_HINT)
        have, total = self._index.vector_counts(MODEL_ID)
        while batch := self._index.without_vector(MODEL_ID, _BATCH):
            if progress:
                progress(have, total)
            texts = [item.text for item in batch]
            vectors = self._model().embed(texts, timeout=_BATCH_SECONDS)
            keys = [item.hash for item in batch]
            self._index.store_vectors(MODEL_ID, zip(keys, vectors, strict=True))
            have += len(batch)
        if progress:
            progress(have, total)
        self._index.forget_unused_vectors()

    def _embed_few(self) -> None:
        embedded, passages = self._index.vector_counts(MODEL_ID)
        if 0 < passages - embedded <= _WORTH_EMBEDDING:
            self.embed_missing()

    def close(self) -> None:
        """End the worker, if it was started."""
        with self._guard:
            worker, self._worker = self._worker, None
        if worker:
            worker.close()

    def _model(self) -> WorkerEmbedder:
        from avm.embed.worker_client import WorkerEmbedder

        with self._guard:
            if self._worker is None:
                folder = find_model_folder(self._configured, hub_cache())
                self._worker = WorkerEmbedder(folder, log_file=self._log_file)
            return self._worker
