"""Each check finds what it is for, its mend mends, and a sound vault is well."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import git, gone, wait_for
from vault_helpers import index_file, keep_text, python

from avm import AVM
from avm.api import doctor
from avm.api.checks import CHECKS, Finding
from avm.base.errors import RemoteError, RepositoryError
from avm.overlay import shadowed
from avm.vault import housekeeping
from avm.vault.condition import is_running
from avm.vault.locks import try_lock
from avm.vault.rescue import set_aside

ALL = (*CHECKS, *shadowed.CHECKS)
DAY = 86_400


@pytest.fixture
def avm(tmp_path: Path) -> Iterator[AVM]:
    """A vault with a memory of everybody's, all committed."""
    with AVM(tmp_path / "vault", semantic="off") as opened:
        opened.store.commit_in_background = lambda *_: None  # type: ignore[method-assign]
        for agent in ("akashi", "bob"):
            opened.agent_memory(agent).remember(f"{agent} knows [[this]] #tag", title=agent)
        opened.remember("all know", title="shared")
        opened.commit()
        yield opened


def found(avm: AVM, agent: str | None = None) -> list[Finding]:
    """What all checks find."""
    return doctor.check(avm.view(agent), ALL)


def put(avm: AVM, rel: str, data: str | bytes) -> Path:
    """Write a file as an editor does."""
    place = avm.store.vault.path(rel)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data.encode() if isinstance(data, str) else data)
    return place


def made_old(path: Path, seconds: float = 3600) -> Path:
    """Turn a file's times back."""
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def gone_pid() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_sound_vault_is_well(avm: AVM) -> None:
    assert found(avm) == []
    assert doctor.mend(avm, ALL) == doctor.Mended((), ())


def test_names_of_checks_are_told_apart() -> None:
    names = [check.name for check in ALL]
    assert len(names) == len(set(names)) > 15


# Each: what goes wrong, the path and a part of the line it is told in, whether it can be mended.


@dataclass
class Case:
    check: str
    harm: Callable[[AVM], object]
    what: str
    path: str = ""
    fixable: bool = False
    note: bool = False


def bare(avm: AVM) -> None:
    git(avm.store.vault.root, "config", "core.bare", "true")


def foreign_format(avm: AVM) -> None:
    git(avm.store.vault.root, "update-index", "--split-index")


def merging(avm: AVM) -> None:
    (avm.store.vault.git_dir / "MERGE_HEAD").write_text(git(avm.store.vault.root, "rev-parse", "@"))


def detached(avm: AVM) -> None:
    git(avm.store.vault.root, "checkout", "-q", "--detach")


def cut_short(avm: AVM) -> None:
    plan = {"ref": "refs/heads/main", "new": "0" * 40, "copy": "index.1"}
    (avm.store.vault.git_state / "commit.json").write_text(json.dumps(plan))


def lock_left(avm: AVM) -> None:
    lock = avm.store.vault.git_dir / "refs/heads/main.lock"
    lock.touch()
    made_old(lock)


def line_ends(avm: AVM) -> None:
    put(avm, ".gitattributes", "*.md text eol=crlf\n")


def no_rule(avm: AVM) -> None:
    (avm.store.vault.common_dir / "info/exclude").write_text("# nothing\n")


def nobody(avm: AVM) -> None:
    (Path.home() / ".gitconfig").write_text("")


def broken_yaml(avm: AVM) -> None:
    put(avm, "memory/private/akashi/broken.md", "---\ntitle: [\n---\ntext\n")


def bad_time(avm: AVM) -> None:
    put(avm, "memory/private/akashi/late.md", "---\nexpires: soon\n---\ntext\n")


def bad_name(avm: AVM) -> None:
    put(avm, "memory/private/akashi/\udce9.md", "text\n")


def crowd(avm: AVM) -> None:
    folder = avm.store.vault.path("memory/private/akashi/flat")
    folder.mkdir()
    for number in range(2_001):
        (folder / f"{number}.txt").touch()
    (folder / "one.md").write_text("text\n")


def index_lies(avm: AVM) -> None:
    avm.index()
    with sqlite3.connect(index_file(avm.store.vault)) as index:
        index.execute("UPDATE chunk SET context = 'no such heading'")
    index.close()


def full_text_lies(avm: AVM) -> None:
    avm.index()
    with sqlite3.connect(index_file(avm.store.vault)) as index:
        index.execute("UPDATE chunk_text_data SET block = x'00' WHERE id > 10")
    index.close()


def row_lost(avm: AVM) -> None:
    """A row of a stamp that is right and of a content that is not."""
    avm.index()
    with sqlite3.connect(index_file(avm.store.vault)) as index:
        index.execute("UPDATE memory SET checked_ns = checked_ns + 60000000000, hash = 'x'")
    index.close()


def temp_left(avm: AVM) -> None:
    made_old(put(avm, f"memory/shared/.avm-tmp-{gone_pid()}-0", "half"))


def hidden_left(avm: AVM) -> None:
    folder = avm.store.vault.git_state / f"hidden/{gone_pid()}-7f"
    folder.mkdir(parents=True)
    (folder / ".fuse_hidden1").write_text("unlinked")


def text_kept(avm: AVM) -> None:
    put(avm, "memory/shared/draft.md", "draft")
    keep_text(avm.store.vault, "memory/shared/draft.md")


def file_rescued(avm: AVM) -> None:
    put(avm, "memory/shared/old.md", "expired")
    set_aside(avm.store.vault, "memory/shared/old.md")


def staged_for_days(avm: AVM) -> None:
    made_old(put(avm, "memory/shared/staged.md", "text"), 3 * DAY)
    git(avm.store.vault.root, "add", "memory/shared/staged.md")


def shadow(avm: AVM) -> None:
    put(avm, "memory/private/akashi/akashi.md:meta", "a lie")


def never_synced(avm: AVM) -> None:
    git(avm.store.vault.root, "remote", "add", "origin", "/nowhere")
    with pytest.raises(RemoteError):
        avm.sync()


def not_synced_for_days(avm: AVM) -> None:
    never_synced(avm)
    note = avm.store.vault.own_state / "sync.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"done_at": time.time() - 3 * DAY}))


def conflict(avm: AVM) -> None:
    put(avm, "memory/private/akashi/akashi.conflict-01234567.md", "another\n")


def staged(avm: AVM, rel: str, mode: str = "100644") -> None:
    """Put an entry into the index alone."""
    root = avm.store.vault.root
    blob = git(root, "rev-parse", "HEAD" if mode == "160000" else "HEAD:.gitattributes")
    git(root, "update-index", "--add", "--cacheinfo", f"{mode},{blob},{rel}")


def long_name(avm: AVM) -> None:
    staged(avm, f"memory/private/akashi/{'é' * 150}.md")


def twins(avm: AVM) -> None:
    for name in ("Plan.md", "plan.md"):
        staged(avm, f"memory/private/akashi/{name}")


def twins_on_this_disk(avm: AVM) -> None:
    for name in ("caf\u00e9.md", "cafe\u0301.md"):
        staged(avm, f"memory/private/akashi/{name}")
    git(avm.store.vault.root, "config", "core.ignorecase", "true")


def control_characters(avm: AVM) -> None:
    staged(avm, "memory/private/akashi/a\x1b[2J\nb.md")


def link_out(avm: AVM) -> None:
    folder = avm.store.vault.path("memory/private/akashi")
    for name, target in {"in": "../../shared", "out": "../../../../x", "dead": "none"}.items():
        (folder / name).symlink_to(target)
        git(folder, "add", name)


def tracked_settings(avm: AVM) -> None:
    put(avm, ".avm/config.toml", 'agent = "bob"\n')
    git(avm.store.vault.root, "add", "--force", ".avm/config.toml")


def submodule(avm: AVM) -> None:
    staged(avm, "library", "160000")


def large_file(avm: AVM) -> None:
    staged(avm, "memory/private/akashi/film.bin")
    with put(avm, "memory/private/akashi/film.bin", "").open("r+b") as file:
        file.truncate(101 * 2**20)


def hidden_by_a_pull(avm: AVM) -> None:
    put(
        avm,
        ".git/info/exclude",
        "drafts/\n" + (avm.store.vault.git_dir / "info/exclude").read_text(),
    )
    put(avm, "memory/private/akashi/drafts/new.md", "never found\n")
    put(avm, "memory/private/akashi/drafts/picture.png", "no memory\n")


CASES = [
    Case("repository", bare, "no work tree"),
    Case("format", foreign_format, "a split index", note=True),
    Case("operation", merging, "merge in progress"),
    Case("operation", detached, "HEAD is detached"),
    Case("unfinished-commit", cut_short, "cut short", "commit.json", fixable=True),
    Case("git-lock", lock_left, "60 minutes old", "refs/heads/main.lock"),
    Case("line-ends", line_ends, "line ends", "/.gitattributes"),
    Case("exclude-rule", no_rule, "git status", "info/exclude", fixable=True),
    Case("identity", nobody, "user.name and user.email", note=True),
    Case("front-matter", broken_yaml, "line 3", "/memory/private/akashi/broken.md"),
    Case("times", bad_time, "expires 'soon'", "/memory/private/akashi/late.md"),
    Case("names", bad_name, "not UTF-8", "/memory/private/akashi/\ufffd.md"),
    Case("crowded-folder", crowd, "2,002 files", "/memory/private/akashi/flat"),
    Case("ignored", hidden_by_a_pull, "git ignores 1 files", "/akashi/drafts", note=True),
    Case("index", index_lies, "akashi.md: the index holds other passages", fixable=True),
    Case("index", full_text_lies, "full text", fixable=True),
    Case("index", row_lost, "another content", fixable=True),
    Case("temp-file", temp_left, "half done", "memory/shared/.avm-tmp-", fixable=True),
    Case("hidden-file", hidden_left, "removed while open", "hidden/", fixable=True),
    Case("kept", text_kept, "1 replaced texts", "kept.jsonl", note=True),
    Case("kept", file_rescued, "1 files that gave way", "rescue", note=True),
    Case("waiting", staged_for_days, "3 days: staged by you", "/memory/shared/staged.md"),
    Case("sync", never_synced, "no sync has come to its end yet: cannot fetch from origin"),
    Case("sync", not_synced_for_days, "not synced for 3 days: cannot fetch from origin"),
    Case("conflicts", conflict, "akashi.conflict-01234567.md", "akashi/akashi.md", note=True),
    Case("long-name", long_name, "no disk takes", "/memory/private/akashi/é"),
    Case("twins", twins, "akashi/plan.md are one file on the disks", "/Plan.md", note=True),
    Case("twins", twins_on_this_disk, "are one file on this disk", "/memory/private/akashi/caf"),
    Case("control-characters", control_characters, "in its name", "/a?[2J?b.md", note=True),
    Case("link-out", link_out, "out of the vault", "/memory/private/akashi/out", note=True),
    Case("tracked-settings", tracked_settings, "does nothing", "/.avm/config.toml", note=True),
    Case("submodules", submodule, "neither fetches nor", "/library", note=True),
    Case("large-file", large_file, "101 MB", "/memory/private/akashi/film.bin", note=True),
    Case("shadowed", shadow, "virtual node", "/memory/private/akashi/akashi.md:meta"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.harm.__name__)
def test_a_check_finds_what_it_is_for_and_its_mend_mends(avm: AVM, case: Case) -> None:
    case.harm(avm)
    mine = [finding for finding in found(avm) if finding.check == case.check]
    assert len(mine) == 1
    (finding,) = mine
    assert case.what in finding.what and case.path in finding.path
    assert (finding.fixable, finding.note) == (case.fixable, case.note)
    assert str(finding).startswith(f"{case.check}: ") and "\n" not in str(finding)
    done = doctor.mend(avm, ALL)
    assert [f.check for f in done.mended] == [case.check] * case.fixable
    assert [f.check for f in done.left if f.check == case.check] == [case.check] * (
        not case.fixable
    )
    assert (found(avm) == []) == case.fixable
    assert avm.search("akashi")[0].path == "/memory/private/akashi/akashi.md"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.harm.__name__)
def test_an_agent_hears_only_of_memories_that_it_may_read(avm: AVM, case: Case) -> None:
    case.harm(avm)
    assert found(avm, "bob") == []
    names = {"front-matter", "times", "names", "crowded-folder", "shadowed", "conflicts"}
    tracked = {"long-name", "twins", "control-characters", "link-out", "large-file"}
    expected = [case.check] if case.check in names | tracked else []
    assert [finding.check for finding in found(avm, "akashi")] == expected


def test_what_a_living_process_holds_is_left_alone(avm: AVM) -> None:
    vault = avm.store.vault
    temp = made_old(put(avm, f"memory/shared/.avm-tmp-{os.getpid()}-0", "being written"))
    young = put(avm, f"memory/shared/.avm-tmp-{gone_pid()}-0", "of another container, maybe")
    (vault.git_state / f"hidden/{os.getpid()}-7f").mkdir(parents=True)
    (vault.git_dir / "index.lock").touch()
    cut_short(avm)
    mutex = try_lock(vault.git_state / "commit.lock")
    assert mutex is not None
    try:
        assert doctor.mend(avm, ALL) == doctor.Mended((), ())
    finally:
        mutex.release()
    assert temp.exists() and young.exists() and (vault.git_dir / "index.lock").exists()


def test_a_killed_process_that_nobody_reaped_runs_no_more(avm: AVM) -> None:
    killed = subprocess.Popen(["sleep", "60"])
    try:
        assert is_running(str(killed.pid))
        killed.kill()
        wait_for(lambda: gone(killed.pid), "its end")
        assert not is_running(str(killed.pid))
    finally:
        killed.wait()


def test_an_old_lock_of_git_s_is_never_removed(avm: AVM) -> None:
    lock_left(avm)
    doctor.mend(avm, ALL)
    assert (avm.store.vault.git_dir / "refs/heads/main.lock").exists()


def test_a_killed_committer_s_work_is_finished(avm: AVM) -> None:
    """As recover() does; doctor needs no commit to come along."""
    vault = avm.store.vault
    cut_short(avm)
    copy = vault.git_state / "index.1"
    shutil.copy2(vault.git_index, copy)
    os.link(copy, vault.git_dir / "index.lock")
    assert [f.check for f in doctor.mend(avm, ALL).mended] == ["unfinished-commit"]
    assert not (vault.git_dir / "index.lock").exists()
    git(vault.root, "status")


def test_many_commits_without_path_filters(avm: AVM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "MANY_COMMITS", 2)
    (finding,) = found(avm)
    assert finding.check == "path-filters" and finding.what.startswith("4 commits")
    assert [f.check for f in doctor.mend(avm, ALL).mended] == ["path-filters"]
    assert found(avm) == []


def test_an_agent_s_memory_that_waits_for_days(
    avm: AVM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = avm.store.vault.root
    avm.agent_memory("akashi").remember("old news", title="news")
    merging(avm)
    monkeypatch.setenv("AVM_CLOCK", f"+{2 * DAY}")
    with AVM(root, semantic="off") as later:
        lines = [str(finding) for finding in found(later)]
    assert lines[-1] == (
        "waiting: /memory/private/akashi/news.md: not committed for 2 days:"
        " merge in progress; avm commit"
    )
    (avm.store.vault.git_dir / "MERGE_HEAD").unlink()


def test_one_cause_is_told_once(avm: AVM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    causes = [finding for finding in found(avm) if "not installed" in finding.what]
    assert [finding.check for finding in causes] == ["git"]


def test_a_fix_that_fails_leaves_its_finding(avm: AVM, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_short(avm)

    def fails() -> None:
        raise RepositoryError("git cannot")

    monkeypatch.setattr(avm.store.committer, "recover", fails)
    done = doctor.mend(avm, ALL)
    assert ([f.check for f in done.mended], [f.check for f in done.left]) == (
        [],
        ["unfinished-commit"],
    )


def test_the_index_is_compared_while_others_write(avm: AVM) -> None:
    """A file that changes meanwhile is no fault of the index."""
    code = (
        "import sys, pathlib\n"
        "place = pathlib.Path(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "n = 0\n"
        "while not select.select([sys.stdin], [], [], 0)[0]:\n"
        "    n += 1\n"
        "    (place / f'{n % 7}.md').write_text(f'text {n}')\n"
        "    (place / f'{(n + 3) % 7}.md').unlink(missing_ok=True)\n"
    )
    writer = python("import select\n" + code, avm.store.vault.path("memory/shared"))
    assert writer.stdout is not None and writer.stdin is not None
    writer.stdout.readline()
    try:
        for _ in range(10):
            avm.store.index.check()  # raises nothing
    finally:
        writer.communicate(b"\n")
    assert avm.store.index.check() == []
