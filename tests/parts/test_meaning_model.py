"""The keeper's meaning with the real model: what it finds, and what a killed or hung one costs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import needs_model, wait_for

from avm import AVM
from avm.embed.model_folder import find_model_folder
from avm.embed.worker_client import WorkerEmbedder
from avm.index import vector_file
from avm.index.text import Filter
from avm.keeper import meaning as module
from avm.keeper.meaning import Meaning

pytestmark = needs_model


class Lasting(WorkerEmbedder):
    """One worker for all tests of this module: `Meaning.stop` ends its embedder."""

    def close(self) -> None:
        return

    def end(self) -> None:
        super().close()


@pytest.fixture(scope="module")
def embedder() -> Iterator[Lasting]:
    embedder = Lasting(find_model_folder(None, None))
    embedder.start()
    yield embedder
    embedder.end()


@pytest.fixture
def avm(tmp_path: Path) -> Iterator[AVM]:
    with AVM(tmp_path / "v") as avm:
        yield avm


@pytest.fixture
def meaning(avm: AVM, embedder: Lasting) -> Iterator[Meaning]:
    meaning = Meaning(avm.store, embedder)
    yield meaning
    meaning.stop()


def everything() -> Filter:
    return Filter(None, "", time.time())


def remember(avm: AVM, count: int, what: str = "note") -> None:
    for n in range(count):
        avm.remember(f"{what} {n}: the price of tea in the {n}th town went up again")
    avm.store.refresh()


def settle(meaning: Meaning) -> None:
    def settled() -> bool:
        state = meaning.progress()
        return state.have == state.total

    wait_for(settled, "all is embedded", 120)


def rows(avm: AVM) -> int | None:
    (file,) = avm.store.vault.index_dir.glob("vectors-*.f32")
    return vector_file.count(file)


def test_two_paraphrases_are_found_to_be_alike(avm: AVM, meaning: Meaning) -> None:
    one = avm.remember("Never deploy to production on a Friday afternoon", title="deploys").path
    two = avm.remember("Do not deploy to production on Friday afternoons", title="deploys").path
    three = avm.remember("Shipping a release right before the weekend is a bad idea").path
    remember(avm, 20)
    meaning.start()
    settle(meaning)
    similar = avm.store.index.similar
    wait_for(lambda: similar.progress(embedder_id(avm)) == (23, 23), "all are compared")
    pairs = {(pair.path, pair.other) for pair in avm.similar_pairs(1_000).pairs}
    assert {pair for pair in pairs if one in pair or two in pair} == {(two, one)}
    found = avm.similar(one, least=0.4)
    assert found.by == "text+vectors"
    assert [hit.path for hit in found.memories] == [two, three]


def embedder_id(avm: AVM) -> str:
    model = avm.store.index.vectors.most_used()
    assert model is not None
    return model


def test_a_question_without_a_common_word_finds_it(avm: AVM, meaning: Meaning) -> None:
    avm.remember("Repairing a punctured wheel takes ten minutes", title="bike")
    avm.remember("A soup of carrots and leek", title="supper")
    avm.store.refresh()
    meaning.start()
    settle(meaning)
    answer = meaning.nearest("How do I fix a flat tyre?", everything(), 1, [], 30)
    assert answer.off is None and answer.model == "all-MiniLM-L6-v2"
    ((key, cosine),) = answer.hits
    assert cosine > 0.3
    found = avm.store.index.vectors.by_content({key: cosine}, everything(), 1, {})
    assert [p.text for p, _ in avm.store.index.passages(found).values()] == [
        "Repairing a punctured wheel takes ten minutes"
    ]


def test_a_worker_killed_at_work_loses_nothing(
    avm: AVM, meaning: Meaning, embedder: Lasting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_BACK_OFF", 0.05)
    remember(avm, 120)
    meaning.start()
    wait_for(lambda: meaning.progress().have >= 16, "it is at work", 120)
    pid = embedder.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    settle(meaning)
    assert embedder.worker_pid != pid
    assert rows(avm) == 120
    assert meaning.nearest("tea", everything(), 1, [], 30).off is None


def test_a_worker_that_hangs_delays_nobody_and_is_replaced(
    avm: AVM, meaning: Meaning, embedder: Lasting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "_answer_limit", 2.0)
    monkeypatch.setattr(module, "_FIRST_BACK_OFF", 0.05)
    monkeypatch.setattr(module, "_SILENT_SECONDS", 0.0)
    remember(avm, 3)
    meaning.start()
    settle(meaning)
    pid = embedder.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    first = meaning.nearest("coffee", everything(), 1, [], 0.1)
    assert first.off is not None
    more = [meaning.nearest(f"coffee {n}", everything(), 1, [], 0.9).off for n in range(100)]
    assert None not in more, "it answered while stopped"
    wait_for(lambda: embedder.worker_pid not in (pid, None), "another worker", 60)
    wait_for(
        lambda: meaning.nearest("coffee", everything(), 1, [], 0.9).off is None, "answers again", 60
    )


def test_a_restart_in_the_middle_embeds_nothing_twice(avm: AVM, embedder: Lasting) -> None:
    remember(avm, 300)
    first = Meaning(avm.store, embedder)
    first.start()
    wait_for(lambda: first.progress().have >= 32, "it is at work", 120)
    first.stop()
    kept = first.progress().have
    assert 32 <= kept < 300
    second = Meaning(avm.store, embedder)
    second.start()
    settle(second)
    second.stop()
    assert rows(avm) == 300
