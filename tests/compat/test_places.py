"""A vault wherever git lets a work tree be, and under whatever settings: the same day is lived in
each, through the public classes, and git itself is asked afterwards whether all is well."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, git, run_avm

from avm import AVM
from avm.api import doctor
from avm.base.errors import NotFoundError, RepositoryError
from avm.vault.identity import person
from avm.vault.init import adopt, make
from avm.vault.location import Vault, open_vault

sys.path.insert(0, str(ROOT / "tests" / "parts"))
from vault_helpers import content, git_locks, hashes
from vault_helpers import make as make_with

Place = Callable[[Path, pytest.MonkeyPatch], Path]
PLACES: dict[str, Place] = {}
MINE = "memory/shared/mine.md"


def place(make_place: Place) -> Place:
    """One more place: makes a vault and returns its root."""
    PLACES[make_place.__name__] = make_place
    return make_place


def git_version() -> tuple[int, ...]:
    found = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True)
    return tuple(int(number) for number in found.stdout.split()[2].split(".")[:2])


def repository(root: Path, *options: str) -> Path:
    """A repository of a person's, with a commit."""
    git(root.parent, "init", "-q", *options, str(root))
    (root / "work.txt").write_text("work\n")
    (root / "memory/shared").mkdir(parents=True)
    (root / "memory/shared/old.md").write_text("an old memory\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "Mine")
    return root


def configured(root: Path, *settings: str) -> Path:
    """A made vault with these `name=value` settings."""
    made = make(root)
    for setting in settings:
        git(root, "config", *setting.split("=", 1))
    return made.root


# Places


@place
def a_made_vault(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    return make(tmp / "v").root


@place
def an_adopted_repository(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    return adopt(repository(tmp / "v")).root


@place
def linked_worktree(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    main = make(tmp / "main").root
    git(main, "worktree", "add", "-q", "-b", "side", str(tmp / "v"))
    return tmp / "v"


@place
def worktree_of_an_adopted_vault(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    main = adopt(repository(tmp / "main")).root
    git(main, "worktree", "add", "-q", "-b", "topic/side", str(tmp / "v"))
    return tmp / "v"


@place
def worktree_of_a_bare_repository(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    git(tmp, "clone", "-q", "--bare", str(make(tmp / "first").root), str(tmp / "bare.git"))
    git(tmp / "bare.git", "worktree", "add", "-q", "-b", "side", str(tmp / "v"), "main")
    return tmp / "v"


@place
def submodule(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    first = make(tmp / "first").root
    outer = repository(tmp / "outer")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(first), "v")
    git(outer / "v", "checkout", "-q", "main")
    return outer / "v"


@place
def submodule_inside_memory(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    inner = repository(tmp / "inner")
    root = make(tmp / "v").root
    git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner),
        "memory/shared/inner")  # fmt: skip
    git(root, "commit", "-qm", "With a submodule")
    return root


@place
def separate_git_dir(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    return adopt(repository(tmp / "v", f"--separate-git-dir={tmp / 'elsewhere.git'}")).root


@place
def behind_a_link(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    make(tmp / "real")
    (tmp / "v").symlink_to("real")
    return tmp / "v"


@place
def an_odd_folder_name(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    return make(tmp / 'v "é" [x] \\ $HOME\n*').root


@place
def sha256(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    return make_with(tmp / "v", "sha256").root


@place
def sha256_and_adopted(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    return adopt(repository(tmp / "v")).root


@place
def made_where_sha256_is_the_default(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    return make(tmp / "v").root


def needs_reftable() -> None:
    if git_version() < (2, 45):
        pytest.skip(f"reftable came with git 2.45, this is {'.'.join(map(str, git_version()))}")


@place
def reftable(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    needs_reftable()
    return adopt(repository(tmp / "v", "--ref-format=reftable")).root


@place
def what_git_3_makes(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    needs_reftable()
    return adopt(repository(tmp / "v", "--ref-format=reftable", "--object-format=sha256")).root


@place
def worktree_with_reftable(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    needs_reftable()
    main = adopt(repository(tmp / "main", "--ref-format=reftable")).root
    git(main, "worktree", "add", "-q", "-b", "topic/side", str(tmp / "v"))
    return tmp / "v"


@place
def unborn_head_with_reftable(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    needs_reftable()
    git(tmp, "init", "-q", "--ref-format=reftable", "v")
    return adopt(tmp / "v").root


@place
def shallow_clone(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    first = make(tmp / "first").root
    for number in range(3):
        (first / f"memory/shared/{number}.md").write_text(f"{number}\n")
        git(first, "add", ".")
        git(first, "commit", "-qm", f"Number {number}")
    git(tmp, "clone", "-q", "--depth=2", f"file://{first}", "v")
    return tmp / "v"


@place
def partial_clone(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    first = make(tmp / "first").root
    git(first, "config", "uploadpack.allowFilter", "true")
    git(tmp, "clone", "-q", "--filter=blob:none", f"file://{first}", "v")
    return tmp / "v"


@place
def unborn_head(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    git(tmp, "init", "-q", "v")
    return adopt(tmp / "v").root


@place
def unborn_head_on_a_branch_with_slashes(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    git(tmp, "init", "-q", "--initial-branch=a/b/c", "v")
    return adopt(tmp / "v").root


@place
def branch_with_slashes(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    root = make(tmp / "v").root
    git(root, "checkout", "-qb", "topic/of/記憶")
    return root


@place
def packed_refs(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    root = make(tmp / "v").root
    git(root, "checkout", "-qb", "topic/side")
    git(root, "pack-refs", "--all", "--prune")
    git(root, "gc", "-q")
    return root


@place
def head_is_a_symbolic_branch(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    root = make(tmp / "v").root
    git(root, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    git(root, "symbolic-ref", "HEAD", "refs/heads/alias")
    return root


@place
def nobody_s_name(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (Path.home() / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    monkeypatch.setenv("EMAIL", "")
    return make(tmp / "v").root


@place
def split_index(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    root = configured(tmp / "v", "core.splitIndex=true", "splitIndex.sharedIndexExpire=now")
    git(root, "update-index", "--split-index")
    return root


@place
def sparse_index(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    root = make(tmp / "v").root
    for name in ("elsewhere/deep/x.txt", "memory/shared/far/x.md"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("x\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "More")
    git(root, "sparse-checkout", "set", "--cone", "--sparse-index", "memory/shared",
        "memory/private", ".avm")  # fmt: skip
    return root


@place
def index_version_4(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    root = configured(tmp / "v", "index.version=4")
    git(root, "update-index", "--index-version", "4")
    return root


@place
def many_files(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    root = configured(tmp / "v", "feature.manyFiles=true", "core.untrackedCache=true")
    git(root, "update-index", "--index-version", "4", "--untracked-cache")
    return root


@place
def no_index_checksum(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    return configured(tmp / "v", "index.skipHash=true", "feature.experimental=true")


@place
def fsmonitor(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    hook = tmp / "monitor"
    # It says of all files that they may have changed, as one does that knows nothing yet.
    hook.write_text("#!/bin/sh\nprintf 'token\\0/\\0'\n")
    hook.chmod(0o755)
    root = configured(tmp / "v", f"core.fsmonitor={hook}", "core.untrackedCache=true")
    git(root, "update-index", "--fsmonitor")
    return root


@place
def line_ends(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    return configured(tmp / "v", "core.autocrlf=true", "core.safecrlf=true")


@place
def line_ends_and_adopted(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    root = adopt(repository(tmp / "v")).root
    git(root, "config", "core.autocrlf", "true")
    return root


@place
def no_file_modes(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    return configured(tmp / "v", "core.fileMode=false", "core.trustctime=false")


@place
def no_case(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    return configured(tmp / "v", "core.ignoreCase=true")


@place
def signing_with_a_broken_key(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    settings = ("commit.gpgSign=true", "user.signingKey=nobody", "gpg.program=/bin/false")
    git(tmp, "config", "--global", "commit.gpgSign", "true")
    return configured(tmp / "v", *settings)


@place
def failing_hooks(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    hooks = tmp / "hooks"
    hooks.mkdir()
    for name in ("pre-commit", "commit-msg", "prepare-commit-msg", "post-commit", "update",
                 "reference-transaction", "post-index-change", "post-checkout"):  # fmt: skip
        (hooks / name).write_text(f"#!/bin/sh\ntouch '{tmp}/a hook ran'\nexit 1\n")
        (hooks / name).chmod(0o755)
    return configured(tmp / "v", f"core.hooksPath={hooks}")


@place
def odd_settings(tmp: Path, _: pytest.MonkeyPatch) -> Path:
    (tmp / "template").write_text("A template\n")
    return configured(
        tmp / "v", "status.short=true", "status.branch=true", "status.showUntrackedFiles=no",
        "status.relativePaths=false", "color.ui=always", "core.pager=false", "log.follow=true",
        "log.showSignature=true", "log.date=relative", "diff.noprefix=true", "diff.renames=copies",
        "core.quotePath=true", "i18n.commitEncoding=ISO-8859-1",
        "i18n.logOutputEncoding=ISO-8859-1",
        "core.logAllRefUpdates=false", "core.abbrev=4", "diff.external=/bin/false",
        f"commit.template={tmp}/template", "commit.cleanup=scissors", "format.pretty=oneline",
        "core.commentChar=R", "diff.ignoreSubmodules=all", "status.renames=copies",
        "alias.log=!false",
        "core.bigFileThreshold=1", "core.compression=0", "merge.conflictStyle=diff3",
    )  # fmt: skip


@place
def variables_of_git_s(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = make(tmp / "v").root
    other = repository(tmp / "other")
    for name, value in {
        "GIT_DIR": other / ".git", "GIT_WORK_TREE": other, "GIT_INDEX_FILE": other / ".git/index",
        "GIT_OBJECT_DIRECTORY": other / ".git/objects", "GIT_COMMON_DIR": other / ".git",
        "GIT_PREFIX": "x/", "GIT_NAMESPACE": "x", "GIT_CEILING_DIRECTORIES": tmp,
        "GIT_AUTHOR_DATE": "2001-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2001-01-01T00:00:00Z",
        "GIT_EDITOR": "false", "GIT_PAGER": "false", "GIT_TRACE": tmp / "trace",
        "GIT_OPTIONAL_LOCKS": "1", "GIT_ICASE_PATHSPECS": "1", "GIT_EXTERNAL_DIFF": "false",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": other / ".git/objects", "GIT_DIFF_OPTS": "-u0",
        "GIT_SHALLOW_FILE": tmp / "no such", "GIT_GRAFT_FILE": tmp / "no such",
        "GIT_REPLACE_REF_BASE": "refs/x/", "GIT_QUARANTINE_PATH": tmp, "LC_ALL": "C",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    return root


# The day


def live_a_day(root: Path, kept: dict[str, bytes]) -> None:
    """Two agents and the person write, commit, look back and undo; `kept`: what must be there."""
    with AVM(root, semantic="off") as avm:
        akashi, bob = avm.agent_memory("akashi"), avm.agent_memory("bob")
        rule = akashi.remember("RSI over 70 → exit", title="rsi rule").path
        team = akashi.remember("written by akashi", title="plan", namespace="team").path
        bob.write(team, "then by bob\n")
        (root / MINE).write_text("the person's\n")
        assert [hit.path for hit in akashi.search("RSI")] == [rule]
        report = avm.commit()
        people = not avm.store.vault.adopted
        assert (report.blocked, report.waiting) == (None, {})
        made = {(commit.author, commit.subject) for commit in avm.log()[: len(report.commits)]}
        expected = {("akashi", "remember: rsi rule"), ("akashi", "remember: plan"),
                    ("bob", "edit: plan")}  # fmt: skip
        assert made == expected | ({(person(root).name, "remember: mine")} if people else set())
        akashi.write(rule, "RSI over 80 → exit\n")
        assert akashi.commit().blocked is None
        assert avm.status().waiting == {} and avm.status().blocked is None
        assert _plain(akashi.show(rule, "2099-01-01")) == b"RSI over 80 \xe2\x86\x92 exit\n"
        assert "RSI over 70" in akashi.show(rule, "~1").decode()
        with pytest.raises(NotFoundError):
            akashi.show(rule, "yesterday")
        assert akashi.restore(rule, "~1").notes == ()
        assert "RSI over 70" in (root / rule.lstrip("/")).read_text()
        assert set(akashi.undo().changed) == {rule}
        akashi.forget(team)
        avm.commit()
        assert akashi.restore(team).notes == ()
        for path in (rule, team):
            kept[path.lstrip("/")] = (root / path.lstrip("/")).read_bytes()
        assert _plain(kept[team.lstrip("/")]) == b"then by bob\n"
        assert _plain(kept[rule.lstrip("/")]) == b"RSI over 80 \xe2\x86\x92 exit\n"
        # In a plain `git clone` nobody has added the rule for the files of killed writers yet, nor
        # the merge driver.
        told = [finding for finding in doctor.check(avm) if not finding.note]
        assert {finding.check for finding in told} <= {"exclude-rule", "merge-driver"}
        assert [str(finding) for finding in doctor.mend(avm).left if not finding.note] == []
        subjects = [commit.subject for commit in akashi.history(rule)]
        assert subjects == [
            "undo: restore: rsi rule",
            "restore: rsi rule",
            "edit: rsi rule (front matter dropped)",
            "remember: rsi rule",
        ]
    kept[MINE] = b"the person's\n"


def _plain(raw: bytes) -> bytes:
    """Less the line ends that a checkout gives what comes back."""
    return raw.replace(b"\r\n", b"\n")


def assert_all_is_well(root: Path, kept: dict[str, bytes]) -> Vault:
    """git finds nothing wrong, nothing differs, no lock is left, no file is lost."""
    vault = open_vault(root)
    status = git(root, "-c", "core.fsmonitor=false", "status", "--porcelain", "-uall")
    assert status == (f"?? {MINE}" if vault.adopted else "")
    git(root, "-c", "core.fsmonitor=false", "diff-files", "--quiet")
    git(root, "-c", "core.bigFileThreshold=1g", "fsck", "--no-dangling", "--no-progress")
    assert git_locks(vault) == []
    left = {path.name for path in vault.git_state.iterdir()}
    assert not any(name.startswith(("index.", "tree.", "commit.json")) for name in left)
    files = {str(path.relative_to(root)): path for path in root.rglob("*.md")}
    assert {name: files[name].read_bytes() for name in kept} == kept
    for name, data in kept.items():
        if name != MINE or not vault.adopted:
            assert content(root, name) == _plain(data)
    return vault


@pytest.mark.parametrize("name", PLACES)
def test_a_day_in(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        root = PLACES[name](tmp_path, patch)
        kept: dict[str, bytes] = {}
        before = hashes(tmp_path / "other") if (tmp_path / "other").exists() else {}
        live_a_day(root, kept)
        assert not (tmp_path / "a hook ran").exists()
    assert_all_is_well(root, kept)
    if before:
        assert hashes(tmp_path / "other") == before


# What cannot be done, and is said


def test_a_shallow_clone_takes_nothing_back_whose_past_it_lacks(tmp_path: Path) -> None:
    root = shallow_clone(tmp_path, pytest.MonkeyPatch())
    before = hashes(root / "memory")
    with AVM(root, semantic="off") as avm:
        for how in ({"since": "1d"}, {"commit": "~1"}, {"commit": "~1", "dry_run": True}):
            with pytest.raises(RepositoryError, match=r"shallow clone.*git fetch --unshallow"):
                avm.undo(**how)
        assert hashes(root / "memory") == before
        with pytest.raises(NotFoundError, match="no such revision"):
            avm.show("/memory/shared/2.md", "~2")
        assert [commit.subject for commit in avm.log()] == ["Number 2", "Number 1"]
        assert set(avm.undo().changed) == {"/memory/shared/2.md"}
        git(root, "fetch", "-q", "--unshallow")
        assert set(avm.undo(commit="~2").changed) == {"/memory/shared/1.md"}


def test_before_the_first_commit_the_past_is_empty(tmp_path: Path) -> None:
    root = unborn_head(tmp_path, pytest.MonkeyPatch())
    (root / "memory/shared").mkdir(parents=True)
    (root / MINE).write_text("the person's\n")
    with AVM(root, semantic="off") as avm:
        for ask in (
            avm.log, avm.undo, lambda: avm.show(MINE), lambda: avm.show(MINE, "yesterday"),
            lambda: avm.diff(MINE), lambda: avm.tree_at("~1"),
        ):  # fmt: skip
            with pytest.raises(NotFoundError, match="nothing is committed yet"):
                ask()
        assert avm.gc().removed == ()
        assert (avm.status().blocked, avm.commit().commits) == (None, [])
        assert [finding for finding in doctor.check(avm) if not finding.note] == []
    assert (root / MINE).read_text() == "the person's\n"


def test_at_a_detached_head_memories_wait(tmp_path: Path) -> None:
    root = a_made_vault(tmp_path, pytest.MonkeyPatch())
    git(root, "checkout", "-q", "--detach")
    at = git(root, "rev-parse", "HEAD")
    with AVM(root, semantic="off") as avm:
        akashi = avm.agent_memory("akashi")
        rule = akashi.remember("RSI", title="rule").path
        assert avm.commit().blocked == avm.status().blocked == "HEAD is detached"
        assert [hit.path for hit in akashi.search("RSI")] == [rule]
        with pytest.raises(RepositoryError, match="HEAD is detached"):
            avm.undo()
        assert len(avm.log()) == 1
    assert git(root, "rev-parse", "HEAD") == at
    git(root, "checkout", "-q", "main")
    with AVM(root, semantic="off") as avm:
        assert len(avm.commit().commits) == 1
    assert_all_is_well(root, {})


def test_a_bare_repository_is_no_vault_and_says_what_to_do(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "b.git")
    done = run_avm("init", str(tmp_path / "b.git"))
    assert (done.returncode, done.stdout) == (9, "")
    assert done.stderr.endswith("is a bare git repository: avm init a clone of it\n")
    done = run_avm("status", "--vault", str(tmp_path / "b.git"))
    assert done.returncode == 5 and done.stderr.count("\n") == 1


@pytest.mark.parametrize("setting", ["core.safecrlf", "filter.x.required"])
def test_what_git_refuses_to_convert_is_kept_and_named(tmp_path: Path, setting: str) -> None:
    root = a_made_vault(tmp_path, pytest.MonkeyPatch())
    git(root, "config", setting, "true")
    git(root, "config", "core.autocrlf", "true")
    git(root, "config", "filter.x.clean", "false")
    rule = "text" if setting == "core.safecrlf" else "filter=x"
    (root / ".git/info/attributes").write_text(f"memory/**/plan.md {rule}\n")
    with AVM(root, semantic="off") as avm:
        plan = avm.agent_memory("akashi").remember("by akashi", title="plan", namespace="t").path
        first = (root / plan.lstrip("/")).read_bytes()
        avm.agent_memory("akashi").remember("another", title="other", namespace="t")
        avm.agent_memory("bob").write(plan, "by bob\n")
        report = avm.commit()
        assert list(report.waiting) == [plan.lstrip("/")] and len(report.commits) == 1
        reason = report.waiting[plan.lstrip("/")]
        assert ("CRLF" if setting == "core.safecrlf" else "filter 'x' failed") in reason
        assert "\n" not in reason
        kept = [path.read_bytes() for path in (root / ".git/avm/state/rescue").iterdir()]
        assert kept == [first]
        (root / ".git/info/attributes").unlink()
        assert avm.commit().waiting == {}
        assert {commit.author for commit in avm.history(plan)} == {"bob"}
    assert_all_is_well(root, {plan.lstrip("/"): b"by bob\n"})


@pytest.mark.parametrize("journalled", [False, True])
@pytest.mark.parametrize("flag", ["skip-worktree", "assume-unchanged"])
def test_a_memory_that_git_was_told_not_to_look_at_waits(
    tmp_path: Path, flag: str, journalled: bool
) -> None:
    root = a_made_vault(tmp_path, pytest.MonkeyPatch())
    with AVM(root, semantic="off") as avm:
        akashi = avm.agent_memory("akashi")
        rule = akashi.remember("RSI", title="the rule").path
        other = akashi.remember("other", title="other").path
        avm.commit()
        git(root, "update-index", f"--{flag}", rule.lstrip("/"))
        flags = git(root, "ls-files", "-v", rule.lstrip("/"))
        akashi.write(rule, "changed\n")
        akashi.write(other, "changed too\n")
        report = avm.store.committer.commit(now=True, journalled=journalled)
        again = f"git update-index --no-{flag} 'memory/private/akashi/the rule.md'"
        reason = f"git was told not to look at it: {again}"
        assert (report.blocked, report.waiting) == (None, {rule.lstrip("/"): reason})
        assert avm.status().waiting == {rule: reason}
        assert git(root, "ls-files", "-v", rule.lstrip("/")) == flags
        assert akashi.show(other) == b"changed too\n"
        subprocess.run(again, shell=True, cwd=root, check=True)  # noqa: S602
        report = avm.store.committer.commit(now=True, journalled=journalled)
        assert (len(report.commits), report.waiting) == (1, {})
        assert akashi.history(rule)[0].author == "akashi"
    assert_all_is_well(root, {rule.lstrip("/"): b"changed\n", other.lstrip("/"): b"changed too\n"})


def test_what_is_written_outside_of_a_sparse_checkout_is_committed(tmp_path: Path) -> None:
    root = sparse_index(tmp_path, pytest.MonkeyPatch())
    git(root, "sparse-checkout", "set", "--cone", "--sparse-index", ".avm", "memory/private")
    assert not (root / "memory/shared").exists()
    with AVM(root, semantic="off") as avm:
        akashi = avm.agent_memory("akashi")
        path = akashi.remember("far away", title="far", namespace="far").path
        akashi.write("/memory/shared/far/x.md", "over one that is not checked out\n")
        report = avm.commit()
        assert (report.blocked, report.waiting) == (None, {})
        assert {commit.author for commit in avm.log(path)} == {"akashi"}
    kept = {path.lstrip("/"): (root / path.lstrip("/")).read_bytes()}
    kept["memory/shared/far/x.md"] = b"over one that is not checked out\n"
    assert_all_is_well(root, kept)
    assert "elsewhere/deep/x.txt" in git(root, "ls-tree", "-r", "--name-only", "HEAD")


@pytest.mark.parametrize("operation", ["merge", "cherry-pick", "revert", "detached"])
def test_what_the_person_is_in_the_middle_of_with_reftable(tmp_path: Path, operation: str) -> None:
    root = reftable(tmp_path, pytest.MonkeyPatch())
    git(root, "checkout", "-qb", "side")
    for text in ("side\n", "side too\n"):
        (root / "work.txt").write_text(text)
        git(root, "commit", "-qam", text)
    git(root, "checkout", "-q", "main")
    (root / "work.txt").write_text("main\n")
    git(root, "commit", "-qam", "main")
    command = {"merge": ["merge", "side"], "cherry-pick": ["cherry-pick", "side"],
               "revert": ["revert", "HEAD~1"], "detached": ["checkout", "--detach"]}  # fmt: skip
    subprocess.run(["git", *command[operation]], cwd=root, capture_output=True, check=False)
    at = git(root, "rev-parse", "HEAD")
    with AVM(root, semantic="off") as avm:
        avm.agent_memory("akashi").remember("RSI", title="rule")
        blocked = avm.commit().blocked
        assert blocked is not None and operation in blocked
        assert avm.status().blocked == blocked
    assert git(root, "rev-parse", "HEAD") == at
    ends = ["checkout", "main"] if operation == "detached" else [operation, "--abort"]
    git(root, *ends)
    with AVM(root, semantic="off") as avm:
        assert len(avm.commit().commits) == 1
    git(root, "fsck", "--no-progress")


@pytest.mark.parametrize("place_of", [an_adopted_repository, reftable], ids=["files", "reftable"])
def test_what_is_stashed_keeps_its_author(tmp_path: Path, place_of: Place) -> None:
    root = place_of(tmp_path, pytest.MonkeyPatch())
    with AVM(root, semantic="off") as avm:
        akashi = avm.agent_memory("akashi")
        rule = akashi.remember("RSI", title="rule").path
        avm.commit()
        akashi.write(rule, "changed\n")
        git(root, "stash", "-q")
        assert avm.commit().waiting == {rule.lstrip("/"): "in your stash: git stash pop"}
        git(root, "stash", "pop", "-q")
        assert len(avm.commit().commits) == 1
        assert [commit.author for commit in akashi.history(rule)] == ["akashi", "akashi"]
