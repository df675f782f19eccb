"""Vectors of a real index: ranking as by hand, crashes, damage, two writers. No model."""

from __future__ import annotations

import os
import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from vault_helpers import put, python

from avm.index.index import Index
from avm.index.text import Filter
from avm.vault import init
from avm.vault.location import Vault

pytest.importorskip("numpy")

MODEL = "fake/1"
ALL = Filter(None, "", time.time())


def vector_of(text: str) -> bytes:
    """A direction that is the same for the same text."""
    numbers = [random.Random(f"{text} {n}").gauss(0, 1) for n in range(8)]
    length = sum(n * n for n in numbers) ** 0.5
    return struct.pack("<8f", *(n / length for n in numbers))


def cosine(a: bytes, b: bytes) -> float:
    return sum(x * y for x, y in zip(struct.unpack("<8f", a), struct.unpack("<8f", b), strict=True))


def fill(index: Index, model: str = MODEL, limit: int = 10_000) -> int:
    """Embed what is missing, as if by a model; how many there were."""
    found = index.vectors.missing(model, limit)
    index.vectors.store(model, [(item.hash, vector_of(item.text)) for item in found])
    return len(found)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return init.make(tmp_path / "v")


@pytest.fixture
def index(vault: Vault) -> Iterator[Index]:
    index = Index(vault)
    yield index
    index.close()


def write(vault: Vault, names: range, text: str = "note", folder: str = "memory/shared") -> None:
    for n in names:
        put(vault, f"{folder}/n{n}.md", f"{text} {n}\n")


def files(vault: Vault) -> list[Path]:
    return sorted(vault.index_dir.glob("vectors-*.f32"))


def texts(index: Index, found: dict[int, float]) -> list[str]:
    passages = index.passages(found)
    return [passages[i][0].text.strip() for i in sorted(found, key=lambda i: -found[i])]


def by_hand(index: Index, query: bytes, where: Filter, limit: int) -> list[str]:
    seen = {row.id for row in index.list_memories(where)}
    rows = [row for row, memory in index.passages(range(1, 10_000)).values() if memory.id in seen]
    scored = sorted(((cosine(query, vector_of(row.text)), row.text) for row in rows), reverse=True)
    return [text.strip() for _, text in scored[:limit]]


@pytest.mark.parametrize("agents", [1, 3, 40])
@pytest.mark.parametrize("limit", [1, 30])
def test_the_nearest_are_those_of_filtering_first(
    vault: Vault, index: Index, agents: int, limit: int
) -> None:
    """Whether nearly all, some or few pass the filter, which are three ways to get there."""
    for n in range(120):
        put(vault, f"memory/private/a{n % agents}/n{n}.md", f"note {n}\n")
    index.refresh()
    fill(index)
    query = vector_of("question")
    for folders in (None, ("memory/private/a0",), ("memory/private/nobody",)):
        where = Filter(folders, "", time.time())
        found = index.nearest(query, MODEL, where, limit)
        assert texts(index, found) == by_hand(index, query, where, limit)
        passages = index.passages(found)
        for i, value in found.items():
            assert value == pytest.approx(cosine(query, vector_of(passages[i][0].text)), abs=1e-5)


def test_the_chunks_asked_for_besides_are_told_of(vault: Vault, index: Index) -> None:
    write(vault, range(50))
    index.refresh()
    fill(index)
    put(vault, "memory/shared/late.md", "no vector yet\n")
    index.refresh()
    query = vector_of("question")
    everything = index.nearest(query, MODEL, ALL, 100)
    assert len(everything) == 50
    far = sorted(everything, key=lambda i: everything[i])[:5]
    late = max(index.passages(range(1, 1_000)))
    found = index.nearest(query, MODEL, ALL, 3, [*far, late, 10**9])
    assert len(found) == 8
    assert {i: found[i] for i in far} == {i: everything[i] for i in far}


def test_the_same_text_in_two_files_is_found_in_both(vault: Vault, index: Index) -> None:
    for name in ("a", "b", "c"):
        put(vault, f"memory/shared/{name}.md", "the same\n")
    index.refresh()
    assert fill(index) == 1
    assert index.vectors.progress(MODEL) == (1, 1)
    found = index.nearest(vector_of("question"), MODEL, ALL, 2)
    assert len(found) == 2 and len(set(found.values())) == 1


def test_expiry_is_exact(vault: Vault, index: Index) -> None:
    put(vault, "memory/shared/x.md", "---\nexpires: 2030-01-01T00:00:00Z\n---\nsoon gone\n")
    index.refresh()
    fill(index)
    end = 1893456000.0
    for now, there in ((end - 0.001, 1), (end, 0), (end + 0.001, 0), (end - 0.001, 1)):
        assert len(index.nearest(vector_of("q"), MODEL, Filter(None, "", now), 5)) == there


def test_a_write_is_in_the_next_answer_and_a_deletion_is_not(vault: Vault, index: Index) -> None:
    write(vault, range(5))
    index.refresh()
    fill(index)
    query = vector_of("note 77\n")
    for _ in range(3):
        put(vault, "memory/shared/new.md", "note 77\n")
        index.refresh()
        fill(index)
        assert texts(index, index.nearest(query, MODEL, ALL, 1)) == ["note 77"]
        vault.path("memory/shared/new.md").unlink()
        index.refresh()
        assert "note 77" not in texts(index, index.nearest(query, MODEL, ALL, 9))


def test_the_queue_is_newest_first_and_survives(vault: Vault, index: Index) -> None:
    for n in range(6):
        place = put(vault, f"memory/shared/n{n}.md", f"note {n}\n")
        os.utime(place, (1_000_000 + n, 1_000_000 + n))
    index.refresh()
    first = index.vectors.missing(MODEL, 2)
    assert [item.text.strip() for item in first] == ["note 5", "note 4"]
    index.vectors.store(MODEL, [(item.hash, vector_of(item.text)) for item in first])
    index.close()
    with_another = Index(vault)
    assert with_another.vectors.progress(MODEL) == (2, 6)
    assert [i.text.strip() for i in with_another.vectors.missing(MODEL, 2)] == ["note 3", "note 2"]
    with_another.close()


def test_a_rename_and_a_copy_are_not_embedded_again(vault: Vault, index: Index) -> None:
    put(vault, "memory/shared/a.md", "same text\n")
    index.refresh()
    assert fill(index) == 1
    vault.path("memory/shared/a.md").rename(vault.path("memory/shared/b.md"))
    put(vault, "memory/shared/c.md", "same text\n")
    index.refresh()
    assert index.vectors.progress(MODEL) == (1, 1)
    assert fill(index) == 0


def test_a_crash_before_the_rows_leaves_vectors_that_are_found(vault: Vault, index: Index) -> None:
    from avm.index import vector_file

    write(vault, range(4))
    index.refresh()
    fill(index, limit=2)
    left = index.vectors.missing(MODEL, 10)
    (file,) = files(vault)
    # All of one, half of the other, and then the power went.
    vector_file.append(file, [(item.hash, vector_of(item.text)) for item in left])
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 5)
    assert len(index.nearest(vector_of("q"), MODEL, ALL, 9)) == 2
    assert [item.hash for item in index.vectors.missing(MODEL, 10)] == [left[1].hash]
    fill(index)
    query = vector_of("q")
    assert texts(index, index.nearest(query, MODEL, ALL, 9)) == by_hand(index, query, ALL, 9)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_truncated_file_lacks_what_it_lost(vault: Vault, index: Index, rows: int) -> None:
    from avm.index import vector_file

    write(vault, range(5))
    index.refresh()
    fill(index)
    query = vector_of("q")
    assert len(index.nearest(query, MODEL, ALL, 9)) == 5
    os.truncate(files(vault)[0], vector_file.bytes_of(rows, 8) + 7)
    assert len(index.nearest(query, MODEL, ALL, 9)) == rows
    assert index.vectors.progress(MODEL) == (rows, 5)
    assert fill(index) == 5 - rows
    assert texts(index, index.nearest(query, MODEL, ALL, 9)) == by_hand(index, query, ALL, 9)


@pytest.mark.parametrize("damage", ["removed", "emptied", "another"])
def test_a_lost_file_is_embedded_again(vault: Vault, index: Index, damage: str) -> None:
    write(vault, range(5))
    index.refresh()
    fill(index)
    (file,) = files(vault)
    file.unlink()
    if damage != "removed":
        file.write_bytes(b"" if damage == "emptied" else b"something else" * 50)
    again = Index(vault)
    assert again.nearest(vector_of("q"), MODEL, ALL, 9) == {}
    assert again.vectors.progress(MODEL) == (0, 5)
    assert fill(again) == 5
    query = vector_of("q")
    for reader in (index, again):
        assert texts(reader, reader.nearest(query, MODEL, ALL, 9)) == by_hand(again, query, ALL, 9)
    again.close()


def test_another_file_s_rows_are_never_taken_for_ours(vault: Vault, index: Index) -> None:
    """Each row says what it is of: even a file that somebody mixed up tells no lies."""
    from avm.index import vector_file

    write(vault, range(5))
    index.refresh()
    fill(index)
    (file,) = files(vault)
    rows = [(key, data) for _, key, data in vector_file.read(file)]
    file.unlink()
    vector_file.create(file, 8)
    vector_file.append(file, rows[::-1])
    again = Index(vault)
    query = vector_of("q")
    assert texts(again, again.nearest(query, MODEL, ALL, 9)) == by_hand(again, query, ALL, 9)
    chunk = next(iter(again.nearest(query, MODEL, ALL, 1)))
    only = again.nearest(query, MODEL, Filter(None, "memory/nothing", time.time()), 1, [chunk])
    assert only in ({}, {chunk: pytest.approx(again.nearest(query, MODEL, ALL, 1)[chunk])})
    again.close()


def test_a_new_index_finds_its_vectors_again(vault: Vault, index: Index) -> None:
    write(vault, range(8))
    index.refresh()
    fill(index)
    index.rebuild()
    assert index.vectors.progress(MODEL) == (8, 8)
    assert fill(index) == 0
    query = vector_of("q")
    assert texts(index, index.nearest(query, MODEL, ALL, 9)) == by_hand(index, query, ALL, 9)


def test_compaction_drops_what_is_in_no_file(vault: Vault, index: Index) -> None:
    from avm.index import vectors

    write(vault, range(30))
    index.refresh()
    fill(index)
    query = vector_of("q")
    reader = Index(vault)
    before = reader.nearest(query, MODEL, ALL, 50)
    (old,) = files(vault)
    size = old.stat().st_size
    for n in range(20):
        vault.path(f"memory/shared/n{n}.md").unlink()
    index.refresh()
    index.vectors.compact(MODEL)
    assert files(vault) == [old], "few are kept: an undo may bring them back"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "_SPARE_ROWS", 5)
        index.vectors.compact(MODEL)
    (new,) = files(vault)
    assert new != old and new.stat().st_size < size
    assert index.vectors.progress(MODEL) == (10, 10)
    for one in (index, reader):
        assert texts(one, one.nearest(query, MODEL, ALL, 50)) == by_hand(index, query, ALL, 50)
    assert len(before) == 30
    write(vault, range(25))
    index.refresh()
    assert fill(index) == 20
    assert texts(reader, reader.nearest(query, MODEL, ALL, 50)) == by_hand(index, query, ALL, 50)
    reader.close()


def test_a_reader_in_the_middle_of_its_snapshot_keeps_what_it_mapped(
    vault: Vault, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avm.index import vectors

    monkeypatch.setattr(vectors, "_SPARE_ROWS", 2)
    write(vault, range(9))
    index.refresh()
    fill(index)
    reader, query = Index(vault), vector_of("q")
    with reader.snapshot():
        before = reader.nearest(query, MODEL, ALL, 50)
        for n in range(8):
            vault.path(f"memory/shared/n{n}.md").unlink()
        index.refresh()
        index.vectors.compact(MODEL)
        assert index.vectors.progress(MODEL) == (1, 1)
        assert reader.nearest(query, MODEL, ALL, 50) == before
    assert len(reader.nearest(query, MODEL, ALL, 50)) == 1
    reader.close()


def test_models_are_kept_apart(vault: Vault, index: Index) -> None:
    write(vault, range(4))
    index.refresh()
    fill(index)
    assert index.vectors.progress("fake/1/b") == (0, 4)
    fill(index, "fake/1/b", limit=3)
    assert index.vectors.progress("fake/1/b") == (3, 4)
    assert index.vectors.count(MODEL, None) == (4, 4)
    assert len(index.nearest(vector_of("q"), "fake/1/b", ALL, 9)) == 3
    assert index.nearest(b"1234" * 3, MODEL, ALL, 9) == {}, "a query of another size"
    index.vectors.drop_others("fake/1/b")
    assert not index.vectors.any_of(MODEL) and len(files(vault)) == 1
    assert index.vectors.progress(MODEL) == (0, 4)


WRITER = """
import sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[3], str(Path(sys.argv[3]).parent)]
from test_vectors import MODEL, vector_of
from avm.index.index import Index
from avm.vault.location import open_vault
index = Index(open_vault(Path(sys.argv[1])))
stored = 0
while found := index.vectors.missing(MODEL, 7):
    index.vectors.store(MODEL, [(item.hash, vector_of(item.text)) for item in found])
    stored += len(found)
print(stored)
"""


def test_two_processes_append_at_once(vault: Vault, index: Index) -> None:
    write(vault, range(300))
    index.refresh()
    here = Path(__file__).parent
    both = [python(WRITER, vault.root, str(n), here) for n in range(2)]
    answers = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert sum(int(out) for out, _ in answers) >= 300
    assert index.vectors.progress(MODEL) == (300, 300)
    from avm.index import vector_file

    (file,) = files(vault)
    assert vector_file.count(file) == 300, "a passage was kept twice"
    query = vector_of("q")
    assert texts(index, index.nearest(query, MODEL, ALL, 99)) == by_hand(index, query, ALL, 99)


def test_an_answer_by_content_fits_an_index_with_other_ids(vault: Vault, index: Index) -> None:
    """What the keeper saw may be newer than this reader's snapshot, and ids are used again."""
    write(vault, range(6))
    index.refresh()
    fill(index)
    reader, query = Index(vault), vector_of("q")
    with reader.snapshot():
        before = reader.nearest(query, MODEL, ALL, 3)
        keys = reader.vectors.keys_of(before)
        for n in range(6):
            put(vault, f"memory/shared/n{n}.md", f"other {n}\n")
        index.refresh()
        fill(index)
        told = index.vectors.cosines(query, MODEL, ALL, 3, list(keys.values()))
        found = reader.vectors.by_content(told, ALL, 3, keys)
        assert found == before
    reader.close()


def test_a_full_disk_is_said_and_loses_nothing(vault: Vault, index: Index) -> None:
    from avm.base.errors import IndexDamagedError

    write(vault, range(3))
    index.refresh()
    fill(index, limit=1)
    found = index.vectors.missing(MODEL, 9)
    pairs = [(item.hash, vector_of(item.text)) for item in found]
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (files(vault)[0].stat().st_size + 40, limits[1]))
    try:
        with pytest.raises(IndexDamagedError, match="embeddings are not kept"):
            index.vectors.store(MODEL, pairs)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert index.vectors.progress(MODEL) == (1, 3)
    index.vectors.store(MODEL, pairs)
    query = vector_of("q")
    assert texts(index, index.nearest(query, MODEL, ALL, 9)) == by_hand(index, query, ALL, 9)


def test_asking_for_what_is_not_there_imports_no_numpy(vault: Vault) -> None:
    code = (
        "import sys; from pathlib import Path; from avm.index.index import Index;"
        "from avm.vault.location import open_vault; from avm.index.text import Filter;"
        "i = Index(open_vault(Path(sys.argv[1]))); i.refresh(); i.vectors.keys_of([1]);"
        "i.vectors.by_content({b'x' * 16: 0.5}, Filter(None, '', 0.0), 3, {});"
        "print('numpy' in sys.modules)"
    )
    out, err = python(code, vault.root).communicate(timeout=30)
    assert out.strip() == b"False", err.decode()
