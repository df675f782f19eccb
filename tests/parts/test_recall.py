"""What a recall answers: the current version, once, the important and the new, and what belongs
to it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_embedder import FakeEmbedder

from avm import AVM
from avm.bench.keeping import without_scans
from avm.embed.model_folder import DIMENSIONS, MODEL_ID, semantic_installed
from avm.index import pieces
from avm.recall.query import parse

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOPICS = (
    "deployment", "billing", "search", "login", "backup",
    "weather", "trading", "hiring", "travel", "music",
)  # fmt: skip


@pytest.fixture
def avm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AVM]:
    """An empty vault, asked on a day that stays; the model is left out."""
    monkeypatch.setenv("AVM_CLOCK", NOW.isoformat())
    with AVM(tmp_path / "vault", semantic="off") as avm:
        yield avm


def put(avm: AVM, name: str, text: str, *, age: int = 10, **front: object) -> str:
    """Write a memory by hand, `age` days old; its vault path."""
    lines = [f"created: {(NOW - timedelta(days=age)).isoformat()}"]
    lines += [f"{key}: {value}" for key, value in front.items()]
    path = f"/memory/shared/{name}.md"
    file = on_disk(avm, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("---\n" + "\n".join(lines) + f"\n---\n{text}\n")
    return path


def on_disk(avm: AVM, path: str) -> Path:
    return avm.store.vault.root / path.lstrip("/")


def order(text: str, pattern: str) -> list[str]:
    return re.findall(pattern, text)


def many(avm: AVM) -> None:
    """200 memories: each of ten topics has 14 facts; one in three versions, the last of which
    supersedes the others; one twice; one that expired; one pinned."""
    for topic in TOPICS:
        for n in range(14):
            put(
                avm,
                f"{topic}/fact{n}",
                f"The {topic} note {n} is fine.",
                age=n + 5,
            )
        put(avm, f"{topic}/limit_a", f"The {topic} limit is 100 units.", age=300)
        put(avm, f"{topic}/limit_b", f"The {topic} limit is 200 units.", age=200,
            supersedes=f"[{topic}/limit_a]")  # fmt: skip
        put(avm, f"{topic}/limit_c", f"The {topic} limit is 300 units.", age=100,
            supersedes=f"[{topic}/limit_b]")  # fmt: skip
        put(avm, f"{topic}/twice", f"The {topic} owner is Ada.", age=50)
        put(avm, f"{topic}/old_limit", f"The {topic} limit is 999 units.", expires="2026-11-01")
        put(avm, f"{topic}/rule", f"Never change {topic} on Fridays.", age=400, pinned="true")
    for topic in TOPICS:  # in a folder of their own
        put(avm, f"copies/{topic}", f"The {topic}  owner is Ada.", age=20)


def test_of_many_the_current_version_comes_once_the_pinned_first_nothing_expired(avm: AVM) -> None:
    many(avm)
    assert len(avm.memories()) == 200  # the expired ones are in no list
    for topic in TOPICS:
        text = avm.recall(f"{topic} limit and owner", 2_000)
        assert order(text, rf"The {topic} limit is (\d+)") == ["300"]
        assert len(order(text, rf"The {topic}  ?owner is Ada")) == 1
        assert f"copies/{topic}.md" in text.replace("\n- ", "copies/")  # the newer of both
        rules = [text.index(f"Never change {one} on Fridays") for one in TOPICS]
        assert max(rules) < text.index(f"The {topic} limit")


def test_pinned_memories_keep_to_the_budget_and_to_the_filters(avm: AVM) -> None:
    many(avm)
    assert avm.recalled("weather limit", 120).tokens <= 120
    text = avm.recall("weather limit path:memory/shared/weather", 2_000)
    assert order(text, r"Never change (\w+)") == ["weather"]


def test_what_is_superseded_brings_what_supersedes_it(avm: AVM) -> None:
    put(avm, "old", "The flux capacitor needs 1.21 gigawatts.", age=90)
    put(avm, "new", "It was replaced.", supersedes="[old]")
    for n in range(30):
        put(avm, f"others/{n}", f"The capacitor {n} of the radio.")
    text = avm.recall("flux capacitor gigawatts", 200)
    assert "It was replaced." in text and "1.21" not in text


def test_memories_that_supersede_one_another_all_stay(avm: AVM) -> None:
    put(avm, "a", "zebra one", supersedes="[b]")
    put(avm, "b", "zebra two", supersedes="[a]")
    assert sorted(order(avm.recall("zebra"), "zebra (one|two)")) == ["one", "two"]


def test_what_an_agent_may_not_see_supersedes_nothing_for_it(avm: AVM) -> None:
    put(avm, "rule", "The rule is seven.")
    avm.agent_memory("bob").remember("My rule is eight.", title="mine")
    mine = on_disk(avm, "/memory/private/bob/mine.md")
    mine.write_text(mine.read_text().replace("---\n", "---\nsupersedes: [rule]\n", 1))
    assert "seven" in avm.agent_memory("akashi").recall("rule")
    assert "seven" not in avm.agent_memory("bob").recall("rule")


def test_what_is_an_agent_s_own_gives_way_to_nothing_that_others_can_write(avm: AVM) -> None:
    akashi = avm.agent_memory("akashi")
    mine = akashi.remember("The zebra rule is secret.", title="secret_rule").path
    put(avm, "evil", "The zebra rule is mine.", supersedes="[secret_rule]")
    assert {hit.path for hit in akashi.search("zebra rule")} == {mine, "/memory/shared/evil.md"}
    akashi.remember("The zebra rule is old.", title="newer")
    newer = on_disk(avm, "/memory/private/akashi/newer.md")
    newer.write_text(newer.read_text().replace("---\n", "---\nsupersedes: [secret_rule]\n", 1))
    assert mine not in {hit.path for hit in akashi.search("zebra rule")}


def test_paragraphs_keep_the_place_that_age_or_a_pin_gives_their_memory(avm: AVM) -> None:
    put(avm, "new", "A zebra came.\n\nNothing else was seen that day.", age=1)
    for n in range(5):
        put(avm, f"old{n}", f"The zebra zebra of year {n}.", age=800 + n)
    text = avm.recall("zebra", 130, strategy="recency")
    assert order(text, r"zebra (came|of)")[0] == "came"
    put(avm, "pin", "A pinned zebra.\n\nSomething.\n\nMore.", age=1, pinned="true")
    assert avm.recall("zebra", 900).count("pin.md") == 1


@pytest.mark.parametrize("unlike", ["importance", "age"])
def test_of_two_alike_the_more_important_or_newer_comes_first(avm: AVM, unlike: str) -> None:
    for n in range(20):
        # Names say nothing of which is better: sorted by them it is now the one, now the other.
        better, worse = ("a", "b") if n % 2 else ("b", "a")
        for name, good in ((better, True), (worse, False)):
            importance = (0.9 if good else 0.3) if unlike == "importance" else 0.5
            age = (1 if good else 365) if unlike == "age" else 30
            mark = "better" if good else "worse"
            put(avm, f"pair{n}/{name}", f"topic{n} is {mark}", age=age, importance=importance)
    for n in range(20):
        assert order(avm.recall(f"topic{n}"), "better|worse") == ["better", "worse"], n
    strategy = "importance" if unlike == "importance" else "recency"
    for n in range(20):
        assert order(avm.recall(f"topic{n}", strategy=strategy), "better|worse")[0] == "better"


def test_the_one_that_answers_is_not_buried_by_what_is_new_and_important(avm: AVM) -> None:
    put(avm, "old", "The wifi password of the summer house is heron.", age=365, importance=0.3)
    for n in range(50):
        put(avm, f"new/{n}", f"The house meeting {n} was moved.", age=0, importance=0.9)
    text = avm.recall("wifi password of the summer house", 150)
    assert order(text, r"heron|meeting")[0] == "heron"


def test_where_all_is_alike_balanced_orders_as_relevance(avm: AVM) -> None:
    for n in range(30):
        put(avm, f"n{n}", " ".join(f"word{k}" for k in range(n % 7)) + f" note {n}")
    asked = "word1 word3 word5"
    assert avm.recall(asked) == avm.recall(asked, strategy="relevance")


def test_what_stands_beside_a_match_and_in_its_episode_comes_before_other_matches(avm: AVM) -> None:
    put(avm, "talk/1", "Where did you leave the kayak?", age=9)
    put(avm, "talk/2", "Behind the boathouse.", age=9)
    put(avm, "talk/3", "Thanks!", age=9)
    for n in range(20):
        put(avm, f"notes/{n}", f"A kayak course in month {n}.", age=100 + n)
    text = avm.recall("leave the kayak", 120)
    assert "Behind the boathouse." in text
    assert avm.search("leave the kayak")[0].path == "/memory/shared/talk/1.md"
    assert "/memory/shared/talk/2.md" not in {hit.path for hit in avm.search("leave the kayak", 50)}


def test_who_is_named_is_meant_but_not_if_two_are(avm: AVM) -> None:
    for name in ("Ada", "Ben"):
        put(avm, name.lower(), "Painting is what I like.", speaker=name)
    assert avm.search("Does Ben like painting?")[0].path == "/memory/shared/ben.md"
    assert avm.search("What does Ada’s painting show?")[0].path == "/memory/shared/ada.md"
    one, two = avm.search("Do Ada and Ben like painting?")
    assert one.score == two.score


def test_a_paragraph_is_found_by_a_form_that_another_one_has_as_it_is() -> None:
    texts = ["Die Hauptstraße ist gesperrt.", "Bitte die hauptstrasse meiden.", "Danke."]
    (expression,) = parse("hauptstrasse").words.expressions()
    first, second, third = pieces.ranked({expression: 1.0}, [(text, False) for text in texts])
    assert first > 0 and second > 0 and third == 0


def test_no_question_looks_at_every_memory(avm: AVM) -> None:
    for n in range(30):
        text = "A kayak is a boat.\n\n" + "Other words stand here.\n\n" * 60
        put(avm, f"talk/{n}", text, speaker="Ada", supersedes=f"[[{n - 20}]]", aliases=f"[{n}]")
    avm.search("kayak")
    said: list[str] = []
    connection = avm.store.index._database.connection
    connection.set_trace_callback(said.append)
    with without_scans(avm.store):
        avm.recall("What does Ada say of the kayak that is a boat?")
    connection.set_trace_callback(None)
    asked = [statement for statement in said if statement.startswith("SELECT")]
    assert any("VALUES" in statement for statement in asked)  # what stands beside
    for statement in asked:
        if statement == "SELECT COUNT(*) FROM chunk":  # once until the index changes
            continue
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        details = [row["detail"] for row in plan]
        scanned = [one for one in details if re.match(r"SCAN \w+( USING .*INDEX .*)?$", one)]
        assert set(scanned) <= {"SCAN found", "SCAN wanted"}, statement


@pytest.mark.skipif(not semantic_installed(), reason="numpy ranks the vectors")
def test_the_model_is_asked_without_the_name_of_who_speaks(tmp_path: Path) -> None:
    with AVM(tmp_path / "vault", semantic="wait") as avm:
        model = FakeEmbedder(MODEL_ID, DIMENSIONS)
        avm.store.semantic.use(model)
        put(avm, "ben", "Painting is what I like.", speaker="Ben", topic="painting")
        avm.index(wait=True)
        avm.search("What does Ben like?")
        assert model.read[-1] == "What does like?"
        for question in ("What does Ada like?", "What does she like in painting?"):
            avm.search(question)
            assert model.read[-1] == question


def test_what_a_match_links_to_comes_if_there_is_room(avm: AVM) -> None:
    put(avm, "plan", "The launch is on Monday, see [[checklist]].")
    put(avm, "checklist", "Water the plants.", age=200)
    put(avm, "other", "Nothing of interest.", age=300)
    text = avm.recall("launch", 500)
    assert text.index("Monday") < text.index("Water the plants.")
    assert "interest" not in text
    assert "Water" not in avm.recall("launch", 60)


def test_a_long_file_gives_the_paragraphs_that_answer(avm: AVM) -> None:
    filler = "\n\n".join(f"On day {n} we walked along the river and talked." for n in range(12))
    put(avm, "diary", f"{filler}\n\nThe boiler code is 4711.\n\n{filler}")
    text = avm.recall("boiler code", 80)
    assert "4711" in text and text.count("river") < 3
    lines = on_disk(avm, "/memory/shared/diary.md").read_text().split("\n")
    said = re.search(r"diary\.md#L(\d+)-?(\d*) ", text)
    assert said and "The boiler code is 4711." in lines[int(said[1]) - 1 : int(said[2] or said[1])]


def test_the_plain_format_is_the_passages_and_nothing_else(avm: AVM) -> None:
    put(avm, "a", "zebra one")
    put(avm, "b", "zebra two", age=2)
    assert avm.recall("zebra", format="plain") == "zebra two\n\nzebra one\n"


def test_without_a_question_what_is_pinned_important_and_recent_comes(avm: AVM) -> None:
    put(avm, "old", "an old thing", age=700, importance=0.2)
    put(avm, "new", "a new thing", age=1)
    put(avm, "big", "a big thing", age=60, importance=1.0)
    put(avm, "pin", "a pinned thing", age=700, importance=0.0, pinned="true")
    assert order(avm.recall(), r"an? (\w+) thing") == ["pinned", "big", "new", "old"]


def test_the_same_question_gets_the_same_bytes(avm: AVM) -> None:
    many(avm)
    first = avm.recall("billing limit", 700)
    with AVM(avm.store.vault.root, semantic="off") as again:
        again.store.index.rebuild()
        assert again.recall("billing limit", 700) == first


def test_of_many_that_match_alike_an_index_built_anew_chooses_the_same(avm: AVM) -> None:
    for n in random.Random(5).sample(range(300), 300):
        put(avm, f"n{n}", "the zebra is here", age=n % 7)
        if n % 60 == 0:
            avm.search("zebra")  # takes in what was written so far
    put(avm, "cat", "A cat.\n\nA dog with a long tail.\n\nA cat and a dog.")
    first = avm.recall("zebra", 600), avm.recall("cat dog", 600)
    for n in range(20):
        put(avm, "cat", f"A cat {n}.")
        avm.search("cat")
    put(avm, "cat", "A cat.\n\nA dog with a long tail.\n\nA cat and a dog.")
    assert (avm.recall("zebra", 600), avm.recall("cat dog", 600)) == first
    avm.store.index.rebuild()
    assert (avm.recall("zebra", 600), avm.recall("cat dog", 600)) == first
