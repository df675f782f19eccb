"""Computing the vectors that are missing: what the keeper's loop and `avm index --wait` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from avm.base.errors import ModelError

if TYPE_CHECKING:
    from avm.embed.protocol import Embedder
    from avm.index.vectors import Missing, Vectors

INSTALL_HINT = "semantic search is off: pip install 'avm-memory[semantic]', then avm index --wait"
#: Passages looked at at once, the newest; the model is asked for the long ones of them first, since
#: like with like is faster.
_WINDOW = 64
#: Passages whose vectors are kept together: what a crash costs.
_BATCH = 16
_BATCH_SECONDS = 120.0


class Filling:
    """Embeds what is missing in an index, window by window."""

    def __init__(self, vectors: Vectors, embedder: Embedder) -> None:
        self._vectors = vectors
        self._embedder = embedder
        #: Passages that the model fails at by themselves: not tried again by this process.
        self._refused: set[bytes] = set()

    def window(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Embed the newest passages that lack it and keep each batch; how many were there to do.

        `stop` is asked between batches. Raises ModelError, IndexDamagedError, RepositoryError;
        what was embedded before is kept.
        """
        found = self._vectors.missing(self._embedder.model_id, _WINDOW + len(self._refused))
        window = [item for item in found if item.hash not in self._refused][:_WINDOW]
        ordered = sorted(window, key=lambda item: len(item.text), reverse=True)
        for start in range(0, len(ordered), _BATCH):
            if stop():
                break
            self._batch(ordered[start : start + _BATCH])
        return len(window)

    def _batch(self, batch: list[Missing]) -> None:
        try:
            self._embed(batch)
        except ModelError as err:
            # One of them may be what the model cannot take: it must not hold up the others.
            self._probe(err)
            for item in batch:
                self._alone(item)

    def _alone(self, item: Missing) -> None:
        try:
            self._embed([item])
        except ModelError as err:
            self._probe(err)
            self._refused.add(item.hash)

    def _probe(self, reason: ModelError) -> None:
        """Raises `reason` if the model does not work at all."""
        try:
            self._embedder.embed(["probe"], timeout=_BATCH_SECONDS)
        except ModelError:
            raise reason from None

    def _embed(self, batch: list[Missing]) -> None:
        data = self._embedder.embed([item.text for item in batch], timeout=_BATCH_SECONDS)
        keys = [item.hash for item in batch]
        self._vectors.store(self._embedder.model_id, zip(keys, data, strict=True))
