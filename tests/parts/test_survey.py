"""A look at some paths says of them what a walk of everything says."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import git

from avm import AVM
from avm.base.errors import RepositoryError
from avm.index.index import Index
from avm.vault import files
from avm.vault.location import Vault, open_vault
from avm.vault.survey import Survey, Walk


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault with a few memories, a folder that git ignores and one that AVM ignores."""
    root = tmp_path / "vault"
    AVM(root).close()
    for rel in ("a", "b", "deep/c", "deep/er/d", "built/e", "drafts/f"):
        write(root / f"memory/shared/{rel}.md", f"text of {rel}")
    write(root / "memory/shared/.gitignore", "built/\n")
    write(root / ".avmignore", "drafts/\n")
    return open_vault(root)


def write(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def names(walk: Walk | None) -> list[str]:
    """The memories' names below shared."""
    assert walk is not None
    return sorted(rel.removeprefix("memory/shared/").removesuffix(".md") for rel in walk.memories)


def test_a_walk_tells_folders_second_names_and_odd_names(vault: Vault) -> None:
    shared = vault.path("memory/shared")
    os.link(shared / "a.md", vault.root / "second.txt")
    (Path(os.fsdecode(os.fsencode(shared) + b"/\xff.md"))).write_text("odd")
    found = Survey(vault).walk()
    assert names(found) == ["a", "b", "deep/c", "deep/er/d"]
    assert found.folders == {
        "", "memory", "memory/private", "memory/shared", "memory/shared/deep",
        "memory/shared/deep/er",
    }  # fmt: skip
    assert found.linked == {"memory/shared/a.md"}
    assert found.undecodable == ["memory/shared/\udcff.md"]


def test_a_look_before_a_walk_tells_nothing(vault: Vault) -> None:
    assert Survey(vault).look([""]) is None


def test_a_look_takes_in_files_and_folders(vault: Vault) -> None:
    survey = Survey(vault)
    survey.walk()
    shared = "memory/shared/"
    assert names(survey.look([shared + "a.md", shared + "none.md"])) == ["a"]
    assert names(survey.look([shared + "deep", shared + "deep/c.md"])) == ["deep/c", "deep/er/d"]
    assert names(survey.look([""])) == names(survey.walk())
    ignored = ["built", "built/e.md", "drafts/f.md", "drafts", ".avm/README.md", ".gitignore"]
    assert names(survey.look([shared + rel for rel in ignored])) == []
    (vault.path(shared) / "link.md").symlink_to("a.md")
    (vault.path(shared) / "way").symlink_to("deep")
    assert names(survey.look([shared + "link.md", shared + "way/c.md", shared + "way"])) == []
    write(vault.path(shared) / "x/y/z.md", "new")
    found = survey.look([shared + "x/y"])
    assert found is not None and found.folders == {shared + "x/y"} and names(found) == ["x/y/z"]
    (vault.path(shared) / "a.md").unlink()
    (vault.path(shared) / "a.md").mkdir()
    assert names(survey.look([shared + "a.md"])) == []


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize(
    ("rel", "text", "left"),
    [
        ("memory/shared/.gitignore", "a.md\n", ["b", "built/e", "deep/c", "deep/er/d"]),
        ("memory/shared/.gitignore", None, ["a", "b", "built/e", "deep/c", "deep/er/d"]),
        ("memory/shared/.gitignore", "bxilt/\n", ["a", "b", "built/e", "deep/c", "deep/er/d"]),
        (".avmignore", "deep/\n", ["a", "b", "drafts/f"]),
        (".avmignore", "deep/\n", ["a", "b", "drafts/f"]),
        ("memory/.avmignore", "*.md\n!/shared/b.md", ["b"]),
        ("memory/shared/deep/.gitignore", "er\n", ["a", "b", "deep/c"]),
    ],
)
def test_rules_that_change_in_the_tree_ask_for_a_walk(
    vault: Vault, rel: str, text: str | None, left: list[str], late: bool
) -> None:
    survey = Survey(vault)
    before = survey.walk()
    if late:
        make_late(survey)
    assert not survey.stale()
    if text is None:
        vault.path(rel).unlink()
    else:
        write(vault.path(rel), text)
    # Told of the rules' file, or of any file that they hold for.
    told = [rel] if late else [*before.memories]
    assert survey.look(told) is None and survey.look([]) is None and survey.stale()
    assert names(survey.walk()) == left
    assert names(survey.look([rel])) == [] and names(survey.look([""])) == left


def make_late(survey: Survey) -> None:
    """As if every rule had been read long after it was written: only stamps tell."""
    for file in (*survey._rule_files.values(), *survey._outer._config, *survey._outer._files):
        file._checked_ns += 10**11


def exclude(vault: Vault) -> None:
    write(vault.common_dir / "info/exclude", "a.md\n")


def own_ignore(vault: Vault) -> None:
    write(Path.home() / ".config/git/ignore", "a.md\n")


def own_config(vault: Vault) -> None:
    write(Path.home() / "mine", "a.md\n")
    git(vault.root, "config", "--global", "core.excludesFile", "~/mine")


def included_config(vault: Vault) -> None:
    write(Path.home() / "mine", "a.md\n")
    write(Path.home() / "more", "[core]\n\texcludesFile = ~/mine\n")


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("change", [exclude, own_ignore, own_config, included_config])
def test_rules_that_change_outside_of_the_tree_are_noticed(
    vault: Vault, change: Callable[[Vault], None], late: bool
) -> None:
    write(Path.home() / "more", "[core]\n\tbare = false\n")
    git(vault.root, "config", "include.path", str(Path.home() / "more"))
    survey = Survey(vault)
    survey.walk()
    if late:
        make_late(survey)
    assert not survey.stale() and not survey.stale()
    change(vault)
    assert survey.stale() and survey.stale()
    assert survey.look(["memory/shared/b.md"]) is None
    assert names(survey.walk()) == ["b", "deep/c", "deep/er/d"]
    assert not survey.stale()


def test_what_git_tracks_is_looked_at_when_git_s_index_changes(vault: Vault) -> None:
    survey = Survey(vault)
    survey.walk()
    rel = "memory/shared/built/e.md"
    assert names(survey.look([rel])) == []
    git(vault.root, "add", "--force", rel)
    assert survey.stale()
    found = survey.look([])
    assert names(found) == ["built/e"] and found is not None and found.scope == {rel}
    assert "memory/shared/built" in found.folders
    assert not survey.stale()
    assert names(survey.look(["memory/shared/a.md"])) == ["a"]
    assert names(survey.look(["memory/shared/built"])) == ["built/e"]
    write(vault.path("memory/shared/built/.avmignore"), "e.md\n")
    assert survey.look(["memory/shared/built/.avmignore"]) is None
    assert names(survey.walk()) == ["a", "b", "deep/c", "deep/er/d"]
    vault.path("memory/shared/built/.avmignore").unlink()
    assert "built/e" in names(survey.walk())
    git(vault.root, "rm", "--quiet", "--cached", rel)
    found = survey.look([])
    assert names(found) == [] and found is not None and found.scope == {rel}


def test_git_s_index_is_no_matter_where_nothing_is_ignored(vault: Vault) -> None:
    vault.path("memory/shared/.gitignore").unlink()
    survey = Survey(vault)
    survey.walk()
    git(vault.root, "add", "--all")
    assert not survey.stale()


def test_looks_agree_with_walks(vault: Vault) -> None:
    """Random changes: what a look at the changed paths says is what a new walk says of them."""
    chance = random.Random(3)
    survey, shared = Survey(vault), vault.path("memory/shared")
    known = dict(survey.walk().memories)
    folders = ["", "deep/", "deep/er/", "new/", "built/", "built/in/"]
    looks = 0
    for _ in range(120):
        folder, other = chance.choice(folders), chance.choice(folders)
        place = shared / folder / f"{chance.choice('abc')}.md"
        target = shared / other / f"{chance.choice('abc')}.md"
        what = chance.choice(["write", "remove", "move", "rmdir", "mvdir", "rule", "track"])
        changed = {place}
        if what == "write":
            write(place, str(chance.random()))
        elif what == "remove":
            place.unlink(missing_ok=True)
        elif what == "move" and place.exists() and target.parent.exists():
            place.rename(target)
            changed.add(target)
        elif what == "rmdir" and folder:
            shutil.rmtree(shared / folder, ignore_errors=True)
            changed = {shared / folder}
        elif what == "mvdir" and folder and (shared / folder).exists():
            changed = {shared / folder, shared / f"moved{chance.randrange(3)}"}
            if not (shared / "moved0").exists():
                (shared / folder).rename(shared / "moved0")
                changed.add(shared / "moved0")
        elif what == "rule" and chance.random() < 0.3:
            rule = shared / folder / chance.choice([".gitignore", ".avmignore"])
            write(rule, chance.choice(["a.md\n", "er\n", "!b.md\n", "", "built\n"]))
            changed.add(rule)
        elif what == "track" and place.exists():
            git(vault.root, "add", "--force", str(place))
        found = survey.look(str(path.relative_to(vault.root)) for path in changed)
        truth = Survey(vault).walk()
        if found is None:
            found = survey.walk()
        else:
            looks += 1
        known = {rel: s for rel, s in known.items() if not below(rel, found.scope)}
        known |= found.memories
        assert known == truth.memories
    assert looks > 60


def below(rel: str, scope: set[str]) -> bool:
    return any(not top or rel == top or rel.startswith(top + "/") for top in scope)


# Through the index


def test_a_part_of_the_index_is_brought_up_to_date(vault: Vault) -> None:
    index, other = Index(vault), Index(vault)
    try:
        assert index.refresh_paths(["memory/shared/a.md"]) is None  # nothing was scanned yet
        index.refresh()
        before = index.memory("memory/shared/a.md")
        assert before is not None
        shared = vault.path("memory/shared")
        (shared / "a.md").rename(shared / "deep/moved.md")
        write(shared / "b.md", "another text")
        write(shared / "unseen.md", "nobody told")
        assert index.refresh_paths(["memory/shared/a.md", "memory/shared/deep"]) is not None
        moved = index.memory("memory/shared/deep/moved.md")
        assert moved is not None and moved.id == before.id
        assert index.memory("memory/shared/a.md") is None
        assert index.memory("memory/shared/unseen.md") is None
        shutil.rmtree(shared / "deep")
        odd = os.fsdecode(b"memory/shared/\xff.md")
        vault.path(odd).write_text("odd")
        assert index.refresh_paths(["memory/shared/deep", odd, "memory/shared/b.md"]) is not None
        assert index.memory("memory/shared/deep/moved.md") is None
        assert other.undecodable == (odd,)  # it has never scanned
        vault.path(odd).unlink()
        assert index.refresh_paths(["memory/shared/none"]) is not None and other.undecodable
        assert index.refresh_paths([odd]) is not None and other.undecodable == ()
        assert index.check() == []
        shutil.rmtree(vault.index_dir)
        assert index.refresh_paths(["memory/shared/b.md"]) is None
    finally:
        index.close()
        other.close()


def test_no_folder_is_passed_by_because_no_descriptor_is_left(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey, opened = Survey(vault), files.open_without_links
    assert "deep/c" in names(survey.walk())

    def exhausted(place: str, flags: int) -> int:
        if place.endswith("/deep"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), place)
        return opened(place, flags)

    monkeypatch.setattr(files, "open_without_links", exhausted)
    with pytest.raises(RepositoryError, match="deep: Too many open files; try again"):
        survey.walk()
    monkeypatch.undo()
    assert "deep/c" in names(survey.walk())
