"""The keeper's meaning and a process's, over a real index, with a model that does as it is told."""

from __future__ import annotations

import json
import logging
import threading
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for
from fake_embedder import FakeEmbedder

from avm import AVM
from avm.api.embedding import INSTALL_HINT
from avm.api.semantic import Semantic
from avm.api.waiting import Waiting
from avm.base.config import Config
from avm.index.text import Filter
from avm.keeper import meaning as module
from avm.keeper.meaning import Meaning

pytest.importorskip("numpy")

QUICK = 0.1


@pytest.fixture
def avm(tmp_path: Path) -> Iterator[AVM]:
    with AVM(tmp_path / "v") as avm:
        yield avm


@pytest.fixture
def model() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def meaning(avm: AVM, model: FakeEmbedder) -> Iterator[Meaning]:
    meaning = Meaning(avm.store, model)
    yield meaning
    meaning.stop()
    assert model.closed


def everything() -> Filter:
    return Filter(None, "", time.time())


def remember(avm: AVM, *texts: str) -> None:
    for text in texts:
        avm.remember(text)
    avm.store.refresh()


def all_embedded(meaning: Meaning) -> bool:
    state = meaning.progress()
    return state.have == state.total and state.total > 0 and state.problem is None


def settled(meaning: Meaning) -> None:
    wait_for(lambda: all_embedded(meaning), "all is embedded")


def paths(avm: AVM, meaning: Meaning, question: str, limit: int = 1) -> list[str]:
    """Where the passages are that answer, best first."""
    answer = meaning.nearest(question, everything(), limit, [], QUICK)
    assert answer.off is None
    index = avm.store.index
    found = index.vectors.by_content(dict(answer.hits), everything(), limit, {})
    passages = index.passages(found)
    return [passages[i][0].text.strip() for i in sorted(found, key=lambda i: -found[i])]


# The keeper's loop


def test_what_is_there_and_what_comes_is_embedded_once(
    avm: AVM, meaning: Meaning, model: FakeEmbedder
) -> None:
    remember(avm, "red apples", "green pears")
    meaning.start()
    settled(meaning)
    assert paths(avm, meaning, "pears of green") == ["green pears"]
    remember(avm, "blue plums")
    meaning.wake()
    settled(meaning)
    assert paths(avm, meaning, "plums") == ["blue plums"]
    passages = [text for text in model.read if text.endswith(("apples", "pears", "plums"))]
    assert sorted(passages) == sorted(set(passages))


def test_the_newest_comes_first(
    avm: AVM, meaning: Meaning, model: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avm.api import embedding

    monkeypatch.setattr(embedding, "_WINDOW", 4)
    remember(avm, *(f"old number {n}" for n in range(10)))
    remember(avm, "the newest of all")
    meaning.start()
    settled(meaning)
    first = [text for text in model.read if text != "warm"][:4]
    assert any("newest" in text for text in first)


def test_a_restart_goes_on_where_it_was(avm: AVM, model: FakeEmbedder) -> None:
    remember(avm, *(f"note number {n}" for n in range(80)))
    model.poison = "number 40"
    first = Meaning(avm.store, model)
    first.start()
    wait_for(lambda: first.progress().have >= 16, "a batch is kept")
    first.stop()
    have = first.progress().have
    again = FakeEmbedder()
    second = Meaning(avm.store, again)
    second.start()
    settled(second)
    second.stop()
    assert len([text for text in again.read if text.startswith("note")]) == 80 - have


def test_a_text_that_the_model_cannot_take_holds_up_no_other(
    avm: AVM, meaning: Meaning, model: FakeEmbedder
) -> None:
    model.poison = "poison"
    remember(avm, *(f"note {n}" for n in range(20)), "poison here")
    meaning.start()
    wait_for(lambda: meaning.progress().have == 20, "the others are embedded")
    assert paths(avm, meaning, "note 7") == ["note 7"]
    remember(avm, "one more note")
    meaning.wake()
    wait_for(lambda: meaning.progress().have == 21, "the next is embedded")
    assert meaning.progress() == module.Progress(21, 22, None)


def test_a_failing_model_is_said_tried_again_and_never_waited_for(
    avm: AVM, meaning: Meaning, model: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_BACK_OFF", 0.02)
    remember(avm, "red apples")
    model.problem = "the model is ill"
    meaning.start()
    wait_for(lambda: meaning.progress().problem, "the failure is known")
    assert meaning.progress() == module.Progress(0, 1, "the model is ill")
    for patience in (QUICK, 60.0):
        began = time.monotonic()
        answer = meaning.nearest("apples", everything(), 1, [], patience)
        assert answer.as_json() == {"off": "the model is ill"}
        assert time.monotonic() - began < 30, "it was waited for"
    model.problem = None
    settled(meaning)
    assert paths(avm, meaning, "apples") == ["red apples"]


def test_a_model_that_loads_is_a_reason_at_once_or_waited_for(
    avm: AVM, meaning: Meaning, model: FakeEmbedder
) -> None:
    remember(avm, "red apples")
    model.answers.clear()
    meaning.start()
    answer = meaning.nearest("apples", everything(), 1, [], QUICK)
    assert answer.off == "the model is still loading"
    assert meaning.progress().problem is None
    threading.Timer(0.2, model.answers.set).start()
    patient = meaning.nearest("apples", everything(), 1, [], 30)
    assert patient.off is None and len(patient.hits) == 1, "what was new is embedded first"


def test_a_model_that_hangs_is_waited_for_once(
    avm: AVM, meaning: Meaning, model: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(avm, "red apples")
    meaning.start()
    settled(meaning)
    assert meaning.nearest("apples", everything(), 1, [], QUICK).off is None
    monkeypatch.setattr(module, "_SILENT_SECONDS", -1.0)
    model.answers.clear()
    first = meaning.nearest("pears", everything(), 1, [], 0.05)
    assert first.off == "the embedding model did not answer in time"
    asked = [meaning.nearest(f"plums {n}", everything(), 1, [], 0.9) for n in range(30)]
    assert {answer.off for answer in asked} == {first.off}
    model.answers.set()
    wait_for(lambda: meaning.nearest("plums", everything(), 1, [], QUICK).off is None, "it is back")


def test_queries_are_remembered_by_their_text(
    avm: AVM, meaning: Meaning, model: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CACHED_QUERIES", 2)
    remember(avm, "red apples")
    meaning.start()
    settled(meaning)
    for text in ("café", unicodedata.normalize("NFD", "café"), "tea", "café", "milk", "café"):
        assert meaning.nearest(text, everything(), 1, [], QUICK).off is None
    asked = [text for text in model.read if text in ("café", "tea", "milk")]
    assert asked == ["café", "tea", "milk"]
    assert meaning.nearest("tea", everything(), 1, [], QUICK).off is None
    assert model.read[-1] == "tea", "the least recent was dropped"


def test_switched_off_nothing_is_started(tmp_path: Path, model: FakeEmbedder) -> None:
    with AVM(tmp_path / "v", semantic="off") as avm:
        meaning = Meaning(avm.store, model)
        meaning.start()
        meaning.wake()
        assert meaning.nearest("x", everything(), 1, [], 30).as_json() == {"off": "configured"}
        meaning.stop()
        assert model.read == []


def test_the_configured_model_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVM_MODEL", str(tmp_path / "none"))
    with AVM(tmp_path / "v") as avm:
        meaning = Meaning(avm.store)
        meaning.start()
        wait_for(lambda: meaning.progress().problem, "the failure is known")
        answer = meaning.nearest("x", everything(), 1, [], QUICK)
        assert answer.off is not None
        assert "is missing" in answer.off or answer.off == INSTALL_HINT
        meaning.stop()


def test_without_work_the_thread_waits(avm: AVM, meaning: Meaning, model: FakeEmbedder) -> None:
    remember(avm, "red apples")
    meaning.start()
    settled(meaning)
    rounds: list[int] = []
    original = meaning._round
    meaning._round = lambda: (rounds.append(1), original())[1]  # type: ignore[method-assign]
    meaning.wake()
    wait_for(lambda: rounds, "one round")
    wait_for(lambda: not meaning._woken.is_set(), "it waits")
    assert meaning._thread is not None and meaning._thread.is_alive()
    assert len(rounds) <= 2


def test_a_bug_ends_no_thread(
    avm: AVM,
    meaning: Meaning,
    model: FakeEmbedder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "_FIRST_BACK_OFF", 0.02)
    remember(avm, "red apples")
    original, failed = model.embed, threading.Event()

    def embed(texts: Any, *, timeout: float) -> list[bytes]:
        if not failed.is_set():
            failed.set()
            raise ZeroDivisionError("a bug")
        return original(texts, timeout=timeout)

    model.embed = embed  # type: ignore[method-assign]
    with caplog.at_level(logging.ERROR):
        meaning.start()
        settled(meaning)
    assert "embedding failed" in caplog.text


# Another model


def test_the_old_vectors_serve_until_the_new_model_has_nearly_all(
    avm: AVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avm.api import embedding

    monkeypatch.setattr(embedding, "_WINDOW", 10)
    old = FakeEmbedder("fake/old", 8)
    remember(avm, *(f"note number {n}" for n in range(40)))
    first = Meaning(avm.store, old)
    first.start()
    settled(first)
    first.stop()

    old, new = FakeEmbedder("fake/old", 8), FakeEmbedder("fake/new", 24)
    served: list[tuple[int, str | None]] = []
    meaning = Meaning(avm.store, new, [old])
    original = new.embed

    def embed(texts: Any, *, timeout: float) -> list[bytes]:
        data = original(texts, timeout=timeout)
        if texts != ["warm"] and len(texts) > 1:
            answer = meaning.nearest("number 7", everything(), 1, [], QUICK)
            served.append((meaning.progress().have, answer.model))
        return data

    new.embed = embed  # type: ignore[method-assign]
    meaning.start()
    settled(meaning)
    wait_for(lambda: old.closed, "the old model is let go")
    assert served == [(0, "fake/old"), (10, "fake/old"), (20, "fake/old"), (30, "fake/old")]
    assert meaning.nearest("number 7", everything(), 1, [], QUICK).model == "fake/new"
    assert paths(avm, meaning, "note number 7") == ["note number 7"]
    wait_for(lambda: not avm.store.index.vectors.any_of("fake/old"), "its vectors are dropped")
    assert len(list(avm.store.vault.index_dir.glob("vectors-*.f32"))) == 1
    meaning.stop()


def test_vectors_of_a_model_that_is_gone_serve_nobody(avm: AVM) -> None:
    old, new = FakeEmbedder("fake/old", 8), FakeEmbedder("fake/new", 8)
    remember(avm, "red apples")
    for model in (old, new):
        meaning = Meaning(avm.store, model)
        meaning.start()
        settled(meaning)
        assert paths(avm, meaning, "apples") == ["red apples"]
        assert meaning.nearest("apples", everything(), 1, [], QUICK).model == model.model_id
        meaning.stop()


# What other processes see


class Wire:
    """A keeper on the other side of a socket: what it is told and tells has been JSON."""

    def __init__(self, meaning: Meaning) -> None:
        self.meaning = meaning
        self.asked: list[tuple[str, float]] = []
        self.delay = 0.0
        self.dead = False

    def ask(self, op: str, *, timeout: float, **fields: Any) -> dict[str, Any] | None:
        self.asked.append((op, timeout))
        if self.dead:
            return None
        if self.delay:
            time.sleep(min(self.delay, timeout))
            if self.delay >= timeout:
                return None
        told = json.loads(json.dumps(fields))
        if op == "nearest":
            answer: dict[str, Any] = self.meaning.answer(told)
        else:
            state = self.meaning.progress()
            answer = {
                "meaning": {"have": state.have, "total": state.total, "problem": state.problem}
            }
        result: dict[str, Any] = json.loads(json.dumps(answer))
        return result


@pytest.fixture
def wire(avm: AVM, meaning: Meaning) -> Wire:
    remember(avm, "the wheel of a car", "apples and pears", "a soup of carrots")
    meaning.start()
    settled(meaning)
    return Wire(meaning)


def semantic(avm: AVM, wire: Wire | None, waiting: Waiting, mode: str = "auto") -> Semantic:
    return Semantic(avm.store.vault, Config({"semantic": mode}), avm.store.index, waiting, wire)


@pytest.mark.parametrize("waiting", list(Waiting))
def test_everybody_asks_the_keeper(avm: AVM, wire: Wire, waiting: Waiting) -> None:
    one = semantic(avm, wire, waiting)
    near = one.near("carrots soup")
    assert near is not None
    index = avm.store.index
    every = list(index.passages(range(1, 1_000)))
    with index.snapshot():
        found = near(everything(), 1, every)
    assert one.why_off is None and found is not None
    assert set(found) == set(every)
    best = max(found, key=lambda i: found[i])
    assert index.passages([best])[best][0].text.strip() == "a soup of carrots"
    assert wire.asked == [("nearest", 0.15)]
    assert one._embedder is None


def test_the_filter_goes_with_the_question(avm: AVM, wire: Wire) -> None:
    near = semantic(avm, wire, Waiting.COMMAND).near("carrots")
    assert near is not None
    assert near(Filter(("memory/private/akashi",), "", time.time()), 9, []) == {}


@pytest.mark.parametrize(
    ("dead", "delay", "why"),
    [(True, 0.0, "off (no keeper)"), (False, 1.0, "off (no answer in 150 ms)")],
)
def test_a_dead_or_slow_keeper_is_said(
    avm: AVM, wire: Wire, dead: bool, delay: float, why: str
) -> None:
    wire.dead, wire.delay = dead, delay
    one = semantic(avm, wire, Waiting.COMMAND)
    near = one.near("carrots")
    assert near is not None and near(everything(), 3, []) is None
    assert one.why_off == why


def test_the_keeper_s_reason_is_passed_on(avm: AVM, wire: Wire, model: FakeEmbedder) -> None:
    wire.meaning._works.clear()
    one = semantic(avm, wire, Waiting.COMMAND)
    near = one.near("carrots")
    assert near is not None and near(everything(), 3, []) is None
    assert one.why_off == "off (the model does not answer)"


def test_without_a_keeper_a_command_and_a_mount_do_without(avm: AVM) -> None:
    from avm.embed.model_folder import semantic_installed

    expected = "no keeper" if semantic_installed() else INSTALL_HINT
    for waiting, mode in (
        (Waiting.COMMAND, "auto"),
        (Waiting.MOUNT, "auto"),
        (Waiting.MOUNT, "wait"),
    ):
        one = semantic(avm, None, waiting, mode)
        assert one.near("x") is None
        assert one.why_off == f"off ({expected})"
        assert one._embedder is None


def test_switched_off_nobody_is_asked(avm: AVM, wire: Wire) -> None:
    one = semantic(avm, wire, Waiting.LIBRARY, "off")
    assert one.near("x") is None
    assert one.why_off == one.describe(None) == "off (configured)"
    assert wire.asked == []


def test_the_mode_wait_is_patient_with_the_keeper(avm: AVM, wire: Wire) -> None:
    remember(avm, "plums are late")
    one = semantic(avm, wire, Waiting.COMMAND, "wait")
    near = one.near("plums")
    assert near is not None
    found = near(everything(), 1, [])
    assert found is not None
    (best,) = found
    assert avm.store.index.passages([best])[best][0].text.strip() == "plums are late"
    assert wire.asked == [("nearest", 60.0)]
    mount = semantic(avm, wire, Waiting.MOUNT, "wait")
    near = mount.near("plums")
    assert near is not None and near(everything(), 1, []) == found
    assert wire.asked[-1] == ("nearest", 0.15)


def test_recall_says_what_it_was_ranked_by(avm: AVM, wire: Wire) -> None:
    avm.store.semantic = semantic(avm, wire, Waiting.LIBRARY)
    assert avm.recalled("carrots").ranked_by == "text+vectors"
    wire.dead = True
    assert avm.recalled("carrots").ranked_by == "text"
    assert avm.store.semantic.why_off == "off (no keeper)"


def test_the_keeper_is_watched_until_all_is_embedded(
    avm: AVM, wire: Wire, model: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avm.base.errors import ModelError

    remember(avm, *(f"further note {n}" for n in range(30)))
    seen: list[tuple[int, int]] = []
    one = semantic(avm, wire, Waiting.COMMAND)
    wire.meaning.wake()
    one.embed_missing(lambda have, total: seen.append((have, total)))
    assert seen[-1] == (33, 33)
    assert one._embedder is None
    monkeypatch.setattr(module, "_FIRST_BACK_OFF", 60.0)
    model.problem = "the model is ill"
    remember(avm, "one more")
    wire.meaning.wake()
    with pytest.raises(ModelError, match="the model is ill"):
        one.embed_missing()
    assert one.describe(wire.ask("status", timeout=1.0)) == "off (the model is ill)"
