"""A person's `git merge` with the driver comes to the tree of `avm sync`, once AVM committed what
the driver could not put into the merge."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import git
from sync_helpers import X, clone, pair, pushed, sync, write
from vault_helpers import assert_clean, commit, committed

from avm.base import merging
from avm.vault.git import blob_id

LONG = "".join(f"line {number}\n" for number in range(12))
T = "memory/shared/t.txt"
_IDS = sorted((blob_id(text), text) for text in (b"mine\n", b"theirs\n"))
TAKEN = merging.copy_name(X, _IDS[0][0])

Files = Mapping[str, str | bytes | None]


def front(*lines: str, body: str = "body\n") -> str:
    return "---\n" + "".join(f"{line}\n" for line in lines) + "---\n" + body


CASES: dict[str, tuple[Files, Files, Files]] = {
    "lines": ({X: LONG}, {X: "top\n" + LONG}, {X: LONG + "end\n"}),
    "front matter": (
        {X: front("tags: [a, b]", "importance: 0.5", "x: 1")},
        {X: front("tags: [a]", "importance: 0.9", "x: 2")},
        {X: front("tags: [a, b, c]", "importance: 0.7", "x: 3")},
    ),
    "one line of both": ({X: "old\n"}, {X: "mine\n"}, {X: "theirs\n"}),
    "one name for two": ({}, {X: "mine\n"}, {X: "theirs\n"}),
    "one name, one text": ({}, {X: front("a: 1")}, {X: front("a: 2", "b: 1")}),
    "front matter that is broken": (
        {X: front("a: [")}, {X: front("a: [", "b: 1")}, {X: front("a: [", "c: 1")}
    ),
    "bytes": ({T: b"\0a"}, {T: b"\0b"}, {T: b"\0c"}),
    "a text of no memory": ({T: "old\n"}, {T: "mine\n"}, {T: "theirs\n"}),
    "a rename and an edit": ({X: LONG}, {X: None, "memory/shared/y.md": LONG}, {X: LONG + "t\n"}),
    "a rename with an edit, and an edit": (
        {X: LONG}, {X: None, "memory/shared/y.md": LONG + "mine\n"}, {X: LONG + "theirs\n"}
    ),
    "a copy's name is taken": (
        {X: "old\n", TAKEN: "taken\n"}, {X: "mine\n"}, {X: "theirs\n"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_git_with_the_driver_and_a_sync_come_to_the_same_tree(tmp_path: Path, case: str) -> None:
    base, ours, theirs = CASES[case]
    one, two = pair(tmp_path, {"memory/shared/other.md": "o\n", **base})
    person = clone(tmp_path / "remote.git", tmp_path / "person")
    write(two, ours)
    git(two.root, "add", "--all")
    git(two.root, "commit", "-q", "--no-verify", "-m", "Ours")
    git(person.root, "pull", "-q", str(two.root), "main")
    pushed(one, theirs)
    pull = ["git", "pull", "-q", "--no-rebase", "--no-edit", "origin", "main"]
    done = subprocess.run(pull, cwd=person.root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    report = commit(person)
    assert report.blocked is None
    sync(two)
    assert committed(person.root) == committed(two.root)
    trees = {git(vault.root, "rev-parse", "HEAD^{tree}") for vault in (two, person)}
    assert len(trees) == 1
    assert_clean(person)
    # Both machines carry on, and are in step.
    assert sync(person).copies == {}
    sync(two)
    assert git(person.root, "rev-parse", "HEAD^{tree}") in trees
    assert git(two.root, "rev-parse", "HEAD^{tree}") in trees
