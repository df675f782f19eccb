"""Search through a real index: words by their parts, filters, bounded ranking, explanations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from conftest import run_avm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avm import AVM
from avm.index import fulltext
from avm.index.text import Filter, Words
from avm.recall import candidates
from avm.recall.candidates import Ranking
from avm.recall.query import parse

BALANCED = Ranking()


@pytest.fixture
def avm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AVM]:
    """An empty vault."""
    monkeypatch.setenv("AVM_CLOCK", "2026-11-20T09:00:00Z")
    with AVM(tmp_path / "vault", semantic="off") as opened:
        yield opened


def write(avm: AVM, name: str, text: str) -> None:
    """A file in the shared folder, as a person writes it."""
    place = avm.store.vault.path(f"memory/shared/{name}.md")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def found(avm: AVM, query: str) -> list[str]:
    """The names of what a query finds, best first."""
    return [Path(hit.path).stem for hit in avm.search(query, 50)]


@pytest.mark.parametrize(
    ("text", "queries"),
    [
        ("我的记忆力不好", ["记忆", "记", "记忆力", "好", "我的"]),
        ("このメモリーは速い", ["メモリ", "ﾒﾓﾘ", "メモリー", "速い"]),
        ("새로운 기억을 저장", ["기억", "저장", "새"]),
        ("call getUserName() first", ["getUserName", "user name", "getusername", "get_user_name"]),
        ("HTTPServer2 listens", ["http server", "HTTPServer2", "server"]),
        ("see avm/index/text.py now", ["text.py", "avm/index", "index", "avm/index/text.py"]),
        ("released v1.2.3 today", ["1.2.3", "v1.2.3"]),
        ("a snake_case name", ["snake", "snake_case", "case"]),
        ("std foo-bar x::y", ["foo-bar", "foo bar", "x::y"]),
        ("ＦＵＬＬ width", ["full", "ＦＵＬＬ", "Full"]),
        ("die Straße", ["strasse", "straße", "STRASSE"]),
        ("un café crème", ["cafe", "CAFÉ", "creme"]),
    ],
)
def test_found_by_its_parts(avm: AVM, text: str, queries: list[str]) -> None:
    write(avm, "it", text)
    write(avm, "other", "nothing of the kind")
    for query in queries:
        assert found(avm, query) == ["it"], query


def test_the_identifier_itself_comes_first(avm: AVM) -> None:
    write(avm, "exact", "we call getUserName in the middle of a somewhat longer text than there")
    write(avm, "parts", "get user name")
    assert found(avm, "getUserName") == ["exact", "parts"]


def test_filters_by_every_door(avm: AVM) -> None:
    write(avm, "ops/a", "---\ntags: [risk/fx]\nimportance: 0.9\nagent: jun\n---\nlimit one\n")
    write(
        avm, "ops/b", "---\ntags: [draft]\ncreated: 2026-10-01\n---\nlimit two\n\n# more\n\nstop\n"
    )
    expected = {
        "limit tag:risk": ["a"],
        "limit -tag:draft": ["a"],
        "limit -stop": ["a"],
        'limit -"limit one"': ["b"],
        "limit importance>0.7": ["a"],
        "limit importance=0.5": ["b"],
        "limit agent:jun": ["a"],
        "limit -agent:jun": ["b"],
        "limit path:memory/shared/ops/b": ["b"],
        "limit path:memory/shared/op*": ["a", "b"],
        "limit path:memory/private": [],
        "before:2026-11-01": ["b"],
        "limit since:2026-10-02": ["a"],
        "tag:risk tag:draft": [],
        "path:memory/shared/ops/a path:memory/shared/ops/b.md": ["a", "b"],
    }
    for query, names in expected.items():
        assert sorted(found(avm, query)) == names, query
    asked = ("--vault", str(avm.store.vault.root))
    assert "ops/a.md" in run_avm("search", *asked, "limit", "-stop").stdout
    recalled = run_avm("recall", *asked, "limit importance<0.7").stdout
    assert "ops/b.md" in recalled and "ops/a.md" not in recalled
    node = run_avm("cat", *asked, ":search?tag:risk+limit").stdout
    assert "ops/a.md" in node and "ops/b.md" not in node


def test_filters_alone_list_the_newest_first_and_negatives_alone_are_no_words(avm: AVM) -> None:
    for day in (3, 1, 2):
        write(avm, f"d{day}", f"---\ncreated: 2026-11-0{day}\ntags: [t]\n---\nday {day}\n")
    write(avm, "pin", "---\npinned: true\ncreated: 2026-01-01\n---\npinned\n")
    assert found(avm, "tag:t") == ["d3", "d2", "d1"]
    assert found(avm, "-day") == ["pin"]
    assert found(avm, "-pinned")[0] == "d3"


def test_a_query_opens_no_folder_to_an_agent(avm: AVM) -> None:
    avm.agent_memory("akashi").remember("secret plan", title="plan")
    hermes = avm.agent_memory("hermes")
    for query in ("plan path:memory/private/akashi", "path:memory/*", "agent:akashi", "secret"):
        assert hermes.search(query) == []


def test_what_is_superseded_is_left_out_by_name_alias_and_path(avm: AVM) -> None:
    write(avm, "old", "---\naliases: [Former Rule]\n---\nrule one\n")
    write(avm, "new", "---\nsupersedes: ['[[former rule]]']\n---\nrule two\n")
    assert found(avm, "rule") == ["new"] == found(avm, "")
    write(avm, "new", "---\nsupersedes: [memory/shared/old.md]\n---\nrule two\n")
    assert found(avm, "rule") == ["new"]
    assert found(avm, "rule path:memory/shared/old") == []
    write(avm, "new", "---\nsupersedes: [nothing]\n---\nrule two\n")
    assert sorted(found(avm, "rule")) == ["new", "old"] == sorted(found(avm, ""))


def test_what_stands_is_kept_only_while_it_is_true(
    avm: AVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(avm, "ends", "---\nexpires: 2026-11-20T09:30:00Z\n---\nsoon gone\n")
    write(avm, "stays", "here\n")
    assert sorted(found(avm, "")) == ["ends", "stays"]
    now = avm.store.now()
    monkeypatch.setattr(avm.store, "now", lambda: now + 3_600)
    assert found(avm, "") == ["stays"]
    write(avm, "added", "new\n")
    assert sorted(found(avm, "")) == ["added", "stays"]


def test_what_is_kept_of_one_index_is_not_taken_for_another_s(avm: AVM) -> None:
    write(avm, "a", "word")
    assert found(avm, "") == found(avm, "word") == ["a"]
    index = avm.store.index
    before = index.generation()
    avm.store.vault.path("memory/shared/a.md").unlink()
    write(avm, "b", "word")
    index.rebuild()
    while index.generation() < before:
        index.refresh()
        write(avm, "b", f"word {index.generation()}")
    assert found(avm, "") == found(avm, "word") == ["b"]


def test_explained(avm: AVM) -> None:
    write(avm, "a", "---\nimportance: 0.9\n---\nnvda risk\n")
    why = avm.explained('nvda "risk off" tag:x -b importance>0.5 since:7d')
    assert why.words == ("nvda", '"risk off"')
    assert why.filters == ("tag:x", "importance>0.5", "since:2026-11-13T09:00:00Z", "-b")
    assert why.hits == ()
    (hit,) = avm.explained("nvda").hits
    assert hit.path == "/memory/shared/a.md" and hit.line == 4
    assert hit.text and hit.text > 0 and hit.cosine is None
    assert hit.relevance == 1.0 and hit.importance == 0.9
    assert hit.score == pytest.approx(hit.importance_factor * hit.recency_factor, abs=1e-5)
    printed = run_avm("search", "--vault", str(avm.store.vault.root), "--explain", "nvda").stdout
    assert "words: nvda\n" in printed and "semantic: off (" in printed
    assert " /memory/shared/a.md#L4  text 1.00 (BM25 " in printed


def test_an_agent_s_explanation_has_no_number_of_the_whole_vault(avm: AVM) -> None:
    write(avm, "a", "nvda risk\n")
    write(avm, "b", "nvda, and much else that makes this one longer\n")
    for number in range(8):
        write(avm, f"n{number}", "a note on other things\n")
    agent = avm.agent_memory("akashi")
    raw = [hit.bm25 or 0.0 for hit in avm.explained("nvda").hits]
    shares = [hit.text for hit in agent.explained("nvda").hits]
    assert shares == pytest.approx([1.0, raw[1] / raw[0]], abs=1e-4)
    for number in range(8):
        avm.agent_memory("hermes").remember("nvda secret plan", title=f"n{number}")
    best = max(hit.bm25 or 0.0 for hit in avm.explained("nvda path:memory/shared").hits)
    assert best < raw[0] / 2  # what an agent heard of them
    assert agent.explained("nvda").hits[0].text == 1.0
    assert agent.explained("path:memory/shared").hits[0].text is None


def test_ids_of_passages_are_never_used_again(avm: AVM) -> None:
    def ids() -> set[int]:
        avm.search("x")
        where = Filter(None, "", avm.store.now())
        return {hit.chunk_id for hit in avm.store.index.search(parse("word").words, where, 9)}

    write(avm, "a", "word one")
    first = ids()
    write(avm, "a", "word two and more")
    second = ids()
    assert first and second and not first & second


def test_what_is_near_is_asked_for_with_the_filter_and_checked_again(avm: AVM) -> None:
    write(avm, "a", "alpha")
    write(avm, "b", "beta")
    avm.search("alpha")
    index = avm.store.index
    where = Filter(None, "", avm.store.now())
    by_name = {
        hit.chunk_id: name
        for name in ("alpha", "beta")
        for hit in index.search(parse(name).words, where, 9)
    }
    asked = []

    def near(narrowed: Filter, limit: int, also: Sequence[int]) -> Mapping[int, float]:
        asked.append((narrowed, list(also)))
        return {**dict.fromkeys(by_name, 0.9), 999: 0.8}

    query = parse("alpha path:memory/shared/a.md")
    scored = candidates.find(index, query, query.narrow(where), BALANCED, near)
    assert [item.path for item in scored] == ["memory/shared/a.md"]
    assert scored[0].cosine == 0.9
    assert asked == [(query.narrow(where), [scored[0].hit.chunk_id])]
    both = candidates.find(index, parse("alpha"), where, BALANCED, near)
    assert [item.path for item in both] == ["memory/shared/a.md", "memory/shared/b.md"]


VOCABULARY = ["common", "plain", "risk", "nvda", "stop", "limit", "deploy", "zebra"]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AVM]:
    """400 memories in which words are ever rarer."""
    with AVM(tmp_path_factory.mktemp("many") / "vault", semantic="off") as avm:
        for number in range(400):
            held = [w for n, w in enumerate(VOCABULARY) if number % (n * n + 1) == 0]
            write(
                avm, f"f{number % 7}/n{number}", " ".join(held * (1 + number % 3)) + " filler" * 9
            )
        avm.search("filler")
        yield avm


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=6, unique=True))
def test_a_bounded_search_ranks_by_the_whole_index(
    many: AVM, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    index = many.store.index
    connection = index._database.connection
    where = Filter(None, "", many.store.now())
    asked = parse(" ".join(words)).words
    true = fulltext.ranked(connection, asked.match_expression(), where, 400)
    score = {hit.chunk_id: hit.score for hit in true}
    with monkeypatch.context() as patch:
        patch.setattr(fulltext, "_MOST_RANKED", 40)
        patch.setattr(fulltext, "_MOST_COMMON", 60)
        bounded = fulltext.FullText().search(connection, asked, where, 200)
        inside = Filter(("memory/shared/f3",), "", where.now)
        filtered = fulltext.FullText().search(connection, asked, inside, 200)
    assert bounded
    scores = [hit.score for hit in bounded]
    assert scores == sorted(scores, reverse=True)
    for hit in bounded:
        # Less only by what a word gives that is in more than half of all passages.
        assert hit.score == pytest.approx(score[hit.chunk_id], abs=1e-4)
    visible = {memory.id for memory in index.list_memories(inside)}
    assert {hit.memory_id for hit in filtered} <= visible


def test_an_agent_s_common_words_find_what_holds_the_most_of_them(
    many: AVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = many.store.index._database.connection
    folders = ("memory/shared/f1", "memory/shared/f3", "memory/shared/f5")
    where = Filter(folders, "", many.store.now())
    asked = Words(parse("common plain risk nvda").words.terms)
    true = fulltext.ranked(connection, asked.match_expression(), where, 10)
    monkeypatch.setattr(fulltext, "_MOST_RANKED", 20)
    monkeypatch.setattr(fulltext, "_MOST_COMMON", 20)
    found = fulltext.FullText().search(connection, asked, where, 60)
    assert [round(hit.score, 4) for hit in found[:10]] == [round(hit.score, 4) for hit in true]


def test_a_rare_word_among_common_ones_finds_what_it_would_otherwise(
    many: AVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = many.store.index._database.connection
    where = Filter(None, "", many.store.now())
    asked = Words(parse("zebra risk nvda stop limit").words.terms)
    true = fulltext.ranked(connection, asked.match_expression(), where, 8)
    monkeypatch.setattr(fulltext, "_MOST_RANKED", 40)
    found = fulltext.FullText().search(connection, asked, where, 8)
    assert [round(hit.score, 4) for hit in found] == [round(hit.score, 4) for hit in true]
