"""What the committer writes into git's history, and under which names."""

from __future__ import annotations

import os
import shutil
import time
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import git, wait_for
from vault_helpers import (
    FORMATS,
    assert_clean,
    assert_sound,
    commit,
    committed,
    content,
    head,
    make,
    note,
    private,
    put,
    remember,
    show,
)

from avm.base.clock import Clock
from avm.base.config import Config
from avm.vault.authors import Authors
from avm.vault.committer import Committer
from avm.vault.init import adopt
from avm.vault.location import Vault, open_vault

PAT = "Pat Person <pat@example.org>"


@pytest.fixture(params=FORMATS)
def vault(tmp_path: Path, request: pytest.FixtureRequest) -> Vault:
    return make(tmp_path / "v", request.param)


def changed_in(root: Path, rev: str = "HEAD") -> list[str]:
    """`A path`, `M path`, `D path` of one commit."""
    names = git(root, "show", "--format=", "--name-status", "--no-renames", "-z", rev)
    flat = names.strip("\0").split("\0")
    return sorted(f"{kind} {path}" for kind, path in zip(flat[::2], flat[1::2], strict=True))


def later(vault: Vault, seconds: float) -> Committer:
    """A committer whose clock is `seconds` ahead."""
    return Committer(vault, Config(clock=Clock(shift=seconds)))


# Who, what


def test_an_agent_is_the_author_and_the_person_the_committer(vault: Vault) -> None:
    at = head(vault.root)
    remember(vault, private("rsi_rule.md"), "RSI > 70\n")
    report = commit(vault)
    assert report.commits == [head(vault.root)]
    assert show(vault.root, "%an <%ae>") == "akashi <akashi@agents.avm.invalid>"
    assert show(vault.root, "%cn <%ce>") == PAT
    assert show(vault.root, "%P") == at
    assert show(vault.root, "%B") == "remember: rsi_rule\n\nAgent: akashi\nMemory-Op: remember"
    assert show(vault.root, "%(trailers:key=Agent,valueonly)") == "akashi"
    assert changed_in(vault.root) == [f"A {private('rsi_rule.md')}"]
    assert_clean(vault)


def test_what_the_owner_wrote_is_the_person_s_own_commit(vault: Vault) -> None:
    remember(vault, "memory/shared/x.md", agent=None)
    commit(vault)
    assert show(vault.root, "%an <%ae>") == PAT
    assert show(vault.root, "%B") == "remember: x\n\nMemory-Op: remember"


def test_each_agent_gets_a_commit_of_its_own(vault: Vault) -> None:
    remember(vault, "memory/shared/of_akashi.md")
    remember(vault, "memory/shared/of_bob.md", agent="bob")
    put(vault, "memory/shared/of_pat.md", "x")
    report = commit(vault, people=True)
    assert len(report.commits) == 3
    authors = {show(vault.root, "%an", rev): changed_in(vault.root, rev) for rev in report.commits}
    assert authors == {
        "Pat Person": ["A memory/shared/of_pat.md"],
        "akashi": ["A memory/shared/of_akashi.md"],
        "bob": ["A memory/shared/of_bob.md"],
    }
    assert report.commits[-1] == head(vault.root)
    assert_clean(vault)


def test_many_writes_of_an_agent_are_one_commit_with_a_count(vault: Vault) -> None:
    for number in range(12):
        remember(vault, private(f"m{number}.md"), f"{number}\n")
    commit(vault)
    assert show(vault.root, "%s") == "remember 12 memories"
    remember(vault, private("m1.md"), "more\n", op="edit")
    vault.path(private("m2.md")).unlink()
    note(vault, private("m2.md"), op="forget")
    commit(vault)
    assert show(vault.root, "%s") == "update 2 memories"
    assert show(vault.root, "%(trailers:key=Memory-Op,valueonly)").split() == ["edit", "forget"]
    assert_clean(vault)


def test_a_subject_that_the_caller_gives_is_used(vault: Vault) -> None:
    remember(vault, private("a.md"))
    commit(vault, subject="Learn — today's lesson")
    assert show(vault.root, "%s") == "Learn — today's lesson"
    assert show(vault.root, "%(trailers:key=Agent,valueonly)") == "akashi"


def test_a_forgotten_memory_is_deleted_and_stays_in_history(vault: Vault) -> None:
    rel = private("a.md")
    remember(vault, rel, "once\n")
    commit(vault)
    vault.path(rel).unlink()
    note(vault, rel, op="forget")
    commit(vault)
    assert show(vault.root, "%an: %s") == "akashi: forget: a"
    assert rel not in committed(vault.root)
    assert content(vault.root, rel, "HEAD~1") == b"once\n"
    assert ".avm/format" in committed(vault.root)
    assert_clean(vault)


def test_the_last_file_of_a_folder_takes_the_folder_from_the_tree(vault: Vault) -> None:
    rel = "memory/shared/deep/er/a.md"
    remember(vault, rel)
    commit(vault)
    vault.path(rel).unlink()
    note(vault, rel, op="forget")
    commit(vault)
    assert not any("deep" in path for path in committed(vault.root))
    assert_clean(vault)


def test_a_rename_is_one_commit_that_git_follows(vault: Vault) -> None:
    old, new = private("old.md"), private("sub/new.md")
    remember(vault, old, "a long enough text\n" * 5)
    commit(vault)
    vault.path(new).parent.mkdir()
    vault.path(old).rename(vault.path(new))
    note(vault, old, op="forget")
    note(vault, new, op="edit")
    assert len(commit(vault).commits) == 1
    assert git(vault.root, "log", "--follow", "--format=%s", "--", new).count("\n") == 1
    assert_clean(vault)


def test_a_memory_that_went_before_any_commit_leaves_no_trace(vault: Vault) -> None:
    at = head(vault.root)
    remember(vault, private("a.md")).unlink()
    note(vault, private("a.md"), op="forget")
    assert commit(vault).commits == []
    assert head(vault.root) == at
    assert Authors(vault).size() == 0


# Names and contents


@pytest.mark.parametrize(
    "name",
    [
        "記憶 ümlaut 🙂.md",
        "o\u0308 decomposed.md",
        'quote".md',
        "back\\slash.md",
        "new\nline.md",
        "tab\t.md",
        "-dash.md",
        "*[x]?.md",
        ":(top)colon.md",
        " blanks .md",
        "\x7f\x01.md",
    ],
    ids=ascii,
)
def test_any_name_that_a_file_can_have_is_committed(vault: Vault, name: str) -> None:
    rel = private(name)
    remember(vault, rel, "first\n")
    assert commit(vault).waiting == {}
    assert rel in committed(vault.root)
    assert content(vault.root, rel) == b"first\n"
    assert show(vault.root, "%s").startswith("remember: ")
    remember(vault, rel, "second\n", op="edit")
    commit(vault)
    assert content(vault.root, rel) == b"second\n"
    vault.path(rel).unlink()
    note(vault, rel, op="forget")
    commit(vault)
    assert rel not in committed(vault.root)
    assert_clean(vault)


def test_a_name_that_is_not_utf8_waits_and_holds_up_no_other(vault: Vault) -> None:
    odd = private("latin-\udce9.md")
    remember(vault, odd)
    remember(vault, private("fine.md"))
    report = commit(vault, people=True)
    assert list(report.waiting) == [odd] and "UTF-8" in report.waiting[odd]
    assert changed_in(vault.root) == [f"A {private('fine.md')}"]
    git(vault.root, "add", ".")
    git(vault.root, "commit", "-qm", "As the reason says")
    remember(vault, private("beside.md"))
    commit(vault)
    assert odd in committed(vault.root)
    assert_clean(vault)


@pytest.mark.parametrize(
    "data", [b"", b"a\r\nb\r\n", b"mixed\r\nends\n", b"\0\xff\xfe", b"\xef\xbb\xbfbom"], ids=repr
)
@pytest.mark.parametrize("autocrlf", ["false", "input", "true"])
def test_the_bytes_in_git_are_the_bytes_on_disk(vault: Vault, data: bytes, autocrlf: str) -> None:
    git(vault.root, "config", "core.autocrlf", autocrlf)
    remember(vault, private("a.md"), data)
    commit(vault)
    assert content(vault.root, private("a.md")) == data
    assert_clean(vault)


def test_the_executable_bit_and_symbolic_links_are_kept(vault: Vault) -> None:
    put(vault, private("run.sh"), "#!/bin/sh\n").chmod(0o755)
    vault.path(private("link.md")).symlink_to("/nowhere/at all")
    for name in ("run.sh", "link.md"):
        note(vault, private(name))
    commit(vault)
    modes = git(vault.root, "ls-tree", "HEAD", "memory/private/akashi/").splitlines()
    assert [line.split()[0] for line in modes] == ["120000", "100755"]
    assert content(vault.root, private("link.md")) == b"/nowhere/at all"
    vault.path(private("run.sh")).chmod(0o644)
    assert commit(vault, people=True).commits
    assert git(vault.root, "ls-tree", "HEAD", private("run.sh")).startswith("100644")
    assert_clean(vault)


@pytest.mark.parametrize("agents", [("akashi", "akashi"), ("akashi", "bob"), ("bob", "akashi")])
def test_a_file_becomes_a_folder_and_a_file_again(vault: Vault, agents: tuple[str, str]) -> None:
    file, inner = "memory/shared/x.md", "memory/shared/x.md/y.md"
    remember(vault, file)
    commit(vault)
    vault.path(file).unlink()
    note(vault, file, agents[0], "forget")
    remember(vault, inner, agent=agents[1])
    commit(vault)
    assert inner in committed(vault.root)
    assert_clean(vault)
    vault.path(inner).unlink()
    vault.path(file).rmdir()
    note(vault, inner, agents[0], "forget")
    remember(vault, file, agent=agents[1])
    commit(vault)
    assert file in committed(vault.root) and inner not in committed(vault.root)
    assert_clean(vault)


def test_a_folder_replaced_by_a_link_stops_nothing(vault: Vault, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.md").write_text("not the vault's\n")
    remember(vault, "memory/shared/d/a.md", "the vault's\n")
    commit(vault)
    vault.path("memory/shared/d/a.md").unlink()
    vault.path("memory/shared/d").rmdir()
    vault.path("memory/shared/d").symlink_to(outside)
    remember(vault, private("new.md"))
    commit(vault, people=True)
    assert private("new.md") in committed(vault.root)
    commit(vault, people=True)
    assert "memory/shared/d" in committed(vault.root)
    assert "memory/shared/d/a.md" not in committed(vault.root)
    assert_clean(vault)


def test_a_clean_filter_of_the_person_is_applied(vault: Vault) -> None:
    git(vault.root, "config", "filter.upper.clean", "tr a-z A-Z")
    git(vault.root, "config", "filter.upper.smudge", "tr A-Z a-z")
    (vault.git_dir / "info/attributes").write_text("memory/** filter=upper\n")
    remember(vault, private("a.md"), "quiet\n")
    commit(vault)
    assert content(vault.root, private("a.md")) == b"QUIET\n"
    assert vault.path(private("a.md")).read_text() == "quiet\n"
    assert_clean(vault)


@pytest.mark.parametrize("name", ["v", 'an "odd": name\n'])
def test_a_copy_of_a_vault_has_all_of_its_own_objects(tmp_path: Path, name: str) -> None:
    first = make(tmp_path / name)
    git(first.root, "config", "filter.same.clean", "cat")
    put(first, ".gitattributes", "* filter=same\n")
    remember(first, private("a.md"))
    commit(first)
    shutil.copytree(first.root, tmp_path / "copy", symlinks=True)
    for vault in (first, open_vault(tmp_path / "copy")):
        remember(vault, private("b.md"), "the same text in both\n")
        assert commit(vault).waiting == {}
        assert content(vault.root, private("b.md")) == b"the same text in both\n"
        assert_sound(vault)


def test_one_file_that_git_cannot_add_holds_up_no_other(vault: Vault) -> None:
    git(vault.root, "config", "filter.broken.clean", "false")
    git(vault.root, "config", "filter.broken.required", "true")
    remember(vault, private("old.bin"), "first\n")
    commit(vault)
    (vault.git_dir / "info/attributes").write_text("*.bin filter=broken\n")
    remember(vault, private("old.bin"), "second\n", op="edit")
    remember(vault, private("new.bin"))
    remember(vault, private("fine.md"))
    report = commit(vault)
    assert changed_in(vault.root) == [f"A {private('fine.md')}"]
    assert set(report.waiting) == {private("old.bin"), private("new.bin")}
    assert all("broken" in reason for reason in report.waiting.values())
    (vault.git_dir / "info/attributes").unlink()
    commit(vault)
    assert show(vault.root, "%an: %s") == "akashi: update 2 memories"
    assert_clean(vault)


# When


def test_agents_writes_rest_two_seconds_and_the_person_s_five_minutes(vault: Vault) -> None:
    remember(vault, private("a.md"))
    put(vault, "memory/shared/mine.md", "x")
    assert later(vault, 0).commit().waiting == {
        private("a.md"): "still fresh",
        "memory/shared/mine.md": "still fresh",
    }
    assert later(vault, 3).commit().waiting == {"memory/shared/mine.md": "still fresh"}
    assert changed_in(vault.root) == [f"A {private('a.md')}"]
    os.utime(vault.path("memory/shared/mine.md"), (0, 0))  # rsync -t: the change time still tells
    assert later(vault, 0).commit().commits == []
    quick = Committer(vault, Config({"commit.people_quiet": timedelta(milliseconds=50)}))
    wait_for(lambda: quick.commit().commits, "the person's edit has rested")
    assert show(vault.root, "%an") == "Pat Person"
    assert_clean(vault)


def test_what_is_open_for_writing_waits(vault: Vault) -> None:
    remember(vault, private("a.md"))
    remember(vault, private("b.md"))
    report = commit(vault, held={private("a.md")})
    assert report.waiting == {private("a.md"): "open for writing"}
    assert changed_in(vault.root) == [f"A {private('b.md')}"]
    commit(vault)
    assert show(vault.root, "%an: %s") == "akashi: remember: a"


def test_waiting_tells_what_a_commit_would_take_and_takes_nothing(vault: Vault) -> None:
    at = head(vault.root)
    remember(vault, private("a.md"))
    report = Committer(vault, Config()).waiting()
    assert report.waiting == {private("a.md"): "not committed yet"}
    assert (report.blocked, head(vault.root)) == (None, at)


def test_commits_carry_the_clock_s_time(vault: Vault) -> None:
    remember(vault, private("a.md"))
    Committer(vault, Config(clock=Clock(frozen_at=2_000_000_000))).commit(now=True)
    assert show(vault.root, "%at %ct") == "2000000000 2000000000"


def test_an_adopted_vault_gets_commits_of_agents_only(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/mine.md").write_text("x")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "Mine")
    vault = adopt(tmp_path)
    (tmp_path / "memory/mine.md").write_text("edited")
    (tmp_path / "elsewhere.md").write_text("x")
    put(vault, "memory/new of mine.md", "x")
    remember(vault, private("a.md"))
    report = later(vault, 3600).commit(people=True)
    assert changed_in(vault.root) == [f"A {private('a.md')}"]
    assert (len(report.commits), report.waiting) == (1, {})
    assert git(tmp_path, "status", "--porcelain").splitlines() == [
        "M memory/mine.md",  # the helper strips
        "?? elsewhere.md",
        '?? "memory/new of mine.md"',
    ]


def test_what_is_outside_of_memory_or_ignored_is_never_committed(vault: Vault) -> None:
    at = head(vault.root)
    put(vault, "note.md", "x")
    put(vault, ".avm/format", "1\n\n")
    put(vault, "memory/.gitignore", "*.tmp\n")
    for name in ("x.tmp", "x.md~", ".x.md.swp", "4913", ".avm-tmp-1-2"):
        remember(vault, private(name))
    git(vault.root, "init", "-q", "memory/shared/nested")
    put(vault, "memory/shared/nested/a.md", "x")
    commit(vault, people=True)
    assert committed(vault.root) - committed(vault.root, at) == {"memory/.gitignore"}
    assert Authors(vault).size() == 0  # else every later round looks at them again


# Beside git's own oddities


def test_hooks_of_the_person_do_not_run(vault: Vault, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for name in ("pre-commit", "commit-msg", "post-commit", "post-index-change",
                 "reference-transaction", "prepare-commit-msg"):  # fmt: skip
        hook = vault.git_dir / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho {name} >> '{ran}'\nexit 1\n")
        hook.chmod(0o755)
    remember(vault, private("a.md"))
    assert len(commit(vault).commits) == 1
    assert not ran.exists()


def test_a_person_without_an_address_can_have_agents(vault: Vault) -> None:
    git(vault.root, "config", "user.email", "")
    remember(vault, private("a.md"))
    remember(vault, "memory/shared/b.md", agent=None)
    assert len(commit(vault).commits) == 2
    assert show(vault.root, "%cn") == "Pat Person"


def test_variables_that_point_git_elsewhere_are_not_obeyed(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make(tmp_path / "other")
    at = head(other.root)
    monkeypatch.setenv("GIT_DIR", str(other.git_dir))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.git_dir / "index"))
    remember(vault, private("a.md"))
    assert len(commit(vault).commits) == 1
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    assert head(other.root) == at
    assert_clean(other)
    assert_clean(vault)


def test_a_state_folder_on_another_file_system_works(vault: Vault, tmp_path: Path) -> None:
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system")
    import tempfile

    with tempfile.TemporaryDirectory(dir=shm) as state:
        vault = open_vault(vault.root, Path(state))
        remember(vault, private("a.md"))
        assert len(commit(vault).commits) == 1
        assert_clean(vault)


def test_an_edit_that_only_git_s_racy_rule_betrays_is_still_seen(vault: Vault) -> None:
    # Same size, same time stamp as git's index: git compares the bytes, as long as the index does
    # not look newer than the file.
    git(vault.root, "config", "core.trustctime", "false")
    put(vault, "mine.txt", "aaa")
    stamp = time.time_ns() - 10**10
    os.utime(vault.path("mine.txt"), ns=(stamp, stamp))
    git(vault.root, "add", "mine.txt")
    git(vault.root, "commit", "-qm", "Mine")
    put(vault, "mine.txt", "bbb")
    for place in (vault.path("mine.txt"), vault.git_index):
        os.utime(place, ns=(stamp, stamp))
    assert git(vault.root, "--no-optional-locks", "status", "--porcelain") == "M mine.txt"
    os.utime(vault.git_index, ns=(stamp, stamp))
    remember(vault, private("a.md"))
    commit(vault)
    assert git(vault.root, "status", "--porcelain") == "M mine.txt"
