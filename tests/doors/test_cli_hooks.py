"""git's hooks as a person meets them: `avm hooks`, hooks of others, what they do in real git."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, git, keeper_of, run_avm, wait_for

from avm.api.keeper import wake
from avm.base import config
from avm.vault import hooks as module
from avm.vault.location import open_vault

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from secret_shapes import ALNUM, Maker

WEAK = f"api_key: {Maker(7).draw(ALNUM, 24)}"
NAMES = ("pre-commit", "post-merge", "post-checkout", "post-commit", "post-rewrite")
ALL_THERE = "".join(f"{name:<13} installed\n" for name in (*NAMES, "merge driver"))
BROKEN = "---\ntitle: [\n---\ntext\n"


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Path:
    """~/avm, the current folder."""
    monkeypatch.setenv("AVM_SEMANTIC", "off")
    assert run_avm("init").returncode == 0
    root = Path.home() / "avm"
    monkeypatch.chdir(root)
    return root


def installed(vault: Path) -> Path:
    """Install; returns the folder of hooks."""
    done = run_avm("hooks", "install")
    assert (done.returncode, done.stdout, done.stderr) == (0, ALL_THERE, "")
    return vault / ".git/hooks"


def snapshot(folder: Path) -> dict[str, tuple[int, float, bytes | str]]:
    """Mode, time and content of every file, links as their target."""
    found = {}
    for path in folder.iterdir():
        status = path.lstat()
        what = os.readlink(path) if path.is_symlink() else path.read_bytes()
        found[path.name] = (status.st_mode, status.st_mtime, what)
    return found


def write_hook(folder: Path, name: str, text: str, mode: int = 0o755) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(mode)
    return folder / name


def person(root: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`git ARGS` as the person types it."""
    return subprocess.run(
        ["git", *args], cwd=root, capture_output=True, text=True, check=False,
        env={**os.environ, **env},
    )  # fmt: skip


def refused(act: str, *parts: str, cwd: Path | None = None, code: int = 9) -> None:
    done = run_avm("hooks", act, cwd=cwd)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr


# Installing and taking out


def test_install_status_uninstall(vault: Path) -> None:
    hooks = vault / ".git/hooks"
    before = snapshot(hooks)
    none = run_avm("hooks")
    assert none.returncode == 1
    assert none.stdout == ALL_THERE.replace(" installed", " not installed", 5)
    installed(vault)
    assert all(os.access(hooks / name, os.X_OK) for name in NAMES)
    once = snapshot(hooks)
    installed(vault)
    assert snapshot(hooks) == once
    done = run_avm("hooks", "status")
    assert (done.returncode, done.stdout) == (0, ALL_THERE)
    done = run_avm("hooks", "uninstall")
    assert (done.returncode, done.stdout) == (0, none.stdout)
    assert snapshot(hooks) == before
    assert run_avm("hooks", "uninstall").returncode == 0


def test_status_as_data(vault: Path) -> None:
    write_hook(vault / ".git/hooks", "post-merge", "exit 0")
    installed_as = json.loads(run_avm("hooks", "install", "--json").stdout)
    assert installed_as["vault"] == str(vault) and installed_as["merge_driver"] == "installed"
    assert [hook["hook"] for hook in installed_as["hooks"]] == list(NAMES)
    assert {hook["state"] for hook in installed_as["hooks"]} == {"installed"}
    kept = {hook["hook"]: hook["before"] for hook in installed_as["hooks"]}
    assert kept["post-merge"] == str(vault / ".git/hooks/post-merge.before-avm")
    assert kept["pre-commit"] is None


def test_install_sets_the_merge_driver_up_too(vault: Path) -> None:
    installed(vault)
    git(vault, "config", "--remove-section", "merge.avm")
    done = run_avm("hooks")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "merge driver  not installed"
    installed(vault)


def test_an_agent_may_not(vault: Path) -> None:
    installed(vault)
    before = snapshot(vault / ".git/hooks")
    for act in ("install", "uninstall"):
        done = run_avm("hooks", act, "--agent", "akashi")
        assert done.returncode == 7
        assert done.stderr == (
            "avm: the hooks of a vault are its owner's: no agent may change them\n"
        )
    assert snapshot(vault / ".git/hooks") == before
    assert run_avm("hooks", "--agent", "akashi").stdout == ALL_THERE


def test_hooks_of_others_are_kept_beside_and_put_back(vault: Path) -> None:
    hooks = vault / ".git/hooks"
    write_hook(hooks, "pre-commit", "exit 0", 0o700)
    write_hook(hooks, "post-merge", "exit 0", 0o644)  # git does not run this one, nor do we
    (hooks / "real").write_bytes(b"#!/bin/sh\n# caf\xe9\r\n")
    (hooks / "post-commit").symlink_to("real")
    os.utime(hooks / "pre-commit", (1, 1))
    before = snapshot(hooks)
    done = run_avm("hooks", "install")
    assert (done.returncode, done.stderr) == (0, "")
    assert "pre-commit    installed, after pre-commit.before-avm\n" in done.stdout
    now = snapshot(hooks)
    for name in ("pre-commit", "post-merge", "post-commit"):
        assert now[f"{name}.before-avm"] == before[name]
    assert (hooks / "real").read_bytes() == b"#!/bin/sh\n# caf\xe9\r\n"
    assert run_avm("hooks", "uninstall").returncode == 0
    assert snapshot(hooks) == before


def test_an_old_hook_is_replaced_and_its_neighbour_kept(vault: Path) -> None:
    hooks = vault / ".git/hooks"
    write_hook(hooks, "pre-commit", "exit 0")
    assert run_avm("hooks", "install").returncode == 0
    today = (hooks / "pre-commit").read_bytes()
    text = b"#!/bin/sh\n# of last year\n"
    (hooks / "pre-commit").write_bytes(text + module._SUM + module._sum(text) + b"\n")
    (hooks / "post-merge").chmod(0o644)  # git would pass it by
    done = run_avm("hooks")
    assert done.returncode == 1
    assert done.stdout.count("of another version of AVM") == 2
    assert run_avm("hooks", "install").returncode == 0
    assert (hooks / "pre-commit").read_bytes() == today
    assert os.access(hooks / "post-merge", os.X_OK)
    assert (hooks / "pre-commit.before-avm").read_text() == "#!/bin/sh\nexit 0\n"


def test_a_hook_that_the_person_edited_is_left_alone(vault: Path) -> None:
    hook = installed(vault) / "post-merge"
    hook.write_text(hook.read_text().replace("code=0", "code=0; echo mine"))
    edited = hook.read_bytes()
    for act in ("install", "uninstall"):
        done = run_avm("hooks", act)
        assert done.returncode == 1
        assert "post-merge    edited since avm installed it\n" in done.stdout
        told = f"avm: {hook} is edited since avm installed it: it is left as it is; remove it"
        assert done.stderr.startswith(told) and done.stderr.count("\n") == 1
        assert hook.read_bytes() == edited
    assert not (hook.parent / "pre-commit").exists()


def test_a_hook_put_over_ours_is_not_lost_nor_is_the_one_before(vault: Path) -> None:
    hooks = vault / ".git/hooks"
    write_hook(hooks, "pre-commit", "exit 1")
    assert run_avm("hooks", "install").returncode == 0
    write_hook(hooks, "pre-commit", "exit 2")
    before = snapshot(hooks)
    done = run_avm("hooks", "install")
    assert done.returncode == 1
    assert "pre-commit.before-avm are both there: remove one of them by hand" in done.stderr
    assert snapshot(hooks) == before
    assert run_avm("hooks", "uninstall").returncode == 0
    after = snapshot(hooks)
    for name in ("pre-commit", "pre-commit.before-avm"):
        assert after[name] == before[name]


@pytest.mark.parametrize(
    "text",
    ['. "$(dirname "$0")/h"', 'name=$(basename "$0")', "exec run-hook ${0##*/}"],
)
def test_a_hook_that_looks_at_its_own_name_is_not_moved(vault: Path, text: str) -> None:
    hook = write_hook(vault / ".git/hooks", "post-commit", text)
    before = snapshot(hook.parent)["post-commit"]
    done = run_avm("hooks", "install")
    assert done.returncode == 1
    assert done.stderr == (
        f"avm: {hook} is another's: it looks at its own name: add to it by hand:"
        " avm hook git post-commit\n"
    )
    assert snapshot(hook.parent)["post-commit"] == before
    assert done.stdout.count(" installed\n") == 5  # the others


def test_a_folder_in_a_hook_s_place_is_named(vault: Path) -> None:
    (vault / ".git/hooks/post-merge").mkdir()
    done = run_avm("hooks", "install")
    assert done.returncode == 1
    assert "post-merge is another's: it is no file" in done.stderr
    assert (vault / ".git/hooks/post-merge").is_dir()


def test_an_installation_that_was_cut_short_is_finished_or_undone(vault: Path) -> None:
    hooks = vault / ".git/hooks"
    write_hook(hooks, "pre-commit", "exit 0")
    before = snapshot(hooks)
    for act in ("uninstall", "install"):
        (hooks / "pre-commit").rename(hooks / "pre-commit.before-avm")
        assert run_avm("hooks", act).returncode == 0
        if act == "uninstall":
            assert snapshot(hooks) == before
    assert run_avm("hooks", "uninstall").returncode == 0
    assert snapshot(hooks) == before


def test_a_copy_by_hand_is_ours(vault: Path) -> None:
    hooks = vault / ".git/hooks"
    shutil.copy(ROOT / "hooks/git/pre-commit", hooks / "pre-commit")
    (hooks / "post-merge").symlink_to(ROOT / "hooks/git/post-merge")
    assert run_avm("hooks").stdout.count(" not installed\n") == 3
    run_avm("hooks", "install")
    run_avm("hooks", "uninstall")
    assert not os.path.lexists(hooks / "post-merge") and not (hooks / "pre-commit").exists()
    assert (ROOT / "hooks/git/post-merge").exists()


def test_undo_of_an_adoption_takes_the_hooks_out(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "x.md").write_text("x")
    hooks = tmp_path / ".git/hooks"
    write_hook(hooks, "pre-commit", "exit 0")
    before = snapshot(hooks)
    run_avm("init", str(tmp_path))
    assert run_avm("hooks", "install", cwd=tmp_path).returncode == 0
    assert snapshot(hooks) != before
    assert run_avm("init", "--undo", str(tmp_path)).returncode == 0
    assert snapshot(hooks) == before


# Where git looks


def test_a_hooks_path_of_this_repository_is_respected(vault: Path) -> None:
    git(vault, "config", "core.hooksPath", ".githooks")
    installed(vault)
    assert {path.name for path in (vault / ".githooks").iterdir()} == set(NAMES)
    assert not (vault / ".git/hooks/pre-commit").exists()
    (vault / "memory/shared/x.md").write_text(BROKEN)
    git(vault, "add", "memory")
    assert person(vault, "commit", "-qm", "x").returncode == 1


@pytest.mark.parametrize("scope", ["--global", "--local"])
def test_a_hooks_path_that_others_use_is_refused(vault: Path, tmp_path: Path, scope: str) -> None:
    theirs = tmp_path / "their hooks"
    theirs.mkdir()
    git(vault, "config", scope, "core.hooksPath", str(theirs))
    for act in ("install", "uninstall", "status"):
        refused(act, f"core.hooksPath = {theirs} is ", "hooks/README.md", "by hand")
    assert list(theirs.iterdir()) == [] and not (vault / ".git/hooks/pre-commit").exists()


def test_a_global_hooks_path_can_be_overruled_as_the_refusal_says(vault: Path) -> None:
    git(vault, "config", "--global", "core.hooksPath", "~/hooks")
    refused("install", f"core.hooksPath = {Path.home()}/hooks is in the global git config")
    command = run_avm("hooks").stderr.rpartition(", or: git ")[2].split()
    git(vault, *command)
    installed(vault)
    assert (vault / ".git/hooks/pre-commit").exists()


def test_a_linked_worktree_has_the_hooks_of_its_repository(vault: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    git(vault, "worktree", "add", "-q", str(tree))
    done = run_avm("hooks", "install", cwd=tree)
    assert (done.returncode, done.stdout) == (0, ALL_THERE)
    assert run_avm("hooks").stdout == ALL_THERE
    (tree / "memory/shared/x.md").write_text(BROKEN)
    git(tree, "add", ".")
    assert person(tree, "commit", "-qm", "x").returncode == 1
    assert run_avm("hooks", "uninstall").returncode == 0
    assert "pre-commit    not installed\n" in run_avm("hooks", cwd=tree).stdout


# What they do


def test_a_memory_with_broken_front_matter_is_not_committed(vault: Path) -> None:
    installed(vault)
    (vault / "memory/shared/bad.MD").write_text(BROKEN)
    (vault / "memory/shared/late.md").write_text("---\nexpires: soon\n---\nonly told\n")
    (vault / "memory/shared/page.txt").write_text(BROKEN)
    (vault / "memory/shared/template.md").write_text(BROKEN)
    (vault / ".avmignore").write_text("template.md\n")
    git(vault, "add", ".")
    done = person(vault, "commit", "-qm", "x")
    assert done.returncode == 1
    line, last = done.stderr.splitlines()
    assert line.startswith("avm: /memory/shared/bad.MD: front matter: ")
    assert last == (
        "avm: not committed: the front matter of 1 memory cannot be read;"
        " git commit --no-verify commits it"
    )
    assert run_avm("hook", "git", "pre-commit").returncode == 16
    (vault / "memory/shared/bad.MD").write_text("---\ntitle: fine\n---\n")
    assert person(vault, "commit", "-qm", "x").returncode == 1  # what is staged counts
    assert person(vault, "commit", "-qam", "x").returncode == 0
    (vault / "memory/shared/bad.MD").write_text(BROKEN)
    assert person(vault, "commit", "-qam", "x", "--no-verify").returncode == 0


def test_secrets_and_front_matter_are_told_together(vault: Path) -> None:
    installed(vault)
    (vault / "memory/shared/a.md").write_text(BROKEN)
    (vault / "memory/shared/b.md").write_text(f"{WEAK}\n")
    git(vault, "add", ".")
    done = person(vault, "commit", "-qm", "x")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "avm: not committed: 1 file holds what looks like a secret and the front matter of"
        " 1 memory cannot be read; git commit --no-verify commits it"
    )
    assert run_avm("hook", "git", "pre-commit").returncode == 15


def test_front_matter_elsewhere_is_nobody_s_business(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    shutil.copy(ROOT / "hooks/git/pre-commit", tmp_path / ".git/hooks/pre-commit")
    (tmp_path / "x.md").write_text(BROKEN)
    git(tmp_path, "add", ".")
    assert person(tmp_path, "commit", "-qm", "x").returncode == 0


def test_the_hook_before_comes_first_with_its_arguments_and_may_fail(vault: Path) -> None:
    hooks = vault / ".git/hooks"
    said = vault.parent / "said"
    write_hook(hooks, "pre-commit", f"echo mine >> {said}; exit 7")
    write_hook(hooks, "post-checkout", f'echo "$*" >> {said}; exit 5')
    write_hook(hooks, "post-rewrite", f'echo "$*" >> {said}; cat >> {said}')
    assert run_avm("hooks", "install").returncode == 0
    (vault / "memory/shared/a.md").write_text(BROKEN)
    git(vault, "add", ".")
    done = person(vault, "commit", "-qm", "x")
    assert (done.returncode, done.stderr) == (1, "")  # git's own code for any of a hook's
    direct = subprocess.run([hooks / "pre-commit"], cwd=vault, check=False)
    assert direct.returncode == 7
    assert said.read_text() == "mine\nmine\n"
    (hooks / "pre-commit.before-avm").unlink()
    said.unlink()
    done = person(vault, "checkout", "-q", "-b", "side")
    at = git(vault, "rev-parse", "HEAD")
    assert (done.returncode, said.read_text()) == (1, f"{at} {at} 1\n")
    direct = subprocess.run([hooks / "post-checkout"], cwd=vault, check=False)
    assert direct.returncode == 5
    said.unlink()
    git(vault, "rm", "-qf", "memory/shared/a.md")
    git(vault, "commit", "-q", "--amend", "-m", "y")
    assert said.read_text() == f"amend\n{at} {git(vault, 'rev-parse', 'HEAD')}\n"


WAKING = {
    "post-commit": ["commit", "-q", "--allow-empty", "-m", "x"],
    "post-checkout": ["checkout", "-q", "-b", "other"],
    "post-rewrite": ["commit", "-q", "--amend", "-m", "y"],
    "post-merge": ["merge", "-q", "--no-ff", "--no-edit", "side"],
}


@pytest.mark.parametrize("event", WAKING)
def test_a_hook_calls_avm_and_does_not_wait_for_it(vault: Path, tmp_path: Path, event: str) -> None:
    git(vault, "branch", "base")
    git(vault, "checkout", "-q", "-b", "side")
    git(vault, "commit", "-q", "--allow-empty", "-m", "side")
    git(vault, "checkout", "-q", "base")
    installed(vault)
    (tmp_path / "go").touch()
    write_hook(
        tmp_path, "avm",
        f"[ $3 != pre-commit ] || exit 0; echo noise; echo noise >&2\necho $* >> {tmp_path}/said\n"
        f"while [ -e {tmp_path}/go ]; do sleep 0.02; done; echo end >> {tmp_path}/said; exit 9",
    )  # fmt: skip
    done = person(vault, *WAKING[event], PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    said = tmp_path / "said"
    wait_for(lambda: said.exists() and f"hook git {event}\n" in said.read_text(), "the call")
    assert "end" not in said.read_text()
    (tmp_path / "go").unlink()
    wait_for(lambda: "end\n" in said.read_text(), "its end")
    wait_for(lambda: not (vault / ".git/avm/hook.pid").exists(), "the note's end")


def test_many_commits_and_a_rebase_do_not_start_a_program_each(vault: Path, tmp_path: Path) -> None:
    installed(vault)
    (tmp_path / "go").touch()
    said, note = tmp_path / "said", vault / ".git/avm/hook.pid"
    write_hook(
        tmp_path, "avm",
        f"[ $3 != pre-commit ] || exit 0; echo $3 >> {said}\n"
        f"while [ -e {tmp_path}/go ]; do sleep 0.02; done",
    )  # fmt: skip
    path = f"{tmp_path}:{os.environ['PATH']}"

    def commit() -> None:
        done = person(vault, "commit", "-q", "--allow-empty", "-m", "x", PATH=path)
        assert (done.returncode, done.stderr) == (0, "")

    commit()
    wait_for(note.exists, "the note")
    for _ in range(5):
        commit()
    time.sleep(0.3)  # for those that must not come
    assert said.read_text() == "post-commit\n"
    (tmp_path / "go").unlink()
    wait_for(lambda: not note.exists(), "the note's end")
    note.write_text("4194305\n")  # of one that was killed
    commit()
    wait_for(lambda: said.read_text() == "post-commit\n" * 2, "another call")
    wait_for(lambda: not note.exists(), "the note's end")
    rebase = ("rebase", "-q", "--force-rebase", "--keep-empty", "HEAD~4")
    assert person(vault, *rebase, PATH=path).returncode == 0
    wait_for(lambda: "post-rewrite\n" in said.read_text(), "the end of the rebase")
    time.sleep(0.3)
    # The last one may look when the rebase is over.
    assert said.read_text().splitlines()[2:].count("post-commit") <= 1
    wait_for(lambda: not note.exists(), "the note's end")


def test_without_avm_the_hooks_say_nothing(vault: Path, tmp_path: Path) -> None:
    installed(vault)
    (tmp_path / "bin").mkdir()
    for name in ("git", "sh", "cat", "rm"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    path = str(tmp_path / "bin")
    done = person(vault, "checkout", "-q", "-b", "side", PATH=path)
    assert (done.returncode, done.stderr) == (0, "")
    done = person(vault, "commit", "-q", "--allow-empty", "--no-verify", "-m", "x", PATH=path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_events_never_fail_in_a_vault_or_out_of_one(vault: Path, tmp_path: Path) -> None:
    (vault / ".git/avm").mkdir(exist_ok=True)
    (vault / ".git/avm/config.toml").write_text("nonsense = 1\n")
    for event in NAMES[1:]:
        for cwd in (vault, tmp_path):
            done = run_avm("hook", "git", event, "a", "b", cwd=cwd)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_keeper_is_woken_and_none_is_started(vault: Path) -> None:
    place, settings = open_vault(vault), config.from_process({})
    assert run_avm("hook", "git", "post-merge").returncode == 0
    assert not wake(place, settings)
    assert run_avm("keeper", "status").returncode == 1
    with keeper_of(vault):
        assert wake(place, settings)
        # What git tells its hooks of the repository leads AVM nowhere else.
        done = run_avm("hook", "git", "post-merge", GIT_DIR="/nonsense", GIT_INDEX_FILE="/none")
        assert (done.returncode, done.stderr) == (0, "")
