"""Why an answer is what it is: each reason produced by a real vault."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import run_avm
from fake_embedder import FakeEmbedder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avm import AVM
from avm.base.errors import AccessError, AVMError, NotFoundError, UsageError
from avm.embed.model_folder import DIMENSIONS, MODEL_ID, semantic_installed
from avm.overlay.virtual import read
from avm.recall.candidates import DEPTH
from avm.recall.explain import Explained, ExplainedHit
from avm.recall.fates import Kind
from avm.recall.scoring import MIN_COSINE
from avm.recall.why import Why

SHARED = "memory/shared"


@pytest.fixture
def avm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AVM]:
    """An empty vault."""
    monkeypatch.setenv("AVM_CLOCK", "2026-11-20T09:00:00Z")
    with AVM(tmp_path / "vault", semantic="off") as opened:
        yield opened


def write(avm: AVM, name: str, text: str, **front: object) -> str:
    """A file as a person writes it, in the shared folder if it names none; returns its path."""
    rel = f"{name}.md" if "/" in name else f"{SHARED}/{name}.md"
    place = avm.store.vault.path(rel)
    place.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{key}: {value}\n" for key, value in front.items())
    place.write_text(f"---\n{lines}---\n{text}\n" if front else f"{text}\n")
    return f"/{rel}"


def hit_of(why: Explained, name: str) -> ExplainedHit:
    """What is said of one memory in the shared folder."""
    (found,) = [hit for hit in why.hits if hit.path == f"/{SHARED}/{name}.md"]
    return found


def packed(why: Explained) -> set[str]:
    """The paths of what is said to be in the answer."""
    return {hit.path for hit in why.hits if hit.fate == "packed"}


def paths_in(answer: str) -> set[str]:
    """The paths in an answer in markdown."""
    header, *lines = answer.splitlines() or [""]
    root = match[1] if (match := re.search(r" in (\S+/)[, ]", header)) else ""
    found, folder = set(), ""
    for line in lines:
        if match := re.fullmatch(r"(\S+/)?(\S+\.md(?=[# ]))?\S* \d{4}-\d\d-\d\d", line):
            folder = root + (match[1] or "").removeprefix("./")
            if match[2]:
                found.add(f"/{folder}{match[2]}")
        elif match := re.match(r"- ([^\s#]+\.md)(?:[# ]|$)", line):
            found.add(f"/{folder}{match[1]}")
    return found


# All of an answer


def test_a_recall_is_explained(avm: AVM) -> None:
    write(avm, "best", "nvda risk", importance=0.9)
    write(avm, "other", "nvda and much else that nobody asked for")
    why = avm.explained_recall("nvda risk", 500)
    assert [hit.path for hit in why.hits] == [f"/{SHARED}/best.md", f"/{SHARED}/other.md"]
    assert [hit.rank for hit in why.hits] == [1, 2]
    assert {hit.fate for hit in why.hits} == {"packed"}
    best, other = why.hits
    assert (best.text, best.relevance, best.importance, best.days) == (1.0, 1.0, 0.9, 0)
    assert other.text is not None and 0 < other.text < 1
    assert best.bm25 and other.bm25 == pytest.approx(other.text * best.bm25, abs=1e-5)
    assert best.score == pytest.approx(best.importance_factor * best.recency_factor, abs=1e-5)
    assert (why.strategy, why.max_tokens) == ("balanced", 500)
    assert why.tokens == avm.recalled("nvda risk", 500).tokens


def test_superseded(avm: AVM) -> None:
    old = write(avm, "old", "stop at 2% zebra")
    new = write(avm, "new", "stop at 5%", supersedes="old")
    why = avm.explained_recall("zebra")
    assert (hit_of(why, "old").fate, hit_of(why, "old").because_of) == ("superseded", (new,))
    assert hit_of(why, "old").rank is None
    assert (hit_of(why, "new").fate, hit_of(why, "new").replaces) == ("packed", (old,))
    assert f"superseded by {new}" in why.as_text()
    one = avm.explain("zebra", old)
    assert (one.verdict, one.because_of) == (f"superseded by {new}", (new,))


def test_superseded_where_nothing_is_asked(avm: AVM) -> None:
    write(avm, "old", "stop at 2%", pinned="true")
    new = write(avm, "new", "stop at 5%", supersedes="old")
    for query in ("", "stop"):
        why = hit_of(avm.explained_recall(query), "old")
        assert (why.fate, why.because_of, why.pinned) == ("superseded", (new,), True)


def test_a_pinned_memory_that_gave_way_and_was_not_asked_for(avm: AVM) -> None:
    old = write(avm, "old", "stop at 2%", pinned="true")
    new = write(avm, "new", "stop at 5%", supersedes="old")
    write(avm, "asked", "zebra")
    assert avm.explain("zebra", old).verdict == f"superseded by {new}"


def test_duplicate(avm: AVM) -> None:
    old = write(avm, "one", "Zebra  stripes", created="2026-01-01")
    new = write(avm, "two", "zebra stripes")
    why = avm.explained_recall("zebra")
    assert [(hit.fate, hit.because_of) for hit in why.hits if hit.fate != "packed"] == [
        ("duplicate", next((hit.path,) for hit in why.hits if hit.fate == "packed"))
    ]
    assert {hit.path for hit in why.hits} == {old, new}
    left = next(hit for hit in why.hits if hit.fate == "duplicate")
    assert avm.explain("zebra", left.path).verdict == f"duplicate of {left.because_of[0]}"


def test_budget(avm: AVM) -> None:
    for n in range(12):
        write(avm, f"n{n:02}", f"zebra number {n} " + f"filler{n} " * 30)
    why = avm.explained_recall("zebra", 200)
    left = [hit for hit in why.hits if hit.fate == "budget"]
    held = len(packed(why))
    assert held and len(left) == 12 - held
    one = avm.explain("zebra", left[-1].path, 200)
    assert one.verdict == f"budget (12th of 12; the budget of 200 held {held})"
    assert avm.explain("zebra", left[-1].path, 5_000).verdict == "packed, 12th of 12"
    assert {hit.fate for hit in avm.explained_recall("zebra", 1).hits} == {"budget"}


def test_pinned(avm: AVM) -> None:
    write(avm, "asked", "zebra")
    pin = write(avm, "pin", "rules of the house", pinned="true")
    why = avm.explained_recall("zebra")
    first = why.hits[0]
    assert (first.path, first.rank, first.pinned, first.fate) == (pin, 1, True, "packed")
    assert (first.text, first.relevance) == (None, None) and first.score < 1
    assert not hit_of(why, "asked").pinned and hit_of(why, "asked").rank == 2
    assert f"{pin}#L4  packed: pinned, recency" in why.as_text()


def test_linked(avm: AVM) -> None:
    asked = write(avm, "asked", "zebra, see [[other]]")
    write(avm, "other", "of no word in question")
    why = hit_of(avm.explained_recall("zebra"), "other")
    assert (why.linked_from, why.fate, why.relevance) == (asked, "packed", None)
    assert f"linked from {asked}" in why.as_line()


def test_bonuses(avm: AVM) -> None:
    write(avm, "talk", "zebra stripes\n\n" + "a" * 900 + "\n\nwhat stands beside it")
    write(avm, "mine", "zebra", speaker="Ada")
    (first, *_) = avm.explained_recall("Ada zebra").hits
    assert first.path.endswith("mine.md") and first.field > 0
    assert first.field == pytest.approx(avm.store.config["recall.field"])
    talk = hit_of(avm.explained_recall("zebra"), "talk")
    assert talk.document > 0


def test_what_stands_is_explained(avm: AVM) -> None:
    write(avm, "pin", "pinned", pinned="true", importance=0.1)
    write(avm, "much", "matters", importance=0.9)
    write(avm, "old", "from long ago", created="2020-01-01", importance=0.2)
    why = avm.explained_recall()
    assert [hit.path.split("/")[-1] for hit in why.hits] == ["pin.md", "much.md", "old.md"]
    pin, much, _ = why.hits
    assert pin.pinned and pin.score < 2 and pin.relevance == 1.0
    assert much.score == pytest.approx(much.importance_factor * much.recency_factor, abs=1e-5)
    assert why.ranked_by == "importance and recency"
    assert avm.explain("", "memory/shared/old.md").verdict == "packed, 3rd of 3"


def test_what_passes_filters_is_packed_newest_first(avm: AVM) -> None:
    for name, created in (("a", "2026-01-01"), ("c", "2026-01-03"), ("b", "2026-01-02")):
        write(avm, name, f"{name} " + "text " * 30, tags="[x]", created=created)
        moment = datetime.fromisoformat(f"{created}T00:00:00Z").timestamp()
        os.utime(avm.store.vault.path(f"{SHARED}/{name}.md"), (moment, moment))
    why = avm.explained_recall("tag:x", 100)
    names = [hit.path[-4] for hit in why.hits]
    assert names == [Path(hit.path).stem for hit in avm.search("tag:x")] == ["c", "b", "a"]
    assert why.hits[0].fate == "packed" and why.hits[-1].fate == "budget"


@pytest.mark.skipif(not semantic_installed(), reason="numpy ranks the vectors")
def test_meaning_is_explained(tmp_path: Path) -> None:
    with AVM(tmp_path / "vault", semantic="wait") as avm:
        avm.store.semantic.use(FakeEmbedder(MODEL_ID, DIMENSIONS))
        near = write(avm, "near", "stripes of animals")
        far = write(avm, "far", "quite other words")
        avm.index(wait=True)
        why = avm.explained_recall("stripes animals")
        assert (why.ranked_by, why.semantic) == ("text+vectors", "on")
        assert (hit_of(why, "near").cosine or 0) > 0.5
        assert avm.explain("stripes", near).fate == "packed"
        one = avm.explain("stripes animals", far)
        assert one.cosine is not None and one.cosine < MIN_COSINE
        assert "its meaning is not near (cosine " in one.verdict


# One memory


def test_expired(avm: AVM) -> None:
    path = write(avm, "gone", "zebra", expires="2026-11-19T10:00:00Z")
    why = avm.explain("zebra", path)
    assert (why.fate, why.expired) == ("expired", "2026-11-19T10:00:00Z")
    assert why.verdict == "expired on 2026-11-19T10:00:00Z"


def test_filtered(avm: AVM) -> None:
    path = write(avm, "a", "zebra quagga", tags="[x]", importance=0.4)
    query = "zebra tag:x tag:y importance>0.5 -quagga -horse path:memory/private path:memory/other"
    why = avm.explain(query, path, folder="memory/shared/ops")
    assert why.fate == "filtered"
    assert why.because_of == (
        "folder /memory/shared/ops",
        "path:memory/private or path:memory/other",
        "tag:y",
        "importance>0.5",
        "-quagga",
    )
    assert avm.explain("zebra tag:x", path).fate == "packed"


def test_ignored(avm: AVM) -> None:
    avm.store.vault.path(".avmignore").write_text("drafts/\n")
    path = write(avm, "memory/shared/drafts/a", "zebra")
    assert avm.explain("zebra", path).verdict.startswith("ignored: ")
    avm.store.vault.path("memory/shared/a.txt").write_text("zebra")
    assert avm.explain("zebra", "memory/shared/a.txt").verdict.startswith("no memory: ")


def test_unmatched_and_what_it_was_ranked_by(avm: AVM) -> None:
    path = write(avm, "a", "horse")
    write(avm, "b", "zebra")
    why = avm.explain("zebra", path)
    assert why.verdict == (
        "none of the words stands in it (ranked by text alone; semantic off (configured))"
    )
    assert avm.explain("???", path).fate == "unmatched"


def test_outranked(avm: AVM) -> None:
    path = write(avm, "long", "zebra " + "filler " * 100)
    for n in range(DEPTH + 1):
        write(avm, f"n{n:03}", f"zebra {n}")
    assert avm.explain("zebra", path).fate == "outranked"
    write(avm, "long", "zebra " + "filler " * 100, importance=0.0, created="2001-01-01")
    assert avm.explain("", path).fate == "outranked"


def test_empty(avm: AVM) -> None:
    path = write(avm, "zebra", "", importance=0.5)
    assert avm.explain("zebra", path).fate == "empty"


def test_every_reason_has_words_of_its_own() -> None:
    said = {Why("/a.md", kind.value, ("/b.md",), 1, reader="akashi").verdict for kind in Kind}
    assert len(said) == len(Kind) and all(said)


# Who may know


def test_an_agent_cannot_tell_what_it_may_not_see_from_what_is_not_there(avm: AVM) -> None:
    write(avm, "memory/private/hermes/secret", "zebra", expires="2020-01-01")
    write(avm, "memory/private/hermes/other", "zebra")
    akashi = avm.agent_memory("akashi")
    said = []
    for name in ("secret", "other", "missing"):
        with pytest.raises(NotFoundError) as caught:
            akashi.explain("zebra", f"memory/private/hermes/{name}.md")
        said.append(str(caught.value).replace(name, "X"))
    assert len(set(said)) == 1
    with pytest.raises(NotFoundError, match=r"no memory at /memory/private/hermes$"):
        akashi.explain("zebra", "memory/private/hermes")
    with pytest.raises(NotFoundError):
        avm.explain("zebra", "memory/private/hermes/missing.md")
    with pytest.raises(NotFoundError, match="is a folder"):
        avm.explain("zebra", "memory/private/hermes")


def test_access_is_a_reason_only_for_the_owner_who_asks_for_a_reader(avm: AVM) -> None:
    path = write(avm, "memory/private/hermes/rule", "zebra")
    seen = write(avm, "seen", "zebra")
    why = avm.explain("zebra", path, reader="akashi")
    assert (why.fate, why.verdict) == ("access", "access: akashi may not read it")
    assert (why.hit, why.of) == (None, 0)
    assert avm.explain("zebra", path).of == 2
    as_akashi = avm.explain("zebra", seen, reader="akashi")
    assert (as_akashi.verdict, as_akashi.reader) == ("packed, 1st of 1", "akashi")
    assert as_akashi.hit and as_akashi.hit.bm25 is None
    with pytest.raises(AccessError, match="only the owner"):
        avm.agent_memory("akashi").explain("zebra", seen, reader="hermes")
    with pytest.raises(UsageError):
        avm.explain("zebra", path, reader="../x")


def test_an_agent_is_told_shares_and_nothing_of_others(avm: AVM) -> None:
    write(avm, "seen", "zebra", supersedes="old")
    write(avm, "old", "zebra zebra")
    write(avm, "memory/private/hermes/newest", "zebra", supersedes="seen")
    why = avm.agent_memory("akashi").explained_recall("zebra")
    assert {hit.bm25 for hit in why.hits} == {None}
    assert max(hit.text or 0 for hit in why.hits) == 1.0
    assert hit_of(why, "seen").fate == "packed"
    assert "hermes" not in json.dumps(dataclasses.asdict(why)) and "BM25" not in why.as_text()
    assert hit_of(avm.explained_recall("zebra"), "seen").fate == "superseded"


# What is said is what was done

NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f", "g/a", "g/b"])
TEXTS = st.lists(
    st.sampled_from(["zebra", "quagga", "horse", "[[a]]", "[[g/b]]", "\n\n", "word " * 60]),
    max_size=12,
).map(" ".join)
FRONTS = st.fixed_dictionaries(
    {"importance": st.sampled_from([0.1, 0.5, 0.9])},
    optional={"supersedes": NAMES, "pinned": st.just("true"), "created": st.just("2026-10-01")},
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.dictionaries(NAMES, st.tuples(TEXTS, FRONTS), max_size=8),
    st.sampled_from(["zebra", "zebra quagga", "", "horse -quagga", "path:memory/shared/g"]),
    st.integers(1, 400),
    st.sampled_from(["balanced", "recency", "importance", "relevance"]),
)
def test_what_is_said_to_be_packed_is_what_is_in_the_answer(
    avm: AVM,
    notes: dict[str, tuple[str, dict[str, Any]]],
    query: str,
    budget: int,
    strategy: str,
) -> None:
    for old in avm.store.vault.path(SHARED).rglob("*.md"):
        old.unlink()
    paths = [write(avm, f"{SHARED}/{name}", text, **f) for name, (text, f) in notes.items()]
    answer = avm.recall(query, budget, strategy)
    why = avm.explained_recall(query, budget, strategy)
    assert packed(why) == paths_in(answer)
    plain = avm.explained_recall(query, budget, strategy, format="plain")
    assert len(packed(plain)) == avm.recalled(query, budget, strategy, format="plain").memories
    ranks = [hit.rank for hit in why.hits if hit.rank]
    assert ranks == list(range(1, len(ranks) + 1))
    assert len({hit.path for hit in why.hits}) == len(why.hits)
    by_path = {hit.path: hit for hit in why.hits}
    for path in paths:
        one = avm.explain(query, path, budget, strategy)
        hit = by_path.get(path)
        if hit is None:
            assert one.fate in ("unmatched", "filtered")
        else:
            assert (one.fate, one.because_of, one.rank) == (hit.fate, hit.because_of, hit.rank)


# Doors


def cli(avm: AVM, *args: str) -> str:
    """What `avm ARGS` prints."""
    done = run_avm(args[0], "--vault", str(avm.store.vault.root), *args[1:])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_line(avm: AVM) -> None:
    path = write(avm, "best", "nvda risk")
    told = json.loads(cli(avm, "recall", "--explain", "--json", "nvda"))
    assert set(told) == {field.name for field in dataclasses.fields(Explained)}
    assert set(told["hits"][0]) == {field.name for field in dataclasses.fields(ExplainedHit)}
    lines = cli(avm, "recall", "--explain", "nvda", "--max-tokens", "90").splitlines()
    assert lines[:3] == ["words: nvda", "filters: (none)", "ranked by: text"]
    assert re.fullmatch(r"packed: 1 of 1, \d+ of 90 tokens", lines[5])
    assert lines[6].startswith("1. 1.1") and f" {path}#L1  packed: text 1.00 (BM25 " in lines[6]
    assert len(lines) == 7
    assert cli(avm, "explain", "nvda", path).splitlines() == [f"{path}: packed, 1st of 1", lines[6]]
    why = json.loads(cli(avm, "explain", "--json", "nvda", "tag:x", path))
    assert (why["fate"], why["because_of"], why["hit"]) == ("filtered", ["tag:x"], None)
    assert cli(avm, "recall", "--format", "plain", "nvda") == "nvda risk\n"
    assert run_avm("recall", "--vault", str(avm.store.vault.root), "--format", "x").returncode == 2


def test_the_node(avm: AVM) -> None:
    write(avm, "best", "nvda risk")
    agent = avm.agent_memory("akashi")
    said = read(agent, ":recall?query=nvda&explain=1&max_tokens=90").data.decode()
    assert said == agent.explained_recall("nvda", 90).as_text()
    assert read(avm, ":recall:nvda,format=plain").data == b"nvda risk\n"
    assert read(avm, ":recall:nvda,explain=0").data.decode() == avm.recall("nvda")
    for bad in ("explain=yes", "format=html"):
        with pytest.raises(AVMError):
            read(avm, f":recall:nvda,{bad}")
