"""Front matter: any bytes in, same bytes out; a set key changes only its own lines."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avm.base import memory_file
from avm.base.errors import UnsureError

ODD = b"""\
\xef\xbb\xbf---\r
title:   'NVDA: rule'   # a note\r
# a comment\r
tags:\r
- trading\r
  # inner\r
- nvda\r
\r
version: 1.10\r
open: no\r
at: 12:30\r
text: >\r
  folded\r
  lines\r
\r
last: {a: [1, 2]}\r
...\r
Body with [[link]].\r
"""

keys = st.sampled_from(["title", "importance", "tags", "expires", "x", "z-1"])
plain = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=30
)
values = st.one_of(plain, st.floats(0, 1), st.booleans(), st.lists(plain, max_size=4))


@given(st.binary(max_size=400))
@example(b"")
@example(b"---")
@example(b"---\n---\n")
@example(b"\xef\xbb\xbf---\r\na: 1\r\n...\r\nx")
@example(b"---\n" + b"a: " + b"[" * 60_000 + b"\n---\nx")
def test_any_bytes_parse_and_split_without_loss(raw: bytes) -> None:
    file = memory_file.parse(raw)
    parts = memory_file.split(raw)
    assert 0 <= parts.yaml_start <= parts.yaml_end <= parts.body_start <= len(raw)
    head, body = raw[: file.split.body_start], raw[file.split.body_start :]
    assert head + body == raw
    if not file.split.has_front:
        assert file.body == raw.decode("utf-8", "replace").removeprefix("\ufeff")


@given(st.binary(max_size=200), keys)
def test_removing_a_key_that_is_not_there_changes_no_byte(raw: bytes, key: str) -> None:
    with contextlib.suppress(UnsureError):
        assert memory_file.set_key(raw, key, None) == raw or key in raw.decode("utf-8", "replace")


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """A file with some keys, one a line, and comments between them."""
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5, unique=True))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    lines = []
    for name in names:
        if draw(st.booleans()):
            lines.append("# note " + name)
        lines.append(f"{name}: {draw(st.sampled_from(['1.10', 'no', '[x, y]', 'plain words']))}")
    bom = draw(st.sampled_from(["", "\ufeff"]))
    body = draw(st.text("ab\n#-:", max_size=20))
    return (bom + newline.join(["---", *lines, "---", body])).encode(), names


@given(files(), values, st.data())
def test_a_set_key_changes_only_its_line(
    file: tuple[bytes, list[str]], value: object, data: st.DataObject
) -> None:
    raw, names = file
    key = data.draw(st.sampled_from(names))
    changed = memory_file.set_key(raw, key, value)
    before, after = raw.splitlines(keepends=True), changed.splitlines(keepends=True)
    assert len(before) == len(after)
    own = key.encode() + b":"
    for old, new in zip(before, after, strict=True):
        assert old == new or old.startswith(own)


@given(files(), values)
def test_a_new_key_adds_one_line_and_reads_back(
    file: tuple[bytes, list[str]], value: object
) -> None:
    raw, _ = file
    changed = memory_file.set_key(raw, "new", value)
    assert len(changed.splitlines()) == len(raw.splitlines()) + 1
    read = memory_file.parse(changed).front.other["new"]
    if isinstance(value, (str, list)):
        assert read == value
    assert memory_file.set_key(changed, "new", None) == raw


@given(st.text(max_size=60), st.text(max_size=60).filter(lambda t: t.strip()))
def test_a_rendered_file_reads_back(title: str, body: str) -> None:
    raw = memory_file.render({"title": title.strip() or None, "importance": 0.9}, body)
    file = memory_file.parse(raw)
    assert not file.problems
    assert file.front.importance == 0.9
    assert raw.endswith(body.encode("utf-8", "replace")) or "\udc80" <= max(body) <= "\udcff"


def test_odd_yaml_keeps_every_other_byte() -> None:
    changed = memory_file.set_key(ODD, "tags", ["a", "b"])
    assert changed == ODD.replace(b"tags:\r\n- trading\r\n  # inner\r\n- nvda", b"tags: [a, b]")
    changed = memory_file.set_key(ODD, "title", "x: y")
    assert changed == ODD.replace(b"   'NVDA: rule'   # a note", b' "x: y"   # a note')
    changed = memory_file.set_key(ODD, "text", None)
    assert b"folded" not in changed and b"last: {a: [1, 2]}\r\n...\r\nBody" in changed


def test_scalars_are_what_was_written() -> None:
    front = memory_file.parse(ODD).front
    assert front.title == "NVDA: rule"
    assert front.tags == ("trading", "nvda")
    assert front.other["version"] == "1.10"
    assert front.other["open"] == "no"
    assert front.other["at"] == "12:30"


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (b"a: [1\n", "front matter"),
        (b"- a\n- b\n", "not a mapping"),
        (b"a: \xff\n", "not UTF-8"),
        (b"importance: 7\n", "importance"),
        (b"ttl: soon\n", "ttl"),
        (b"expires: some day\n", "expires"),
        (b"tags: {a: b}\n", "tags"),
        (b"a: " + b"[" * 200 + b"]" * 200 + b"\n", "nested"),
    ],
)
def test_what_cannot_be_read_is_named_and_the_text_stays(block: bytes, problem: str) -> None:
    file = memory_file.parse(b"---\n" + block + b"---\nthe body\n")
    assert any(problem in line for line in file.problems)
    assert "the body" in file.body


def test_a_block_that_is_too_long_is_text() -> None:
    raw = b"---\n" + b"a: b\n" * 20_000 + b"---\nbody\n"
    assert not memory_file.split(raw).has_front


def test_times_and_durations() -> None:
    raw = b"---\ncreated: 2026-11-22\nexpires: 2026-12-22T01:00:00+01:00\nttl: 1d12h\n---\n"
    front = memory_file.parse(raw).front
    assert front.created == datetime(2026, 11, 22, tzinfo=UTC)
    assert front.expires == datetime(2026, 12, 22, tzinfo=UTC)
    assert front.ttl == timedelta(days=1, hours=12)


def test_flow_mapping_is_left_alone() -> None:
    with pytest.raises(UnsureError):
        memory_file.set_key(b"---\n{a: 1}\n---\n", "a", "2")


_pieces = st.sampled_from(
    ["a", "b1", "no", "~", "12:30", "2026-01-02T10:00:00Z", "x: y", ":", ": ", "#", " #", "-",
     "- ", "[", "]", ", ", ",", "{", "}", "'", '"', "*", "&", "!", "|", ">", "%", "@", "`", "?",
     "=", "<<", " ", "  ", "\t", "\r", "(", ")", "/", ".", "+", "_", "é", "\n", "\n", "\nk: ",
     "\ntitle: ", "tags: [", "k: [a, b]", "null", "---", "..."]
)  # fmt: skip


@given(st.lists(_pieces, max_size=12).map("".join), st.sampled_from(["", "k: ", "tags: ["]))
def test_the_short_way_reads_what_the_yaml_loader_reads(text: str, start: str) -> None:
    import yaml

    plain = memory_file._load_plain(start + text)
    if plain is not None:
        assert plain == (yaml.load(start + text, Loader=yaml.CBaseLoader) or {})
        assert list(plain) == list(yaml.load(start + text, Loader=yaml.CBaseLoader) or {})


def test_the_short_way_is_taken() -> None:
    text = "title: NVDA RSI rule, (2)\nimportance: 0.9\ntags: [trading, nvda x]\nlinks: []\n"
    assert memory_file._load_plain(text + "created: 2026-11-22T10:04:00Z\n") == {
        "title": "NVDA RSI rule, (2)", "importance": "0.9", "tags": ["trading", "nvda x"],
        "links": [], "created": "2026-11-22T10:04:00Z",
    }  # fmt: skip
