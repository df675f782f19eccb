"""The program that runs the model: `python -m avm.embed.worker --model FOLDER`.

It speaks frames (avm.embed.frames) on stdin and stdout and ends when stdin does, so it dies with
whoever started it. A program of its own, because torch's threads and 560 MB have no place in a
process that holds a mount or an API.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from avm.base.errors import ModelError
from avm.embed.frames import FrameReader, pack
from avm.embed.model_folder import DIMENSIONS, MODEL_ID, check_sums

_log = logging.getLogger(__name__)
_BATCH = 32
_READ_BYTES = 1 << 16
#: The start of a known text's vector. Right files can still be read wrongly (another pooling,
#: another tokenizer in a new version of a library), and such vectors must never reach an index.
_PROBE = "Agents keep what they learn as plain files."
_PROBE_START = (-0.00492, 0.01592, -0.09151, -0.03271, 0.05173, 0.03159)
_PROBE_TOLERANCE = 0.002


class Model:
    """all-MiniLM-L6-v2 on the CPU, from a folder, without the network."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        """Load it, which takes seconds. Raises ModelError for what a user can mend."""
        check_sums(folder)
        try:
            import torch
            from sentence_transformers import SentenceTransformer
        except ImportError as err:
            raise ModelError(
                f"semantic search needs pip install 'avm-memory[semantic]' ({one_line(err)})"
            ) from err
        if threads is not None:
            torch.set_num_threads(threads)
        self._model: Any = SentenceTransformer(
            str(folder), device="cpu", local_files_only=True, trust_remote_code=False
        )
        self._check()

    def embed(self, texts: Sequence[str]) -> bytes:
        """The texts' vectors, one after the other. Raises ModelError if they make no sense."""
        vectors = self._encode(texts)
        if vectors.shape != (len(texts), DIMENSIONS):
            raise ModelError(f"the model gave vectors of shape {vectors.shape}")
        if not bool((abs((vectors * vectors).sum(axis=1) - 1.0) < 1e-3).all()):
            raise ModelError("the model gave vectors that are not of length 1")
        data: bytes = vectors.astype("<f4").tobytes()
        return data

    def _encode(self, texts: Sequence[str]) -> Any:
        return self._model.encode(
            list(texts),
            batch_size=_BATCH,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )

    def _check(self) -> None:
        start = self._encode([_PROBE])[0][: len(_PROBE_START)]
        if any(abs(a - b) > _PROBE_TOLERANCE for a, b in zip(start, _PROBE_START, strict=True)):
            raise ModelError(f"{MODEL_ID} gives other vectors here than it should: not used")


def one_line(err: BaseException) -> str:
    """An exception as one line of at most 300 characters."""
    return " ".join(f"{type(err).__name__}: {err}".split())[:300]


def serve(requests: int, replies: int, folder: Path, threads: int | None) -> int:
    """Load, then answer until `requests` ends; both are file descriptors. Returns an exit code."""
    try:
        model = Model(folder, threads)
    except ModelError as err:
        _write(replies, pack({"kind": "failed", "reason": str(err)}))
        return 1
    except Exception as err:  # noqa: BLE001  the program's boundary: the parent must hear of it
        _log.exception("the model does not load")
        reason = f"the model in {folder} does not load ({one_line(err)})"
        _write(replies, pack({"kind": "failed", "reason": reason}))
        return 1
    _write(replies, pack({"kind": "ready", "model": MODEL_ID, "dimensions": DIMENSIONS}))
    for request in _requests(requests):
        number = request["id"]
        try:
            answer = pack({"id": number}, model.embed(request["texts"]))
        except ModelError as err:
            answer = pack({"id": number, "error": str(err)})
        except Exception as err:  # noqa: BLE001  a request's boundary
            _log.exception("request %s failed", number)
            answer = pack({"id": number, "error": f"the model failed ({one_line(err)})"})
        _write(replies, answer)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m avm.embed.worker", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--threads", type=int, metavar="N", help="threads; default: torch's choice")
    parser.add_argument("--nice", type=int, default=0, metavar="N", help="how much to give way")
    options = parser.parse_args(argv)
    os.nice(options.nice)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    requests, replies = _take_pipes()
    try:
        return serve(requests, replies, options.model, options.threads)
    except BrokenPipeError:
        return 0


def _take_pipes() -> tuple[int, int]:
    """Keep stdin and stdout for frames; whatever a library prints or reads must not touch them."""
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return requests, replies


def _requests(pipe: int) -> Iterator[dict[str, Any]]:
    reader = FrameReader()
    while data := os.read(pipe, _READ_BYTES):
        reader.feed(data)
        while (frame := reader.next()) is not None:
            yield frame[0]


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]


if __name__ == "__main__":
    sys.exit(main())
