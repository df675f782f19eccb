"""What two sides wrote, and what `status` says of lost front matter, moved files and refusals."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import git, run_avm
from vault_helpers import merge_as_text

from avm import AVM
from avm.overlay import virtual
from avm.overlay.tree import Tree

MOMENT = "2026-11-20T09:00:00Z"
FRONT = "---\ntitle: Rule\nimportance: 0.9\n---\n"
IN_A_MERGE = "in a merge: edit it, then git add it"


@pytest.fixture
def avm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AVM]:
    """A new vault as its owner sees it, on a day that stands still."""
    monkeypatch.setenv("AVM_CLOCK", MOMENT)
    with AVM(tmp_path / "vault", semantic="off") as opened:
        yield opened


def put(avm: AVM, rel: str, text: str) -> Path:
    """Write a file as an editor does."""
    place = avm.store.vault.path(rel)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


# Conflicts


def test_a_copy_beside_a_memory_is_a_conflict(avm: AVM) -> None:
    assert avm.conflicts() == {}
    assert virtual.read(avm, ":conflicts").data == b"No conflicts.\n"
    for name in (
        "a.md", "a.conflict-0123abcd.md", "a.conflict-89abcdef.md", "lost.conflict-0000ffff.md",
        "no.conflict-0123abcg.md", "no.conflict-0123abc.md", "no.conflict-0123abcde.md",
        "no.conflict.md", "plain.md",
    ):  # fmt: skip
        put(avm, f"memory/shared/{name}", f"{name}\n")
    put(avm, "memory/shared/deep/b.conflict-0123abcd.md", "b\n")
    put(avm, "memory/shared/.conflict-0123abcd.md", "no memory\n")
    shared = "/memory/shared"
    found = {
        f"{shared}/a.md": [f"{shared}/a.conflict-0123abcd.md", f"{shared}/a.conflict-89abcdef.md"],
        f"{shared}/deep/b.md": [f"{shared}/deep/b.conflict-0123abcd.md"],
        f"{shared}/lost.md": [f"{shared}/lost.conflict-0000ffff.md"],
    }
    assert avm.conflicts() == found
    assert list(avm.conflicts("memory/shared/deep")) == [f"{shared}/deep/b.md"]
    assert virtual.read(avm, "memory/shared/deep/:conflicts").data.decode() == (
        f"{shared}/deep/b.md  {shared}/deep/b.conflict-0123abcd.md\n"
    )
    lines = virtual.read(avm, ":conflicts").data.decode().splitlines()
    assert lines[0] == f"{shared}/a.md  {'; '.join(found[f'{shared}/a.md'])}"
    avm.forget("memory/shared/lost.conflict-0000ffff.md")
    assert f"{shared}/lost.md" not in avm.conflicts()


def test_conflicts_of_others_are_absent(avm: AVM) -> None:
    for folder in ("private/akashi", "private/hermes", "shared"):
        put(avm, f"memory/{folder}/a.conflict-0123abcd.md", "text\n")
    put(avm, "memory/shared/old.conflict-0123abcd.md", "---\nexpires: 2020-01-01\n---\nold\n")
    akashi = avm.agent_memory("akashi")
    assert list(akashi.conflicts()) == ["/memory/private/akashi/a.md", "/memory/shared/a.md"]
    assert akashi.conflicts("memory/private/hermes") == {}
    assert len(avm.conflicts()) == 3


def test_a_merge_of_the_person_s_in_conflict(avm: AVM) -> None:
    root = avm.store.vault.root
    rels = ["memory/shared/日本 a.md", "memory/private/hermes/h.md", "work.txt"]
    for rel in rels:
        put(avm, rel, "base\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "base")
    git(root, "checkout", "-qb", "side")
    for branch in ("side", "main"):
        git(root, "checkout", "-q", branch)
        for rel in rels:
            put(avm, rel, f"{branch}\n")
        git(root, "commit", "-qam", branch)
    merge_as_text(root)
    merged = subprocess.run(["git", "merge", "side"], cwd=root, capture_output=True, check=False)
    assert merged.returncode == 1
    assert avm.conflicts() == {f"/{rel}": [IN_A_MERGE] for rel in sorted(rels)}
    assert avm.conflicts("memory/private") == {f"/{rels[1]}": [IN_A_MERGE]}
    akashi = avm.agent_memory("akashi")
    assert akashi.conflicts() == {f"/{rels[0]}": [IN_A_MERGE]}
    told = virtual.read(akashi, ":conflicts").data.decode()
    assert told == f"/{rels[0]}  {IN_A_MERGE}\n"
    put(avm, "memory/shared/日本 a.conflict-0123abcd.md", "other\n")
    assert avm.conflicts()[f"/{rels[0]}"] == [
        "/memory/shared/日本 a.conflict-0123abcd.md",
        IN_A_MERGE,
    ]
    for rel in rels:
        put(avm, rel, "settled\n")
    git(root, "add", *rels)
    assert list(avm.conflicts()) == [f"/{rels[0]}"]


# Lost front matter


def test_dropped_front_matter_stands_in_the_status_until_it_is_back(avm: AVM) -> None:
    rels = ["memory/shared/a.md", "memory/private/hermes/b.md"]
    for rel in rels:
        avm.write(rel, FRONT + "old\n")
    avm.commit()
    assert avm.status().dropped == ()
    for rel in rels:
        avm.write(rel, "new\n")
    told = tuple(f"/{rel}" for rel in sorted(rels))

    def seen() -> tuple[tuple[str, ...], ...]:
        akashi = avm.agent_memory("akashi")
        return (
            tuple(sorted(avm.status().dropped)),
            akashi.status().dropped,
            avm.status("memory/private").dropped,
        )

    expected = (told, (f"/{rels[0]}",), (f"/{rels[1]}",))
    assert seen() == expected, "before the commit"
    avm.commit()
    assert seen() == expected, "after it"
    line = "front matter dropped (avm restore --meta)  2\n"
    assert line in virtual.read(avm, ":status").data.decode()
    done = run_avm("--vault", str(avm.store.vault.root), "restore", "--meta", rels[0])
    assert done.returncode == 0, done.stderr
    assert avm.status().dropped == (f"/{rels[1]}",)
    assert avm.read(rels[0]) == FRONT + "new\n"
    avm.forget(rels[1])
    assert avm.status().dropped == ()


def test_a_memory_that_never_had_front_matter_lost_none(avm: AVM) -> None:
    avm.write("memory/shared/a.md", "plain\n")
    avm.commit()
    avm.write("memory/shared/a.md", "plainer\n")
    assert avm.status().dropped == ()
    avm.set_meta("memory/shared/a.md", {"importance": 0.9})
    avm.commit()
    avm.set_meta("memory/shared/a.md", {"importance": None})
    avm.commit()
    assert avm.status().dropped == ()


# Moved out of the way


def test_what_expired_and_made_way_is_named_to_who_may_see_it(avm: AVM) -> None:
    old = "---\nexpires: 2020-01-01\n---\nold\n"
    rels = ["memory/private/akashi/a.md", "memory/private/hermes/h.md", "memory/shared/s.md"]
    for rel in rels:
        put(avm, rel, old)
        avm.write(rel, "new\n")
    rescued = avm.status().rescued
    assert [path for path, _ in rescued] == [f"/{rel}" for rel in rels]
    assert [Path(place).read_text() for _, place in rescued] == [old] * 3
    akashi, hermes = avm.agent_memory("akashi"), avm.agent_memory("hermes")
    assert [path for path, _ in akashi.status().rescued] == [f"/{rels[0]}", f"/{rels[2]}"]
    assert [path for path, _ in hermes.status().rescued] == [f"/{rels[1]}", f"/{rels[2]}"]
    assert [path for path, _ in avm.status("memory/shared").rescued] == [f"/{rels[2]}"]
    told = virtual.read(akashi, ":status").data.decode()
    assert f"moved out of a new file's way  2\n  /{rels[0]}: " in told
    assert "hermes" not in told
    Path(rescued[0][1]).unlink()
    assert [path for path, _ in avm.status().rescued] == [f"/{rel}" for rel in rels[1:]]
    with (avm.store.vault.own_state / "rescued.jsonl").open("a") as journal:
        journal.write('{"path": "cut sho')
    assert len(avm.status().rescued) == 2


# Refused


def test_what_was_refused_is_told_to_who_wrote_it(avm: AVM) -> None:
    put(avm, "memory/shared/a.md", "text\n")
    akashi = avm.agent_memory("akashi")
    akashi.refused("memory/shared/a.md:ttl", "ttl: no duration")
    assert akashi.status().refused == (("/memory/shared/a.md:ttl", "ttl: no duration"),)
    assert avm.status().refused == ()
    told = virtual.read(akashi, ":status").data.decode()
    assert told.endswith("refused  1\n  /memory/shared/a.md:ttl: ttl: no duration\n")
    for number in range(30):
        akashi.refused("memory/shared/a.md:ttl", str(number))
    assert [why for _, why in akashi.status().refused] == [str(n) for n in range(20, 30)]


def test_a_refusal_is_in_the_next_status_of_a_tree(avm: AVM) -> None:
    """Although no file has changed since the last one."""
    put(avm, "memory/shared/a.md", "text\n")
    tree = Tree(avm)

    def status() -> str:
        handle = tree.open("/:status", os.O_RDONLY)
        return handle.read(1 << 20, 0).decode()

    for number in range(3):
        assert status().count("refused") == (number > 0)
        handle = tree.open("/memory/shared/a.md:ttl", os.O_WRONLY | os.O_TRUNC)
        with pytest.raises(Exception, match="such as 30d"):
            handle.write(f"bad{number}\n".encode(), 0)
        assert f"refused  {number + 1}\n" in status()
        assert f"bad{number}" in status()
    tree.close()
