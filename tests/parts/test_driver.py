"""The merge driver's set-up, and what a person's `git merge` comes to where it cannot run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import git, run_avm
from vault_helpers import hashes

from avm.vault import driver
from avm.vault.driver import State
from avm.vault.init import init
from avm.vault.location import Vault

#: Names that a shell could take for something else; some would leave a file PWNED behind.
ODD = [
    "memory/shared/blanks in it.md",
    "memory/shared/quote's.md",
    'memory/shared/double"quote.md',
    "memory/shared/semi;touch PWNED;.md",
    "memory/shared/$(touch PWNED).md",
    "memory/shared/`touch PWNED`.md",
    "memory/shared/x' ; touch PWNED ; '.md",
    "memory/shared/back\\slash\\n.md",
    "memory/shared/new\nline.md",
    "memory/shared/%O%A%P%s.md",
    "memory/shared/$HOME*?[x].md",
    "memory/shared/記憶.md",
    "-n.md",
    "--base.md",
]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return init(tmp_path / "v")[0]


def programs(folder: Path, avm: str | None) -> str:
    """A PATH of git and a few others; `avm` is the text of a sh program of that name."""
    folder.mkdir()
    for name in ("git", "sh", "cat", "cp", "touch"):
        (folder / name).symlink_to(str(shutil.which(name)))
    if avm is not None:
        (folder / "avm").write_text(f"#!/bin/sh\n{avm}\n")
        (folder / "avm").chmod(0o755)
    return str(folder)


def diverge(vault: Vault, names: list[str], ours: bytes, theirs: bytes, base: bytes) -> None:
    """Commit `base`, then `theirs` on a branch and `ours` on main, each in all of `names`."""

    def commit(data: bytes) -> None:
        for name in names:
            (vault.root / name).write_bytes(data)
        git(vault.root, "add", ".")
        git(vault.root, "commit", "-qm", "x")

    commit(base)
    git(vault.root, "checkout", "-qb", "other")
    commit(theirs)
    git(vault.root, "checkout", "-q", "main")
    commit(ours)


def merge(vault: Vault, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """`git merge other` as the person types it."""
    env = dict(os.environ) if path is None else {**os.environ, "PATH": path}
    return subprocess.run(
        ["git", "merge", "--no-edit", "other"],
        cwd=vault.root, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip


def unmerged(vault: Vault) -> set[str]:
    """The paths that git calls conflicts."""
    return set(git(vault.root, "diff", "-z", "--name-only", "--diff-filter=U").split("\0")) - {""}


# The set-up


def attribute(vault: Vault, path: str) -> str:
    return git(vault.root, "check-attr", "merge", "--", path).rpartition(": ")[2]


def test_a_new_vault_has_the_driver(vault: Vault) -> None:
    assert driver.is_set_up(vault)
    tracked = (vault.root / ".gitattributes").read_text()
    assert tracked == "memory/** -text\n*.[mM][dD] merge=avm\nmemory/** merge=avm\n"
    for path in ("memory/shared/a.md", "memory/private/x/pic.png", "notes/Old.MD"):
        assert attribute(vault, path) == "avm"
    assert attribute(vault, "notes/x.txt") == "unspecified"
    assert git(vault.root, "status", "--porcelain") == ""


def test_an_adopted_repository_has_it_outside_of_its_files_until_undo(tmp_path: Path) -> None:
    root = tmp_path / "r"
    git(tmp_path, "init", "-q", "r")
    (root / ".gitattributes").write_text("*.md merge=union\n")
    attributes = root / ".git/info/attributes"
    attributes.write_bytes(b"*.bin binary\r\ncaf\xe9 text")
    git(root, "config", "merge.mine.driver", "true")
    before, config = hashes(root), git(root, "config", "--local", "--list")
    vault = init(root)[0]
    assert driver.is_set_up(vault) and attribute(vault, "x.md") == "avm"
    assert (root / ".gitattributes").read_text() == "*.md merge=union\n"
    assert attribute(vault, "x.bin") == "unset"
    assert run_avm("init", "--undo", str(root)).returncode == 0
    after = hashes(root)
    before.pop(".git/config"), after.pop(".git/config")
    assert after == before
    assert git(root, "config", "--local", "--list") == config


def test_a_clone_by_git_is_set_up_by_init(vault: Vault, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(vault.root), "clone")
    clone = vault._replace(root=tmp_path / "clone", common_dir=tmp_path / "clone/.git")
    assert driver.state(clone) is State.MISSING
    assert init(clone.root)[1] == "found"
    assert driver.is_set_up(clone)
    before = hashes(clone.root)
    assert init(clone.root)[1] == "found"
    assert hashes(clone.root) == before


def test_what_is_lost_or_old_is_told_and_set_again(vault: Vault) -> None:
    git(vault.root, "config", "merge.avm.driver", "avm merge-of-yesterday %A")
    assert driver.state(vault) is State.OLD
    driver.set_up(vault)
    assert driver.is_set_up(vault)
    git(vault.root, "config", "--unset", "merge.avm.recursive")
    assert driver.state(vault) is State.OLD
    driver.set_up(vault)
    git(vault.root, "config", "--remove-section", "merge.avm")
    assert driver.state(vault) is State.MISSING
    driver.set_up(vault)
    git(vault.root, "rm", "-q", ".gitattributes")
    assert driver.is_set_up(vault)  # info/attributes is enough
    (vault.common_dir / "info/attributes").unlink()
    assert driver.state(vault) is State.MISSING
    driver.set_up(vault)
    assert driver.is_set_up(vault)


def test_attributes_that_arrive_do_not_take_it_away(vault: Vault) -> None:
    (vault.root / "memory/shared/.gitattributes").write_text("* merge=union\n")
    (vault.root / ".gitattributes").write_text("* merge=binary\n")
    assert driver.is_set_up(vault)


def test_the_person_s_own_line_wins_and_is_told(vault: Vault) -> None:
    attributes = vault.common_dir / "info/attributes"
    with attributes.open("a") as file:
        file.write("memory/shared/** merge=union\n")
    assert driver.state(vault) is State.OVERRULED
    before = attributes.read_bytes()
    driver.set_up(vault)
    assert attributes.read_bytes() == before
    done = run_avm("doctor", "--vault", str(vault.root))
    assert done.returncode == 0
    assert "note: merge-driver: " in done.stdout and "info/attributes" in done.stdout


def test_doctor_names_it_and_mends_it(vault: Vault) -> None:
    git(vault.root, "config", "--remove-section", "merge.avm-base")
    done = run_avm("doctor", "--vault", str(vault.root))
    assert done.returncode == 1
    assert done.stdout.startswith("merge-driver: ") and "another version" in done.stdout
    assert run_avm("doctor", "--fix", "--vault", str(vault.root)).returncode == 0
    assert driver.is_set_up(vault)


def test_a_linked_worktree_shares_it(vault: Vault, tmp_path: Path) -> None:
    git(vault.root, "worktree", "add", "-q", "-b", "side", str(tmp_path / "w"))
    linked = init(tmp_path / "w")[0]
    assert driver.is_set_up(linked)
    driver.take_back(linked)
    assert driver.state(vault) is State.MISSING


# Merging: what git hands over


def test_avm_is_told_the_versions_and_the_name(vault: Vault, tmp_path: Path) -> None:
    """Odd names too, and nothing in them is run."""
    diverge(vault, ODD, b"ours\n", b"theirs\n", b"base\n")
    said = tmp_path / "said"
    program = (
        f'printf "%s\\0" "$*" >> {said}\n'
        '[ "$1 $2 $3 $4" = "hook git merge --" ] || exit 2; shift 4\n'
        '[ "$(cat "$1") $(cat "$2") $(cat "$3") $4" = "base ours theirs 7" ] || exit 3\n'
        'printf "both: %s" "$5" > "$2"; echo merged'
    )
    done = merge(vault, programs(tmp_path / "bin", program))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(said.read_bytes().split(b"\0")) == len(ODD) + 1
    for name in ODD:
        assert git(vault.root, "show", f"HEAD:{name}") == f"both: {name}"
    assert list(vault.root.rglob("PWNED")) == []


TOLD = "so git merged it as text: look at it and git add it, or abort, mend that and merge again"
FAILING = {
    "missing": (None, "avm is not in PATH"),
    "fails": ("echo merged; exit 9", "avm failed"),
    "is another program": ("echo usage; exit 0", "avm failed"),
    "says nothing": ("exit 0", "avm failed"),
    "is killed": ("kill -9 $$", "avm failed"),
}


@pytest.mark.parametrize("how", FAILING)
def test_where_avm_does_not_merge_git_s_markers_stand(
    vault: Vault, tmp_path: Path, how: str
) -> None:
    program, why = FAILING[how]
    diverge(vault, ODD, b"ours\n", b"theirs\n", b"base\n")
    done = merge(vault, programs(tmp_path / "bin", program))
    assert done.returncode == 1
    assert unmerged(vault) == set(ODD)
    for name in ODD:
        told = f"avm: {name}: {why}, {TOLD}\n"
        assert told in done.stderr
        text = (vault.root / name).read_text()
        assert text == "<<<<<<< ours\nours\n=======\ntheirs\n>>>>>>> theirs\n"
    assert list(vault.root.rglob("PWNED")) == []


def test_without_avm_a_merge_without_overlap_is_a_conflict_too_and_holds_both(
    vault: Vault, tmp_path: Path
) -> None:
    lines = [b"%d\n" % n for n in range(9)]
    ours, theirs = (b"".join([*lines, b"ours\n"]), b"".join([b"theirs\n", *lines]))
    diverge(vault, ["memory/shared/a.md"], ours, theirs, b"".join(lines))
    done = merge(vault, programs(tmp_path / "bin", None))
    assert done.returncode == 1 and TOLD in done.stderr
    assert unmerged(vault) == {"memory/shared/a.md"}
    git(vault.root, "add", ".")  # what a person does who does not look
    staged = git(vault.root, "show", ":memory/shared/a.md").splitlines()
    assert staged[0] == "theirs" and staged[-1] == "ours" and len(staged) == 11


def test_without_avm_a_binary_file_stays_and_the_other_side_is_named(
    vault: Vault, tmp_path: Path
) -> None:
    name = "memory/shared/pic.png"
    diverge(vault, [name], b"\0ours", b"\0theirs", b"\0base")
    done = merge(vault, programs(tmp_path / "bin", None))
    assert done.returncode == 1 and unmerged(vault) == {name}
    assert f"avm: {name}: avm is not in PATH, so this side stays: the other is" in done.stderr
    assert (vault.root / name).read_bytes() == b"\0ours"
    assert git(vault.root, "show", f":3:{name}") == "\0theirs"


def test_without_avm_a_rebase_stops_at_the_conflict(vault: Vault, tmp_path: Path) -> None:
    diverge(vault, ["memory/shared/a.md"], b"ours\n", b"theirs\n", b"base\n")
    env = {**os.environ, "PATH": programs(tmp_path / "bin", None)}
    done = subprocess.run(
        ["git", "rebase", "-q", "other"],
        cwd=vault.root, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and TOLD in done.stderr
    assert unmerged(vault) == {"memory/shared/a.md"}
    git(vault.root, "rebase", "--abort")


def test_crossing_histories_merge_their_ancestors_too(vault: Vault, tmp_path: Path) -> None:
    """Two merges of the same two commits, each the other way: git makes an ancestor up."""
    name = "memory/shared/a.md"
    diverge(vault, [name], b"ours\n", b"theirs\n", b"base\n")
    one, two = (git(vault.root, "rev-parse", ref) for ref in ("main", "other"))
    for branch, other, text in (("main", two, "m\n"), ("other", one, "o\n")):
        git(vault.root, "checkout", "-q", branch)
        git(vault.root, "merge", "-q", "-s", "ours", "--no-edit", other)
        (vault.root / name).write_text(text)
        git(vault.root, "commit", "-qam", "x")
    git(vault.root, "checkout", "-q", "main")
    said = tmp_path / "said"
    path = programs(
        tmp_path / "bin",
        f'echo "$*" >> {said}; while [ "$1" != -- ]; do shift; done\n'
        'cat "$2" "$3" "$4" > joined; cp joined "$3"; echo merged',
    )
    done = merge(vault, path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = said.read_text().splitlines()
    assert first.startswith("hook git merge --base -- ")
    assert second.startswith("hook git merge -- ")
    merged = git(vault.root, "show", f"HEAD:{name}").splitlines()
    assert sorted(merged) == ["base", "m", "o", "ours", "theirs"]


def test_crossing_histories_without_avm(vault: Vault, tmp_path: Path) -> None:
    name = "memory/shared/a.md"
    diverge(vault, [name], b"ours\n", b"theirs\n", b"base\n")
    one, two = (git(vault.root, "rev-parse", ref) for ref in ("main", "other"))
    for branch, other in (("main", two), ("other", one)):
        git(vault.root, "checkout", "-q", branch)
        git(vault.root, "merge", "-q", "-s", "ours", "--no-edit", other)
    git(vault.root, "checkout", "-q", "main")
    done = merge(vault, programs(tmp_path / "bin", None))
    assert done.returncode == 1
    assert done.stderr.count("avm: ") == 1
    text = (vault.root / name).read_text()
    assert "<<<<<<< ours\nours\n" in text and "theirs\n>>>>>>> theirs\n" in text


def test_the_hook_wants_what_git_gives(vault: Vault) -> None:
    done = run_avm("hook", "git", "merge", "a", "b", cwd=vault.root)
    assert done.returncode == 2
    assert done.stderr.startswith("avm: avm hook git merge ANCESTOR OURS THEIRS")
