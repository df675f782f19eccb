"""What an embedder is: the one interface the layers above know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Embedder(Protocol):
    """Turns texts into vectors whose dot product says how near two texts are in meaning."""

    model_id: str
    """Which model: vectors of two models must never be compared."""
    dimensions: int
    """Numbers in a vector."""

    def embed(self, texts: Sequence[str], *, timeout: float) -> list[bytes]:
        """One vector a text: `dimensions` little-endian float32, of length 1 (L2).

        `timeout` is in seconds. Raises ModelError.
        """
        ...

    def close(self) -> None:
        """Free what the model holds. Calling it twice is fine."""
        ...
