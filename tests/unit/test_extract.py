"""Passages, tags, links and the forms of words that the tokenizer cannot make."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avm.index import chunks
from avm.index.extract import extract, grams
from avm.vault.git import blob_id

markdown = st.text(st.sampled_from("ab# \n`-~"), max_size=400)


@given(markdown)
def test_passages_hold_every_line_once_and_in_order(body: str) -> None:
    parts = chunks.split(body)
    lines = body.split("\n")
    last = -1
    for part in parts:
        assert last < part.first_line <= part.last_line < len(lines)
        assert part.text == "\n".join(lines[part.first_line : part.last_line + 1])
        last = part.last_line
    covered = {n for part in parts for n in range(part.first_line, part.last_line + 1)}
    assert all(n in covered for n, line in enumerate(lines) if line.strip())


@given(st.text(st.sampled_from("word \n"), min_size=2_000, max_size=6_000))
def test_passages_stay_short(body: str) -> None:
    assert all(len(part.text) <= 3 * chunks.TARGET_CHARS for part in chunks.split(body))


def test_one_long_line_is_cut_and_nothing_is_lost() -> None:
    line = "word " * 5_000
    parts = chunks.split(line)
    assert "".join(part.text for part in parts) == line
    assert max(len(part.text) for part in parts) <= chunks.TARGET_CHARS


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
    assert [target for kind, target in found.links if kind == "link"] == ["a", "b", "c"]


def test_grams() -> None:
    assert grams("我的记忆").split() == ["我的", "的记", "记忆"]
    assert grams("メモリ 기억").split() == ["メモ", "モリ", "기억"]
    assert grams("getUserName HTTPServer plain").split() == [
        "get",
        "User",
        "Name",
        "HTTP",
        "Server",
    ]


@given(st.binary(max_size=300))
def test_any_bytes_are_extracted(raw: bytes) -> None:
    found = extract("memory/x.md", raw)
    assert found.passages and found.hash == blob_id(raw)


def test_blob_id_is_git_s() -> None:
    assert blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
