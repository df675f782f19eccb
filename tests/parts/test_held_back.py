"""What looks like a secret is kept and found, and gets into no object and no log of git's: through
whatever door it came, whatever becomes of the file, and whenever a process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import ROOT, git
from vault_helpers import (
    FORMATS,
    assert_clean,
    assert_well,
    commit,
    committed,
    content,
    make,
    note,
    private,
    put,
    python,
    show,
)

from avm import AVM
from avm.base import paths
from avm.vault import git as git_program
from avm.vault import index_file
from avm.vault.housekeeping import Housekeeper
from avm.vault.location import Vault
from avm.vault.rescue import rescued
from avm.vault.staging import QUARANTINE, Prepared, Stager

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from secret_shapes import ALNUM, SHAPES, Maker

MAKER = Maker(17)
TOKEN = SHAPES["github-token"](MAKER)
OTHER = SHAPES["slack-token"](MAKER)
WEAK = MAKER.draw(ALNUM, 20)
TEXT = f"The broker's key\nis {TOKEN}, ask Jun.\n"
SUSPECT = f"password: {WEAK}\n"


@pytest.fixture(params=FORMATS)
def avm(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[AVM]:
    """A vault, whose background committer is not waited for."""
    make(tmp_path / "v", request.param)
    with AVM(tmp_path / "v", semantic="off") as opened:
        yield opened


def assert_in_no_git(vault: Vault) -> None:
    """In no object, reachable or not, loose or packed, nor put aside, nor in any log or note."""
    listed = ("cat-file", "--batch-all-objects", "--unordered", "--batch")
    objects = subprocess.run(["git", *listed], cwd=vault.root, capture_output=True, check=True)
    for secret in (TOKEN, OTHER, WEAK):
        assert secret.encode() not in objects.stdout
        for name in ("logs", "refs", "HEAD", "COMMIT_EDITMSG", "packed-refs", "index"):
            place = vault.git_dir / name
            for file in [place] if place.is_file() else place.rglob("*"):
                assert file.is_dir() or secret.encode() not in file.read_bytes()
        for file in vault.own_state.rglob("*.jsonl"):
            assert secret.encode() not in file.read_bytes()
    assert put_aside(vault) == []


def put_aside(vault: Vault) -> list[Path]:
    """What is in the quarantine of new objects."""
    found = (vault.git_state / QUARANTINE).rglob("*")
    return [path for path in found if path.is_file() and path.name != "alternates"]


def by_an_editor(avm: AVM, rel: str, text: str) -> None:
    put(avm.store.vault, rel, text)


def by_a_mount(avm: AVM, rel: str, text: str) -> None:
    """As the overlay writes: truncated, written, closed; the journal says whose it is."""
    vault = avm.store.vault
    avm.store.before_change(rel, "akashi")
    put(vault, rel, text)
    note(vault, rel, op="edit")


def by_the_library(avm: AVM, rel: str, text: str) -> None:
    avm.agent_memory("akashi").write(rel, text)


WRITERS = [
    (by_an_editor, TEXT, "github-token, line 2", "Pat Person"),
    (by_a_mount, TEXT, "github-token, line 2", "akashi"),
    (by_an_editor, SUSPECT, "line 1", "Pat Person"),
    (by_the_library, SUSPECT, "line 1", "akashi"),
]


@pytest.mark.parametrize(
    "write, text, told, author",
    WRITERS,
    ids=["editor", "mount", "editor, suspicion", "library, suspicion"],
)
def test_a_secret_is_kept_and_found_and_held_back_until_it_is_allowed(
    avm: AVM, write: Callable[[AVM, str, str], None], text: str, told: str, author: str
) -> None:
    vault, rel = avm.store.vault, "memory/shared/the broker.md"
    write(avm, rel, text)
    put(vault, "memory/shared/mine.md", "nothing to hide\n")
    avm.agent_memory("akashi").remember("nothing to hide either", title="open")
    for _ in range(2):
        report = avm.commit()
        assert list(report.waiting) == [rel]
        assert told in report.waiting[rel]
        assert report.waiting[rel].endswith("avm allow '/memory/shared/the broker.md'")
    assert avm.status().waiting == {paths.display(rel): report.waiting[rel]}
    assert {"memory/shared/mine.md", private("open.md")} <= committed(vault.root)
    assert rel not in committed(vault.root)
    assert vault.path(rel).read_text() == text
    assert [hit.path for hit in avm.search("broker" if text is TEXT else "password")] == [
        paths.display(rel)
    ]
    assert git(vault.root, "status", "--porcelain", "-z") == f"?? {rel}\0"
    assert_in_no_git(vault)
    assert avm.allow(rel)
    assert avm.commit().waiting == {}
    assert content(vault.root, rel) == text.encode()
    assert show(vault.root, "%an") == author
    assert_clean(vault)
    # What was allowed is that text and no other.
    by_an_editor(avm, rel, f"another: {OTHER}\n")
    assert "slack-token" in avm.commit().waiting[rel]
    assert content(vault.root, rel) == text.encode()
    assert_well(avm)


def test_a_secret_that_is_taken_out_is_committed_without_it(avm: AVM) -> None:
    vault, rel = avm.store.vault, private("broker.md")
    by_a_mount(avm, rel, "clean\n")
    avm.commit()
    by_a_mount(avm, rel, TEXT)
    assert list(avm.commit().waiting) == [rel]
    assert content(vault.root, rel) == b"clean\n"
    by_a_mount(avm, rel, "clean again\n")
    assert avm.commit().waiting == {}
    assert content(vault.root, rel) == b"clean again\n"
    assert_in_no_git(vault)
    assert_clean(vault)


# What becomes of the file


def overwritten_by_another(avm: AVM, rel: str) -> None:
    avm.agent_memory("bob").write(rel, "clean, by bob\n")


def overwritten_by_the_same(avm: AVM, rel: str) -> None:
    avm.agent_memory("akashi").write(rel, "clean, by akashi\n")


def truncated_through_a_mount(avm: AVM, rel: str) -> None:
    avm.store.before_change(rel, "bob")
    avm.store.vault.path(rel).write_bytes(b"")
    note(avm.store.vault, rel, "bob", "edit")


def forgotten(avm: AVM, rel: str) -> None:
    avm.forget(rel)


def forgotten_by_its_author(avm: AVM, rel: str) -> None:
    avm.agent_memory("akashi").forget(rel)


def restored_over(avm: AVM, rel: str) -> None:
    avm.restore(rel, "HEAD")


def undone_over(avm: AVM, rel: str) -> None:
    undone = avm.undo(commit="HEAD")
    assert list(undone.left) == [paths.display(rel)]
    assert TOKEN in avm.store.vault.path(rel).read_text()
    avm.forget(rel)


def expired_and_replaced(avm: AVM, rel: str) -> None:
    text = f"---\nexpires: 2001-01-01\n---\n{TEXT}"
    put(avm.store.vault, rel, text)
    avm.agent_memory("bob").write(rel, "clean\n")


ENDS = [
    overwritten_by_another,
    overwritten_by_the_same,
    truncated_through_a_mount,
    forgotten,
    forgotten_by_its_author,
    restored_over,
    undone_over,
    expired_and_replaced,
]
NEEDS_A_COMMIT = (restored_over, undone_over)


@pytest.mark.parametrize(
    "act, known",
    [(act, known) for act in ENDS for known in (True, False) if known or act not in NEEDS_A_COMMIT],
    ids=lambda value: value.__name__ if callable(value) else ("new", "committed before")[value],
)
def test_whatever_gives_way_to_another_text_is_kept_outside_of_git(
    avm: AVM, act: Callable[[AVM, str], None], known: bool
) -> None:
    vault, rel = avm.store.vault, "memory/shared/broker.md"
    if known:
        by_a_mount(avm, rel, "clean\n")
        avm.commit()
    by_a_mount(avm, rel, TEXT)
    assert list(avm.commit().waiting) == [rel]
    act(avm, rel)
    assert_in_no_git(vault)
    assert avm.commit().waiting == {}
    Housekeeper(vault).tidy()
    git(vault.root, "-c", "core.fsync=none", "gc", "-q")
    assert_in_no_git(vault)
    kept = [place for place in rescued(vault) if TOKEN in place.read_text()]
    assert kept, "the text is lost"
    git(vault.root, "update-index", "-q", "--refresh")  # what was brought back has other times
    assert_clean(vault)


def test_gc_removes_nothing_that_history_does_not_have(avm: AVM) -> None:
    vault, rel = avm.store.vault, private("broker.md")
    by_a_mount(avm, rel, f"---\nexpires: 2001-01-01\n---\n{TEXT}")
    collected = avm.gc()
    assert collected.removed == () and "github-token" in collected.left[paths.display(rel)]
    assert vault.path(rel).exists()
    assert_in_no_git(vault)


def test_undo_of_what_others_did_leaves_a_held_file_alone(avm: AVM) -> None:
    vault, rel = avm.store.vault, private("broker.md")
    by_a_mount(avm, rel, TEXT)
    avm.agent_memory("akashi").remember("clean", title="clean")
    assert set(avm.undo(since=timedelta(minutes=1), agent="akashi").changed) == {
        "/memory/private/akashi/clean.md"
    }
    assert vault.path(rel).read_text() == TEXT
    assert_in_no_git(vault)


# At the same moment


def secret_comes(vault: Vault, rel: str, how: str) -> None:
    """The text becomes a secret without a sign that is easy to see: the same length and time."""
    place = vault.path(rel)
    before = place.stat()
    text = TEXT.encode()
    if how == "in place":
        place.write_bytes(text)
    else:
        new = place.with_name("new")
        new.write_bytes(text)
        os.replace(new, place)
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("how", ["in place", "replaced"])
@pytest.mark.parametrize("attribute", ["", "filter=same", "text=auto"])
@pytest.mark.parametrize("old", [True, False], ids=["old file", "young file"])
@pytest.mark.parametrize("by_git", [True, False], ids=["by git", "into the index"])
def test_a_secret_that_comes_after_our_reading(
    avm: AVM, monkeypatch: pytest.MonkeyPatch, how: str, attribute: str, old: bool, by_git: bool
) -> None:
    vault, rel = avm.store.vault, private("broker.md")
    git(vault.root, "config", "filter.same.clean", "cat")
    (vault.git_dir / "info/attributes").write_text(f"memory/** {attribute}\n" if attribute else "")
    by_a_mount(avm, rel, "x" * len(TEXT.encode()))
    by_a_mount(avm, private("beside.md"), "clean\n")
    if old:
        os.utime(vault.path(rel), (1, 1))
    real, calls = Stager.staging, []

    def staging(self: Stager, copy: Path, prepared: Prepared) -> object:
        calls.append(1)
        if len(calls) == 1:
            secret_comes(vault, rel, how)
        return real(self, copy, prepared)

    monkeypatch.setattr(Stager, "staging", staging)
    if by_git:
        monkeypatch.setattr(index_file, "put", lambda *_: False)
    report = avm.store.committer.commit(now=True)
    assert calls
    assert private("beside.md") in committed(vault.root)
    if rel in committed(vault.root):  # what was read, and that alone
        assert content(vault.root, rel) == b"x" * len(TEXT.encode())
        note(vault, rel)
        report = avm.store.committer.commit(now=True)
    assert "github-token" in report.waiting[rel]
    assert_in_no_git(vault)


KILLED_WHILE_STAGING = """
import os, signal, sys
from pathlib import Path
from avm.base.config import Config
from avm.vault.allowed import Allowed
from avm.vault.committer import Committer
from avm.vault import git, index_file
from avm.vault.location import open_vault

root, rel, when = sys.argv[1:]
vault = open_vault(Path(root))
text = sys.stdin.read()

class Deadly(git.Started):
    def __init__(self, *args, **named):
        vault.path(rel).write_text(text)
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().__init__(*args, **named)

    def finish(self):
        super().finish()
        os.kill(os.getpid(), signal.SIGKILL)

git.Started = Deadly
index_file.put = lambda *_: False
Committer(vault, Config(), Allowed(vault).held_because).commit(now=True)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_while_git_stages_leaves_the_secret_in_no_repository(avm: AVM, when: str) -> None:
    vault, rel = avm.store.vault, private("broker.md")
    by_a_mount(avm, rel, "clean\n")
    killed = python(KILLED_WHILE_STAGING, vault.root, rel, when)
    _, errors = killed.communicate(TEXT.encode(), timeout=30)
    assert killed.returncode == -signal.SIGKILL, errors.decode()
    # git had stored it already, but aside, where no command of the person's looks.
    assert bool(put_aside(vault)) == (when == "after")
    assert list(avm.commit().waiting) == [rel]
    assert_in_no_git(vault)


def test_of_what_git_put_aside_only_what_was_checked_is_taken_in(
    avm: AVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git reads a secret that is gone again when it reads once more."""
    vault, rel = avm.store.vault, private("a.bin")
    put(vault, rel, "harmless\n")
    note(vault, rel)

    class Unsteady(git_program.Started):
        """Fails, so that each file is tried once more by itself."""

        def finish(self) -> bool:
            super().finish()
            put(vault, rel, "harmless\n")
            return False

    def started(*args: object, **named: object) -> Unsteady:
        put(vault, rel, TEXT)
        return Unsteady(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(git_program, "Started", started)
    monkeypatch.setattr(index_file, "put", lambda *_: False)
    assert len(commit(vault).commits) == 1
    assert content(vault.root, rel) == b"harmless\n"
    assert_in_no_git(vault)


def test_without_a_check_nothing_would_be_held(avm: AVM) -> None:
    """That the tests above can fail."""
    vault, rel = avm.store.vault, private("broker.md")
    by_a_mount(avm, rel, TEXT)
    commit(vault)
    with pytest.raises(AssertionError):
        assert_in_no_git(vault)
