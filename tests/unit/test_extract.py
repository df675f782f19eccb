"""Passages, tags, links and the forms of words that the tokenizer cannot make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avm.index import chunks
from avm.index.extract import extract
from avm.vault.git import blob_id

markdown = st.text(st.sampled_from("ab# \n`-~"), max_size=400).map(str.encode)
pieces = st.sampled_from(
    [
        *(b"word ", b"\n", b"\r\n", b"\n\n", b"# H\n", b"```\n", b"\xff", b"\xe8\xae", b"\0"),
        *("记忆".encode(), b"x" * 700, "é ".encode() * 500),
    ]
)
texts = markdown | st.lists(pieces, max_size=30).map(b"".join)


@given(texts, st.integers(0, 3))
def test_spans_are_in_order_and_hold_all_that_is_not_blank(raw: bytes, start: int) -> None:
    start = min(start, len(raw))
    last, covered = start, b""
    for part in chunks.split(raw, start):
        assert last <= part.start < part.end <= len(raw)
        covered += raw[last : part.start]
        assert chunks.decoded(raw[part.start : part.end]) == part.text
        assert raw.count(b"\n", start, part.start) == part.first_line
        assert raw.count(b"\n", start, part.end) == part.last_line
        last = part.end
    covered += raw[last:]
    assert not covered.decode("utf-8", "replace").strip()


@given(texts)
def test_spans_are_those_of_the_file(body: bytes) -> None:
    for head in (
        b"",
        b"\xef\xbb\xbf",
        b"---\r\ntitle: T\r\n---\r\n",
        b"\xef\xbb\xbf---\n: [\n---\n",
    ):
        raw = head + body
        for part in extract("memory/x.md", raw).passages:
            assert chunks.decoded(raw[part.start : part.end]).replace("\0", "\ufffd") == part.text
            assert raw.count(b"\n", 0, part.start) + 1 == part.first_line
            assert raw.count(b"\n", 0, part.end) + 1 == part.last_line


@given(st.text(st.sampled_from("word \n"), min_size=2_000, max_size=6_000))
def test_passages_stay_short(body: str) -> None:
    assert all(len(part.text) <= 3 * chunks.TARGET_CHARS for part in chunks.split(body.encode()))


@pytest.mark.parametrize("word", ["word ", "记忆", "é "])
def test_one_long_line_is_cut_and_nothing_is_lost(word: str) -> None:
    line = word * 5_000
    parts = chunks.split(line.encode())
    assert "".join(part.text for part in parts) == line
    assert max(len(part.text) for part in parts) <= chunks.TARGET_CHARS


def test_code_stays_together_where_it_can() -> None:
    code = "```\n" + "\n\n".join(f"line {n}" for n in range(60)) + "\n```"
    parts = chunks.split(f"{'before ' * 100}\n{code}\n\n{'after ' * 100}\n".encode())
    assert [part.text for part in parts][1] == code


def test_headings_and_lines_of_a_file_with_front_matter() -> None:
    raw = b"---\ntitle: T\n---\n# One\n\ntext\n\n## Two\n\nmore #tag\n"
    passages = extract("memory/x.md", raw).passages
    assert [(p.first_line, p.last_line) for p in passages] == [(4, 6), (8, 10)]
    assert passages[1].context == "T › One › Two"


def test_tags_and_links_come_from_text_but_not_from_code() -> None:
    raw = b"---\ntags: [Risk]\nlinks: [a]\n---\n#nvda [[b|B]] [[c#h]] `#no [[no]]`\n"
    raw += b"```\n#no [[no]]\n```\n"
    found = extract("memory/x.md", raw)
    assert found.tags == ("risk", "nvda")
    assert [link.target for link in found.links if link.kind == "link"] == ["a", "b", "c"]


@given(st.binary(max_size=300))
def test_any_bytes_are_extracted(raw: bytes) -> None:
    found = extract("memory/x.md", raw)
    assert found.passages and found.hash == blob_id(raw)


def test_blob_id_is_git_s() -> None:
    assert blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
