"""Noise where git keeps HEAD and branches: memories are found by their files all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import git, keeper_of, run_avm

from avm import AVM
from avm.api import open_avm
from avm.api.waiting import Waiting

NOISE = bytes(range(256)) * 8
HEADS = {
    "noise": NOISE,
    "empty": b"",
    "words": b"hello\n",
    "an option": b"--output=x\n",
    "a ref of noise": b"ref: " + NOISE,
    "a ref that leads out": b"ref: ../../memory/shared/rule.md\n",
    "a ref too long": b"ref: refs/heads/" + b"x" * 5000,
    "a ref to itself": b"ref: HEAD\n",
    "a commit that is not there": b"0123456789" * 4 + b"\n",
}
BRANCHES = {
    "noise": NOISE,
    "empty": b"",
    "words": b"hello\n",
    "a commit that is not there": b"0123456789" * 4 + b"\n",
}


WAYS = [f"HEAD: {name}" for name in HEADS] + [f"branch: {name}" for name in BRANCHES]
USUAL = ("HEAD: noise", "branch: noise", "branch: a commit that is not there")


@pytest.fixture(params=["made", "adopted"])
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A vault of one committed memory that nobody has searched yet."""
    root = tmp_path / "v"
    if request.param == "adopted":
        root.mkdir()
        git(root, "init", "--quiet")
        git(root, "commit", "--quiet", "--allow-empty", "-m", "Theirs")
        assert run_avm("init", str(root)).returncode == 0
    with AVM(root, semantic="off") as avm:
        avm.agent_memory("akashi").remember("A common rule.", title="rule", namespace="x")
        avm.commit()
    return root


def broken(root: Path, what: str) -> None:
    """Write that noise over HEAD, or over the file of its branch."""
    kind, _, name = what.partition(": ")
    if kind == "HEAD":
        (root / ".git/HEAD").write_bytes(HEADS[name])
    else:
        (root / ".git" / git(root, "symbolic-ref", "HEAD")).write_bytes(BRANCHES[name])


@pytest.mark.parametrize("what", USUAL)
def test_a_search_answers_by_the_files(root: Path, what: str) -> None:
    broken(root, what)
    (root / "memory/shared/later.md").write_text("Written afterwards.\n")
    for word, name in (("common", "rule"), ("afterwards", "later")):
        done = run_avm("--vault", str(root), "search", word)
        assert done.returncode == 0 and f"{name}.md" in done.stdout, done.stderr
        assert len(done.stderr.splitlines()) <= 1
    for verb in (("status",), ("remember", "--agent", "akashi", "A new one."), ("log",)):
        done = run_avm("--vault", str(root), *verb)
        assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 1


@pytest.mark.parametrize("what", WAYS)
def test_what_was_indexed_before_is_brought_up_to_date(tmp_path: Path, what: str) -> None:
    root = tmp_path / "v"
    with AVM(root, semantic="off") as avm:
        (root / "memory/shared/rule.md").write_text("A common rule.\n")
        git(root, "add", ".")
        git(root, "commit", "--quiet", "-m", "First", "--date", "1500000000 +0000")
        assert len(avm.search("common")) == 1
        whole = (root / ".git/HEAD").read_bytes(), git(root, "symbolic-ref", "HEAD")
        kept = (root / ".git" / whole[1]).read_bytes()
        broken(root, what)
        (root / "memory/shared/later.md").write_text("Just as common.\n")
        assert len(avm.search("common")) == 2
        (root / ".git/HEAD").write_bytes(whole[0])
        (root / ".git" / whole[1]).write_bytes(kept)
        assert len(avm.search("common")) == 2
        row = avm.store.index.memory("memory/shared/rule.md")
        assert row is not None and row.changed == 1500000000.0
        assert avm.store.index.check() == []


@pytest.mark.parametrize("what", USUAL)
def test_a_keeper_answers_too(tmp_path: Path, what: str) -> None:
    AVM(tmp_path / "v", semantic="off").close()
    with (
        keeper_of(tmp_path / "v", AVM_SEMANTIC="off"),
        open_avm(tmp_path / "v", {"semantic": "off"}, Waiting.COMMAND) as avm,
    ):
        git(avm.store.vault.root, "commit", "--quiet", "--allow-empty", "-m", "First")
        broken(avm.store.vault.root, what)
        for number in range(3):
            (avm.store.vault.root / "memory/shared/later.md").write_text(f"number{number}\n")
            assert avm.store.keeper.ask("barrier", timeout=30.0) == {"ok": True}
            assert len(avm.search(f"number{number}")) == 1
