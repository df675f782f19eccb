"""What is alike, in real vaults and indexes: pairs, one memory's like, rights, rebuilding. The
embedder has no model: texts that share words are near."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_for
from fake_embedder import FakeEmbedder
from vault_helpers import put

from avm import AVM
from avm.api.embedding import Filling
from avm.base.errors import NotFoundError, UsageError
from avm.index import similar as module
from avm.index import vector_file, vectors
from avm.keeper.meaning import Meaning
from avm.overlay.virtual import read

pytest.importorskip("numpy")

#: With one word or some more the fake vectors have a cosine of well over 0.9.
TEXT = "the broker answers slowly on mondays before markets open in " * 4 + "{}"
#: With two words more it may be a little less.
SHORT = "the broker answers slowly on mondays before markets open in {}"
MODEL = "fake/1"


@pytest.fixture
def avm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AVM]:
    monkeypatch.setenv("AVM_CLOCK", "2026-11-20T09:00:00Z")
    with AVM(tmp_path / "v") as opened:
        yield opened


def write(avm: AVM, name: str, text: str) -> None:
    put(avm.store.vault, name if "/" in name else f"memory/shared/{name}.md", f"{text}\n")


def embed(avm: AVM, model: str = MODEL) -> None:
    avm.store.refresh()
    filling = Filling(avm.store.index.vectors, FakeEmbedder(model))
    while filling.window():
        pass


def pairs(avm: AVM, agent: str | None = None, least: float | None = None) -> set[tuple[str, str]]:
    found = avm.view(agent).similar_pairs(1_000, least)
    assert found.by == "text+vectors" and found.note is None
    return {(Path(pair.path).stem, Path(pair.other).stem) for pair in found.pairs}


def cosine(a: str, b: str) -> float:
    one, other = (struct.unpack("<16f", FakeEmbedder().vector(text)) for text in (a, b))
    return sum(x * y for x, y in zip(one, other, strict=True))


def by_hand(texts: dict[str, str], least: float) -> set[tuple[str, str]]:
    both = itertools.combinations(sorted(texts), 2)
    return {(a, b) for a, b in both if cosine(texts[a], texts[b]) >= least}


# Pairs


@pytest.mark.parametrize(("step", "strip"), [(64, 4096), (7, 5), (1, 3)])
def test_the_pairs_are_those_of_comparing_each_with_each(
    avm: AVM, monkeypatch: pytest.MonkeyPatch, step: int, strip: int
) -> None:
    monkeypatch.setattr(module, "_STEP", step)
    monkeypatch.setattr(module, "_MOST_EACH", 100)
    monkeypatch.setattr(vector_file, "_STRIP_ROWS", strip)
    texts = {f"n{n}": SHORT.format(f"w{n // 3} w{n % 5}") for n in range(30)}
    for least in (0.9, 0.97):
        assert 0 < len(by_hand(texts, least)) < 435
    for names in (list(texts)[:20], list(texts)[20:]):  # some come later
        for name in names:
            write(avm, name, texts[name])
        embed(avm)
        there = {
            name: text for name, text in texts.items() if avm.exists(f"memory/shared/{name}.md")
        }
        for least in (0.9, 0.97):
            assert pairs(avm, least=least) == by_hand(there, least)


def test_the_likest_come_first_and_one_pair_a_memory(avm: AVM) -> None:
    write(avm, "a", TEXT.format("spring"))
    write(avm, "b", TEXT.format("spring too"))
    write(avm, "c", f"# One\n\n{TEXT.format('spring')}\n\n# One\n\n{TEXT.format('spring')}")
    embed(avm)
    found = avm.similar_pairs(10, 0.9)
    scores = [pair.score for pair in found.pairs]
    assert scores == sorted(scores, reverse=True) and min(scores) >= 0.9
    ends = [(pair.path, pair.other) for pair in found.pairs]
    assert len(ends) == len(set(ends)) and all(one != other for one, other in ends)
    assert len(avm.similar_pairs(1).pairs) == 1


def test_of_many_of_one_form_only_some_pairs_are_kept(
    avm: AVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_EACH", 2)
    for n in range(12):
        write(avm, f"n{n}", TEXT.format(f"number{n}"))
    embed(avm)
    assert 12 <= len(pairs(avm)) <= 24


def test_what_is_gone_leaves_and_what_comes_back_returns(avm: AVM) -> None:
    for name in "abc":
        write(avm, name, TEXT.format(name))
    embed(avm)
    assert pairs(avm) == {("a", "b"), ("a", "c"), ("b", "c")}
    place = avm.store.vault.path("memory/shared/b.md")
    text = place.read_text()
    place.unlink()
    assert pairs(avm) == {("a", "c")}
    write(avm, "renamed", text.strip())
    assert pairs(avm) == {("a", "c"), ("a", "renamed"), ("c", "renamed")}
    write(avm, "c", "---\nexpires: 2026-11-19\n---\n" + TEXT.format("c"))
    assert pairs(avm) == {("a", "renamed")}
    write(avm, "d", "---\nsupersedes: a\n---\nsomething else altogether")
    assert pairs(avm) == set()


def test_each_sees_pairs_of_what_it_may_see(avm: AVM) -> None:
    for name in ("private/akashi/a", "private/akashi/a2", "private/hermes/h", "shared/s"):
        write(avm, f"memory/{name}.md", TEXT.format(name.replace("/", " ")))
    write(avm, "notes/mine.md", TEXT.format("mine"))
    embed(avm)
    assert pairs(avm, "akashi") == {("a", "a2"), ("a", "s"), ("a2", "s")}
    assert pairs(avm, "hermes") == {("h", "s")}
    assert len(pairs(avm)) == 10
    akashi, hermes = avm.agent_memory("akashi"), avm.agent_memory("hermes")
    own = hermes.similar("memory/private/hermes/h.md")
    assert [one.path for one in own.memories] == ["/memory/shared/s.md"]
    with pytest.raises(NotFoundError):
        hermes.similar("memory/private/akashi/a.md")
    assert len(akashi.similar("memory/shared/s.md").memories) == 2


def test_equal_passages_need_no_vectors(avm: AVM) -> None:
    for name in ("memory/shared/b.md", "memory/shared/a.md", "memory/private/akashi/c.md"):
        write(avm, name, "The very same line")
    write(avm, "empty", "")
    write(avm, "empty2", "")
    found = avm.similar_pairs()
    assert found.by == "text" and found.note and "nothing is embedded" in found.note
    told = [(p.score, Path(p.path).stem, Path(p.other).stem) for p in found.pairs]
    assert told == [(1.0, "c", "a"), (1.0, "a", "b")]  # by path
    (seen,) = avm.agent_memory("hermes").similar_pairs().pairs
    assert (seen.path, seen.other) == ("/memory/shared/a.md", "/memory/shared/b.md")


# The cache


def test_an_index_built_anew_finds_the_same_pairs(avm: AVM) -> None:
    for n in range(6):
        write(avm, f"n{n}", TEXT.format(n))
    embed(avm)
    before = pairs(avm)
    assert len(before) == 15
    avm.index(rebuild=True)
    avm.store.index.vectors.progress(MODEL)
    assert pairs(avm) == before


def test_another_model_s_pairs_are_its_own(avm: AVM) -> None:
    for n in range(4):
        write(avm, f"n{n}", TEXT.format(n))
    embed(avm)
    assert len(pairs(avm)) == 6
    embed(avm, "fake/2")
    index = avm.store.index
    index.vectors.drop_others("fake/2")
    assert index.similar.progress(MODEL) == (0, 0)
    assert index.similar.pairs(MODEL, avm._filter(""), 0.0, 10) == []
    assert len(pairs(avm)) == 6
    assert index.similar.progress("fake/2") == (4, 4)


def test_a_file_that_was_compacted_is_compared_again(
    avm: AVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "_SPARE_ROWS", 1)
    for n in range(8):
        write(avm, f"n{n}", TEXT.format(n))
    embed(avm)
    assert len(pairs(avm)) == 28
    for n in range(5):
        avm.forget(f"memory/shared/n{n}.md")
    avm.store.refresh()
    avm.store.index.vectors.compact(MODEL)
    assert avm.store.index.similar.progress(MODEL) == (0, 3)
    assert pairs(avm) == {("n5", "n6"), ("n5", "n7"), ("n6", "n7")}


def test_two_processes_compare_no_row_twice(avm: AVM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STEP", 3)
    for n in range(10):
        write(avm, f"n{n}", TEXT.format(n))
    embed(avm)
    with AVM(avm.store.vault.root) as second:
        first, other = avm.store.index.similar, second.store.index.similar
        compared = 0
        while done := first.compare(MODEL) or other.compare(MODEL):
            compared += done
            compared += other.compare(MODEL)
        assert compared == 10
        assert pairs(second) == pairs(avm) and len(pairs(avm)) == 45


def test_more_than_a_question_may_wait_for_is_said(
    avm: AVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WORTH_WAITING", 20)
    for n in range(5):
        write(avm, f"n{n}", TEXT.format(n))
    embed(avm)
    found = avm.similar_pairs()
    assert found.pairs == ()
    assert (
        found.note == "0 of 5 passages compared so far: a keeper does the rest (avm keeper start)"
    )
    avm.store.index.similar.compare(MODEL)
    assert len(pairs(avm)) == 10


def test_the_keeper_finds_them_while_it_embeds(avm: AVM) -> None:
    for n in range(4):
        write(avm, f"n{n}", TEXT.format(n))
    avm.store.refresh()
    meaning = Meaning(avm.store, FakeEmbedder())
    meaning.start()
    try:
        similar = avm.store.index.similar
        wait_for(lambda: similar.progress(MODEL) == (4, 4), "all are compared")
        write(avm, "late", TEXT.format("late"))
        avm.store.refresh()
        meaning.wake()
        wait_for(lambda: similar.progress(MODEL) == (5, 5), "what came is compared")
        assert len(similar.pairs(MODEL, avm._filter(""), 0.9, 100)) == 10
        wait_for(lambda: not meaning.busy, "it rests")
    finally:
        meaning.stop()


# Of one memory


def test_what_is_like_a_memory_by_its_best_passage(avm: AVM) -> None:
    write(avm, "asked", TEXT.format("spring"))
    write(avm, "near", TEXT.format("spring or autumn"))
    write(avm, "long", f"# Far\n\nnothing of it\n\n# Near\n\n{TEXT.format('spring')}")
    write(avm, "far", "apples pears plums")
    write(avm, "old", TEXT.format("spring once"))
    write(avm, "newer", "---\nsupersedes: old\n---\nno longer so")
    embed(avm)
    write(avm, "unembedded", TEXT.format("spring") + ".")
    found = avm.similar("memory/shared/asked.md")
    assert found.by == "text+vectors"
    lines = {Path(one.path).stem: one.line for one in found.memories}
    assert lines == {"unembedded": 1, "near": 1, "long": 5}
    scores = [one.score for one in found.memories]
    assert scores == sorted(scores, reverse=True) and scores[0] == 1.0
    assert [one.path for one in avm.similar("memory/shared/asked.md", 1).memories] == [
        "/memory/shared/unembedded.md"
    ]
    assert len(avm.similar("memory/shared/asked.md", 10, 0.999).memories) == 1


def test_a_memory_with_many_like_passages_hides_no_other(avm: AVM) -> None:
    write(avm, "asked", TEXT.format("spring"))
    many = "\n\n".join(f"# Part {n}\n\n{TEXT.format('spring')}" for n in range(40))
    write(avm, "many", many)
    for n in range(3):
        write(avm, f"other{n}", TEXT.format(f"spring and some more words {n}"))
    embed(avm)
    found = avm.similar("memory/shared/asked.md", 4, 0.3)
    assert {Path(one.path).stem for one in found.memories} == {"many", "other0", "other1", "other2"}


@pytest.mark.parametrize("semantic", ["auto", "off"])
def test_without_vectors_words_are_compared(tmp_path: Path, semantic: str) -> None:
    with AVM(tmp_path / "v", semantic=semantic) as avm:
        write(avm, "asked", TEXT.format("spring"))
        write(avm, "near", TEXT.format("autumn"))
        write(avm, "far", "apples pears plums")
        if semantic == "off":
            embed(avm)
        found = avm.similar("memory/shared/asked.md")
        assert found.by == "text"
        assert [Path(one.path).stem for one in found.memories] == ["near"]
        assert read(avm, "memory/shared/asked.md:similar").data.decode() == (
            f"1 memory like it, by text\n{found.memories[0].score:.2f}"
            " /memory/shared/near.md#L1  near\n"
        )
        assert read(avm, "memory/shared/far.md:similar").data == b"Nothing is like it, by text.\n"


def test_bad_values_are_named(avm: AVM) -> None:
    write(avm, "a", "text")
    with pytest.raises(UsageError, match="min 2: give a number"):
        avm.similar("memory/shared/a.md", 10, 2)
    with pytest.raises(UsageError, match="limit 0"):
        avm.similar("memory/shared/a.md", 0)
    with pytest.raises(UsageError, match=r"min 0\.5: pairs are known from 0\.9 on"):
        avm.similar_pairs(10, 0.5)
    with pytest.raises(NotFoundError):
        avm.similar("memory/shared/none.md")
