"""Making a vault, adopting what is there without touching it, and taking that back."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import git
from vault_helpers import (
    assert_clean,
    assert_sound,
    commit,
    committed,
    hashes,
    head,
    private,
    remember,
    show,
)

from avm.base.errors import ExistsError, NoVaultError, RepositoryError
from avm.vault.init import adopt, init, make, unadopt
from avm.vault.location import is_vault, open_vault, vault_around

SKELETON = {
    ".avm/format",
    ".avm/README.md",
    ".gitattributes",
    "memory/private/.gitkeep",
    "memory/shared/.gitkeep",
}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository of somebody's: commits, a staged file, an edit, a file that is not tracked."""
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "-q")
    for name in ("kept.md", "staged.md", "edited.txt"):
        (root / name).write_text(f"{name}\r\n")
    (root / "link.md").symlink_to("kept.md")
    git(root, "add", ".")
    git(root, "commit", "-qm", "Mine")
    (root / "staged.md").write_text("staged\n")
    git(root, "add", "staged.md")
    (root / "edited.txt").write_text("edited\n")
    (root / "untracked.md").write_text("new\n")
    return root


def outside_git(root: Path) -> dict[str, str]:
    """The sums of all files but git's."""
    return {name: sum for name, sum in hashes(root).items() if not name.startswith(".git/")}


def config_of(root: Path) -> list[str]:
    """What the repository's own config says."""
    return sorted(git(root, "config", "--local", "--list").splitlines())


@pytest.mark.parametrize("exists", [False, True])
def test_an_absent_or_empty_folder_becomes_a_vault(tmp_path: Path, exists: bool) -> None:
    root = tmp_path / "deep" / "vault"
    if exists:
        root.mkdir(parents=True)
    vault, what = init(root)
    assert (what, vault.root, vault.adopted) == ("made", root.resolve(), False)
    assert committed(root) == SKELETON
    assert (root / ".avm/format").read_text() == "1\n"
    assert git(root, "check-attr", "text", "memory/private/a/b.md").endswith("text: unset")
    assert show(root, "%an <%ae>") == show(root, "%cn <%ce>") == "Pat Person <pat@example.org>"
    assert_clean(vault)


def test_a_second_init_finds_the_vault_and_changes_nothing(tmp_path: Path) -> None:
    init(tmp_path / "v")
    before = hashes(tmp_path / "v")
    vault, what = init(tmp_path / "v")
    assert (what, vault.adopted) == ("found", False)
    assert hashes(tmp_path / "v") == before


def test_make_refuses_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ExistsError, match="not empty"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "variable, value", [("GIT_DEFAULT_HASH", "sha256"), ("GIT_DEFAULT_REF_FORMAT", "reftable")]
)
def test_a_vault_is_made_in_formats_that_libgit2_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    vault, _ = init(tmp_path / "v")
    assert git(vault.root, "rev-parse", "--show-object-format") == "sha1"
    remember(vault, private("a.md"))
    assert len(commit(vault).commits) == 1


def test_the_person_s_branch_name_and_no_signature_are_taken(tmp_path: Path) -> None:
    git(tmp_path, "config", "--global", "init.defaultBranch", "trunk")
    git(tmp_path, "config", "--global", "commit.gpgSign", "true")
    git(tmp_path, "config", "--global", "gpg.program", "/bin/false")
    vault, _ = init(tmp_path / "v")
    assert git(vault.root, "symbolic-ref", "HEAD") == "refs/heads/trunk"
    assert_clean(vault)


def test_adopting_touches_no_file_of_a_repository(repo: Path) -> None:
    before = outside_git(repo)
    at, status = head(repo), git(repo, "status", "--porcelain=v2", "--branch")
    index = (repo / ".git/index").read_bytes()
    vault, what = init(repo)
    assert (what, vault.adopted) == ("adopted", True)
    assert outside_git(repo) == before
    assert (repo / ".git/index").read_bytes() == index
    assert (head(repo), git(repo, "status", "--porcelain=v2", "--branch")) == (at, status)
    assert init(repo) == (vault, "found")


def test_a_folder_of_notes_is_adopted_with_a_repository_of_its_own(tmp_path: Path) -> None:
    root = tmp_path / "notes"
    (root / ".obsidian").mkdir(parents=True)
    (root / ".obsidian/app.json").write_text("{}")
    (root / "Daily note.md").write_bytes(b"\xef\xbb\xbfLink [[x]]\r\n")
    before = hashes(root)
    vault, what = init(root)
    assert (what, vault.adopted) == ("adopted", True)
    assert outside_git(root) == before
    assert git(root, "status", "--porcelain").splitlines() == [
        "?? .obsidian/",
        '?? "Daily note.md"',
    ]
    remember(vault, private("a.md"))
    commit(vault)
    assert committed(root) == {private("a.md")}


EXCLUDES = {
    "git's own": None,
    "absent": "",
    "no newline at the end": "*.log",
    "CRLF": "*.log\r\nbuild/\r\n",
    "not UTF-8": "caf\udce9\n",
}


@pytest.mark.parametrize("name", EXCLUDES)
def test_undo_leaves_everything_as_it_was(repo: Path, name: str) -> None:
    exclude = repo / ".git/info/exclude"
    if EXCLUDES[name] == "":
        exclude.unlink()
    elif text := EXCLUDES[name]:
        exclude.write_bytes(text.encode("utf-8", "surrogateescape"))
    git(repo, "config", "branch.main.description", "Mine [avm] too")
    before, config, at = hashes(repo), config_of(repo), head(repo)
    adopt(repo)
    (repo / ".git/avm/state").mkdir(parents=True)
    assert is_vault(repo)
    assert ".avm-tmp-*" in exclude.read_text("utf-8", "replace").splitlines()
    assert "as they were" in unadopt(repo)
    after = hashes(repo)
    for file in (".git/config", ".git/index"):  # the config's text may differ, its meaning not
        before.pop(file), after.pop(file)
    assert after == before
    assert (config_of(repo), head(repo)) == (config, at)
    assert not (repo / ".git/avm").exists()
    assert not is_vault(repo)
    with pytest.raises(NoVaultError):
        unadopt(repo)


def test_git_still_obeys_the_exclude_file_of_an_adopted_repository(repo: Path) -> None:
    (repo / ".git/info/exclude").write_bytes(b"*.log\r\nunt*")
    (repo / "a.log").write_text("x")
    status = git(repo, "status", "--porcelain")
    assert "untracked" not in status
    adopt(repo)
    assert git(repo, "status", "--porcelain") == status


def test_undo_takes_back_a_repository_that_holds_no_commit(tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("x")
    before = hashes(tmp_path)
    adopt(tmp_path)
    unadopt(tmp_path)
    assert hashes(tmp_path) == before
    assert not (tmp_path / ".git").exists()


def test_undo_keeps_a_repository_that_holds_memories(tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("x")
    vault = adopt(tmp_path)
    remember(vault, private("a.md"))
    commit(vault)
    unadopt(tmp_path)
    assert committed(tmp_path) == {private("a.md")}
    assert not is_vault(tmp_path)


def test_undo_refuses_a_vault_that_was_made(tmp_path: Path) -> None:
    make(tmp_path / "v")
    before = hashes(tmp_path)
    with pytest.raises(RepositoryError, match="not adopted"):
        unadopt(tmp_path / "v")
    assert hashes(tmp_path) == before


def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "b.git")
    before = hashes(tmp_path)
    with pytest.raises(RepositoryError, match="bare"):
        init(tmp_path / "b.git")
    assert hashes(tmp_path) == before


def test_a_folder_inside_another_repository_is_refused(repo: Path) -> None:
    inner = repo / "inner"
    inner.mkdir()
    (inner / "note.md").write_text("x")
    before = hashes(repo)
    with pytest.raises(RepositoryError, match=f"inside the git repository {repo}"):
        init(inner)
    assert hashes(repo) == before


def test_a_file_and_a_missing_folder_are_no_vault_to_adopt(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("file", "missing"):
        with pytest.raises(NoVaultError, match="not a folder"):
            adopt(tmp_path / name)


def test_the_nearest_vault_is_found_past_other_repositories(tmp_path: Path) -> None:
    vault = make(tmp_path / "v")
    inner = vault.root / "code" / "src"
    inner.mkdir(parents=True)
    git(inner.parent, "init", "-q")
    assert vault_around(inner) == vault.root
    assert vault_around(tmp_path) is None
    adopt(inner.parent)
    assert vault_around(inner) == inner.parent


def test_a_tracked_marker_alone_or_a_value_of_false_makes_no_vault(tmp_path: Path) -> None:
    (tmp_path / "a/.avm").mkdir(parents=True)
    (tmp_path / "a/.avm/format").write_text("1\n")
    assert not is_vault(tmp_path / "a")  # no repository
    git(tmp_path, "init", "-q", "b")
    git(tmp_path / "b", "config", "avm.vault", "false")
    assert not is_vault(tmp_path / "b")
    with pytest.raises(NoVaultError, match="avm init"):
        open_vault(tmp_path / "b")


def test_a_linked_worktree_is_a_vault_with_a_state_of_its_own(tmp_path: Path) -> None:
    vault = make(tmp_path / "v")
    git(vault.root, "worktree", "add", "-q", "-b", "side", str(tmp_path / "w"))
    linked = open_vault(tmp_path / "w")
    assert linked.state_dir != vault.state_dir
    assert linked.common_dir == vault.common_dir
    main_at = head(vault.root)
    remember(linked, private("a.md"))
    assert len(commit(linked).commits) == 1
    assert head(vault.root) == main_at
    assert git(vault.root, "log", "-1", "--format=%an", "side") == "akashi"
    assert_clean(linked)
    assert_clean(vault)


def test_a_state_folder_elsewhere_holds_what_would_be_in_the_git_dir(tmp_path: Path) -> None:
    make(tmp_path / "v")
    make(tmp_path / "w")
    one, two = (open_vault(tmp_path / name, tmp_path / "state") for name in "vw")
    assert one.state_dir != two.state_dir
    assert one.state_dir.parent == two.state_dir.parent == tmp_path / "state"
    remember(one, private("a.md"))
    assert len(commit(one).commits) == 1
    assert_clean(one)


def test_a_newer_format_is_refused_in_one_clear_line(tmp_path: Path) -> None:
    vault = make(tmp_path / "v")
    (vault.root / ".avm/format").write_text("2\n")
    for look in (init, open_vault, vault_around):
        with pytest.raises(RepositoryError, match="format 2, this AVM knows 1: upgrade"):
            look(vault.root)


def test_without_a_name_in_git_s_configuration_it_works_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    monkeypatch.setenv("HOME", str(home))
    vault = make(tmp_path / "v")
    remember(vault, private("a.md"))
    assert len(commit(vault).commits) == 1
    name, email = show(vault.root, "%cn|%ce").split("|")
    assert name and "@" in email
    assert_clean(vault)


def test_an_unborn_repository_is_adopted_and_gets_its_first_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "mine.md").write_text("x")
    git(tmp_path, "add", "mine.md")
    vault, what = init(tmp_path)
    assert what == "adopted"
    remember(vault, private("a.md"))
    assert len(commit(vault).commits) == 1
    assert git(tmp_path, "status", "--porcelain") == "A  mine.md"
    assert_sound(vault)
