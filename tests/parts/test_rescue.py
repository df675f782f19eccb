"""Keeping what is about to go: text as a git blob, an expired file in `state/rescue/`."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import git
from vault_helpers import commit, keep_text, private, put, remember

from avm import AVM
from avm.vault.init import make
from avm.vault.location import Vault, open_vault
from avm.vault.rescue import set_aside


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return make(tmp_path / "v")


def kept(vault: Vault) -> list[dict[str, object]]:
    """The records of `kept.jsonl`."""
    file = vault.own_state / "kept.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def blob(vault: Vault, name: object) -> bytes:
    """The bytes of a blob."""
    return subprocess.run(
        ["git", "cat-file", "blob", str(name)], cwd=vault.root, capture_output=True, check=True
    ).stdout


@pytest.mark.parametrize(
    "data", [b"", b"text\n", b"crlf\r\n\0\xff", b"x" * 3_000_000], ids=lambda d: repr(d[:8])
)
def test_text_that_no_commit_holds_is_kept_byte_for_byte(vault: Vault, data: bytes) -> None:
    git(vault.root, "config", "core.autocrlf", "true")
    rel = private("記憶 \udce9.md")
    put(vault, rel, data)
    keep_text(vault, rel)
    if data:  # git has the empty blob from the skeleton
        (record,) = kept(vault)
        assert (record["path"], blob(vault, record["blob"])) == (rel, data)
        assert isinstance(record["at"], float)
    keep_text(vault, rel)
    assert len(kept(vault)) == bool(data)
    assert vault.path(rel).read_bytes() == data
    assert git(vault.root, "diff", "--cached") == ""


def test_each_version_is_kept(vault: Vault) -> None:
    rel = private("a.md")
    for text in ("one", "two"):
        put(vault, rel, text)
        keep_text(vault, rel)
    assert [blob(vault, record["blob"]) for record in kept(vault)] == [b"one", b"two"]


@pytest.mark.parametrize("packed", [False, True])
def test_committed_text_is_not_kept_twice(vault: Vault, packed: bool) -> None:
    remember(vault, private("a.md"))
    commit(vault)
    if packed:
        git(vault.root, "gc", "-q")
    keep_text(vault, private("a.md"))
    assert kept(vault) == []


def test_a_link_a_folder_and_nothing_have_no_text(vault: Vault, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("outside")
    vault.path("memory/shared/link.md").symlink_to(tmp_path / "secret.md")
    for rel in ("memory/shared/link.md", "memory/shared", "memory/shared/none.md"):
        keep_text(vault, rel)
    assert kept(vault) == []


@pytest.mark.parametrize(
    "name",
    ["old.md", "記" * 84 + ".md", "\udce9.md", "x" * 252 + ".md"],
    ids=lambda n: ascii(n)[:9],
)
def test_a_file_set_aside_is_whole_and_out_of_the_work_tree(vault: Vault, name: str) -> None:
    place = put(vault, private(name), b"old\r\n")
    moved = set_aside(vault, private(name))
    assert not place.exists()
    assert moved.parent == vault.own_state / "rescue"
    assert moved.read_bytes() == b"old\r\n"
    assert moved.name.endswith(name[-10:])
    assert git(vault.root, "status", "--porcelain") == ""


def test_files_of_one_name_do_not_overwrite_each_other(vault: Vault) -> None:
    places = set()
    for text in ("one", "two", "three"):
        put(vault, private("a.md"), text)
        places.add(set_aside(vault, private("a.md")))
    assert {place.read_text() for place in places} == {"one", "two", "three"}


def test_a_state_folder_on_another_file_system_takes_it(vault: Vault) -> None:
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == vault.root.stat().st_dev:
        pytest.skip("no second file system")
    with tempfile.TemporaryDirectory(dir=shm) as state:
        moved_vault = open_vault(vault.root, Path(state))
        place = put(vault, private("a.md"), "old")
        assert set_aside(moved_vault, private("a.md")).read_text() == "old"
        assert not place.exists()


def test_a_draft_that_git_does_not_have_survives_an_agent_s_write(tmp_path: Path) -> None:
    with AVM(tmp_path / "v", semantic="off") as avm:
        draft = avm.store.vault.path("memory/shared/p.md")
        draft.write_text("a person's draft\n")
        avm.agent_memory("akashi").write("/memory/shared/p.md", "over it")
        kept = (avm.store.vault.own_state / "kept.jsonl").read_text()
        blob = json.loads(kept)["blob"]
        assert git(avm.store.vault.root, "cat-file", "-p", blob) == "a person's draft"
        assert draft.read_text() == "over it"
    log = git(tmp_path / "v", "log", "-2", "--format=%an: %s", "--", "memory/shared/p.md")
    assert log.splitlines() == ["akashi: edit: p", "Pat Person: remember: p"]


def test_a_second_author_s_write_commits_the_first_one_s_before(tmp_path: Path) -> None:
    with AVM(tmp_path / "v", semantic="off") as avm:
        avm.agent_memory("akashi").write("/memory/shared/both.md", "akashi's")
        avm.agent_memory("bob").write("/memory/shared/both.md", "bob's")
    root = tmp_path / "v"
    assert git(root, "log", "--format=%an", "--", "memory/shared/both.md").split() == [
        "bob",
        "akashi",
    ]
    assert git(root, "show", "HEAD~1:memory/shared/both.md") == "akashi's"
