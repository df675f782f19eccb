"""An embedder without a model, for what stands between: it can be slow, fail, and count."""

from __future__ import annotations

import random
import struct
import threading
from collections.abc import Sequence

from avm.base.errors import ModelError


class FakeEmbedder:
    """Implements `Embedder`: a text is the sum of its words, so texts that share some are near."""

    def __init__(self, model_id: str = "fake/1", dimensions: int = 16) -> None:
        self.model_id = model_id
        self.dimensions = dimensions
        #: Every text that was embedded, in order.
        self.read: list[str] = []
        #: Clear it, and whoever asks waits in vain.
        self.answers = threading.Event()
        self.answers.set()
        #: What it says instead of an answer.
        self.problem: str | None = None
        #: A text that holds this fails, whatever else is in its batch.
        self.poison = "\0"
        self.closed = False

    def embed(self, texts: Sequence[str], *, timeout: float) -> list[bytes]:
        if self.closed:
            raise ModelError("the embedder is closed")
        if self.problem:
            raise ModelError(self.problem)
        if not self.answers.wait(timeout) or self.closed:
            raise ModelError("the embedding model did not answer in time")
        if any(self.poison in text for text in texts):
            raise ModelError("the model failed")
        self.read += texts
        return [self.vector(text) for text in texts]

    def vector(self, text: str) -> bytes:
        """The vector of a text."""
        total = [1e-3] * self.dimensions
        for word in text.lower().split():
            source = random.Random(f"{self.model_id} {word}")
            total = [number + source.gauss(0, 1) for number in total]
        length = sum(number * number for number in total) ** 0.5
        return struct.pack(f"<{self.dimensions}f", *(number / length for number in total))

    def close(self) -> None:
        self.closed = True
        self.answers.set()
