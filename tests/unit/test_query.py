"""The language of queries: what parses, and that the rest survives as words."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avm.index.text import Condition, Filter, Term, Words
from avm.recall.query import Query, parse

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
DAY = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
items = st.sampled_from(
    ["nvda", '"risk off"', "tag:x", "-tag:x", "-word", '-"a b"', "path:memory/*", "agent:a", "-",
     "since:7d", "before:2026-11-01", "importance>0.7", 'path:"my notes"', '"', "OR", "NEAR(", "*",
     "记忆", "getUserName", "x::y", "a'; DROP", "col:", "^a", "{b}", "\0", "\ud800", "🙂", "ﬁ", "ß"]
)  # fmt: skip
queries = st.lists(items | st.text(max_size=12), max_size=8).map(" ".join)


def asked(text: str) -> Query:
    """`text`, asked at noon."""
    return parse(text, NOW)


def words(query: Query) -> list[str]:
    """What is looked for."""
    return [term.text for term in query.words.terms]


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("tag:Risk", Condition("tag", "risk")),
        ("tag:#risk/fx", Condition("tag", "risk/fx")),
        ('-tag:"a b"', Condition("tag", "a b", True)),
        ("path:/memory/shared/", Condition("path", "memory/shared")),
        ("path:memory/shared/tr*", Condition("path", "memory/shared/tr*")),
        ('path:"my notes/x.md"', Condition("path", "my notes/x.md")),
        ("-agent:Akashi", Condition("agent", "akashi", True)),
        ("since:7d", Condition("since", NOW - 7 * 86_400)),
        ("before:12h", Condition("before", NOW - 12 * 3_600)),
        ("since:2026-11-01", Condition("since", DAY)),
        ("before:2026-11-01", Condition("before", DAY)),
        ("since:1970-01-01", Condition("since", 0.0)),
        ("importance>0.7", Condition("importance>", 0.7)),
        ("importance>=1", Condition("importance>=", 1.0)),
        ("importance:0.5", Condition("importance=", 0.5)),
        ("importance=0.5", Condition("importance=", 0.5)),
        ("-importance<0.5", Condition("importance<", 0.5, True)),
    ],
)
def test_filters(text: str, condition: Condition) -> None:
    query = asked(f"nvda {text} risk")
    assert query.conditions == (condition,)
    assert words(query) == ["nvda", "risk"]
    assert query.question == "nvda risk"
    assert asked(text).only_filters is not condition.negated


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("since:soon", ["since", "soon"]),
        ("since:2026-13-01", ["since", "2026-13-01"]),
        ("since>7d", ["since", "7d"]),
        ("importance>2", ["importance", "2"]),
        ("importance:high", ["importance", "high"]),
        ("tag:", ["tag"]),
        ("agent:Bad/Name", ["agent", "Bad", "Name"]),
        ("colour:red", ["colour", "red"]),
        ("--force", ["force"]),
        ("- x", ["x"]),
        ('"not closed', ["closed"]),
        ('x"y z"', ["x", "y", "z"]),
        ("what is the NVDA risk?", ["NVDA", "risk"]),
        ("to be or not to be", ["to", "be", "or", "not"]),
        ('"to be"', ["to be"]),
        ("关于 AVM记忆 of", ["关于", "AVM", "记忆"]),
        ("avm/index/text.py v1.2.3", ["avm", "index", "text.py", "v1.2.3"]),
        ("ﾒﾓﾘ ＡＢＣ", ["メモリ", "ABC"]),
        ("", []),
        ("?!", []),
    ],
)
def test_what_is_no_filter_is_words(text: str, found: list[str]) -> None:
    query = asked(text)
    assert words(query) == found
    assert not query.conditions and not query.without


def test_what_must_not_be_there() -> None:
    query = asked('risk -"stop loss" -nvda')
    assert words(query) == ["risk"]
    assert query.without == Words((Term("stop loss"), Term("nvda")))
    assert not asked("-nvda").only_filters and not asked("-nvda")


def test_dates_are_in_the_zone_that_is_given() -> None:
    zone = timezone(timedelta(hours=2))
    (condition,) = parse("since:2026-11-01", NOW, zone).conditions
    assert condition.value == DAY - 7_200


@given(st.text(max_size=80) | queries)
def test_any_text_parses_and_its_words_survive(text: str) -> None:
    query = asked(text)
    if text.isascii() and text.isalnum():
        assert [word.lower() for word in words(query)] == [text.lower()]
    for expression in (query.words, query.without):
        assert expression.match_expression().count('"') % 2 == 0


PATHS = ("memory/shared/a.md", "memory/shared/b/c.md", "memory/private/x/d.md", "notes/e.md")


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    """An index of four memories."""
    made = sqlite3.connect(":memory:")
    made.executescript(resources.files("avm.index").joinpath("schema.sql").read_text("utf-8"))
    made.executemany(
        "INSERT INTO memory VALUES (?, ?, '', 0, 0, 0, 0, 0, '', NULL, NULL, NULL, NULL, 0, 'a',"
        " 0, 1, '')",
        enumerate(PATHS),
    )
    yield made
    made.close()


@given(queries, st.sampled_from([None, ("memory/shared",), ("memory/private/x",), ()]))
def test_a_query_never_widens_what_may_be_seen(
    connection: sqlite3.Connection, text: str, folders: tuple[str, ...] | None
) -> None:
    where = Filter(folders, "", NOW)

    def seen(filtered: Filter) -> set[str]:
        condition, values = filtered.sql()
        rows = connection.execute(f"SELECT path FROM memory_at AS m WHERE {condition}", values)
        return {row[0] for row in rows}

    query = asked(text)
    narrowed = query.narrow(where)
    assert seen(narrowed) <= seen(where)
    assert narrowed.access() == where
    if query.words:
        connection.execute(
            "SELECT 1 FROM chunk_text WHERE chunk_text MATCH ?", (query.words.match_expression(),)
        )


@given(queries)
def test_a_filter_goes_through_json(text: str) -> None:
    where = asked(text).narrow(Filter(("memory/shared",), "memory", NOW))
    assert Filter.from_json(json.loads(json.dumps(where.as_json()))) == where
    open_to_all = Filter(None, "", NOW)
    assert Filter.from_json(json.loads(json.dumps(open_to_all.as_json()))) == open_to_all


def test_a_phrase_of_nothing_is_nothing_to_leave_out() -> None:
    for text in ('hello -" "', 'hello -"-"', 'hello -""', "hello -."):
        assert parse(text).without.match_expression() == ""


def test_a_question_can_be_asked_without_names() -> None:
    query = parse("What did Ada Lovelace, or Ada's friend, say?")
    assert query.without_names({"ada lovelace"}) == "What did or Ada's friend, say?"
    assert query.without_names({"ada"}) == "What did Lovelace, or friend, say?"
    assert query.without_names({"nobody"}) == query.question
    for nothing_left in ("Ada?", "Who is Ada?", "What does Ada do?"):
        assert parse(nothing_left).without_names({"ada"}) == nothing_left
    long = " ".join(f"w{n}" for n in range(63))
    assert parse(f"{long} ada and more").without_names({"ada"}) == f"{long} and more"


@given(queries)
def test_without_its_names_a_question_is_some_of_its_words(text: str) -> None:
    query = asked(text)
    assert query.without_names(()) == " ".join(query.question.split()) or not query.question
    words = iter(query.question.split())
    assert all(word in words for word in query.without_names(query.names()[::2]).split())
