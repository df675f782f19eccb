"""What arrives with a sync is data: names, links and trees that nobody's git would make by itself
write nothing where they should not, and stop nothing that they need not."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import git, run_avm
from sync_helpers import X, pair, push_blobs, push_tree, pushed, raw_tree, sync, write
from vault_helpers import (
    assert_clean,
    assert_sound,
    assert_well,
    committed,
    content,
    git_locks,
    hashes,
    head,
)

from avm import AVM
from avm.base.errors import AVMError
from avm.vault.location import Vault
from avm.vault.objects import open_objects

FILE, LINK, TREE = 0o100644, 0o120000, "40000"
NFC, NFD = (unicodedata.normalize(form, "memory/shared/café.md") for form in ("NFC", "NFD"))


def blob(vault: Vault, data: bytes, mode: int = FILE) -> tuple[str, int]:
    return open_objects(vault).write_blob(data), mode


def everything(top: Path) -> dict[str, str]:
    """All that is on disk but for git's own objects, and what a fetch may leave."""
    found = hashes(top)
    return {rel: of for rel, of in found.items() if "/.git/" not in rel and "remote.git" not in rel}


def assert_refused(vault: Vault) -> None:
    """A sync fails in one line, and writes nothing at all."""
    outside = vault.root.parent
    before = everything(outside), head(vault.root), (vault.git_dir / "config").read_bytes()
    with pytest.raises(AVMError):
        sync(vault)
    now = everything(outside), head(vault.root), (vault.git_dir / "config").read_bytes()
    assert now == before
    assert git_locks(vault) == []  # git fsck finds what was fetched
    git(vault.root, "diff-files", "--quiet")
    assert git(vault.root, "status", "--porcelain") == ""


# Names that git itself refuses


@pytest.mark.parametrize("ours", [False, True], ids=["forward", "merge"])
@pytest.mark.parametrize(
    "path",
    [".git/x", ".GIT/config", ".git/hooks/post-checkout", "memory/.git/config", "../x", "./x",
     "memory/../../x", "../index", ".Git", "git~1/config", ".g\u200cit/config"],
)  # fmt: skip
def test_a_path_that_leads_into_git_or_out_is_refused(
    tmp_path: Path, path: str, ours: bool
) -> None:
    one, two = pair(tmp_path, {X: "x\n"})
    git(two.root, "config", "core.protectHFS", "true")  # as on macOS
    oid, _ = blob(one, b"#!/bin/sh\ntouch ran\n")
    mode = "100755"
    for name in reversed(path.split("/")):
        oid = raw_tree(one, [(mode, name.encode(), oid)])
        mode = TREE
    push_tree(one, oid)
    if ours:
        write(two, {X: "mine\n"})
        sync_mine(two)
    assert_refused(two)


def sync_mine(vault: Vault) -> None:
    git(vault.root, "commit", "-qam", "Mine")


def test_a_tree_with_a_link_and_a_folder_of_one_name_writes_nothing_outside(
    tmp_path: Path,
) -> None:
    one, two = pair(tmp_path)
    (tmp_path / "outside").mkdir()
    link, _ = blob(one, b"../outside")
    text, _ = blob(one, b"out\n")
    inner = raw_tree(one, [("100644", b"x.md", text)])
    push_tree(one, raw_tree(one, [("120000", b"a", link), (TREE, b"a", inner)]))
    assert_refused(two)
    assert os.listdir(tmp_path / "outside") == []


def test_a_path_of_a_submodule_s_config_is_no_file_of_ours(tmp_path: Path) -> None:
    one, two = pair(tmp_path)
    modules = (
        f'[submodule "x"]\n\tpath = x\n\turl = {tmp_path}/none\n\tupdate = !touch {tmp_path}/ran\n'
    )
    pushed(one, {".gitmodules": modules})
    assert sync(two).received == 1
    assert not (tmp_path / "ran").exists()
    assert git(two.root, "status", "--porcelain") == ""


def test_a_submodule_is_an_empty_folder(tmp_path: Path) -> None:
    one, two = pair(tmp_path)
    push_blobs(one, {"memory/shared/sub": (head(one.root), 0o160000)})
    assert sync(two).received == 1
    assert os.listdir(two.path("memory/shared/sub")) == []
    assert git(two.root, "status", "--porcelain") == ""


# Links


def test_a_link_out_of_the_vault_is_a_link_and_no_more(tmp_path: Path) -> None:
    one, two = pair(tmp_path)
    secret = tmp_path / "secret.md"
    secret.write_text("the zebra is in the cellar\n")
    push_blobs(one, {
        "memory/shared/out.md": blob(one, os.fsencode(secret), LINK),
        "memory/shared/folder": blob(one, os.fsencode(tmp_path), LINK),
    })  # fmt: skip
    assert sync(two).received == 1
    assert os.readlink(two.path("memory/shared/out.md")) == str(secret)
    with AVM(two.root, semantic="off") as avm:
        assert avm.search("zebra", 10) == []
        assert_well(avm)
    assert_clean(two)


def test_a_folder_that_becomes_a_link_takes_nothing_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.md").write_text("outside\n")
    one, two = pair(tmp_path, {"memory/shared/d/x.md": "in\n"})
    write(one, {"memory/shared/d/x.md": None})
    one.path("memory/shared/d").rmdir()
    one.path("memory/shared/d").symlink_to(outside)
    git(one.root, "add", "--all")
    git(one.root, "commit", "-qm", "A link")
    sync(one)
    sync(two)
    assert two.path("memory/shared/d").is_symlink()
    # And the way back: the link goes, the files below are the vault's own.
    one.path("memory/shared/d").unlink()
    pushed(one, {"memory/shared/d/x.md": "in again\n", "memory/shared/d/y.md": "y\n"})
    sync(two)
    assert two.path("memory/shared/d/x.md").read_text() == "in again\n"
    assert {path.name for path in outside.iterdir()} == {"x.md"}
    assert (outside / "x.md").read_text() == "outside\n"
    assert_clean(two)


def test_a_link_beside_a_new_file_of_the_other_side_below_it(tmp_path: Path) -> None:
    """One side made the folder a link, the other wrote into the folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    one, two = pair(tmp_path, {"memory/shared/d/x.md": "in\n"})
    write(one, {"memory/shared/d/x.md": None})
    one.path("memory/shared/d").rmdir()
    one.path("memory/shared/d").symlink_to(outside)
    git(one.root, "add", "--all")
    git(one.root, "commit", "-qm", "A link")
    sync(one)
    write(two, {"memory/shared/d/new.md": "new\n"})
    sync(two)
    assert os.listdir(outside) == []
    assert two.path("memory/shared/d/new.md").read_text() == "new\n"
    assert_clean(two)
    sync(one)
    assert os.listdir(outside) == []
    assert_clean(one)


def test_where_letter_case_counts_for_nothing_a_link_takes_no_file_of_another_case(
    tmp_path: Path,
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    one, two = pair(tmp_path)
    git(two.root, "config", "core.ignoreCase", "true")
    push_blobs(one, {
        "memory/shared/A": blob(one, b"../../../outside", LINK),
        "memory/shared/a/x.md": blob(one, b"out\n"),
    })  # fmt: skip
    sync(two)
    assert os.listdir(outside) == []
    assert not two.path("memory/shared/a").exists()
    assert git(two.root, "status", "--porcelain") == ""
    assert "memory/shared/a/x.md" in committed(two.root)


# Names that not every disk takes


def odd_names(vault: Vault) -> dict[str, tuple[str, int]]:
    names = {
        "control": "memory/shared/a\tb\x1b[31m\x07.md",
        "newline": "memory/shared/new\nline.md",
        "no utf-8": os.fsdecode(b"memory/shared/caf\xe9.md"),
        "colon": "memory/shared/:recall",
        "dash": "-rf",
        "blank": "memory/shared/ .md",
        "backslash": "memory/shared/a\\b.md",
    }
    return {name: blob(vault, f"text of {key}\n".encode()) for key, name in names.items()}


def test_odd_names_are_files_as_others(tmp_path: Path) -> None:
    one, two = pair(tmp_path)
    names = odd_names(one)
    push_blobs(one, names)
    sync(two)
    assert {content(two.root, name) for name in names} == {
        two.path(name).read_bytes() for name in names
    }
    assert_clean(two)
    with AVM(two.root, semantic="off") as avm:
        assert avm.search("newline", 10)
        assert_well(avm)
    done = run_avm("--vault", str(two.root), "doctor")
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    # And they are changed, and removed, as others.
    two_names = {name: b"other\n" for name in names if name != "-rf"}
    git(two.root, "rm", "-q", "--", *two_names)
    git(two.root, "commit", "-qm", "Removed")
    sync(two)
    sync(one)
    assert committed(one.root) & two_names.keys() == set()


def test_an_edit_of_a_file_whose_name_is_no_utf_8_is_not_removed(tmp_path: Path) -> None:
    one, two = pair(tmp_path)
    name = os.fsdecode(b"memory/shared/caf\xe9.md")
    push_blobs(one, {name: blob(one, b"text\n")})
    sync(two)
    sync(one)
    write(two, {name: "mine\n"})
    git(one.root, "rm", "-q", "--", name)
    git(one.root, "commit", "-qm", "Removed")
    sync(one)
    assert_left(two)
    assert two.path(name).read_bytes() == b"mine\n"


def assert_left(vault: Vault) -> None:
    with pytest.raises(AVMError, match="nothing was moved"):
        sync(vault)


def test_two_that_changed_a_file_of_an_odd_name_merge_it(tmp_path: Path) -> None:
    one, two = pair(tmp_path)
    names = odd_names(one)
    push_blobs(one, names)
    sync(one)
    sync(two)
    changed = {name: f"{vault.root.name}\n" for vault in (one, two) for name in names}
    for vault in (one, two):
        write(vault, dict.fromkeys(changed, f"{vault.root.name}\n"))
        git(vault.root, "commit", "-qam", "Changed")
    sync(one)
    report = sync(two)
    assert len(report.copies) == len(names)
    sync(one)
    assert git(one.root, "rev-parse", "HEAD^{tree}") == git(two.root, "rev-parse", "HEAD^{tree}")
    assert_clean(one)
    assert_clean(two)


LONG_NAME = f"memory/shared/{'x' * 300}.md"


def test_a_name_that_is_too_long_for_the_disk_stays_in_git_and_stops_nothing(
    tmp_path: Path,
) -> None:
    one, two = pair(tmp_path, {X: "x\n"})
    push_blobs(one, {LONG_NAME: blob(one, b"long\n"), "memory/shared/y.md": blob(one, b"y\n")})
    sync(two)
    assert two.path("memory/shared/y.md").read_text() == "y\n"
    assert LONG_NAME in committed(two.root)
    assert git(two.root, "status", "--porcelain") == ""
    # The next commits keep it.
    write(two, {X: "more\n"})
    assert sync(two).sent == 1
    assert LONG_NAME in committed(two.root)
    push_state = content(tmp_path / "remote.git", LONG_NAME, "main")
    assert push_state == b"long\n"
    # It is changed, and goes, as others.
    sync(one)
    push_blobs(one, {LONG_NAME: blob(one, b"longer\n")})
    sync(two)
    assert content(two.root, LONG_NAME) == b"longer\n"
    sync(one)
    git(one.root, "rm", "-q", "--cached", "--sparse", "--", LONG_NAME)
    git(one.root, "commit", "-qm", "Short names")
    sync(one)
    sync(two)
    assert LONG_NAME not in committed(two.root)
    assert git(two.root, "status", "--porcelain") == ""
    with AVM(two.root, semantic="off") as avm:
        assert_well(avm)


@pytest.mark.parametrize(
    "names",
    [("memory/shared/Rule.md", "memory/shared/rule.md"), (NFC, NFD),
     ("memory/shared/D/x.md", "memory/shared/d/x.md")],
    ids=["case", "unicode", "folders"],
)  # fmt: skip
def test_twins_on_a_disk_that_knows_one_of_them(tmp_path: Path, names: tuple[str, str]) -> None:
    one, two = pair(tmp_path)
    git(two.root, "config", "core.ignoreCase", "true")
    push_blobs(one, {name: blob(one, f"{n}\n".encode()) for n, name in enumerate(names)})
    sync(two)
    assert set(names) <= committed(two.root)
    assert sum(two.path(name).exists() for name in names) == 1
    assert git(two.root, "status", "--porcelain") == ""
    write(two, {X: "x\n"})
    sync(two)
    assert set(names) <= committed(tmp_path / "remote.git", "main")
    # A later change of the twin that has no file moves no file of the other.
    hidden = next(name for name in names if not two.path(name).exists())
    sync(one)
    push_blobs(one, {hidden: blob(one, b"changed\n")})
    sync(two)
    assert content(two.root, hidden) == b"changed\n"
    assert not two.path(hidden).exists()
    assert git(two.root, "status", "--porcelain") == ""


def test_where_case_counts_twins_are_two_files(tmp_path: Path) -> None:
    one, two = pair(tmp_path)
    names = ("memory/shared/Rule.md", "memory/shared/rule.md", NFC, NFD)
    push_blobs(one, {name: blob(one, name.encode()) for name in names})
    sync(two)
    assert [two.path(name).read_bytes() for name in names] == [name.encode() for name in names]
    assert_clean(two)


# Texts that are a trap


def bombs() -> dict[str, bytes]:
    aliases = "a: &a [x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)
    )
    return {
        "aliases": f"---\n{aliases}---\nzebra\n".encode(),
        "depth": b"---\na: " + b"[" * 60_000 + b"\n---\nzebra\n",
        "key": b"---\n" + b"k" * 10_000_000 + b": 1\n---\nzebra\n",
        "value": b"---\ntitle: " + b"v" * 10_000_000 + b"\n---\nzebra\n",
        "open": b"---\n" * 50_000 + b"zebra\n",
    }


@pytest.mark.parametrize("kind", bombs())
def test_front_matter_that_is_a_bomb_is_text(tmp_path: Path, kind: str) -> None:
    one, two = pair(tmp_path, {X: "old\n"})
    bomb = bombs()[kind]
    pushed(one, {X: bomb, "memory/shared/beside.md": "zebra\n"})
    write(two, {"memory/shared/two.md": "two\n"})
    sync(two)
    assert two.path(X).read_bytes() == bomb
    with AVM(two.root, semantic="off") as avm:
        assert "/memory/shared/beside.md" in {hit.path for hit in avm.search("zebra", 10)}
        assert_well(avm)
    # Both sides change it: one stays, the other is kept.
    sync(one)
    pushed(one, {X: bomb + b"theirs\n"})
    write(two, {X: bomb + b"mine\n"})
    report = sync(two)
    texts = two.path(X).read_bytes() + b"".join(
        two.path(copy.lstrip("/")).read_bytes() for copy in report.copies
    )
    assert b"mine\n" in texts
    assert b"theirs\n" in texts


@pytest.mark.parametrize(
    "files",
    [
        {".avm/format": "99\n"},
        {".avm/config.toml": "[sync]\nremote = 'x'\n"},
        {".avm/format": None},
        {".gitattributes": "* filter=evil diff=evil merge=evil\n"},
        {".avmignore": "memory/\n"},
        {".gitignore": "*\n"},
    ],
    ids=lambda files: next(iter(files)),
)
def test_no_file_that_comes_configures_anything(
    tmp_path: Path, files: dict[str, str | bytes | None]
) -> None:
    one, two = pair(tmp_path, {X: "x\n"})
    config = (two.git_dir / "config").read_bytes()
    write(one, files)
    git(one.root, "add", "--all", "--force")
    git(one.root, "commit", "-qm", "Theirs")
    git(one.root, "push", "-q", "origin", "main")
    sync(two)
    assert (two.git_dir / "config").read_bytes() == config
    assert head(two.root) == head(one.root)
    assert_sound(two)


def test_a_tag_or_another_branch_of_the_remote_comes_not_along(tmp_path: Path) -> None:
    one, two = pair(tmp_path)
    git(one.root, "tag", "v1")
    git(one.root, "push", "-q", "origin", "v1", "main:refs/heads/other")
    pushed(one, {X: "x\n"})
    sync(two)
    assert git(two.root, "tag") == ""
    assert "other" not in git(two.root, "for-each-ref")


def test_git_s_replacements_are_not_asked(tmp_path: Path) -> None:
    one, two = pair(tmp_path, {X: "x\n"})
    pushed(one, {X: "y\n"})
    acts: list[Callable[[], object]] = [lambda: sync(two), lambda: sync(one)]
    for act in acts:
        act()
    assert two.path(X).read_text() == "y\n"
