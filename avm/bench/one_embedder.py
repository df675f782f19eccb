"""One model for many vaults, which tells what a question's vector costs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

from avm.base import atomic
from avm.base.config import Config, hub_cache, model_home
from avm.base.errors import ModelError
from avm.embed.model_folder import DIMENSIONS, MODEL_ID, find_model_folder, semantic_installed
from avm.embed.worker_client import WorkerEmbedder


class OneEmbedder:
    """The model's program, started once; an `Embedder` that a vault may close without ending it.

    A text that comes alone, as a question does, is embedded once, and its vector is kept in a file
    beside the vaults; `taken` are the ms of those that were embedded. What is kept already needs no
    model's program.
    """

    model_id: str = MODEL_ID
    dimensions: int = DIMENSIONS

    def __init__(self, config: Config, folder: Path) -> None:
        """`folder` is where questions' vectors are kept. Raises ModelError if there is no model."""
        if not semantic_installed():
            from avm.api.embedding import INSTALL_HINT

            raise ModelError(INSTALL_HINT)
        self._worker = WorkerEmbedder(find_model_folder(config["model"], hub_cache(), model_home()))
        self._file = folder / f"questions-{MODEL_ID}.json"
        self._known = _read(self._file)
        self.taken: list[float] = []

    def embed(self, texts: Sequence[str], *, timeout: float) -> list[bytes]:
        """See `Embedder`. Raises ModelError."""
        if len(texts) != 1:
            return self._worker.embed(texts, timeout=timeout)
        key = hashlib.sha256(texts[0].encode("utf-8", "surrogatepass")).hexdigest()
        if key not in self._known:
            start = time.perf_counter()
            (self._known[key],) = self._worker.embed(texts, timeout=timeout)
            self.taken.append((time.perf_counter() - start) * 1000)
        return [self._known[key]]

    def close(self) -> None:
        """Nothing: the next vault needs it too."""

    def end(self) -> None:
        """End the model's program; keep what it told of questions."""
        self._worker.close()
        if self.taken:
            told = {key: vector.hex() for key, vector in self._known.items()}
            atomic.replace(self._file, json.dumps(told).encode())


def _read(file: Path) -> dict[str, bytes]:
    """The vectors in a file, by the hash of their text; none if it is not there."""
    if not file.exists():
        return {}
    return {key: bytes.fromhex(told) for key, told in json.loads(file.read_bytes()).items()}
