"""Housekeeping, with the real git: packed, indexed for path histories, never in anybody's way."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import git, wait_for
from vault_helpers import (
    assert_clean,
    assert_sound,
    commit,
    keep_text,
    merge_as_text,
    private,
    put,
    remember,
)

from avm.vault import git as git_program
from avm.vault import housekeeping
from avm.vault.housekeeping import Housekeeper, has_path_filters, kept_ref, lacks_path_filters
from avm.vault.init import make
from avm.vault.location import Vault, open_vault
from avm.vault.rescue import kept

DAY = 86_400


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return make(tmp_path / "v")


def loose(vault: Vault) -> int:
    """How many objects are not packed."""
    return sum(1 for _ in (vault.common_dir / "objects").glob("??/*"))


def packs(vault: Vault) -> int:
    """How many packs there are."""
    return sum(1 for _ in (vault.common_dir / "objects/pack").glob("*.pack"))


def grow(vault: Vault, commits: int) -> None:
    """A history of commits that each add a memory, made in one go."""
    ref = git(vault.root, "symbolic-ref", "HEAD")
    stream = [
        f"commit {ref}\ncommitter P <p@x> {1_700_000_000 + n} +0000\ndata 1\nm\n"
        + (f"from {ref}^0\n" if n == 0 else "")
        + f"M 100644 inline memory/shared/{n % 50}/{n}.md\ndata <<E\n{n}\nE\n\n"
        for n in range(commits)
    ]
    feed = "".join(stream).encode()
    subprocess.run(
        ["git", "fast-import", "--quiet", "--force"], cwd=vault.root, input=feed, check=True
    )
    git(vault.root, "reset", "--quiet", "--hard")


def make_loose(vault: Vault) -> None:
    """More loose objects than git suffers, all of them reachable."""
    git(vault.root, "config", "gc.auto", "256")
    for number in range(700):
        put(vault, f"memory/shared/{number % 7}/{number}.md", f"{number}\n")
    commit(vault, people=True)
    folder = vault.common_dir / "objects/17"
    folder.mkdir(exist_ok=True)


def fill_17(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take what is in objects/17 as too much."""
    count = sum(1 for _ in (vault.common_dir / "objects/17").glob("*"))
    monkeypatch.setattr(housekeeping, "_LOOSE", max(1, count))


def test_a_new_vault_needs_nothing(vault: Vault) -> None:
    assert not Housekeeper(vault).due()
    remember(vault, private("a.md"))
    commit(vault)
    assert not Housekeeper(vault).due()


def test_asking_starts_no_program(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    began = time.perf_counter()
    for _ in range(10):
        Housekeeper(vault).due()
    assert time.perf_counter() - began < 0.5


def test_many_loose_objects_are_packed(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    make_loose(vault)
    fill_17(vault, monkeypatch)
    keeper = Housekeeper(vault)
    assert loose(vault) > 700 and keeper.due()
    assert keeper.tidy() is None
    assert (loose(vault), packs(vault)) == (0, 1)
    assert not keeper.due()
    assert not Housekeeper(vault).due()
    assert_clean(vault)


def test_what_gc_leaves_is_no_reason_to_try_again_at_once(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_loose(vault)
    git(vault.root, "config", "gc.auto", "0")  # the person wants none
    fill_17(vault, monkeypatch)
    keeper = Housekeeper(vault)
    assert keeper.due()
    assert keeper.tidy() is None
    assert loose(vault) > 700
    assert not keeper.due()
    note = vault.git_state / "tidy.json"
    facts = json.loads(note.read_text())
    note.write_text(json.dumps(facts | {"at": facts["at"] - DAY - 1}))
    assert keeper.due()


def test_the_graph_has_path_filters_and_git_uses_them(vault: Vault) -> None:
    grow(vault, 300)
    keeper = Housekeeper(vault)
    assert keeper.due() and not has_path_filters(vault)
    assert keeper.tidy() is None
    assert has_path_filters(vault) and not keeper.due()
    git(vault.root, "commit-graph", "verify")
    grow(vault, 40)
    assert keeper.tidy() is None
    assert has_path_filters(vault)
    git(vault.root, "commit-graph", "verify")
    trace = vault.git_dir / "perf"
    done = subprocess.run(
        ["git", "log", "--format=%h", "--", "memory/shared/7/107.md"],
        cwd=vault.root,
        env={**os.environ, "GIT_TRACE2_PERF": str(trace)},
        capture_output=True,
        check=True,
    )
    assert len(done.stdout.split()) == 1
    statistics = next(line for line in trace.read_text().splitlines() if "bloom" in line)
    assert '"definitely_not":' in statistics
    assert int(statistics.split('"definitely_not":')[1].split(",")[0].strip("}")) > 250
    assert_sound(vault)


def test_a_graph_without_filters_is_replaced(vault: Vault) -> None:
    grow(vault, 30)
    git(vault.root, "commit-graph", "write", "--reachable")
    assert not has_path_filters(vault)
    assert Housekeeper(vault).tidy() is None
    assert has_path_filters(vault)
    git(vault.root, "commit-graph", "verify")


def test_a_shallow_clone_and_an_empty_repository_have_no_graph(
    vault: Vault, tmp_path: Path
) -> None:
    grow(vault, 10)
    url = f"file://{vault.root}"
    git(tmp_path, "clone", "--quiet", "--depth=2", url, "shallow")
    shallow = open_vault(tmp_path / "shallow")
    assert Housekeeper(shallow).tidy() is None
    assert not has_path_filters(shallow) and not lacks_path_filters(shallow)
    git(tmp_path, "init", "--quiet", "empty")
    git(tmp_path / "empty", "config", "avm.vault", "true")
    empty = open_vault(tmp_path / "empty")
    assert not Housekeeper(empty).due()
    assert Housekeeper(empty).tidy() is None


def test_many_commits_without_filters_are_noticed(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(vault, 20)
    assert lacks_path_filters(vault) == 0
    monkeypatch.setattr(housekeeping, "MANY_COMMITS", 10)
    assert lacks_path_filters(vault) == 21
    Housekeeper(vault).tidy()
    assert lacks_path_filters(vault) == 0


# Never in the way


def conflicting_rebase(vault: Vault) -> None:
    merge_as_text(vault.root)
    put(vault, "memory/shared/a.md", "base\n")
    git(vault.root, "add", ".")
    git(vault.root, "commit", "-qm", "base")
    git(vault.root, "checkout", "-qb", "side")
    for text, branch in (("side\n", "side"), ("main\n", "main")):
        git(vault.root, "checkout", "-q", branch)
        put(vault, "memory/shared/a.md", text)
        git(vault.root, "commit", "-qam", branch)
    subprocess.run(["git", "rebase", "side"], cwd=vault.root, capture_output=True, check=False)
    assert (vault.git_dir / "rebase-merge").exists()


def test_nothing_runs_during_a_rebase(vault: Vault) -> None:
    conflicting_rebase(vault)
    before = loose(vault)
    assert Housekeeper(vault).tidy() == "rebase in progress"
    assert (loose(vault), has_path_filters(vault)) == (before, False)
    git(vault.root, "rebase", "--abort")
    assert Housekeeper(vault).tidy() is None


def test_nothing_runs_while_git_s_index_is_locked(vault: Vault) -> None:
    lock = vault.git_dir / "index.lock"
    lock.touch()
    assert "index.lock" in (Housekeeper(vault).tidy() or "")
    lock.unlink()
    assert Housekeeper(vault).tidy() is None


@pytest.fixture
def slow_gc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git whose gc takes for ever, with a child; returns the file that holds their numbers."""
    numbers, real = tmp_path / "numbers", subprocess.check_output(["which", "git"], text=True)
    tool = tmp_path / "bin/git"
    tool.parent.mkdir()
    tool.write_text(
        "#!/bin/bash\n"
        'for word; do if [ "$word" = gc ]; then\n'
        f"  sleep 1000 & echo $$ $! $(nice) > {numbers}.new; mv {numbers}.new {numbers}; wait\n"
        f'fi; done\nexec {real.strip()} "$@"\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    return numbers


def is_running(pid: str) -> bool:
    """Whether the process has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def a_stop(vault: Vault, stop: threading.Event) -> None:
    stop.set()


def a_merge(vault: Vault, stop: threading.Event) -> None:
    (vault.git_dir / "MERGE_HEAD").write_text(git(vault.root, "rev-parse", "HEAD"))


@pytest.mark.parametrize(("happens", "said"), [(a_stop, "stopped"), (a_merge, "merge in progress")])
def test_a_stop_and_an_operation_end_it_with_its_children(
    vault: Vault,
    slow_gc: Path,
    happens: Callable[[Vault, threading.Event], None],
    said: str,
) -> None:
    answers: list[str | None] = []
    stop = threading.Event()
    thread = threading.Thread(target=lambda: answers.append(Housekeeper(vault).tidy(stop)))
    thread.start()
    try:
        wait_for(slow_gc.exists, "gc runs")
        parent, child, priority = slow_gc.read_text().split()
        assert priority == "19"
        assert is_running(parent) and is_running(child)
        began = time.monotonic()
        happens(vault, stop)
        thread.join(10)
        assert time.monotonic() - began < 2
    finally:
        stop.set()
        thread.join()
    assert answers == [said]
    wait_for(lambda: not is_running(parent) and not is_running(child), "both have ended")
    assert Housekeeper(vault).due() is False  # nothing was noted, nothing is too much either


def test_a_git_that_fails_is_told(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    git(vault.root, "config", "gc.auto", "none")
    assert "gc.auto" in (Housekeeper(vault).tidy() or "")
    git(vault.root, "config", "--unset", "gc.auto")
    monkeypatch.setenv("PATH", "")
    assert "git program is not installed" in (Housekeeper(vault).tidy() or "")


def test_the_version_is_a_pair() -> None:
    said = subprocess.check_output(["git", "--version"], text=True)
    assert said.startswith("git version {}.{}".format(*git_program.version()))


# Kept texts


def age(vault: Vault, days: float) -> None:
    """Make every kept text and every loose object so much older."""
    log = vault.own_state / "kept.jsonl"
    records = [json.loads(line) for line in log.read_text().splitlines()]
    for record in records:
        record["at"] -= days * DAY
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    for place in (vault.common_dir / "objects").rglob("*"):
        if place.is_file():
            status = place.stat()
            os.utime(place, (status.st_atime, status.st_mtime - days * DAY))


def draft(vault: Vault, text: str) -> str:
    """Keep a text that is never committed; returns its blob."""
    put(vault, private("draft.md"), text)
    keep_text(vault, private("draft.md"))
    return kept(vault)[-1].blob


def has(vault: Vault, blob: str) -> bool:
    """Whether the object is still there."""
    command = ["git", "cat-file", "-e", blob]
    return subprocess.run(command, cwd=vault.root, check=False).returncode == 0


def test_a_kept_text_outlives_git_s_two_weeks_for_ninety_days(vault: Vault) -> None:
    blob = draft(vault, "not committed, and gone\n")
    keeper = Housekeeper(vault)
    assert keeper.due()
    assert keeper.tidy() is None
    assert not keeper.due()
    age(vault, 80)
    assert keeper.tidy() is None
    git(vault.root, "gc", "--quiet")  # the person's own
    assert git(vault.root, "cat-file", "-p", blob) == "not committed, and gone"
    later = draft(vault, "another\n")
    age(vault, 20)
    assert keeper.tidy() is None
    git(vault.root, "gc", "--quiet")
    assert (has(vault, blob), has(vault, later)) == (False, True)
    assert_sound(vault)
    age(vault, 100)
    assert keeper.tidy() is None
    assert kept_ref(vault) not in git(vault.root, "for-each-ref", "--format=%(refname)")


def test_a_text_that_is_kept_again_begins_its_days_again(vault: Vault) -> None:
    blob = draft(vault, "the same text\n")
    Housekeeper(vault).tidy()
    age(vault, 80)
    assert draft(vault, "the same text\n") == blob
    assert len(kept(vault)) == 2
    age(vault, 20)
    assert Housekeeper(vault).tidy() is None
    git(vault.root, "gc", "--quiet")
    assert has(vault, blob)


def test_the_list_of_kept_texts_forgets_what_git_has_pruned(vault: Vault) -> None:
    old = draft(vault, "old, and still in a commit\n")
    git(vault.root, "add", private("draft.md"))
    git(vault.root, "commit", "-qm", "By hand")
    draft(vault, "pruned\n")
    Housekeeper(vault).tidy()
    age(vault, 100)
    young = draft(vault, "young\n")
    for _ in range(2):  # the ref that held it goes after it was looked for
        assert Housekeeper(vault).tidy() is None
        git(vault.root, "gc", "--quiet", "--prune=now")
    assert Housekeeper(vault).tidy() is None
    assert [text.blob for text in kept(vault)] == [old, young]
    with (vault.own_state / "kept.jsonl").open("a") as log:
        log.write("{cut sho")
    later = draft(vault, "later\n")
    assert [text.blob for text in kept(vault)] == [old, young, later]


def test_each_worktree_s_kept_texts_are_held(vault: Vault, tmp_path: Path) -> None:
    git(vault.root, "worktree", "add", "-q", "-b", "side", str(tmp_path / "w"))
    linked = open_vault(tmp_path / "w")
    blobs = [draft(each, f"draft of {each.root}\n") for each in (vault, linked)]
    for each in (vault, linked):
        assert Housekeeper(each).tidy() is None
    assert kept_ref(vault) != kept_ref(linked)
    for each in (vault, linked):
        git(each.root, "gc", "--quiet", "--prune=now")
    assert [has(vault, blob) for blob in blobs] == [True, True]
    assert git(vault.root, "log", "--all", "--format=%s") == git(vault.root, "log", "--format=%s")


def test_a_blob_that_is_gone_already_hinders_nothing(vault: Vault) -> None:
    draft(vault, "gone\n")
    git(vault.root, "gc", "--quiet", "--prune=now")
    there = draft(vault, "there\n")
    assert Housekeeper(vault).tidy() is None
    assert git(vault.root, "ls-tree", "--name-only", kept_ref(vault)) == there
