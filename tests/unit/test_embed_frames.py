"""The worker's frames: cut from any pieces, and never guessed."""

from __future__ import annotations

import struct

import pytest

from avm.base.errors import ModelError
from avm.embed.frames import MAX_BYTES, FrameReader, pack


def test_frames_survive_any_cut() -> None:
    stream = pack({"id": 1, "texts": ["größer", "\0", ""]}) + pack({"id": 2}, b"\x00\x01\xff" * 500)
    for step in (1, 7, len(stream)):
        reader = FrameReader()
        frames = []
        for start in range(0, len(stream), step):
            reader.feed(stream[start : start + step])
            while (frame := reader.next()) is not None:
                frames.append(frame)
        assert frames == [
            ({"id": 1, "texts": ["größer", "\0", ""]}, b""),
            ({"id": 2}, b"\x00\x01\xff" * 500),
        ]


@pytest.mark.parametrize(
    "noise",
    [
        b"Loading weights: 100%\n",
        struct.pack(">II", MAX_BYTES + 1, 0),
        struct.pack(">II", 2, MAX_BYTES + 1) + b"{}",
        struct.pack(">II", 3, 0) + b"{x}",
        struct.pack(">II", 2, 0) + b"\xff\xfe",
        struct.pack(">II", 2, 0) + b"[]",
    ],
)
def test_noise_is_an_error(noise: bytes) -> None:
    reader = FrameReader()
    reader.feed(noise)
    with pytest.raises(ModelError, match="malformed frame"):
        reader.next()
