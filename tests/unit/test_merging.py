"""What two versions of a file come to: the same on every machine, and nothing of either is lost."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from avm.base import memory_file, merging, paths
from avm.base.errors import UnsureError
from avm.base.merging import Merged, Side
from avm.vault.git import blob_id
from avm.vault.merge_lines import merge_lines

REL = "memory/shared/rule.md"
MARKS = (b"<<<<<<<", b">>>>>>>", b"|||||||")


def merge_text(base: bytes, one: bytes, other: bytes) -> bytes | None:
    """The lines of both, by git."""
    return merge_lines(Path(tempfile.gettempdir()), base, one, other)


def side(data: bytes) -> Side:
    return Side(data, blob_id(data))


def merged(base: bytes | None, one: bytes, other: bytes, rel: str = REL) -> Merged:
    """Both ways round; they must come to the same."""
    found = merging.merge(rel, base, side(one), side(other), merge_text)
    assert merging.merge(rel, base, side(other), side(one), merge_text) == found
    return found


def front(*lines: str, body: str = "body\n") -> bytes:
    return ("---\n" + "".join(f"{line}\n" for line in lines) + "---\n" + body).encode()


def said(data: bytes) -> dict[str, Any]:
    return {key: value for key, (value, _) in memory_file.entries(data).items()}


def winner_and_loser(one: bytes, other: bytes) -> tuple[bytes, bytes]:
    """By blob id, the greater first."""
    return (one, other) if blob_id(one) >= blob_id(other) else (other, one)


# One key


CHOICES: list[tuple[str, str | None, str | None, str | None, str | None]] = [
    # what it is, base, one side, the other, what it becomes (None: no such key)
    ("one side changed it", "title: a", "title: b", "title: a", "title: b"),
    ("one side added it", None, "title: b", None, "title: b"),
    ("one side took it out", "title: a", None, "title: a", None),
    ("both changed it alike", "title: a", "title: b", "title: b", "title: b"),
    ("the greater text", "title: a", "title: b", "title: c", "title: c"),
    ("an edit wins over taking it out", "title: a", "title: b", None, "title: b"),
    ("the larger importance", "importance: 0.5", "importance: 0.9", "importance: 0.10",
     "importance: 0.9"),
    ("the larger importance, both new", None, "importance: 1", "importance: 0.3", "importance: 1"),
    ("no importance is 0.5", "importance: 0.7", None, "importance: 0.3", None),
    ("no importance is 0.5, less than 0.6", "importance: 0.7", None, "importance: 0.6",
     "importance: 0.6"),
    ("a number wins over what is none", "importance: 0.5", "importance: 0.1", "importance: zzz",
     "importance: 0.1"),
    ("nan is no number", "importance: 0.5", "importance: 0.1", "importance: nan",
     "importance: 0.1"),
    ("the later expiry", "expires: 2026-01-01", "expires: 2026-03-01",
     "expires: 2026-02-01T00:00:00Z", "expires: 2026-03-01"),
    ("the later expiry, by the moment", "expires: 2026-01-01",
     "expires: 2026-03-01T01:00:00+02:00", "expires: 2026-03-01T00:00:00Z",
     "expires: 2026-03-01T00:00:00Z"),
    ("no expiry is the latest", "expires: 2026-01-01", None, "expires: 2026-03-01", None),
    ("a date wins over what is none", "expires: 2026-01-01", "expires: 2026-03-01",
     "expires: soon", "expires: 2026-03-01"),
    ("the longer ttl", "ttl: 1d", "ttl: 36h", "ttl: 2h", "ttl: 36h"),
    ("no ttl is for ever", "ttl: 1d", None, "ttl: 36h", None),
    ("pinned by one", "pinned: false", "pinned: true", "pinned: false", "pinned: true"),
    ("unpinned by one", "pinned: true", "pinned: true", None, None),
    ("pinned by one and taken out by the other", "pinned: false", "pinned: true", None,
     "pinned: true"),
    ("a key that nobody knows", "x: {a: 1}", "x: {a: 2}", "x: {a: 1}", "x: {a: 2}"),
    ("a key that nobody knows, both", "x: {a: 1}", "x: {a: 2}", "x: {a: 3}", "x: {a: 3}"),
    ("what is written stays as written", "x: 1.0", "x: 1.10  # why", "x: 1.0", "x: 1.10"),
    ("a nested key", "x:\n  a: 1\n  b: 2", "x:\n  a: 1\n  b: 2", "x:\n  a: 1\n  b: 3",
     "x:\n  a: 1\n  b: 3"),
]  # fmt: skip


@pytest.mark.parametrize("what, base, one, other, wanted", CHOICES, ids=[row[0] for row in CHOICES])
def test_a_key_becomes(
    what: str, base: str | None, one: str | None, other: str | None, wanted: str | None
) -> None:
    def whole(line: str | None) -> bytes:
        return front("agent: akashi", *([line] if line else []))

    found = merged(whole(base), whole(one), whole(other))
    assert found.copy is None
    assert said(found.data) == said(whole(wanted))
    assert found.data.endswith(b"---\nbody\n")


SETS = [
    ("both added", "[a]", "[a, b]", "[a, c]", ("a", "b", "c")),
    ("one took out, one added", "[a, b]", "[a]", "[a, b, c]", ("a", "c")),
    ("each took one out", "[a, b, c]", "[a, c]", "[b, c]", ("c",)),
    ("all taken out between them", "[a, b]", "[a]", "[b]", ()),
    ("the key taken out, one added", "[a]", None, "[a, b]", ("b",)),
    ("a block list", "\n  - a", "\n  - a\n  - b", "[a, c]", ("a", "b", "c")),
    ("both alike in another form", "[a]", "\n  - a\n  - b", "[a, b]", ("a", "b")),
    ("no key before", None, "[b]", "[a]", ("a", "b")),
    ("what YAML may take for more", "[a]", "[a, 'no']", "[a, '12:30']", ("a", "12:30", "no")),
]


@pytest.mark.parametrize("key", ["tags", "aliases", "links", "supersedes"])
@pytest.mark.parametrize("what, base, one, other, wanted", SETS, ids=[row[0] for row in SETS])
def test_a_list_takes_in_what_either_side_added_and_took_out(
    key: str,
    what: str,
    base: str | None,
    one: str | None,
    other: str | None,
    wanted: tuple[str, ...],
) -> None:
    def whole(value: str | None) -> bytes:
        return front("title: t", *([f"{key}: {value}"] if value else []))

    found = merged(whole(base), whole(one), whole(other))
    assert found.copy is None
    assert getattr(memory_file.parse(found.data).front, key) == wanted
    assert (key in said(found.data)) == bool(wanted)


def test_wikilinks_in_a_list_stay_links() -> None:
    found = merged(
        front('links: ["[[a]]"]'), front('links: ["[[a]]", "[[b]]"]'), front("links: []")
    )
    assert memory_file.parse(found.data).front.links == ("b",)


@pytest.mark.parametrize("key", ["tags", "aliases", "links", "supersedes"])
@pytest.mark.parametrize(
    "base, one, other",
    [
        ("{a: 1}", "{a: 2}", "{a: 3}"),
        ("[a]", "[a, {deep: er}]", "[a, b]"),
        ("[a]", "[a, [b, c]]", "[a, d]"),
    ],
)
def test_what_is_no_list_of_names_is_taken_whole_and_not_dropped(
    key: str, base: str, one: str, other: str
) -> None:
    sides = [front(f"{key}: {value}") for value in (one, other)]
    found = merged(front(f"{key}: {base}"), *sides)
    assert said(found.data) in [said(data) for data in sides]


# The whole front matter


def test_keys_that_have_one_anchor_leave_one_side_and_keep_the_other() -> None:
    one = front("title: a", "foo: &a one", "y: 1")
    other = front("title: a", "notes: &a two", "x: 1")
    found = merged(front("title: a"), one, other)
    assert (found.data, found.copy) == winner_and_loser(one, other)


def test_a_copy_of_a_very_long_name_has_one_that_a_disk_takes() -> None:
    for letter, count in (("n", 250), ("\u00e9", 124)):
        rel = f"a/{letter * count}.md"
        name = merging.copy_name(rel, "1a2b3c4d" * 5).rpartition("/")[2]
        assert len(name.encode()) <= 255 and name.endswith(".conflict-1a2b3c4d.md")


def test_a_list_that_holds_more_than_names_is_taken_whole() -> None:
    odd = front("tags: [a, {deep: er}, x]")
    found = said(merged(front("tags: [a]"), odd, front("tags: [a, b]")).data)["tags"]
    assert found in (["a", {"deep": "er"}, "x"], ["a", "b"])


def test_comments_order_and_form_of_the_other_keys_stay() -> None:
    base = front("# top", "title:   'T'   # why", "b: 2", "", "# before a", "a: 1.10", "tags: [x]")
    one = base.replace(b"b: 2", b"b: 3")
    other = base.replace(b"tags: [x]", b"tags: [x, y]  # two")
    found = merged(base, one, other)
    assert found.data == base.replace(b"b: 2", b"b: 3").replace(b"[x]", b"[x, y]") or (
        found.data == one.replace(b"tags: [x]", b"tags: [x, y]  # two")
    )


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_byte_order_mark_and_line_ends_stay(bom: bytes, newline: bytes) -> None:
    def whole(*lines: str, body: str = "one\ntwo\nthree\nfour\nfive\n") -> bytes:
        return bom + front(*lines, body=body).replace(b"\n", newline)

    found = merged(
        whole("a: 1", "b: 1"),
        whole("a: 2", "b: 1", body="ONE\ntwo\nthree\nfour\nfive\n"),
        whole("a: 1", "b: 2", "c: 3", body="one\ntwo\nthree\nfour\nFIVE\n"),
    )
    assert found == Merged(
        whole("a: 2", "b: 2", "c: 3", body="ONE\ntwo\nthree\nfour\nFIVE\n"), None, ""
    )


def test_front_matter_that_one_side_added_meets_the_other_sides_body() -> None:
    base, one, other = b"body\n", front("title: t"), b"longer body\n"
    found = merged(base, one, other)
    assert found == Merged(front("title: t", body="longer body\n"))


def test_front_matter_that_one_side_dropped_is_dropped() -> None:
    found = merged(front("title: t"), b"body\n", front("title: t", body="longer body\n"))
    assert found == Merged(b"longer body\n")


def test_front_matter_that_one_side_dropped_and_the_other_changed_keeps_the_change() -> None:
    found = merged(front("title: t", "x: 1"), b"body\n", front("title: u", "x: 1"))
    assert found.copy is None
    assert said(found.data) == {"title": "u"}


def test_front_matter_added_to_a_body_with_crlf_has_its_line_ends() -> None:
    base = b"one\r\ntwo\r\n"
    one = b"---\r\na: 1\r\n---\r\n" + base
    other = b"---\r\nb: 1\r\n---\r\n" + base
    found = merged(base, one, other)
    assert found.copy is None
    assert found.data.count(b"\n") == found.data.count(b"\r\n")
    assert said(found.data) == {"a": "1", "b": "1"}


@pytest.mark.parametrize(
    "broken",
    ["{a: 1, b: 2}", "a: 1\na: 2", "a: [", "- a", "a: &x 1\nb: *x", "a: \x01"],
    ids=["flow", "twice", "broken", "list", "alias", "control"],
)
def test_front_matter_that_cannot_be_read_leaves_one_and_keeps_the_other(broken: str) -> None:
    base = front(broken)
    one = front(broken + "\nc: 1")
    other = front(broken + "\nd: 1", body="another body\n")
    found = merged(base, one, other)
    winner, loser = winner_and_loser(one, other)
    assert found == Merged(winner, loser, blob_id(loser))


def test_front_matter_that_is_no_utf_8_leaves_one_and_keeps_the_other() -> None:
    base, one, other = (b"---\na: \xff%d\n---\nbody\n" % n for n in range(3))
    winner, loser = winner_and_loser(one, other)
    assert merged(base, one, other) == Merged(winner, loser, blob_id(loser))


def test_broken_front_matter_of_one_side_alone_is_an_edit_as_any() -> None:
    base, one = front("a: 1"), front("a: [")
    assert merged(base, one, base) == Merged(one)


# Bodies


def test_lines_of_both_sides_are_in_the_body() -> None:
    base = b"one\ntwo\nthree\nfour\nfive\n"
    found = merged(base, base + b"six\n", b"zero\n" + base)
    assert found == Merged(b"zero\n" + base + b"six\n")


def test_the_same_line_changed_by_both_keeps_one_body_beside_the_other() -> None:
    base = front("tags: [a]", body="old\n")
    one, other = front("tags: [a, b]", body="mine\n"), front("tags: [a, c]", body="yours\n")
    found = merged(base, one, other)
    winner, loser = winner_and_loser(one, other)
    assert found.loser == blob_id(loser)
    assert found.data == front("tags: [a, b, c]", body=winner.decode().rpartition("---\n")[2])
    assert found.copy is not None
    assert memory_file.parse(found.copy).body == loser.decode().rpartition("---\n")[2]
    assert said(found.copy) == {"tags": ["a", "b", "c"], "conflict_of": f"/{REL}"}


def test_two_memories_of_one_name_keep_each_its_own_front_matter() -> None:
    one, other = front("title: A", body="x\n"), front("title: B", body="y\n")
    found = merged(None, one, other)
    winner, loser = winner_and_loser(one, other)
    assert found.data == winner
    assert found.copy == memory_file.set_key(loser, "conflict_of", f"/{REL}")


def test_two_memories_of_one_name_and_text_are_one() -> None:
    one, other = front("tags: [a]", "agent: x"), front("tags: [b]", "agent: y")
    found = merged(None, one, other)
    assert found.copy is None
    assert said(found.data) == {"tags": ["a", "b"], "agent": "y"}


@pytest.mark.parametrize("base", [None, b""])
def test_an_empty_ancestor_is_as_none(base: bytes | None) -> None:
    one, other = front("title: A", body="x\n"), front("title: B", body="y\n")
    assert merged(base, one, other) == merged(None, one, other)


def test_rules_across_in_a_body_are_the_body_s() -> None:
    base = front("a: 1", body="one\n\n---\n\nb: 2\n---\ntwo\n")
    found = merged(base, base.replace(b"a: 1", b"a: 2"), base.replace(b"two", b"TWO"))
    assert found == Merged(base.replace(b"a: 1", b"a: 2").replace(b"two", b"TWO"))


def test_a_body_is_not_taken_for_front_matter_where_that_is_dropped() -> None:
    base = front("a: 1", body="---\nb: 1\n---\ntext\nmore\n")
    one = b"text\nmore\n"
    other = base.replace(b"more", b"MORE")
    found = merged(base, one, other)
    parsed = said(found.data)
    assert "b" not in parsed or found.copy is not None


def test_bodies_with_other_line_ends_keep_both() -> None:
    base = b"one\ntwo\n"
    one, other = b"one\r\ntwo\r\n", b"one\nTWO\n"
    found = merged(base, one, other)
    winner, loser = winner_and_loser(one, other)
    assert found.data == winner
    assert found.copy is not None
    assert found.copy.endswith(loser)


def test_a_binary_body_is_not_merged_by_lines() -> None:
    base, one, other = b"\0one\ntwo\n", b"\0ONE\ntwo\n", b"\0one\nTWO\n"
    found = merged(base, one, other)
    winner, loser = winner_and_loser(one, other)
    assert found.data == winner
    assert found.copy is not None
    assert found.copy.endswith(loser)


# Attachments


def test_an_attachment_of_text_is_merged_by_lines() -> None:
    base = b"1\n2\n3\n4\n5\n"
    found = merged(base, b"0\n" + base, base + b"6\n", "memory/shared/list.txt")
    assert found == Merged(b"0\n" + base + b"6\n")


@pytest.mark.parametrize("base", [None, b"", b"old\n", b"\0old\n"])
def test_an_attachment_that_cannot_be_merged_is_kept_as_it_is(base: bytes | None) -> None:
    one, other = b"\0mine\n" if base == b"\0old\n" else b"mine\n", b"yours\n"
    winner, loser = winner_and_loser(one, other)
    found = merged(base, one, other, "memory/shared/table.csv")
    assert found == Merged(winner, loser, blob_id(loser))


def test_front_matter_of_what_is_no_memory_is_text() -> None:
    base = front("tags: [a]")
    found = merged(base, front("tags: [b]"), front("tags: [c]"), "memory/shared/page.txt")
    assert found.copy is not None


# Names of copies


@pytest.mark.parametrize(
    "rel, name",
    [
        ("memory/a.md", "memory/a.conflict-12345678.md"),
        ("memory/a.b.MD", "memory/a.b.conflict-12345678.MD"),
        ("a.b/c", "a.b/c.conflict-12345678"),
        ("a/.dot", "a/.dot.conflict-12345678"),
        ("new\nline.md", "new\nline.conflict-12345678.md"),
    ],
)
def test_a_copy_is_named_after_its_file(rel: str, name: str) -> None:
    assert merging.copy_name(rel, "12345678" + "9" * 32) == name
    assert paths.copied_from(name) == rel
    assert paths.copied_from(rel) is None


def test_a_copy_of_a_copy_is_of_the_copy() -> None:
    first = merging.copy_name("a.md", "1" * 40)
    assert paths.copied_from(merging.copy_name(first, "2" * 40)) == first


def test_a_copy_of_a_name_that_is_no_utf_8_still_says_whose_it_is() -> None:
    rel = "memory/shared/caf\udce9.md"
    found = merged(b"old\n", b"mine\n", b"yours\n", rel)
    assert found.copy is not None
    assert str(said(found.copy)["conflict_of"]).startswith("/memory/shared/caf")


@pytest.mark.parametrize(
    "data",
    [b"text\n", b"\xef\xbb\xbftext\n", b"a\r\nb\r\n", front("a: 1"), front("a: 1", "", "# note"),
     b"\xef\xbb\xbf---\r\na: 1\r\n...\r\nb\r\n", b"", b"no newline"],
    ids=repr,
)  # fmt: skip
def test_a_copy_gives_the_text_back_as_it_was(data: bytes) -> None:
    copy = merging._marked(REL, data)
    assert copy != data
    assert merging.unmarked(copy) == data


def test_a_text_that_is_no_copy_is_left_as_it_is() -> None:
    for data in (b"text\n", b"---\n---\ntext\n", front("a: 1")):
        assert merging.unmarked(data) == data


# Whatever the versions are

WORDS = ("a", "b", "no", "12:30", "x y", "[[l]]", "#t", "ü")
lists = st.lists(st.sampled_from(WORDS), max_size=3, unique=True)
scalars = st.sampled_from(
    ["1", "'2'", '"a: b"', "no", "0.7", "1.10", "2026-05-01", "30d", "", "|\n  t\n  u", ">-\n  f",
     "{k: [1]}", "\n  k: 1\n  l: 2", "text  # note", "x # y", "~", "0.30", "3e-1", "99999999d"]
)  # fmt: skip
BROKEN = ("a: [", "{a: 1}", "a: 1\na: 2", "- x", "? k\n: v", "'tags': [q]", "a: *b")


@st.composite
def heads(draw: st.DrawFn) -> str:
    rows = []
    for key in draw(st.lists(st.sampled_from(
        ["title", "importance", "tags", "links", "expires", "ttl", "pinned", "x", "z-1"]
    ), max_size=5, unique=True)):  # fmt: skip
        if key in ("tags", "links") and draw(st.integers(0, 5)):
            rows.append(memory_file.line(key, draw(lists)))
        else:
            rows.append(f"{key}: {draw(scalars)}")
        if not draw(st.integers(0, 4)):
            rows.append(draw(st.sampled_from(["# note", "", "  # inner"])))
    if not draw(st.integers(0, 12)):
        rows.append(draw(st.sampled_from(BROKEN)))
    return "".join(f"{row}\n" for row in rows)


LINES = ("one", "two", "three", "", "---", "a: 1", "...", "- x", "ü", "====", "one ")
bodies = st.lists(st.sampled_from(LINES), max_size=6)


@st.composite
def versions(draw: st.DrawFn) -> bytes:
    text = "".join(f"{line}\n" for line in draw(bodies))
    if draw(st.booleans()):
        text = f"---\n{draw(heads())}---\n{text}"
    if not draw(st.integers(0, 7)):
        text = text.removesuffix("\n")
    if not draw(st.integers(0, 7)):
        text = text.replace("\n", "\r\n")
    if not draw(st.integers(0, 9)):
        text = "\ufeff" + text
    return text.encode()


@st.composite
def edited(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with lines put in, taken out and changed."""
    lines = data.split(b"\n")
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(lines)))
        new = [draw(st.sampled_from([
            b"new", b"title: new", b"tags: [n]", b"importance: 0.8", b"other", b"- x", b"---",
            b"expires: 2027-01-01", b"  k: 9", b"x: 2",
        ]))]  # fmt: skip
        how = draw(st.sampled_from(["in", "out", "change"]))
        lines[at : at + (how != "in")] = new if how != "out" else []
    return b"\n".join(lines)


@st.composite
def trios(draw: st.DrawFn) -> tuple[bytes | None, bytes, bytes]:
    base = draw(versions())
    sides = [draw(st.one_of(edited(base), versions())) for _ in range(2)]
    return draw(st.sampled_from([base, base, base, None])), sides[0], sides[1]


def lines_of(*datas: bytes | None) -> set[bytes]:
    """The lines of the bodies. Line ends do not count."""
    found: set[bytes] = set()
    for data in datas:
        if data is not None:
            body = data[memory_file.split(data).body_start :]
            found.update(line.rstrip(b"\r") for line in body.split(b"\n"))
    return found


@given(trios())
@example((b"", b"---\na: 1\n---\n", b"---\nb: 1\n---\n"))
@example((front("a: 1"), front("a: 1") + b"---\n", b"---\n---\nx\n"))
@example((b"---\na: 1\n---\n", b"\xef\xbb\xbf---\na: 2\n---\n", b"---\na: 1\nb: 2\n---\n"))
def test_any_two_versions_merge_alike_both_ways_and_nothing_is_lost(
    trio: tuple[bytes | None, bytes, bytes],
) -> None:
    base, one, other = trio
    found = merged(base, one, other)
    wholes = [data for data in (found.data, found.copy) if data is not None]
    for mine, others in ((one, other), (other, one)):
        removed = lines_of(base) - lines_of(others) if base is not None else set()
        lost = lines_of(mine) - lines_of(*wholes) - removed
        # What is a body in one version may be front matter in another.
        assert all(any(line in data for data in wholes) for line in lost), lost
    assert not any(mark in data for data in wholes for mark in MARKS)
    readable = [data for data in (one, other) if not memory_file.parse(data).problems]
    if len(readable) == 2:
        for data in wholes:
            assert not [p for p in memory_file.parse(data).problems if p.startswith("front")], data
    if found.copy is not None:
        assert found.loser in (blob_id(one), blob_id(other))
        loser = one if found.loser == blob_id(one) else other
        if found.copy != loser and is_plain(found.copy):
            assert said(found.copy)["conflict_of"] == f"/{REL}"


def is_plain(data: bytes) -> bool:
    """Whether a key can be set in its front matter."""
    try:
        return said(data) is not None
    except UnsureError:
        return False


@given(trios())
def test_a_merge_with_oneself_or_with_the_ancestor_changes_nothing(
    trio: tuple[bytes | None, bytes, bytes],
) -> None:
    base, one, _ = trio
    assert merged(base, one, one) == Merged(one)
    if base is not None:
        assert merged(base, one, base) == Merged(one)


@given(trios())
def test_a_result_merged_with_a_side_again_stays(trio: tuple[bytes | None, bytes, bytes]) -> None:
    base, one, other = trio
    found = merged(base, one, other)
    for data in (one, other):
        assert merged(data, found.data, data) == Merged(found.data)


@given(trios())
def test_readable_front_matter_says_of_each_key_what_a_side_says(
    trio: tuple[bytes | None, bytes, bytes],
) -> None:
    base, one, other = trio
    found = merged(base, one, other)
    if not all(map(is_plain, (one, other, found.data))):
        return
    sides, result = [said(data) for data in (one, other)], said(found.data)
    for key, value in result.items():
        if key not in ("tags", "links"):
            assert value in [each[key] for each in sides if key in each], key
    for key in ("tags", "links"):
        names = set(memory_file.listed(key, result.get(key)))
        assert names <= {n for each in sides for n in memory_file.listed(key, each.get(key))}


@given(st.binary(max_size=120), st.binary(max_size=120), st.binary(max_size=120))
def test_any_bytes_merge(base: bytes, one: bytes, other: bytes) -> None:
    for rel in (REL, "memory/shared/x.bin"):
        found = merged(base, one, other, rel)
        assert found.copy is None or found.loser
