"""Names of virtual nodes: what parses is one, all else is an ordinary name."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avm.overlay.names import parse, parse_past
from avm.overlay.nodes import BY_NAME, NODES

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)


def arguments(name: str) -> dict[str, str] | None:
    """The arguments of a folder's node, None for an ordinary name."""
    asked = parse(name, BY_NAME)
    return None if asked is None else dict(asked.arguments)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (":search", {}),
        (":search?RSI", {"query": "RSI"}),
        (":search?query=RSI&limit=10", {"query": "RSI", "limit": "10"}),
        (":search?q=RSI", {"query": "RSI"}),
        (":search?RSI&limit=3", {"query": "RSI", "limit": "3"}),
        (":recall:NVDA+risk,max_tokens=500", {"query": "NVDA risk", "max_tokens": "500"}),
        (":recall:a,b,strategy=recency", {"query": "a,b", "strategy": "recency"}),
        (":recall:max_tokens=500", {"max_tokens": "500"}),
        (":recall?query=a%2Fb%20c+d", {"query": "a/b c d"}),
        (":recall:RSI=70+rule", {"query": "RSI=70 rule"}),
        (":stats", {}),
    ],
)
def test_forms(name: str, expected: dict[str, str]) -> None:
    assert arguments(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        ":", ":nosuch", ":search?nosuch=1", ":stats?x", ":stats:x", ":search,v", ":search?a,v",
        ":search?a~", ":search?a.swp", ":search.md", ":Search", "search", "a:b", "x.md", "x.md:",
        "x.md:nosuch", "x.txt:meta", ".md:meta", "x.md:meta?y", "12:30.md", "x.md:meta~",
        "x.md:delta?", "x.md:delta:", "x.md:delta?no=1", "x.md:delta?peek", "x.md:delta:peek",
        "x.md:delta?peek=1~", "x.md:delta?peek=1&no=1", "x.md:ttl:30d", "x.md:tags?a",
        ":conflicts?x", "x.md:at", "x.md:at:", "x.md:meta:y", "x.md:at:HEAD~", "x.txt:at:~1",
        ":at", ":at:~1",
    ],
)  # fmt: skip
def test_ordinary_names(name: str) -> None:
    assert parse(name, BY_NAME) is None


def test_a_file_s_node() -> None:
    asked = parse("my note: 2.md:meta", BY_NAME)
    assert asked is not None and (asked.node.name, asked.on) == ("meta", "my note: 2.md")


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("a.md:delta", {}),
        ("a.md:delta?peek=1", {"peek": "1"}),
        ("a.md:delta:peek=1", {"peek": "1"}),
        ("a.md:delta?peek=a%2Fb+c", {"peek": "a/b c"}),
        ("a.md:delta?peek=", {"peek": ""}),
    ],
)
def test_a_file_s_node_with_parameters(name: str, asked: dict[str, str]) -> None:
    found = parse(name, BY_NAME)
    assert found is not None
    assert (found.node, found.on) == (BY_NAME["file", "delta"], "a.md")
    assert dict(found.arguments) == asked


@given(words, st.sampled_from([quote, quote_plus]))
def test_a_file_s_parameter_takes_any_value_in_either_form(text: str, encode: object) -> None:
    coded = encode(text, safe="")  # type: ignore[operator]
    if coded.endswith("~"):  # as editors' backups do
        coded = f"{coded[:-1]}%7E"
    for name in (f"my: note.md:delta?peek={coded}", f"my: note.md:delta:peek={coded}"):
        asked = parse(name, BY_NAME)
        if not name.endswith((".swp", ".swo", ".swx", ".orig", ".bak", ".gz", ".bz2", ".xz")):
            assert asked is not None
            assert (asked.on, dict(asked.arguments)) == ("my: note.md", {"peek": text})


@given(words, st.sampled_from([quote, quote_plus]))
def test_any_question_can_be_asked_in_either_form(text: str, encode: object) -> None:
    coded = encode(text, safe="")  # type: ignore[operator]
    assert arguments(f":search?query={coded}&limit=1") == {"query": text, "limit": "1"}
    assert arguments(f":search:{coded},limit=1") == {"query": text, "limit": "1"}


@given(st.text(max_size=40))
def test_no_name_breaks_the_parser(name: str) -> None:
    parse(name, BY_NAME)
    parse(":search" + name, BY_NAME)
    parse("x.md:" + name, BY_NAME)


@given(words)
def test_what_follows_a_node_that_takes_nothing_makes_an_ordinary_name(text: str) -> None:
    for node in NODES:
        if node.place == "file" and not node.parameters:
            assert parse(f"x.md:{node.name}?{text}", BY_NAME) is None
            assert parse(f"x.md:{node.name}:{text}", BY_NAME) is None


def test_only_what_says_what_it_takes_can_be_written() -> None:
    for node in NODES:
        assert (node.write is None) == (node.takes == ""), node.shown
        assert not node.several or node.write is not None, node.shown


def test_examples_of_every_node_parse_as_that_node() -> None:
    for node in NODES:
        for example in node.examples:
            if node.place == "root":
                assert parse_past(example) is not None
            else:
                asked = parse(example, BY_NAME)
                assert asked is not None and asked.node is node


@given(words)
def test_any_revision_can_be_named(text: str) -> None:
    """After a file's name and as the first folder of a path; a slash must be coded."""
    coded = quote(text, safe="")
    if coded.endswith("~"):  # as editors' backups do
        coded = f"{coded[:-1]}%7E"
    asked = parse(f"my: note.md:at:{coded}", BY_NAME)
    assert asked is not None and (asked.on, dict(asked.arguments)) == ("my: note.md", {"rev": text})
    assert parse_past(f":at:{coded}") == (text, "")
    assert parse_past(f":at:{coded}/memory/x.md") == (text, "memory/x.md")


@pytest.mark.parametrize(
    ("name", "on", "rev"),
    [
        ("x.md:at:4f2c1e", "x.md", "4f2c1e"),
        ("x.md:at:2026-11-01T10:00", "x.md", "2026-11-01T10:00"),
        ("x.md:at:side%2Ftry", "x.md", "side/try"),
        ("x.md:at:y.md:meta", "x.md", "y.md:meta"),
        ("a.md:b.md:at:~3", "a.md:b.md", "~3"),
    ],
)
def test_a_file_at_a_revision(name: str, on: str, rev: str) -> None:
    asked = parse(name, BY_NAME)
    assert asked is not None and (asked.on, asked.arguments) == (on, (("rev", rev),))


@pytest.mark.parametrize(
    "rel", ["", ":at", ":at:", "memory/:at:~1", "x:at:~1", ":at:x.swp", ":at:HEAD~", ":AT:~1"]
)
def test_no_folder_of_the_past(rel: str) -> None:
    assert parse_past(rel) is None
