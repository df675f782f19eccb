"""The messages between the worker program and its client.

A frame is two big-endian 32-bit lengths, a JSON object of the first length (UTF-8) and raw bytes
of the second. After its start the worker sends one of

    {"kind": "ready", "model": "all-MiniLM-L6-v2", "dimensions": 384}
    {"kind": "failed", "reason": "one line"}          and ends

and then answers each request `{"id": 7, "texts": ["…", "…"]}`, in order, with one of

    {"id": 7}                                         and the vectors, float32 little-endian
    {"id": 7, "error": "one line"}
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

from avm.base.errors import ModelError

_LENGTHS = struct.Struct(">II")
#: Far above the largest frame of either side (16 texts of 20,000 characters); below what noise in
#: the pipe, read as a length, would make us wait for.
MAX_BYTES = 16 * 1024 * 1024


def pack(header: Mapping[str, object], payload: bytes = b"") -> bytes:
    """The bytes of one frame."""
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    return _LENGTHS.pack(len(text), len(payload)) + text + payload


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take in what was read from the pipe."""
        self._buffer += data

    def next(self) -> tuple[dict[str, Any], bytes] | None:
        """The next whole frame (header, payload); None until it is complete.

        Raises ModelError if the stream holds something else.
        """
        if len(self._buffer) < _LENGTHS.size:
            return None
        text_size, payload_size = _LENGTHS.unpack_from(self._buffer)
        if max(text_size, payload_size) > MAX_BYTES:
            raise ModelError("the embedding worker sent a malformed frame: impossible length")
        middle = _LENGTHS.size + text_size
        end = middle + payload_size
        if len(self._buffer) < end:
            return None
        text, payload = bytes(self._buffer[_LENGTHS.size : middle]), bytes(self._buffer[middle:end])
        del self._buffer[:end]
        try:
            header = json.loads(text)
        except ValueError as err:
            raise ModelError("the embedding worker sent a malformed frame: no JSON") from err
        if not isinstance(header, dict):
            raise ModelError("the embedding worker sent a malformed frame: no JSON object")
        return header, payload
