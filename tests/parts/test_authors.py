"""The journal of who wrote what: many writers, one who settles, lines cut short."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from vault_helpers import AGENT, commit, private, python, remember, show

from avm.vault.authors import Authors, Entry
from avm.vault.init import make
from avm.vault.location import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return make(tmp_path / "v")


@pytest.fixture
def authors(vault: Vault) -> Authors:
    return Authors(vault)


def entry(name: str, agent: str | None = AGENT, at: float = 1.5) -> Entry:
    return Entry(private(name), agent, "remember", at)


def journal(vault: Vault) -> Path:
    return vault.own_state / "authors.jsonl"


def test_what_is_recorded_is_read_in_order(authors: Authors) -> None:
    assert (authors.read(), authors.size()) == (([], 0), 0)
    entries = [entry("a.md"), entry("記\udce9\n.md", None), entry("a.md", "bob", 2.0)]
    for one in entries:
        authors.record(one, fsync=True)
    assert authors.read() == (entries, authors.size())
    assert authors.size() > 0


def test_settling_drops_what_was_read_and_keeps_what_came_later(authors: Authors) -> None:
    authors.record(entry("a.md"))
    authors.record(entry("b.md"))
    _, size = authors.read()
    later = [entry("a.md", "bob", 2.0), entry("c.md")]
    for one in later:
        authors.record(one)
    authors.settle({private("a.md"), private("c.md")}, size)
    assert authors.read()[0] == [entry("b.md"), *later]
    authors.settle({private(name) for name in ("a.md", "b.md", "c.md")}, authors.read()[1])
    assert authors.size() == 0


def test_a_journal_that_got_the_inode_of_an_older_one_is_read_anew(
    vault: Vault, authors: Authors
) -> None:
    reader, old = Authors(vault), entry("old.md")
    authors.record(old)
    assert reader.open_version(old.path) == old
    inode = journal(vault).stat().st_ino
    for _ in range(20):
        entries, size = authors.read()
        authors.settle({one.path for one in entries}, size)
        if journal(vault).stat().st_ino == inode:
            break
        authors.record(entry("between.md"))
    new = [entry(f"{name}.md") for name in "ab"]
    for one in new:
        authors.record(one)
    assert [reader.open_version(one.path) for one in (*new, old)] == [*new, None]


def test_settling_nothing_or_a_journal_that_is_gone_is_no_error(authors: Authors) -> None:
    authors.settle({"x"}, 10)
    authors.record(entry("a.md"))
    authors.settle(set(), authors.size())
    assert authors.read()[0] == [entry("a.md")]


@pytest.mark.parametrize("rest", [b'{"path": "memory/x', b'{"path": "memory/x.md"}', b"\xff\x00"])
def test_a_line_cut_short_costs_no_other_entry(vault: Vault, authors: Authors, rest: bytes) -> None:
    authors.record(entry("a.md"))
    whole = authors.size()
    with journal(vault).open("ab") as file:
        file.write(rest)
    assert authors.read() == ([entry("a.md")], whole)
    authors.record(entry("b.md"))
    assert authors.read()[0] == [entry("a.md"), entry("b.md")]
    authors.settle({private("a.md")}, whole)
    assert authors.read()[0] == [entry("b.md")]


@pytest.mark.parametrize("line", [b"[]", b"7", b'{"path": "x"}', b'{"surprise": 1}', b"", b"\xff"])
def test_a_damaged_line_is_passed_by_and_goes_with_the_next_settling(
    vault: Vault, authors: Authors, line: bytes
) -> None:
    authors.record(entry("a.md"))
    with journal(vault).open("ab") as file:
        file.write(line + b"\n")
    authors.record(entry("b.md"))
    entries, size = authors.read()
    assert entries == [entry("a.md"), entry("b.md")]
    authors.settle({private("a.md")}, size)
    left = journal(vault).read_text().splitlines()
    assert [json.loads(line)["path"] for line in left] == [private("b.md")]


def test_an_adopted_vault_commits_what_follows_a_line_cut_short(tmp_path: Path) -> None:
    # There the person's files are not committed: a lost author would be a memory never committed.
    from avm.vault.init import adopt

    root = tmp_path / "notes"
    root.mkdir()
    vault = adopt(root)
    vault.own_state.mkdir(parents=True)
    journal(vault).write_bytes(b'{"path": "memory/x')
    remember(vault, private("a.md"))
    assert len(commit(vault).commits) == 1
    assert show(vault.root, "%an") == AGENT


APPEND = """
import sys
from pathlib import Path
from avm.vault.authors import Authors, Entry
from avm.vault.location import open_vault
authors = Authors(open_vault(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
for number in range(150):
    authors.record(Entry(f"memory/{sys.argv[2]}-{number}.md", "akashi", "remember", 1.0))
"""


def test_eight_writers_and_one_who_settles_lose_no_entry(vault: Vault, authors: Authors) -> None:
    waiting = [entry(f"waits-{number}.md") for number in range(300)]  # makes settling slow
    authors.record(waiting[0])
    with journal(vault).open("ab") as file:
        file.writelines(json.dumps(one._asdict()).encode() + b"\n" for one in waiting[1:])
    writers = [python(APPEND, vault.root, str(number)) for number in range(8)]
    seen: list[str] = []

    def settle() -> None:
        entries, size = authors.read()
        new = [one.path for one in entries[len(waiting) :]]
        seen.extend(new)
        authors.settle(new, size)

    rounds = 0
    try:
        for writer in writers:
            assert writer.stdout and writer.stdout.readline() == b"ready\n"
        for writer in writers:
            assert writer.stdin
            writer.stdin.write(b"\n")
            writer.stdin.flush()
        while any(writer.poll() is None for writer in writers):
            settle()
            rounds += bool(seen)
        settle()
    finally:
        for writer in writers:
            writer.kill()
            _, errors = writer.communicate()
    assert [writer.returncode for writer in writers] == [0] * 8, errors.decode()
    assert rounds > 1
    assert authors.read()[0] == waiting
    assert sorted(seen) == sorted(f"memory/{w}-{n}.md" for w in range(8) for n in range(150))
    for writer in range(8):  # each writer's own order is kept
        own = [path for path in seen if path.startswith(f"memory/{writer}-")]
        assert own == [f"memory/{writer}-{number}.md" for number in range(150)]


def test_the_journal_is_no_part_of_what_is_shared(vault: Vault, authors: Authors) -> None:
    authors.record(entry("a.md"))
    listed = subprocess.run(
        ["git", "status", "--porcelain", "--ignored"],
        cwd=vault.root,
        capture_output=True,
        check=True,
    )
    assert listed.stdout == b""
