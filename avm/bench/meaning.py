"""Vectors for a vault that is too large to embed in reasonable time: random ones, of length 1."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from avm.embed.model_folder import DIMENSIONS, MODEL_ID

if TYPE_CHECKING:
    from avm.api.store import Store
    from avm.index.index import Index
    from avm.recall.candidates import Near

_BATCH = 10_000


class RandomMeaning:
    """Stands where the model stands, and gives each question a random vector at once."""

    #: Why meaning takes no part: it does.
    why_off = None

    def __init__(self, index: Index, seed: int) -> None:
        import numpy

        self._index = index
        self._numpy: Any = numpy
        self._chance: Any = numpy.random.default_rng(seed)

    def near(self, text: str, *, patient: bool = False) -> Near:
        """Who ranks by a vector, whatever the text."""
        return partial(self._index.nearest, self.vectors(1)[0], MODEL_ID)

    def vectors(self, count: int) -> list[bytes]:
        """`count` vectors as float32 bytes."""
        drawn = self._chance.standard_normal((count, DIMENSIONS), dtype="float32")
        drawn /= self._numpy.linalg.norm(drawn, axis=1, keepdims=True)
        return [line.tobytes() for line in drawn.astype("<f4")]

    def fill(self) -> int:
        """Give every passage without a vector one; how many there were."""
        filled, table = 0, self._index.vectors
        while batch := table.missing(MODEL_ID, _BATCH):
            keys = [missing.hash for missing in batch]
            table.store(MODEL_ID, zip(keys, self.vectors(len(keys)), strict=True))
            filled += len(batch)
        return filled

    def close(self) -> None:
        """Nothing to end."""


def use_random(store: Store, seed: int) -> int:
    """Fill the index, and answer with random vectors from here on; how many passages have one."""
    meaning = RandomMeaning(store.index, seed)
    filled = meaning.fill()
    store.semantic = meaning  # type: ignore[assignment]  # in place of the model, which is not run
    return filled
