"""Changing a memory in place: its keys, tags, end, links and body. Every other byte stays."""

from __future__ import annotations

import json
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vault_helpers import assert_well, python

from avm import AVM
from avm.base import memory_file
from avm.base.errors import AccessError, AVMError, NotFoundError, SecretError, UnsureError
from avm.base.errors import UsageError as Usage
from avm.overlay.nodes import BY_NAME

MOMENT = "2026-11-20T09:00:00Z"
REL = "memory/shared/rule.md"
FULL = (
    "---\n# by hand\ntitle: The rule   # of thumb\nimportance: 0.50\n\nttl: 90d\n"
    "tags:\n  - trading\n  - nvda\nmood: 'calm'\n---\nRSI, see [[btc]]. #body\n"
)
TOKEN = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"  # joined here, so that no scanner minds


@pytest.fixture
def avm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AVM]:
    """A new vault as its owner sees it, on a day that stands still."""
    monkeypatch.setenv("AVM_CLOCK", MOMENT)
    with AVM(tmp_path / "vault", semantic="off") as opened:
        yield opened
        assert_well(opened)


def put(avm: AVM, text: str | bytes, rel: str = REL) -> str:
    """Write a file as an editor does; returns its rel."""
    place = avm.store.vault.path(rel)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text.encode() if isinstance(text, str) else text)
    return rel


def raw(avm: AVM, rel: str = REL) -> bytes:
    """The bytes on disk."""
    return avm.store.vault.path(rel).read_bytes()


def write(avm: AVM, node: str, text: str, *, added: bool = False) -> None:
    """Write to a node of the memory, as a mount does."""
    take = BY_NAME["file", node].write
    assert take is not None
    take(avm, REL, text.encode(), added)


# Every other byte


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_change_touches_the_lines_of_its_key_alone(avm: AVM, bom: bytes, newline: str) -> None:
    def as_bytes(text: str) -> bytes:
        return bom + text.replace("\n", newline).encode()

    put(avm, as_bytes(FULL))
    done = avm.set_meta(REL, {"importance": 0.9})
    assert (done.path, done.hints) == (f"/{REL}", ())
    expected = FULL.replace("importance: 0.50", "importance: 0.9")
    assert raw(avm) == as_bytes(expected)
    avm.set_tags(REL, ["risk"])
    expected = expected.replace("tags:\n  - trading\n  - nvda\n", "tags: [risk]\n")
    assert raw(avm) == as_bytes(expected)
    avm.set_meta(REL, {"mood": None, "title": "Other"})
    expected = expected.replace("mood: 'calm'\n", "").replace("The rule ", "Other ")
    assert raw(avm) == as_bytes(expected)
    avm.set_meta(REL, {"new": "last"})
    expected = expected.replace("---\nRSI", "new: last\n---\nRSI")
    assert raw(avm) == as_bytes(expected)


LINES = (
    "title: Rule", "title: 'Ru''le'  # note", 'title: "R\\u00fcle"', "importance: 0.90",
    "importance: 1", "tags: [a, b]", "tags:\n- a\n- b # why", "tags: a, b", "# a comment",
    "", "created: 2026-01-01", "mood: |\n  two\n  lines",
    "mood: >-\n  folded\n  text",
    "price: 1.10", "off: no", "at: 12:30", "nested:\n  a: {b: [1, 2]}", "日本: 語", "quoted: '#x'",
    "links: ['[[a]]', b]", "empty:", "ttl: 30d",
)  # fmt: skip
CHANGES: dict[str, Any] = {
    "title": "New: one", "importance": 0.25, "tags": ["x", "y/z"], "mood": "fine",
    "price": 2, "off": True, "fresh": "value #1", "links": ["c"], "日本": "新",
}  # fmt: skip


@given(
    lines=st.lists(st.sampled_from(LINES), max_size=8, unique_by=lambda line: line.split(":")[0]),
    newline=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    ends=st.sampled_from(["---", "..."]),
    body=st.sampled_from(["", "text\n", "no end", "---\nof: text\n---\n", "\n\nlate\n"]),
    change=st.sampled_from(sorted(CHANGES)),
    takes_out=st.booleans(),
)
def test_any_front_matter_keeps_what_was_not_changed(
    lines: list[str], newline: str, bom: bool, ends: str, body: str, change: str, takes_out: bool
) -> None:
    """What the views splice with, over every style that people write."""
    text = "\n".join(["---", *lines, ends, body]).replace("\n", newline)
    before = text.encode("utf-8-sig" if bom else "utf-8")
    after = memory_file.set_key(before, change, None if takes_out else CHANGES[change])
    assert after.startswith(b"\xef\xbb\xbf") == bom
    assert after.endswith(newline.join([ends, body.replace("\n", newline)]).encode())
    assert b"\n" not in after.replace(b"\r\n", b"") or newline == "\n"
    for line in lines:
        if line.split(":")[0] != change:
            assert line.replace("\n", newline).encode() in after, line
    where = memory_file.split(after)
    read = memory_file.load_mapping(after[where.yaml_start : where.yaml_end].decode())
    assert (change in read) is not takes_out


def test_nothing_is_written_where_nothing_changes(avm: AVM) -> None:
    put(avm, FULL.replace("---\nRSI", "links: [btc]\n---\nRSI"))
    before = avm.store.vault.path(REL).stat()
    avm.set_tags(REL, "trading,nvda")
    avm.set_tags(REL, ["nvda"], add=True)
    avm.add_links(REL, ["btc"])
    avm.set_meta(REL, {"absent": None})
    avm.set_meta(REL, {})
    avm.set_body(REL, avm.body(REL))
    assert avm.store.vault.path(REL).stat() == before


def test_a_file_without_front_matter_gets_a_block(avm: AVM) -> None:
    put(avm, "only text\r\n")
    avm.set_meta(REL, {"importance": 1})
    assert raw(avm) == b"---\r\nimportance: 1.0\r\n---\r\nonly text\r\n"
    put(avm, "only text\n")
    avm.set_ttl(REL, "never")
    avm.set_meta(REL, {"mood": None})
    assert raw(avm) == b"only text\n"
    avm.set_meta(REL, {"title": "T", "tags": ["a"], "mood": "calm"})
    assert raw(avm) == b"---\ntitle: T\ntags: [a]\nmood: calm\n---\nonly text\n"


def test_the_mode_stays(avm: AVM) -> None:
    put(avm, FULL)
    avm.store.vault.path(REL).chmod(0o640)
    avm.set_meta(REL, {"importance": 0.1})
    assert stat.S_IMODE(avm.store.vault.path(REL).stat().st_mode) == 0o640


# Keys


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("title", " NVDA: RSI ", 'title: "NVDA: RSI"'),
        ("importance", "0.9", "importance: 0.9"),
        ("importance", 1, "importance: 1.0"),
        ("tags", "#a,b/c", "tags: [a, b/c]"),
        ("tags", ["a", "a", "日本"], "tags: [a, 日本]"),
        ("created", "2026-01-02", "created: 2026-01-02T00:00:00Z"),
        ("created", datetime(2026, 1, 2, 3, tzinfo=UTC), "created: 2026-01-02T03:00:00Z"),
        ("expires", "2027-01-02T10:00+02:00", "expires: 2027-01-02T08:00:00Z"),
        ("expires", datetime(2027, 1, 2), "expires: 2027-01-02T00:00:00Z"),
        ("ttl", "30d", "expires: 2026-12-20T09:00:00Z"),
        ("ttl", timedelta(hours=1), "expires: 2026-11-20T10:00:00Z"),
        ("ttl", "2027-01-02", "expires: 2027-01-02T00:00:00Z"),
        ("agent", "hermes", "agent: hermes"),
        ("pinned", "yes", "pinned: true"),
        ("pinned", False, "pinned: false"),
        ("aliases", "one name", "aliases: [one name]"),
        ("links", ["[[btc lesson]]", "notes/x.md"], "links: [btc lesson, notes/x.md]"),
        ("supersedes", "old", "supersedes: [old]"),
        ("source", "https://example.org/?a=1#b", 'source: "https://example.org/?a=1#b"'),
        ("mood", "no", 'mood: "no"'),
        ("mood", "two\nlines", 'mood: "two\\nlines"'),
        ("count", 3, "count: 3"),
        ("flag", True, "flag: true"),
        ("list", ["a", "12:30"], 'list: [a, "12:30"]'),
        ("日本-1", "語", "日本-1: 語"),
    ],
)
def test_a_key_is_set(avm: AVM, key: str, value: object, line: str) -> None:
    put(avm, "text\n")
    avm.set_meta(REL, {key: value})
    assert raw(avm).decode() == f"---\n{line}\n---\ntext\n"
    assert avm.meta(REL)["problems"] == []


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("importance", "high", "give a number from 0.0 to 1.0"),
        ("importance", 7, "give a number from 0.0 to 1.0"),
        ("importance", True, "give a number from 0.0 to 1.0"),
        ("title", "a\nb", "give one line of text"),
        ("title", ["a"], "give one line of text"),
        ("tags", "two words", "a tag is one word"),
        ("tags", 5, "give names"),
        ("created", "soon", "give a date such as 2026-12-22"),
        ("expires", "30d", "give a date such as 2026-12-22, or never"),
        ("expires", "soon", "give a date such as 2026-12-22, or never"),
        ("ttl", "soon", "such as 30d, 12h or 1d12h"),
        ("ttl", 30, "such as 30d, 12h or 1d12h"),
        ("ttl", ["30d"], "such as 30d, 12h or 1d12h"),
        ("ttl", timedelta(0), "give a time of up to 1,000 years"),
        ("agent", "No Name", "use 1 to 63 of a-z"),
        ("pinned", "maybe", "give true or false"),
        ("pinned", 5, "give true or false"),
        ("links", ["a", ""], "give a name such as btc_lesson"),
        ("links", [{"target": "a"}], "give a name such as btc_lesson"),
        ("aliases", 5, "give names"),
        ("mood", {"a": 1}, "give text, a number, true, false or a list of text"),
        ("mood", ["a", 1], "give text, a number, true, false or a list of text"),
        ("two words", "x", "begin with a letter"),
        ("", "x", "begin with a letter"),
        ("1st", "x", "begin with a letter"),
        ("a:b", None, "begin with a letter"),
        ("x" * 101, "x", "begin with a letter"),
    ],
)
def test_a_bad_value_is_named_and_nothing_is_written(
    avm: AVM, key: str, value: object, allowed: str
) -> None:
    put(avm, FULL)
    with pytest.raises(Usage) as raised:
        avm.set_meta(REL, {"importance": 0.9, key: value})
    assert allowed in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raw(avm).decode() == FULL


def test_keys_that_avm_does_not_read_are_set_and_taken_out(avm: AVM) -> None:
    put(avm, FULL)
    avm.set_meta(REL, {"mood": "tense", "desk": ["a", "b"]})
    assert avm.meta(REL)["other"] == {"mood": "tense", "desk": ["a", "b"]}
    avm.set_meta(REL, {"mood": None, "desk": None, "title": None})
    assert avm.meta(REL)["other"] == {}
    assert avm.meta(REL)["title"] == "rule"


# The end


def test_a_date_without_a_zone_is_utc(avm: AVM, monkeypatch: pytest.MonkeyPatch) -> None:
    put(avm, "text\n")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        avm.set_meta(REL, {"created": datetime(2026, 1, 2, 3), "expires": datetime(2027, 1, 2, 3)})
    finally:
        monkeypatch.undo()
        time.tzset()
    front = "created: 2026-01-02T03:00:00Z\nexpires: 2027-01-02T03:00:00Z"
    assert raw(avm).decode() == f"---\n{front}\n---\ntext\n"


@pytest.mark.parametrize("key", ["ttl: 5d\n", "expires: 2026-12-01\n", "ttl: 5d\nexpires: x\n", ""])
@pytest.mark.parametrize(
    ("value", "ends"),
    [
        ("12h", "2026-11-20T21:00:00Z"),
        ("2026-12-24", "2026-12-24T00:00:00Z"),
        ("never", "never"),
        (None, "never"),
    ],
)
def test_an_end_takes_the_place_of_any_other(
    avm: AVM, key: str, value: str | None, ends: str
) -> None:
    put(avm, f"---\ncreated: 2026-11-20\n{key}mood: calm\n---\ntext\n")
    avm.set_ttl(REL, value)
    assert avm.ends(REL) == ends
    lines = raw(avm).decode().splitlines()
    assert not [line for line in lines if line.startswith("ttl")]
    assert [line for line in lines if line.startswith("expires")] == (
        [] if ends == "never" else [f"expires: {ends}"]
    )
    assert {"created: 2026-11-20", "mood: calm", "text"} <= set(lines)


def test_the_end_of_a_memory_with_a_ttl_of_its_own(avm: AVM) -> None:
    put(avm, "---\ncreated: 2026-11-01T12:00:00Z\nttl: 30d\n---\ntext\n")
    assert avm.ends(REL) == "2026-12-01T12:00:00Z"
    put(avm, "text\n")
    assert avm.ends(REL) == "never"


def test_an_end_that_is_past_hides_it_at_once(avm: AVM) -> None:
    put(avm, "text\n")
    avm.set_meta(REL, {"expires": "2026-01-01"})
    assert not avm.exists(REL)
    assert b"text\n" in raw(avm)


# Tags, links, body


def test_tags_are_set_and_added(avm: AVM) -> None:
    put(avm, "text #body\n")
    avm.set_tags(REL, "a, #b")
    avm.set_tags(REL, ["b", "c"], add=True)
    assert raw(avm) == b"---\ntags: [a, b, c]\n---\ntext #body\n"
    assert avm.meta(REL)["tags"] == ["a", "b", "body", "c"]
    avm.set_tags(REL, [])
    assert avm.meta(REL)["tags"] == ["body"]
    with pytest.raises(Usage, match="a tag is one word"):
        avm.set_tags(REL, ["two words"])


def test_links_are_added_once(avm: AVM) -> None:
    put(avm, "text\n", "memory/shared/btc.md")
    put(avm, FULL)
    avm.add_links(REL, ["/memory/shared/btc.md", "[[nowhere]]"])
    avm.add_links(REL, ["nowhere", "other"])
    assert b'\nlinks: ["/memory/shared/btc.md", nowhere, other]\n' in raw(avm)
    assert avm.links(REL) == ["/memory/shared/btc.md"]
    assert avm.backlinks("memory/shared/btc.md") == [f"/{REL}"]
    for bad in ([], [""], ["a\nb"]):
        with pytest.raises(Usage):
            avm.add_links(REL, bad)


@pytest.mark.parametrize("front", ["", FULL[: FULL.index("RSI")], "---\n---\n", "\ufeff"])
@pytest.mark.parametrize(
    "text",
    [
        b"new\n", b"", b"no end", b"a\r\nb\r\n", b"\xff\xfe bytes", b"\n\nlate", b"...\n",
        b"---\ntitle: text\n---\nmore\n", b"---\n", b"\xef\xbb\xbfbom", b"x" * 300_000,
    ],
)  # fmt: skip
def test_a_body_is_what_was_written_byte_for_byte(avm: AVM, front: str, text: bytes) -> None:
    """Also one that looks like front matter, and written twice over."""
    put(avm, f"{front}old text\n")
    assert avm.body(REL) == b"old text\n"
    for _ in range(2):
        avm.set_body(REL, text)
        assert avm.body(REL) == text
        assert raw(avm).startswith(front.encode())
        assert avm.meta(REL)["title"] == ("The rule" if "The rule" in front else "rule")


def test_a_text_is_added_to_a_body(avm: AVM) -> None:
    put(avm, FULL)
    avm.set_body(REL, "more\n", add=True)
    assert raw(avm).decode() == FULL + "more\n"


@pytest.mark.parametrize(
    ("there", "after"),
    [
        ("", "more\n"),
        ("one", "one\nmore\n"),
        ("one\n", "one\nmore\n"),
        ("---\ntitle: x\n---\n", "---\ntitle: x\n---\nmore\n"),
        ("---\ntitle: x\n---\none", "---\ntitle: x\n---\none\nmore\n"),
    ],
)
def test_what_is_appended_has_lines_of_its_own(avm: AVM, there: str, after: str) -> None:
    put(avm, there)
    for text in ("more", "more\n"):
        put(avm, there)
        assert avm.append(REL, text).path == f"/{REL}"
        assert raw(avm) == after.encode()


def test_appended_front_matter_is_text(avm: AVM) -> None:
    put(avm, "")
    avm.append(REL, "---\ntitle: no\n---")
    assert raw(avm) == b"---\n---\n---\ntitle: no\n---\n"
    with pytest.raises(NotFoundError):
        avm.append("memory/shared/none.md", "x")


def test_an_edit_replaces_a_piece_that_stands_there_once(avm: AVM) -> None:
    put(avm, FULL.encode() + b"\xff\r\n")
    assert avm.edit(REL, "see [[btc]]", b"see \\1").path == f"/{REL}"
    avm.edit(REL, "importance: 0.50", "importance: 0.9")
    wanted = FULL.replace("see [[btc]]", "see \\1").replace("0.50", "0.9")
    assert raw(avm) == wanted.encode() + b"\xff\r\n"
    before = raw(avm)
    for old, said in (
        ("absent", "old stands 0 times in /memory/shared/rule.md: give a piece"),
        ("t", "old stands 8 times"),
        ("", "old stands 0 times"),
    ):
        with pytest.raises(Usage, match=said):
            avm.edit(REL, old, "x")
    with pytest.raises(Usage, match="nothing was changed: it would be wrong then: importance"):
        avm.edit(REL, "importance: 0.9", "importance: high")
    with pytest.raises(Usage, match="front matter: "):
        avm.edit(REL, "title: The", "title: [The")
    with pytest.raises(SecretError):
        avm.edit(REL, "RSI", TOKEN)
    assert raw(avm) == before


def test_edits_of_many_threads_are_all_there(avm: AVM) -> None:
    put(avm, "".join(f"<{n}>\n" for n in range(8)))

    def work(number: int) -> None:
        for turn in range(10):
            avm.edit(REL, f"<{number}>", f"<{number}> {turn}")
            avm.append(REL, f"by {number} in {turn}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = raw(avm).decode().splitlines()
    turns = " ".join(map(str, reversed(range(10))))
    assert lines[:8] == [f"<{n}> {turns}" for n in range(8)]
    assert sorted(lines[8:]) == sorted(f"by {n} in {t}" for n in range(8) for t in range(10))


def test_a_body_is_text_or_bytes(avm: AVM) -> None:
    put(avm, FULL)
    avm.set_body(REL, "grün\n")
    assert avm.body(REL) == "grün\n".encode()
    with pytest.raises(Usage, match="give a str or bytes"):
        avm.set_body(REL, 5)  # type: ignore[arg-type]


# Refusals

CALLS: dict[str, Callable[[AVM, str], object]] = {
    "set_meta": lambda avm, path: avm.set_meta(path, {"importance": 0.9}),
    "set_tags": lambda avm, path: avm.set_tags(path, ["new"]),
    "set_ttl": lambda avm, path: avm.set_ttl(path, "30d"),
    "add_links": lambda avm, path: avm.add_links(path, ["a"]),
    "set_body": lambda avm, path: avm.set_body(path, "new"),
}
BROKEN = (
    "---\ntitle: [unclosed\n---\ntext\n",
    "---\n- a list\n---\ntext\n",
    "---\na: &x 1\nb: *x\n---\ntext\n",
    "---\n\ttab: x\n---\ntext\n",
)


@pytest.mark.parametrize("text", [*BROKEN, "---\n{title: x, tags: [a]}\n---\ntext\n"])
@pytest.mark.parametrize("call", sorted(CALLS.keys() - {"set_body"}))
def test_where_it_cannot_be_done_for_certain_the_file_stays(avm: AVM, call: str, text: str) -> None:
    put(avm, text)
    with pytest.raises(UnsureError, match="front matter left as it is"):
        CALLS[call](avm, REL)
    assert raw(avm).decode() == text


@pytest.mark.parametrize("call", sorted(CALLS))
def test_what_is_absent_or_expired_is_not_there(avm: AVM, call: str) -> None:
    put(avm, "---\nexpires: 2026-01-01\n---\nold\n", "memory/shared/old.md")
    put(avm, "text\n", "memory/private/hermes/h.md")
    for path in ("memory/shared/nosuch.md", "memory/shared/old.md", "memory/shared/no/such.md"):
        with pytest.raises(NotFoundError):
            CALLS[call](avm, path)
    for path in ("memory/private/hermes/h.md", ".avm/format", ".git/config", "notes.md"):
        put(avm, "text\n", "notes.md")
        with pytest.raises(NotFoundError):
            CALLS[call](avm.agent_memory("akashi"), path)  # type: ignore[arg-type]
    assert raw(avm, "memory/private/hermes/h.md") == b"text\n"
    assert raw(avm, "notes.md") == b"text\n"
    assert b"old\n" in raw(avm, "memory/shared/old.md")
    assert not avm.store.vault.path("memory/shared/nosuch.md").exists()


@pytest.mark.parametrize("call", sorted(CALLS))
def test_agents_change_what_they_may_write(avm: AVM, call: str) -> None:
    akashi: Any = avm.agent_memory("akashi")
    for rel in ("memory/private/akashi/a.md", "memory/shared/market/m.md"):
        put(avm, "text\n", rel)
        CALLS[call](akashi, rel)
        assert raw(avm, rel) != b"text\n"
    avm.commit()
    put(avm, "text\n", "memory/shared/.github/x.md")
    with pytest.raises(AccessError, match="agent akashi may not write there"):
        CALLS[call](akashi, "memory/shared/.github/x.md")
    assert [one.agent for one in avm.history("memory/shared/market/m.md")][:1] == ["akashi"]


@pytest.mark.parametrize("call", sorted(CALLS))
def test_only_memories_have_front_matter(avm: AVM, call: str) -> None:
    put(avm, "a,b\n", "memory/shared/data.csv")
    with pytest.raises(Usage, match=r"is no memory: its name does not end in \.md"):
        CALLS[call](avm, "memory/shared/data.csv")
    assert raw(avm, "memory/shared/data.csv") == b"a,b\n"


def test_a_token_is_refused(avm: AVM) -> None:
    put(avm, FULL)
    calls: tuple[Callable[[], object], ...] = (
        lambda: avm.set_meta(REL, {"note": TOKEN}),
        lambda: avm.set_body(REL, f"the key is {TOKEN}\n"),
        lambda: avm.add_links(REL, [TOKEN]),
        lambda: avm.set_tags(REL, [TOKEN], add=True),
    )
    for call in calls:
        with pytest.raises(SecretError):
            call()
    assert raw(avm).decode() == FULL


def test_a_token_that_was_there_hinders_no_other_change(avm: AVM) -> None:
    """Its owner may have allowed it; what is new is refused all the same."""
    put(avm, f"the key is {TOKEN}\n")
    avm.set_meta(REL, {"importance": 0.9})
    assert raw(avm).decode() == f"---\nimportance: 0.9\n---\nthe key is {TOKEN}\n"
    with pytest.raises(SecretError):
        avm.set_meta(REL, {"note": TOKEN})


def test_the_weaker_suspicion_is_hinted_at(avm: AVM) -> None:
    put(avm, "text\n")
    drawn = "kX9#mQ2$vL7pR4wZ"  # no literal looks like one: scanners read this file, too
    done = avm.set_body(REL, f"password = {drawn!r}\n")
    assert len(done.hints) == 1 and "held back from git" in done.hints[0]


# As nodes take it


@pytest.mark.parametrize(
    "text", ["0.9", "importance: 0.9", '{"importance": 0.9}', "importance: '0.9'"]
)
def test_meta_takes_yaml_and_json(avm: AVM, text: str) -> None:
    put(avm, FULL)
    if text == "0.9":
        with pytest.raises(Usage, match="not a mapping"):
            write(avm, "meta", text)
        return
    write(avm, "meta", text + "\n")
    assert raw(avm).decode() == FULL.replace("0.50", "0.9")


def test_meta_that_was_read_can_be_written_back(avm: AVM) -> None:
    put(avm, FULL)
    told = json.dumps(avm.meta(REL))
    write(avm, "meta", told)
    assert raw(avm).decode() == FULL
    changed = {**json.loads(told), "importance": 0.75, "aliases": ["r"]}
    changed["other"] = {"mood": "tense", "desk": "a"}
    write(avm, "meta", json.dumps(changed))
    meta = avm.meta(REL)
    assert (meta["importance"], meta["aliases"]) == (0.75, ["r"])
    assert meta["other"] == {"mood": "tense", "desk": "a"}
    assert b"# by hand\ntitle: The rule   # of thumb\n" in raw(avm)
    assert b"tags:\n  - trading\n  - nvda\n" in raw(avm)


def test_meta_without_a_value_takes_the_key_out(avm: AVM) -> None:
    put(avm, FULL)
    write(avm, "meta", "title:\nttl:\nmood: ''\n")
    assert not re.search(rb"^(title|ttl|mood)", raw(avm), re.MULTILINE)
    write(avm, "meta", '{"tags": null, "importance": null, "nosuch": null}')
    assert raw(avm) == b"---\n# by hand\n\n---\nRSI, see [[btc]]. #body\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing to set"),
        ("\n\n", "nothing to set"),
        ("{}", "nothing to set"),
        ('{"importance": 0.9', "no JSON"),
        ('{"a": ' + "[" * 100_000 + "}", "no JSON"),
        ("[a, b]", "not a mapping"),
        ("just words", "not a mapping"),
        ("a: [b", "front matter"),
        ("size: 5", "size is no key of the front matter"),
        ("path: /memory/shared/x.md", "path is no key of the front matter"),
        ('{"changed": "2026-01-01T00:00:00Z"}', "changed is no key of the front matter"),
        ('{"problems": ["x"]}', "problems is no key of the front matter"),
        ("importance: high", "give a number from 0.0 to 1.0"),
        ("ttl: soon", "such as 30d"),
        ("other: x", "other"),
        ('{"other": ["x"]}', "other"),
        ('{"mood": {"a": "b"}}', "give text, a number"),
        ('{"importance": NaN}', "give a number from 0.0 to 1.0"),
    ],
)
def test_meta_that_cannot_be_set(avm: AVM, text: str, said: str) -> None:
    put(avm, FULL)
    with pytest.raises(Usage, match=re.escape(said)) as raised:
        write(avm, "meta", text)
    assert "\n" not in str(raised.value)
    assert raw(avm).decode() == FULL


def test_values_as_nodes_take_them(avm: AVM) -> None:
    put(avm, "text\n")
    write(avm, "tags", "a b,c\n#d\n")
    assert avm.meta(REL)["tags"] == ["a", "b", "c", "d"]
    write(avm, "tags", "e\n", added=True)
    assert avm.meta(REL)["tags"] == ["a", "b", "c", "d", "e"]
    write(avm, "tags", "\n")
    assert raw(avm) == b"---\n---\ntext\n"
    write(avm, "ttl", " 30d \n")
    assert avm.ends(REL) == "2026-12-20T09:00:00Z"
    write(avm, "ttl", "never\n")
    write(avm, "links", "/memory/shared/a.md\n\nThe other\n")
    assert raw(avm).decode().count("links: [") == 1
    write(avm, "body", "new\n")
    assert avm.body(REL) == b"new\n"
    bad = (("ttl", ""), ("ttl", "30d\n12h"), ("ttl", "bad"), ("links", "\n"), ("tags", "a[b"))
    before = raw(avm)
    for node, text in bad:
        with pytest.raises(Usage):
            write(avm, node, text)
    take = BY_NAME["file", "tags"].write
    assert take is not None
    with pytest.raises(Usage, match="UTF-8"):
        take(avm, REL, b"\xff", False)
    assert raw(avm) == before


# Beside others


def test_two_threads_lose_nothing(avm: AVM) -> None:
    put(avm, FULL)
    failed: list[AVMError] = []

    def tag(name: str) -> None:
        try:
            for number in range(15):
                avm.set_tags(REL, [f"{name}{number}"], add=True)
                avm.set_meta(REL, {f"{name}{number}": number})
        except AVMError as error:
            failed.append(error)

    threads = [threading.Thread(target=tag, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    wanted = {f"{name}{number}" for name in "xyz" for number in range(15)}
    meta = avm.meta(REL)
    assert wanted <= set(meta["tags"])
    assert set(meta["other"]) == wanted | {"mood"}


def test_two_processes_lose_nothing(avm: AVM) -> None:
    put(avm, FULL)
    code = (
        "import sys; from avm import AVM\n"
        "with AVM(sys.argv[1], semantic='off') as avm:\n"
        "    view = avm.agent_memory(sys.argv[2])\n"
        "    for number in range(10):\n"
        "        view.set_tags(sys.argv[3], [f'{sys.argv[2]}{number}'], add=True)\n"
        "        view.set_body(sys.argv[3], f'{sys.argv[2]} {number}\\n', add=True)\n"
    )
    root = avm.store.vault.root
    running = [python(code, root, name, REL) for name in ("akashi", "hermes")]
    for process in running:
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, b"")
    wanted = {f"{name}{number}" for name in ("akashi", "hermes") for number in range(10)}
    assert wanted <= set(avm.meta(REL)["tags"])
    lines = avm.body(REL).decode().splitlines()
    assert {f"{name} {number}" for name in ("akashi", "hermes") for number in range(10)} <= set(
        lines
    )
    assert len(lines) == 21


def test_a_link_is_not_written_through(avm: AVM, tmp_path: Path) -> None:
    outside = tmp_path / "outside.md"
    outside.write_text("outside\n")
    os.symlink(outside, avm.store.vault.path("memory/shared/link.md"))
    with pytest.raises(NotFoundError):
        avm.set_meta("memory/shared/link.md", {"importance": 0.9})
    assert outside.read_text() == "outside\n"
