"""The file of vectors: what was appended is read, whatever befell the end of it."""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from avm.index import vector_file

DIMENSIONS = 3


def pair(number: int) -> tuple[bytes, bytes]:
    return number.to_bytes(16, "big"), struct.pack("<3f", number, number + 0.5, -number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "v.f32"
    vector_file.create(place, DIMENSIONS)
    return place


def read(path: Path) -> list[tuple[bytes, bytes]]:
    return [(key, data) for _, key, data in vector_file.read(path)]


def test_an_empty_file_says_what_it_is(path: Path) -> None:
    assert vector_file.dimensions_of(path) == DIMENSIONS
    assert vector_file.count(path) == 0
    with pytest.raises(FileExistsError):
        vector_file.create(path, DIMENSIONS)


@pytest.mark.parametrize(
    "data", [b"", b"AVM vectors 1 ", b"x" * 64, b"AVM vectors 1 three" + b" " * 20]
)
def test_another_file_is_none(tmp_path: Path, data: bytes) -> None:
    place = tmp_path / "other"
    assert vector_file.count(place) is None
    place.write_bytes(data)
    assert vector_file.dimensions_of(place) is None
    assert vector_file.count(place) is None
    assert list(vector_file.read(place)) == []
    with pytest.raises(OSError, match="fewer"):
        vector_file.Map(place, 1)


@given(st.lists(st.integers(0, 5), max_size=6), st.data())
def test_what_was_appended_is_there_up_to_where_the_file_was_cut(
    sizes: list[int], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.f32"
        vector_file.create(path, DIMENSIONS)
        pairs: list[tuple[bytes, bytes]] = []
        for size in sizes:
            new = [pair(len(pairs) + n) for n in range(size)]
            assert vector_file.append(path, new) == len(pairs)
            pairs += new
        assert read(path) == pairs
        full = path.stat().st_size
        assert full == vector_file.bytes_of(len(pairs), DIMENSIONS)
        cut = data.draw(st.integers(32, full))
        with path.open("r+b") as file:
            file.truncate(cut)
        whole = vector_file.count(path)
        assert whole is not None and read(path) == pairs[:whole]
        # What is appended after a torn row does not stand beside it.
        assert vector_file.append(path, [pair(99)]) == whole
        assert read(path) == [*pairs[:whole], pair(99)]


def test_a_row_that_was_not_written_right_is_left_out(path: Path) -> None:
    vector_file.append(path, [pair(n) for n in range(3)])
    with path.open("r+b") as file:
        file.seek(vector_file.bytes_of(1, DIMENSIONS) + 34)
        file.write(b"\xff")
    assert [row for row, _, _ in vector_file.read(path)] == [0, 2]
    assert [row for row, _, _ in vector_file.read(path, 1)] == [2]


@pytest.mark.parametrize("shared", [16_384, 20])
def test_the_map_scores_every_row_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: int
) -> None:
    """Rows are multiplied in blocks, by several threads: none is left out at an end of one."""
    numpy = pytest.importorskip("numpy")
    monkeypatch.setattr(vector_file, "_SHARED_ROWS", shared)
    for dimensions, rows in ((384, 1), (384, 21), (384, 43), (3, 5), (10_000, 2)):
        path = tmp_path / f"{dimensions}-{rows}"
        vector_file.create(path, dimensions)
        table = numpy.random.default_rng(1).standard_normal((rows, dimensions)).astype("<f4")
        vector_file.append(path, [(pair(n)[0], table[n].tobytes()) for n in range(rows)])
        mapped = vector_file.Map(path, rows)
        query = table[-1]
        for known in (rows, rows - 1):
            scores = mapped.scores(query.tobytes(), known)
            assert numpy.allclose(scores, table[:known] @ query, rtol=1e-4, atol=1e-3)
        assert mapped.keys(list(range(rows))) == [pair(n)[0] for n in range(rows)]
        assert mapped.keys([]) == []


def test_scores_are_told_while_the_process_ends(tmp_path: Path) -> None:
    """A process that ends starts no threads: the one that asks does it alone."""
    pytest.importorskip("numpy")
    path = tmp_path / "vectors"
    vector_file.create(path, DIMENSIONS)
    vector_file.append(path, [pair(n) for n in range(50)])
    program = """
import sys, threading, pathlib
from avm.index import vector_file
vector_file._SHARED_ROWS = 20
mapped = vector_file.Map(pathlib.Path(sys.argv[1]), 50)
def ask():
    threading.main_thread().join()
    print(len(mapped.scores(mapped.vector(1), 50)), flush=True)
threading.Thread(target=ask).start()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("50\n", "")
