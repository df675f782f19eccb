"""Vectors for a vault that is too large to embed in reasonable time: random ones, of length 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from avm.embed.model_folder import DIMENSIONS, MODEL_ID

if TYPE_CHECKING:
    from avm.api.store import Store
    from avm.index.index import Index
    from avm.recall.candidates import QueryVector

_BATCH = 10_000


class RandomMeaning:
    """Stands where the model stands, and gives each question a random vector at once."""

    def __init__(self, seed: int) -> None:
        import numpy

        self._numpy: Any = numpy
        self._chance: Any = numpy.random.default_rng(seed)

    def query_vector(self, text: str, *, patient: bool = False) -> QueryVector:
        """A vector, whatever the text."""
        from avm.recall.candidates import QueryVector

        return QueryVector(self.vectors(1)[0], MODEL_ID)

    def vectors(self, count: int) -> list[bytes]:
        """`count` vectors as float32 bytes."""
        drawn = self._chance.standard_normal((count, DIMENSIONS), dtype="float32")
        drawn /= self._numpy.linalg.norm(drawn, axis=1, keepdims=True)
        return [line.tobytes() for line in drawn.astype("<f4")]

    def fill(self, index: Index) -> int:
        """Give every passage without a vector one; how many there were."""
        filled = 0
        while batch := index.without_vector(MODEL_ID, _BATCH):
            keys = [missing.hash for missing in batch]
            index.store_vectors(MODEL_ID, zip(keys, self.vectors(len(keys)), strict=True))
            filled += len(batch)
        return filled

    def close(self) -> None:
        """Nothing to end."""


def use_random(store: Store, seed: int) -> int:
    """Fill the index, and answer with random vectors from here on; how many passages have one."""
    meaning = RandomMeaning(seed)
    filled = meaning.fill(store.index)
    store._semantic = meaning  # type: ignore[assignment]  # in place of the model, which is not run
    return filled
