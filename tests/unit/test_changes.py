"""What is committed and whose it is: git's status read, the decision, the message."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import git
from hypothesis import given
from hypothesis import strategies as st

from avm.vault import changes as module
from avm.vault.authors import Entry
from avm.vault.changes import (
    Change,
    Decision,
    Group,
    Item,
    Policy,
    _parse_status,
    changes,
    message,
)
from avm.vault.location import Vault

NOW = 1000.0


def decide(
    found: Iterable[Change], entries: Iterable[Entry], seen: dict[str, float], policy: Policy
) -> Decision:
    """The decision where `seen` tells when the paths changed on disk."""
    return module.decide(found, entries, lambda change: seen.get(change.path), policy)


def paths_of(groups: Iterable[Group]) -> list[str]:
    """The paths of all groups."""
    return [item.path for group in groups for item in group.items]


PATHS = [f"memory/{name}.md" for name in "abc"]
POLICY = Policy(now=NOW, quiet=2, people_quiet=300, people=True)

policies = st.builds(
    Policy,
    now=st.just(NOW),
    quiet=st.sampled_from([0, 2]),
    people_quiet=st.sampled_from([0, 300]),
    people=st.booleans(),
    held=st.sets(st.sampled_from(PATHS)),
)
changed = st.lists(
    st.builds(
        Change,
        st.sampled_from([*PATHS, "memory/.#a.md", "memory/a.md~", "memory/\udce9.md"]),
        st.sampled_from(["added", "changed", "deleted"]),
        st.booleans(),
    ),
    max_size=6,
)
ages = st.sampled_from([NOW - 1000, NOW - 100, NOW - 1, NOW, NOW + 50])
journals = st.lists(
    st.builds(
        Entry,
        st.sampled_from(PATHS),
        st.sampled_from([None, "akashi", "bob"]),
        st.sampled_from(["remember", "edit", "forget"]),
        ages,
        blob=st.none(),
    ),
    max_size=6,
)
stamps = st.dictionaries(st.sampled_from(PATHS), ages)


@given(changed, journals, stamps, policies)
def test_a_path_is_committed_or_waits_and_never_both(
    found: list[Change], entries: list[Entry], seen: dict[str, float], policy: Policy
) -> None:
    found = list({change.path: change for change in found}.values())
    decision = decide(found, entries, seen, policy)
    taken = paths_of(decision.groups)
    assert len(taken) == len(set(taken))
    assert not set(taken) & set(decision.waiting)
    by_path = {change.path: change for change in found}
    written = {entry.path: entry for entry in entries}
    for path in taken:
        assert not by_path[path].staged
        assert path not in policy.held
        assert policy.people or written[path].agent
    for path, change in by_path.items():
        theirs = policy.people or (path in written and written[path].agent)
        if path in PATHS and (change.staged or theirs):
            assert path in taken or decision.waiting[path]
        if path.endswith(("~", "#a.md")):
            assert path not in taken and path not in decision.waiting


@given(changed, journals, stamps)
def test_a_group_is_one_author_s_and_the_last_writer_is_the_author(
    found: list[Change], entries: list[Entry], seen: dict[str, float]
) -> None:
    now = Policy(now=NOW, quiet=0, people_quiet=0, people=True)
    groups = decide(found, entries, seen, now).groups
    assert len({group.agent for group in groups}) == len(groups)
    last = {entry.path: entry.agent for entry in entries}
    for group in groups:
        assert {last.get(item.path) for item in group.items} == {group.agent}


@given(changed, journals, stamps, policies)
def test_more_patience_never_commits_more(
    found: list[Change], entries: list[Entry], seen: dict[str, float], policy: Policy
) -> None:
    def taken(quiet: float) -> set[str]:
        patient = Policy(NOW, quiet, quiet, policy.people, held=policy.held)
        return set(paths_of(decide(found, entries, seen, patient).groups))

    assert taken(300) <= taken(2) <= taken(0)


def why(change: Change, *entries: Entry, at: float | None = None) -> str | None:
    """Why the one change waits; None if it is committed."""
    decision = decide([change], entries, {change.path: at} if at is not None else {}, POLICY)
    assert bool(decision.groups) == (not decision.waiting)
    return decision.waiting.get(change.path)


def test_ripe_is_exactly_at_the_end_of_the_rest() -> None:
    mine = Change(PATHS[0], "changed", staged=False)
    assert why(mine, at=NOW - 299.9) == "still fresh"
    assert why(mine, at=NOW - 300) is None
    assert why(mine, Entry(PATHS[0], "akashi", "edit", NOW - 1.9)) == "still fresh"
    assert why(mine, Entry(PATHS[0], "akashi", "edit", NOW - 2)) is None
    # The newest of several writes counts.
    old, new = (Entry(PATHS[0], "akashi", "edit", NOW - age) for age in (50, 1))
    assert why(mine, old, new) == "still fresh"


def test_a_stamp_from_the_future_or_none_holds_nothing_up_for_ever() -> None:
    mine = Change(PATHS[0], "changed", staged=False)
    assert why(mine, at=NOW + 3600) is None
    assert why(mine) == "still fresh"


@pytest.mark.parametrize("order", [1, -1])
def test_a_path_taken_out_of_the_index_only_stays_the_person_s(order: int) -> None:
    both = [Change(PATHS[0], "changed", staged=True), Change(PATHS[0], "added", staged=False)]
    now = Policy(NOW, 0, 0, people=True)
    decision = decide(both[::order], [Entry(PATHS[0], "akashi", "edit", 0)], {}, now)
    assert decision.groups == ()
    assert decision.waiting == {PATHS[0]: "staged by you: git commit"}


@pytest.mark.parametrize(
    "kind, ops, expected",
    [
        ("added", [], "remember"),
        ("changed", [], "edit"),
        ("deleted", [], "forget"),
        ("deleted", ["remember"], "forget"),
        ("added", ["edit"], "remember"),
        ("changed", ["edit"], "edit"),
        ("changed", ["remember", "edit"], "remember"),
    ],
)
def test_the_operation_of_a_change(kind: str, ops: list[str], expected: str) -> None:
    entries = [Entry(PATHS[0], "akashi", op, 0) for op in ops]
    (group,) = decide([Change(PATHS[0], kind, False)], entries, {PATHS[0]: 0}, POLICY).groups
    assert [item.op for item in group.items] == [expected]


# The message


@pytest.mark.parametrize(
    "paths, ops, subject",
    [
        (["memory/shared/rsi rule.MD"], ["remember"], "remember: rsi rule"),
        (["memory/shared/data.csv"], ["edit"], "edit: data.csv"),
        (["memory/a\nb.md"], ["forget"], "forget: a?b"),
        (["memory/\udce9.md"], ["forget"], "forget: \ufffd"),
        (["memory/a.md"] * 12, ["remember"] * 12, "remember 12 memories"),
        (["memory/a.md"] * 2, ["remember", "forget"], "update 2 memories"),
    ],
)
def test_the_subject(paths: list[str], ops: list[str], subject: str) -> None:
    text = message(Group("akashi", tuple(map(Item, paths, ops))))
    first, blank, agent, *rest = text.split("\n")
    assert (first, blank, agent) == (subject, "", "Agent: akashi")
    assert rest == [*(f"Memory-Op: {op}" for op in dict.fromkeys(ops)), ""]


@given(st.one_of(st.binary(min_size=1), st.text(min_size=1).map(str.encode)))
def test_no_name_can_add_a_line_or_break_the_encoding(raw: bytes) -> None:
    name = raw.replace(b"/", b"").decode("utf-8", "surrogateescape")
    text = message(Group(None, (Item(f"memory/{name}", "edit"),)))
    assert text.encode().count(b"\n") == 3
    assert text.splitlines()[2] == "Memory-Op: edit"


# What git says


def test_the_fields_of_each_kind_of_line() -> None:
    nothing = "N... 100644 100644 100644 " + " ".join(["0" * 40] * 2)
    lines = [
        f"1 .M {nothing} memory/a b.md",
        f"1 M. {nothing} memory/? b.md",
        f"1 .D {nothing} memory/c\nd.md",
        f"1 AD {nothing} memory/u e.md",
        f"1 .M {nothing.replace('N...', 'S..U')} memory/submodule",
        f"u UU N... 100644 100644 100644 100644 {'0' * 40} {'1' * 40} {'2' * 40} memory/1 f.md",
        "? memory/1 g.md",
        "? memory/nested/",
        "! memory/ignored.md",
        "# branch.oid (initial)",
        "",
    ]
    data = "\0".join(lines).encode() + b"? memory/\xe9.md\0"
    assert list(_parse_status(data)) == [
        Change("memory/a b.md", "changed", staged=False),
        Change("memory/? b.md", "changed", staged=True),
        Change("memory/c\nd.md", "deleted", staged=False),
        Change("memory/u e.md", "deleted", staged=True),
        Change("memory/1 f.md", "changed", staged=True, unmerged=True),
        Change("memory/1 g.md", "added", staged=False),
        Change("memory/\udce9.md", "added", staged=False),
    ]


@pytest.fixture
def repo(tmp_path: Path) -> Vault:
    git(tmp_path, "init", "-q")
    (tmp_path / "memory").mkdir()
    for name in ("edited", "staged", "removed", "mode"):
        (tmp_path / f"memory/{name}.md").write_text(name)
    (tmp_path / "outside.md").write_text("x")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    return Vault(tmp_path, tmp_path / ".git", tmp_path / ".git", tmp_path / ".git/avm", True)


def test_git_s_own_words_are_understood(repo: Vault) -> None:
    memory = repo.path("memory")
    (memory / "edited.md").write_text("new")
    (memory / "staged.md").write_text("new")
    git(repo.root, "add", "memory/staged.md")
    (memory / "removed.md").unlink()
    (memory / "mode.md").chmod(0o755)
    (memory / "deep/er").mkdir(parents=True)
    (memory / "deep/er/new.md").write_text("x")
    (memory / "intended.md").write_text("x")
    git(repo.root, "add", "-N", "memory/intended.md")
    (repo.path("outside.md")).write_text("y")
    git(repo.root, "config", "status.showUntrackedFiles", "no")
    git(repo.root, "config", "status.relativePaths", "true")
    git(repo.root, "config", "status.renames", "copies")
    assert {change.path: (change.kind, change.staged) for change in changes(repo)} == {
        "memory/edited.md": ("changed", False),
        "memory/staged.md": ("changed", True),
        "memory/removed.md": ("deleted", False),
        "memory/mode.md": ("changed", False),
        "memory/deep/er/new.md": ("added", False),
        "memory/intended.md": ("added", False),
    }


def test_a_staged_rename_is_two_staged_paths(repo: Vault) -> None:
    git(repo.root, "config", "status.renames", "true")
    git(repo.root, "mv", "memory/edited.md", "memory/moved.md")
    found = {change.path: change.staged for change in changes(repo)}
    assert found == {"memory/edited.md": True, "memory/moved.md": True}


def test_looking_writes_nothing(repo: Vault) -> None:
    os.utime(repo.path("memory/edited.md"), (1, 1))
    before = repo.git_index.read_bytes()
    assert changes(repo) == []
    assert repo.git_index.read_bytes() == before
    subprocess.run(["git", "status"], cwd=repo.root, capture_output=True, check=True)
    assert repo.git_index.read_bytes() != before, "git itself refreshes here: the test can tell"
