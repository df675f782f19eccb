"""Secrets through the API: tokens are refused, suspicions are kept and told, contents allowed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, git

from avm import AVM
from avm.base.errors import AccessError, NotFoundError, SecretError
from avm.base.secrets import Finding, find
from avm.vault.allowed import Allowed
from avm.vault.init import make
from avm.vault.staged import LARGEST, staged, staged_bytes

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from secret_shapes import ALNUM, SHAPES, Maker

MAKER = Maker(11)
TOKEN = SHAPES["github-token"](MAKER)
WEAK = f"password: {MAKER.draw(ALNUM, 20)}"


@pytest.fixture
def avm(tmp_path: Path) -> Iterator[AVM]:
    """A new vault as its owner sees it."""
    with AVM(tmp_path / "vault", semantic="off") as opened:
        yield opened


def all_files(avm: AVM) -> list[str]:
    """The files in the work tree."""
    root = avm.store.vault.root
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if path.parts[0] not in (".git", ".avm"))


# Writing


@pytest.mark.parametrize("rule", SHAPES)
def test_a_token_is_refused_before_anything_is_written(avm: AVM, rule: str) -> None:
    token = SHAPES[rule](Maker(2))
    before = all_files(avm)
    with pytest.raises(SecretError) as said:
        avm.remember(f"Two\nlines. {token}\n")
    assert f"({rule}, line 2)" in str(said.value)
    with pytest.raises(SecretError):
        avm.agent_memory("akashi").write("/memory/private/akashi/x.md", f"{token}\n".encode())
    assert all_files(avm) == before
    assert avm.memories() == [] and avm.store.committer.waiting().waiting == {}
    assert not (avm.store.vault.own_state / "authors.jsonl").exists()


def test_a_refusal_tells_the_rule_the_line_and_the_ways_but_not_the_token(avm: AVM) -> None:
    for act in (
        lambda: avm.remember(f"one\n\nthree {TOKEN}"),
        lambda: avm.write("/memory/shared/x.md", f"one\n\nthree {TOKEN}"),
    ):
        with pytest.raises(SecretError) as said:
            act()
        for part in ("github-token, line 3", "write it anyway with allow_secret=True"):
            assert part in str(said.value)
        assert TOKEN not in str(said.value) and "\n" not in str(said.value)


@pytest.mark.parametrize("where", ["title", "tags"])
def test_a_token_in_title_or_tags_is_refused_too(avm: AVM, where: str) -> None:
    with pytest.raises(SecretError, match="github-token, in its title or tags"):
        avm.remember("harmless", **{where: TOKEN})  # type: ignore[arg-type]
    assert avm.memories() == []


def test_a_token_may_be_written_all_the_same(avm: AVM) -> None:
    done = avm.agent_memory("akashi").remember(TOKEN, title="t", allow_secret=True)
    assert done.hints == ()
    raw = avm.read_bytes(done.path)
    assert TOKEN.encode() in raw and avm.store.allowed.is_allowed(raw)
    assert avm.write("/memory/shared/x.md", TOKEN, allow_secret=True).hints == ()
    assert avm.store.allowed.held_because("x.md", TOKEN.encode()) is None


def test_a_suspicion_is_written_and_told(avm: AVM) -> None:
    done = avm.agent_memory("akashi").remember(f"Staging.\n{WEAK}", title="staging db")
    (hint,) = done.hints
    raw = avm.read_bytes(done.path)
    assert done.path == "/memory/private/akashi/staging db.md"
    line = raw.split(b"\n").index(WEAK.encode()) + 1
    assert f"(assigned-secret, line {line})" in hint and "held back from git" in hint
    assert hint.endswith("avm allow '/memory/private/akashi/staging db.md'")
    assert WEAK.split()[1] not in hint
    assert [hit.path for hit in avm.search("staging")] == [done.path]
    reason = avm.store.allowed.held_because("x.md", raw)
    assert (
        reason == f"holds what looks like a secret (assigned-secret, line {line}): avm allow /x.md"
    )
    written = avm.write("/memory/shared/x.md", WEAK)
    assert written.path == "/memory/shared/x.md" and len(written.hints) == 1


def test_the_same_suspicion_again_is_told_again_until_it_is_allowed(avm: AVM) -> None:
    path = avm.remember(WEAK, title="x").path
    again = avm.remember(WEAK, title="x")
    assert again.path == path and len(again.hints) == 2
    assert again.hints[0] == "it was there already: nothing was written"
    allowed = avm.remember(WEAK, title="x", allow_secret=True)
    assert allowed.hints == ("it was there already: nothing was written",)
    assert avm.store.allowed.held_because("x.md", avm.read_bytes(path)) is None


def test_what_is_told_to_be_held_back_is_held_back(avm: AVM) -> None:
    """Also where the suspicion stands beyond what is looked at."""
    for name, filler in (("near", 1), ("far", 1_100_000)):
        hints = avm.write(f"memory/shared/{name}.md", " \n" * filler + WEAK).hints
        avm.commit()
        tracked = git(avm.store.vault.root, "ls-files", f"memory/shared/{name}.md")
        assert bool(hints) != bool(tracked)


def test_ordinary_text_has_no_hints(avm: AVM) -> None:
    assert avm.remember("RSI > 70 → exit").hints == ()
    assert avm.write("/memory/shared/y.md", "token: rotate it in May").hints == ()
    assert not (avm.store.vault.own_state / "allowed.jsonl").exists()


# Allowing


def test_allow_goes_by_content(avm: AVM) -> None:
    path = avm.remember(WEAK, title="x").path
    file = avm.store.vault.root / path[1:]
    raw = file.read_bytes()
    assert avm.allow(path) == find(raw) != []
    assert avm.store.allowed.held_because("x.md", raw) is None
    file.write_bytes(raw + b"more\n")
    assert avm.store.allowed.held_because("x.md", file.read_bytes()) is not None
    file.write_bytes(raw)
    assert avm.store.allowed.held_because("x.md", file.read_bytes()) is None


def test_allow_of_a_file_without_secrets_notes_nothing(avm: AVM) -> None:
    path = avm.remember("harmless").path
    assert avm.allow(path) == []
    assert not (avm.store.vault.own_state / "allowed.jsonl").exists()


def test_allow_takes_any_file_of_the_owner_s(avm: AVM) -> None:
    root = avm.store.vault.root
    (root / ".env").write_text(f"TOKEN={TOKEN}\n")
    assert avm.allow("/.env") == [Finding("github-token", True, 1)]
    with pytest.raises(NotFoundError):
        avm.allow("/nowhere.md")
    with pytest.raises(NotFoundError):
        avm.allow("/.git/config")


def test_an_agent_allows_what_it_may_write(avm: AVM) -> None:
    akashi, hermes = avm.agent_memory("akashi"), avm.agent_memory("hermes")
    path = akashi.remember(WEAK, title="x").path
    with pytest.raises(NotFoundError):
        hermes.allow(path)
    assert avm.store.allowed.held_because("x.md", akashi.read_bytes(path)) is not None
    assert len(akashi.allow(path)) == 1
    (avm.store.vault.root / "memory/shared/.gitignore").write_text(WEAK)
    with pytest.raises(AccessError):
        akashi.allow("/memory/shared/.gitignore")


def test_allow_takes_what_the_owner_staged_as_well(avm: AVM) -> None:
    root = avm.store.vault.root
    file = root / "notes.txt"
    file.write_text(f"{TOKEN}\n")
    git(root, "add", "notes.txt")
    staged_raw = file.read_bytes()
    file.write_text(f"later\n{WEAK}\n")
    found = avm.allow("/notes.txt")
    assert {f.rule for f in found} == {"github-token", "assigned-secret"}
    assert avm.store.allowed.is_allowed(staged_raw)
    assert avm.store.allowed.is_allowed(file.read_bytes())


def test_what_was_allowed_is_kept_in_this_clone_s_state_without_the_secret(avm: AVM) -> None:
    path = avm.remember(TOKEN, title="x", allow_secret=True).path
    journal = avm.store.vault.own_state / "allowed.jsonl"
    told = json.loads(journal.read_text())
    blob = git(avm.store.vault.root, "hash-object", path[1:])
    assert told == {"blob": blob, "path": path[1:], "rules": ["github-token"]}


def test_another_process_s_allowing_is_seen(tmp_path: Path) -> None:
    vault = make(tmp_path / "vault")
    one, other = Allowed(vault), Allowed(vault)
    raw = TOKEN.encode()
    assert not other.is_allowed(raw)
    one.allow("x.md", raw, find(raw))
    one.allow("x.md", raw, find(raw))
    assert other.is_allowed(raw)
    assert (vault.own_state / "allowed.jsonl").read_bytes().count(b"\n") == 1


def test_a_line_cut_short_costs_no_other(tmp_path: Path) -> None:
    vault = make(tmp_path / "vault")
    journal = vault.own_state / "allowed.jsonl"
    first, second = TOKEN.encode(), WEAK.encode()
    Allowed(vault).allow("x.md", first, find(first))
    with journal.open("ab") as file:
        file.write(b'{"blob": "12')
    assert Allowed(vault).is_allowed(first)
    assert not Allowed(vault).is_allowed(b"")
    Allowed(vault).allow("y.md", second, find(second))
    assert Allowed(vault).is_allowed(first) and Allowed(vault).is_allowed(second)


# What is staged


def test_staged_is_what_differs_from_head(tmp_path: Path) -> None:
    vault = make(tmp_path / "vault")
    root = vault.root
    assert list(staged(root, {})) == []
    (root / "new 日本\n.txt").write_text("new")
    (root / "again.txt").write_text("new")
    (root / "empty").touch()
    (root / "link").symlink_to("new")
    (root / "binary").write_bytes(bytes(range(256)) * 10)
    (root / "unstaged").write_text("unstaged")
    (root / "big").write_bytes(b"x" * (LARGEST + 1))
    (root / ".avm/README.md").unlink()
    git(root, "add", "--all")
    git(root, "reset", "--quiet", "unstaged")
    (root / "again.txt").write_text("changed since")
    sub = root / "memory/shared"
    expected = {
        "new 日本\n.txt": b"new",
        "again.txt": b"new",
        "binary": bytes(range(256)) * 10,
    }
    assert dict(staged(root, {})) == expected
    assert dict(staged(sub, {})) == expected
    assert staged_bytes(vault, "again.txt") == b"new"
    assert staged_bytes(vault, "unstaged") is None
    assert staged_bytes(vault, "*.txt") is None


def test_staged_in_many_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = make(tmp_path / "vault")
    monkeypatch.setattr("avm.vault.staged._BATCH", 25)
    for n in range(30):
        (vault.root / f"{n}.txt").write_text(f"{n % 7}\n" * n)
    git(vault.root, "add", "--all")
    assert dict(staged(vault.root, {})) == {
        f"{n}.txt": (f"{n % 7}\n" * n).encode() for n in range(1, 30)
    }


def test_staged_before_the_first_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "x").write_text("x")
    git(tmp_path, "add", "x")
    assert list(staged(tmp_path, {})) == [("x", b"x")]


def test_staged_uses_the_index_that_git_names(tmp_path: Path) -> None:
    vault = make(tmp_path / "vault")
    (vault.root / "x").write_text("x")
    other = {"GIT_INDEX_FILE": str(tmp_path / "index")}
    env = {**os.environ, **other}
    subprocess.run(["git", "add", "x"], cwd=vault.root, env=env, check=True)
    assert ("x", b"x") in list(staged(vault.root, other))
    assert list(staged(vault.root, {})) == []
