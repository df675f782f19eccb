"""Secrets as people meet them: refusals on the command line, `avm allow`, the hook in real git."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, git, run_avm

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from secret_shapes import ALNUM, SHAPES, Maker

MAKER = Maker(12)
TOKEN = SHAPES["openai-key"](MAKER)
WEAK = f"api_key: {MAKER.draw(ALNUM, 24)}"


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Path:
    """~/avm, with the hook installed."""
    monkeypatch.setenv("AVM_SEMANTIC", "off")
    assert run_avm("init").returncode == 0
    root = Path.home() / "avm"
    shutil.copy(ROOT / "hooks/git/pre-commit", root / ".git/hooks/pre-commit")
    return root


def commit(root: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`git commit -m x ARGS` as the person types it."""
    return subprocess.run(
        ["git", "commit", "--quiet", "-m", "x", *args],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )


def refused(done: subprocess.CompletedProcess[str], *lines: str) -> None:
    """A commit was refused with these lines, the secrets in none of them."""
    last = "1 file holds" if len(lines) == 1 else f"{len(lines)} files hold"
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        *(f"avm: {line}" for line in lines),
        f"avm: not committed: {last} what looks like a secret; git commit --no-verify commits it",
    ]


# The command line


def test_remember_refuses_a_token(vault: Path) -> None:
    done = run_avm("remember", "--agent", "akashi", f"The key is\n{TOKEN}")
    assert (done.returncode, done.stdout) == (15, "")
    assert done.stderr == (
        "avm: nothing was written: the text holds a secret (openai-key, line 2); take it out, or"
        " write it anyway with --allow-secret\n"
    )
    assert list((vault / "memory").rglob("*.md")) == []


def test_remember_with_allow_secret_writes_and_commits(vault: Path) -> None:
    done = run_avm("remember", "--agent", "akashi", "--title", "x", "--allow-secret", TOKEN)
    assert (done.returncode, done.stdout, done.stderr) == (0, "/memory/private/akashi/x.md\n", "")
    assert TOKEN in git(vault, "show", "HEAD:memory/private/akashi/x.md")


def test_remember_tells_of_a_suspicion_and_allow_takes_it_back(vault: Path) -> None:
    done = run_avm("remember", "--agent", "akashi", "--title", "a b", WEAK)
    assert (done.returncode, done.stdout) == (0, "/memory/private/akashi/a b.md\n")
    assert "held back from git" in done.stderr
    assert done.stderr.endswith("avm allow '/memory/private/akashi/a b.md'\n")
    told = json.loads(run_avm("remember", "--json", "--title", "c", WEAK).stdout)
    assert len(told["hints"]) == 1
    done = run_avm("allow", "/memory/private/akashi/a b.md", "memory/shared/c.md", cwd=vault)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("allowed /memory/private/akashi/a b.md: assigned-secret, line ")
    assert lines[1].startswith("allowed /memory/shared/c.md: assigned-secret, line ")
    again = run_avm("remember", "--title", "c", WEAK)
    assert again.stderr == "avm: it was there already: nothing was written\n"


def test_allow_says_when_there_is_nothing_to_allow(vault: Path) -> None:
    run_avm("remember", "--title", "x", "harmless")
    done = run_avm("allow", "memory/shared/x.md", cwd=vault)
    assert (done.returncode, done.stdout) == (0, "/memory/shared/x.md: nothing to allow\n")
    told = json.loads(run_avm("allow", "--json", "memory/shared/x.md", cwd=vault).stdout)
    assert told == [{"path": "/memory/shared/x.md", "allowed": []}]
    done = run_avm("allow", "--agent", "akashi", "/notes/none.md")
    assert (done.returncode, done.stderr) == (6, "avm: no memory at /notes/none.md\n")


# :status


def test_status_is_a_node_of_every_folder(vault: Path) -> None:
    (vault / "memory/shared/new.md").write_text("---\ntags: [\n---\nbroken")
    (vault / "memory/shared/old.md").write_text("---\nexpires: 2020-01-01\n---\nold")
    (vault / "memory/private/hermes").mkdir()
    (vault / "memory/private/hermes/mine.md").write_text("mine")
    whole = run_avm("cat", ":status").stdout
    assert run_avm("status").stdout == f"vault  {vault}\nmounted  nowhere\n{whole}"
    assert "not committed  3\n" in whole
    shared = run_avm("cat", "memory/shared/:status").stdout
    assert shared.startswith("indexed  1 memories,") and "hermes" not in shared
    for part in (
        "not committed  2\n  /memory/shared/new.md: not committed yet\n",
        "expired  1\n  /memory/shared/old.md\n",
        "unreadable  1\n  /memory/shared/new.md: front matter: ",
    ):
        assert part in shared
    akashi = run_avm("cat", "--agent", "akashi", ":status").stdout
    assert "hermes" not in akashi and "/memory/shared/old.md" in akashi
    hermes = run_avm("cat", "--agent", "hermes", "memory/private/hermes/:status").stdout
    assert "not committed  1\n  /memory/private/hermes/mine.md" in hermes
    assert "new.md" not in hermes and "old.md" not in hermes


# The hook


def test_the_hook_refuses_a_secret_and_names_it(vault: Path) -> None:
    (vault / "notes").mkdir()
    (vault / "notes/a b.txt").write_text(f"one\n{TOKEN}\n")
    (vault / "config.yml").write_text(f"{WEAK}\n")
    (vault / "harmless.txt").write_text("nothing\n")
    git(vault, "add", ".")
    lines = (
        "/config.yml holds what looks like a secret (assigned-secret, line 1):"
        " avm allow /config.yml",
        "/notes/a b.txt holds what looks like a secret (openai-key, line 2):"
        " avm allow '/notes/a b.txt'",
    )
    refused(commit(vault), *lines)
    refused(commit(vault / "notes"), *lines)
    assert git(vault, "log", "--format=%s") == "Start an AVM vault"


def test_what_is_allowed_passes_and_what_changes_does_not(vault: Path) -> None:
    file = vault / "x.txt"
    file.write_text(f"{TOKEN}\n")
    git(vault, "add", "x.txt")
    assert commit(vault).returncode == 1
    assert run_avm("allow", "/x.txt").stdout == "allowed /x.txt: openai-key, line 1\n"
    done = commit(vault)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    file.write_text(f"and\n{TOKEN}\n")
    git(vault, "add", "x.txt")
    assert commit(vault).returncode == 1


def test_commit_a_and_commit_of_a_path_are_looked_at_as_git_makes_them(vault: Path) -> None:
    for name in ("good.txt", "bad.txt"):
        (vault / name).write_text("nothing\n")
    git(vault, "add", ".")
    assert commit(vault).returncode == 0
    (vault / "good.txt").write_text("nothing new\n")
    (vault / "bad.txt").write_text(f"{TOKEN}\n")
    line = "/bad.txt holds what looks like a secret (openai-key, line 1): avm allow /bad.txt"
    assert git(vault, "diff", "--cached", "--name-only") == ""
    refused(commit(vault, "-a"), line)
    refused(commit(vault, "bad.txt"), line)
    git(vault, "add", "bad.txt")  # staged, but not in a commit of the other path
    done = commit(vault, "good.txt")
    assert (done.returncode, done.stderr) == (0, "")
    refused(commit(vault), line)


def test_no_verify_goes_by_it(vault: Path) -> None:
    (vault / "x.txt").write_text(f"{TOKEN}\n")
    git(vault, "add", ".")
    assert commit(vault, "--no-verify").returncode == 0


def test_deleting_and_leaving_secrets_is_no_matter(vault: Path) -> None:
    for name in ("x.txt", "y.txt"):
        (vault / name).write_text(f"{TOKEN}\n")
    git(vault, "add", ".")
    assert commit(vault, "--no-verify").returncode == 0
    git(vault, "rm", "--quiet", "x.txt")
    (vault / "z.txt").write_text("z")
    git(vault, "add", "z.txt")
    done = commit(vault)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_avm_the_commit_passes_and_says_so(vault: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))
    (vault / "x.txt").write_text(f"{TOKEN}\n")
    git(vault, "add", ".")
    done = commit(vault, PATH=str(programs))
    assert done.returncode == 0
    assert done.stderr == "pre-commit: avm is not in PATH: nothing was searched for secrets\n"


def test_an_avm_that_fails_lets_the_commit_pass(vault: Path) -> None:
    (vault / ".git/avm").mkdir(exist_ok=True)
    (vault / ".git/avm/config.toml").write_text("nonsense = 1\n")
    (vault / "x.txt").write_text("x\n")
    git(vault, "add", ".")
    done = commit(vault)
    assert done.returncode == 0
    assert done.stderr.startswith("avm: ") and "nonsense" in done.stderr


def test_the_hook_in_a_linked_worktree(vault: Path) -> None:
    tree = Path.home() / "tree"
    git(vault, "worktree", "add", "--quiet", str(tree))
    (tree / "x.txt").write_text(f"{TOKEN}\n")
    git(tree, "add", ".")
    line = "/x.txt holds what looks like a secret (openai-key, line 1): avm allow /x.txt"
    refused(commit(tree), line)
    assert run_avm("allow", "x.txt", cwd=tree).returncode == 0
    assert commit(tree).returncode == 0


def test_the_hook_in_a_repository_that_is_no_vault(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    shutil.copy(ROOT / "hooks/git/pre-commit", tmp_path / ".git/hooks/pre-commit")
    (tmp_path / "x.txt").write_text(f"{TOKEN}\n")
    git(tmp_path, "add", ".")
    refused(commit(tmp_path), "/x.txt holds what looks like a secret (openai-key, line 1)")


def test_an_unknown_hook_is_named(vault: Path) -> None:
    done = run_avm("hook", "git", "post-nothing")
    assert done.returncode == 2
    assert done.stderr == (
        "avm: hook 'git' 'post-nothing': there is git pre-commit, git merge, git post-merge,"
        " git post-checkout, git post-commit, git post-rewrite, claude-code EVENT\n"
    )
