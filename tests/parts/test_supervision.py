"""Quotas and the audit log, through the API and the overlay's tree."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from avm import AVM, AgentMemory
from avm.base.errors import AccessError, AVMError, NotFoundError, QuotaError, SecretError
from avm.overlay.tree import Tree
from avm.vault import audit, usage

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from secret_shapes import SHAPES, Maker

SHARED = "/memory/shared/pool.md"
HOME = "/memory/private/akashi"


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    AVM(tmp_path / "vault").close()
    (tmp_path / "vault/.git/avm").mkdir(exist_ok=True)
    return tmp_path / "vault"


@pytest.fixture
def opened(vault: Path) -> Iterator[Callable[[str], AgentMemory]]:
    """Opens the vault with a quota for akashi, as TOML; each time as another process would."""
    avms: list[AVM] = []

    def under(quota: str) -> AgentMemory:
        (vault / ".git/avm/config.toml").write_text(f"[agents.akashi]\nquota = {quota}\n")
        avms.append(AVM(vault, semantic="off"))
        return avms[-1].agent_memory("akashi")

    yield under
    for avm in avms:
        avm.close()


def told(view: AgentMemory) -> str | None:
    return view.status().quota


def logged(vault: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(vault)]


def lines(vault: Path, name: str = "audit.jsonl") -> list[str]:
    file = vault / ".git/avm/state" / name
    return file.read_text().splitlines() if file.exists() else []


# Quotas


def test_files_beyond_the_quota_are_refused(opened: Callable[[str], AgentMemory]) -> None:
    view = opened("{ files = 2 }")
    view.remember("one")
    view.write(SHARED, "two")
    with pytest.raises(QuotaError, match="2 of 2 files: forget some first"):
        view.remember("three")
    assert len(view.memories()) == 2
    view.write(SHARED, "two, and longer")  # no new file
    view.forget(SHARED)
    view.remember("three")
    assert told(view) == "2 of 2 files"


def test_bytes_beyond_the_quota_are_refused(opened: Callable[[str], AgentMemory]) -> None:
    view = opened("{ bytes = 100 }")
    view.write(f"{HOME}/a.md", "x" * 60)
    with pytest.raises(QuotaError, match="60 of 100 bytes, and this takes 50 more"):
        view.write(f"{HOME}/b.md", "x" * 50)
    with pytest.raises(QuotaError, match="this takes 42 more"):
        view.append(f"{HOME}/a.md", "x" * 40)  # on a line of its own
    assert view.read(f"{HOME}/a.md") == "x" * 60 and not view.exists(f"{HOME}/b.md")
    view.write(f"{HOME}/a.md", "x" * 30)
    view.write(f"{HOME}/b.md", "x" * 50)
    assert told(view) == "80 of 100 bytes"


def test_too_much_can_always_shrink(vault: Path, opened: Callable[[str], AgentMemory]) -> None:
    """A quota that was set when there was more already."""
    (vault / f"{HOME[1:]}").mkdir(parents=True)
    (vault / f"{HOME[1:]}/a.md").write_text("x" * 200)
    view = opened("{ bytes = 100 }")
    view.write(f"{HOME}/a.md", "x" * 150)
    with pytest.raises(QuotaError):
        view.write(f"{HOME}/a.md", "x" * 151)
    view.forget(f"{HOME}/a.md")
    assert told(view) == "0 of 100 bytes"


def test_others_writes_are_their_own(opened: Callable[[str], AgentMemory]) -> None:
    view = opened("{ files = 1 }")
    other = AVM(view.store.vault.root, semantic="off")
    other.agent_memory("hermes").write("/memory/shared/h.md", "theirs")
    other.agent_memory("hermes").remember("no quota")
    view.write("/memory/shared/a.md", "mine")
    other.close()
    with pytest.raises(QuotaError):
        view.write("/memory/shared/h.md", "taken over")  # it would be akashi's as well


def test_another_process_counts_at_once(opened: Callable[[str], AgentMemory]) -> None:
    one, two = opened("{ files = 3 }"), opened("{ files = 3 }")
    one.remember("one")
    two.remember("two")
    one.remember("three")
    with pytest.raises(QuotaError):
        two.remember("four")


def test_what_the_owner_removed_is_seen_before_a_refusal(
    opened: Callable[[str], AgentMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    view = opened("{ files = 1 }")
    path = view.remember("one").path
    (view.store.vault.root / path[1:]).unlink()
    monkeypatch.setattr(usage, "_AGAIN_SECONDS", -1.0)
    view.remember("two")
    assert told(view) == "1 of 1 files"


def test_a_lost_count_is_made_again(
    opened: Callable[[str], AgentMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    view = opened("{ files = 2 }")
    view.remember("one")
    view.remember("two")
    (view.store.vault.own_state / "usage/akashi.jsonl").unlink()
    with pytest.raises(QuotaError):
        view.remember("three")


def test_an_old_count_is_made_again(opened: Callable[[str], AgentMemory]) -> None:
    view = opened("{ files = 5 }")
    path = view.remember("one").path
    (view.store.vault.root / path[1:]).with_name("byhand.md").write_text("the owner's")
    assert told(view) == "1 of 5 files"
    assert view.store.supervision._usages["akashi"] is not None
    view.store.supervision._usages["akashi"]._counted = time.time() - 3601
    assert told(view) == "2 of 5 files"


def test_restore_and_undo_keep_to_it(opened: Callable[[str], AgentMemory]) -> None:
    view = opened("{ files = 1 }")
    path = view.remember("one").path
    view.commit()
    view.forget(path)
    view.commit()
    view.remember("two")
    with pytest.raises(QuotaError):
        view.restore(path)
    assert not view.exists(path)


# Quotas in the overlay


def _write(tree: Tree, path: str, data: bytes, flags: int = os.O_WRONLY) -> None:
    handle = tree.create(path, 0o644, flags | os.O_CREAT)
    try:
        handle.write(data, 0)
    finally:
        handle.release()


def _refused(call: Callable[[], object]) -> None:
    with pytest.raises(AVMError) as raised:
        call()
    assert raised.value.errno == errno.EDQUOT


@pytest.fixture
def tree(opened: Callable[[str], AgentMemory]) -> Iterator[Tree]:
    made = Tree(opened("{ files = 3, bytes = 100 }"))
    yield made
    made.close()


def test_every_way_to_make_a_file_counts(tree: Tree) -> None:
    _write(tree, f"{HOME}/a.md", b"x" * 10)
    tree.symlink("a.md", f"{HOME}/b.md")
    tree.link(f"{HOME}/a.md", f"{HOME}/c.md")
    for make in (
        lambda: _write(tree, f"{HOME}/d.md", b""),
        lambda: _write(tree, f"{HOME}/.d.md.swp", b""),
        lambda: tree.symlink("a.md", f"{HOME}/d.md"),
        lambda: tree.link(f"{HOME}/a.md", f"{HOME}/d.md"),
        lambda: tree.mknod(f"{HOME}/d.md", 0o100644, 0),
        lambda: tree.mknod(f"{HOME}/d", 0o010644, 0),
    ):
        _refused(make)
    tree.rename(f"{HOME}/a.md", f"{HOME}/d.md")  # no more than before
    tree.unlink(f"{HOME}/b.md")
    _write(tree, "/memory/shared/e.md", b"")


def test_special_files_count(tree: Tree) -> None:
    _write(tree, f"{HOME}/a.md", b"")
    for name in "bc":
        tree.mknod(f"{HOME}/{name}", 0o010644, 0)
    _refused(lambda: tree.mknod(f"{HOME}/d", 0o010644, 0))
    tree.unlink(f"{HOME}/b")
    tree.mknod(f"{HOME}/d", 0o010644, 0)
    assert tree._view.status().quota == "3 of 3 files, 0 of 100 bytes"


def test_bytes_are_counted_while_a_file_is_open(tree: Tree) -> None:
    one = tree.create(f"{HOME}/a.md", 0o644, os.O_WRONLY | os.O_CREAT)
    two = tree.create(f"{HOME}/b.md", 0o644, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    one.write(b"x" * 60, 0)
    two.write(b"x" * 40, 0)
    _refused(lambda: two.write(b"x", 0))
    _refused(lambda: one.write(b"x", 60))
    _refused(lambda: one.truncate(61))
    assert one.write(b"y" * 60, 0) == 60
    one.truncate(50)
    two.write(b"x" * 10, 0)
    one.release()
    two.release()
    assert tree._view.status().quota == "2 of 3 files, 100 of 100 bytes"


def test_anothers_file_moved_in_counts(tree: Tree) -> None:
    root = tree._view.store.vault.root
    (root / "memory/shared").mkdir(exist_ok=True)
    (root / "memory/shared/big.md").write_text("x" * 200)
    _refused(lambda: tree.rename("/memory/shared/big.md", f"{HOME}/big.md"))
    assert (root / "memory/shared/big.md").exists()


def test_what_is_written_to_an_unlinked_file_is_let_go(tree: Tree) -> None:
    handle = tree.create(f"{HOME}/a.md", 0o644, os.O_WRONLY | os.O_CREAT)
    handle.write(b"x" * 90, 0)
    tree.unlink(f"{HOME}/a.md")
    handle.release()
    _write(tree, f"{HOME}/b.md", b"x" * 100)


def test_names_of_our_own_are_no_store(tree: Tree) -> None:
    view = tree._view
    for make in (
        lambda: _write(tree, f"{HOME}/.avm-tmp-1.md", b"x"),
        lambda: tree.mkdir(f"{HOME}/.avm-tmp-2", 0o755),
        lambda: view.write(f"{HOME}/.avm-tmp-1.md", "x"),
    ):
        with pytest.raises(AccessError):
            make()


def test_what_has_two_names_counts_twice(tree: Tree) -> None:
    """A name that was not written to has grown as well, and stays when the other is removed."""
    _write(tree, f"{HOME}/a.md", b"")
    tree.link(f"{HOME}/a.md", f"{HOME}/b.md")
    handle = tree.open(f"{HOME}/b.md", os.O_WRONLY)
    handle.write(b"x" * 40, 0)
    handle.release()
    assert tree._view.status().quota == "2 of 3 files, 80 of 100 bytes"
    tree.unlink(f"{HOME}/b.md")
    assert tree._view.status().quota == "1 of 3 files, 40 of 100 bytes"


def test_a_folder_is_moved_in_whole_or_not_at_all(tree: Tree) -> None:
    folder = tree._view.store.vault.root / "memory/shared/big"
    folder.mkdir(parents=True)
    for number in range(4):
        (folder / f"{number}.md").write_text("x" * 30)
    _refused(lambda: tree.rename("/memory/shared/big", f"{HOME}/big"))
    (folder / "0.md").unlink()
    tree.rename("/memory/shared/big", f"{HOME}/big")
    assert tree._view.status().quota == "3 of 3 files, 90 of 100 bytes"


def test_an_undo_is_whole_or_not_at_all(opened: Callable[[str], AgentMemory]) -> None:
    view = opened("{ files = 2 }")
    made = [view.remember(text).path for text in ("one", "two")]
    view.commit()
    for path in made:
        view.forget(path)
    view.commit()
    forgotten = view.log(limit=1)[0].hash
    view.remember("three")
    with pytest.raises(QuotaError):
        view.undo(commit=forgotten)
    assert len(view.memories()) == 1


def test_what_may_not_be_read_any_more_does_not_count(
    vault: Path, opened: Callable[[str], AgentMemory]
) -> None:
    view = opened("{ bytes = 1000 }")
    view.write("/memory/shared/hr/x.md", "x" * 10)
    (vault / "memory/shared/hr/x.md").write_text("x" * 777)
    denying = opened('{ bytes = 1000 }\ndeny = ["/memory/shared/hr"]')
    assert told(denying) == "0 of 1,000 bytes"


def test_processes_read_what_is_new_and_keep_it_short(
    opened: Callable[[str], AgentMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "_MOST_LINES", 20)
    one, two = opened("{ files = 9 }"), opened("{ files = 9 }")
    for number in range(40):
        (one, two)[number % 2].write(f"{HOME}/{number % 4}.md", "x" * number)
    journal = one.store.vault.own_state / "usage/akashi.jsonl"
    assert len(journal.read_text().splitlines()) < 40
    assert told(one) == told(two) == "4 of 9 files"


def test_a_spoiled_count_is_made_again(opened: Callable[[str], AgentMemory]) -> None:
    view = opened("{ files = 3 }")
    view.remember("one")
    journal = view.store.vault.own_state / "usage/akashi.jsonl"
    spoiled = [{"counted": time.time() + 9e9}, {"path": 5, "size": 1}, {"path": "x", "size": "y"}]
    journal.write_text("".join(json.dumps(line) + "\n" for line in [*spoiled, "z"]))
    view.remember("two")
    assert told(view) == "2 of 3 files"


def test_a_write_that_cannot_be_counted_is_the_agents_all_the_same(
    opened: Callable[[str], AgentMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    view = opened("{ files = 3 }")
    monkeypatch.setattr(usage.Usage, "note", full)
    path = view.remember("one").path
    view.commit()
    assert view.history(path)[0].agent == "akashi"


# The audit log


def test_writes_and_denials_are_logged(vault: Path) -> None:
    token = SHAPES["github-token"](Maker(1))
    with AVM(vault, semantic="off") as avm:
        hers = avm.agent_memory("hermes").remember("a plan", title="plan").path
        view = avm.agent_memory("akashi")
        path = view.remember("one").path
        view.append(path, "more")
        view.forget(path)
        avm.remember("the owner's")
        for error, call in (
            (AccessError, lambda: view.write(hers, "x")),
            (NotFoundError, lambda: view.read(hers)),
            (NotFoundError, lambda: view.read("/memory/private/hermes/none.md")),
            (NotFoundError, lambda: view.history(hers)),
            (AccessError, view.sync),
            (SecretError, lambda: view.remember(token)),
        ):
            with pytest.raises(error):
                call()
    did = [(r["agent"], r["op"], r["path"], "denied" in r) for r in logged(vault)]
    assert did == [
        ("hermes", "remember", hers, False),
        ("akashi", "remember", path, False),
        ("akashi", "edit", path, False),
        ("akashi", "forget", path, False),
        ("akashi", "write", hers, True),
        ("akashi", "read", hers, True),
        ("akashi", "read", hers, True),
        ("akashi", "sync", "/", True),
        ("akashi", "write", HOME, True),
    ]
    assert {r["door"] for r in logged(vault)} == {"python"}
    assert not any(token in line for line in lines(vault))


def test_a_tree_logs_what_is_asked_for_in_vain(vault: Path) -> None:
    with AVM(vault, semantic="off") as avm:
        hers = avm.agent_memory("hermes").remember("a plan").path
        tree = Tree(avm.agent_memory("akashi"))
        for path in (hers, "/.git/config", "/.envrc"):
            with pytest.raises((OSError, NotFoundError)):
                tree.attributes(path)
        with pytest.raises(AccessError):
            tree.create(hers, 0o644, os.O_WRONLY | os.O_CREAT)
        tree.close()
    did = [(r["op"], r["path"]) for r in logged(vault) if "denied" in r]
    assert did == [("read", hers), ("write", hers)]


def test_it_can_be_turned_off(vault: Path) -> None:
    (vault / ".git/avm/config.toml").write_text("audit = false\n")
    with AVM(vault, semantic="off") as avm:
        avm.agent_memory("akashi").remember("one")
    assert not (vault / ".git/avm/state/audit.jsonl").exists()


def test_full_files_are_turned(vault: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes write, and no line is lost but with the oldest file."""
    monkeypatch.setattr(audit, "FULL", 2_000)
    with AVM(vault) as avm:
        one, two = (audit.Audit(avm.store.vault) for _ in "12")
        for number in range(30):
            one.wrote(0.0, "cli", "akashi", "edit", f"memory/one-{number}.md")
            two.wrote(0.0, "cli", "akashi", "edit", f"memory/two-{number}.md")
        state = avm.store.vault.own_state
        names = [f"audit{part}.jsonl" for part in (".4", ".3", ".2", ".1", "")]
        kept = [line for name in names for line in lines(vault, name)]
        assert len(kept) == 60 and json.loads(kept[-1])["path"] == "/memory/two-29.md"
        for number in range(100):
            one.wrote(0.0, "cli", "akashi", "edit", f"memory/more-{number}.md")
        assert sorted(p.name for p in state.glob("audit*.jsonl")) == sorted(names)
        one.close()
        two.close()
