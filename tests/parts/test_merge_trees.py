"""What two commits come to: the same whichever is ours, and no text of either is lost."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from conftest import git
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vault_helpers import FORMATS, make

from avm.base import merging, paths
from avm.base.errors import RepositoryError
from avm.vault import merge_trees
from avm.vault.identity import Identity
from avm.vault.location import Vault
from avm.vault.merge_trees import TreeMerge
from avm.vault.objects import Blob, Objects, Signature, open_objects

#: What stands at each path: its text, and its mode.
Files = Mapping[str, bytes | tuple[bytes, int]]
FILE, PROGRAM, LINK, MODULE = 0o100644, 0o100755, 0o120000, 0o160000
WHO = Signature(Identity("Pat Person", "pat@example.org"), 1_700_000_000, 0)
LONG = b"".join(b"line %d of a long text\n" % number for number in range(20))
X = "x.md"
TABLE = "memory/shared/t.bin"


class Repository:
    """Commits made of files, and merges of them."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.objects: Objects = open_objects(vault)
        self._numbers = itertools.count()

    def commit(self, files: Files, *parents: str) -> str:
        """A commit with exactly these files."""
        put: dict[str, Blob | None] = {}
        for rel, what in files.items():
            data, mode = what if isinstance(what, tuple) else (what, FILE)
            blob = data.decode() if mode == MODULE else self.objects.write_blob(data)
            put[rel] = blob, mode
        if parents:
            gone = self.blobs(parents[0]).keys() - put.keys()
            put |= dict.fromkeys(gone)
        message = f"{next(self._numbers)}\n"
        first = parents[0] if parents else None
        merged = parents[1:] or parents[:1]  # a commit that may change nothing
        made = self.objects.write_commit(first, put, message, WHO, WHO, merged)
        assert made is not None
        if parents and len(parents) == 1:
            tree = git(self.vault.root, "rev-parse", f"{made}^{{tree}}")
            made = git(self.vault.root, "commit-tree", "-p", parents[0], "-m", message, tree)
        return made

    def blobs(self, commit: str) -> dict[str, Blob]:
        """What a commit's tree holds."""
        listed = git(self.vault.root, "ls-tree", "-rz", "--full-tree", commit).split("\0")
        rows = (row.partition("\t") for row in listed if row)
        return {name: (facts.split()[2], int(facts.split()[0], 8)) for facts, _, name in rows}

    def files(self, commit: str) -> dict[str, bytes]:
        """The text at each path."""
        return {
            rel: self.objects.read_blob(blob) if mode != MODULE else blob.encode()
            for rel, (blob, mode) in self.blobs(commit).items()
        }

    def merge(self, ours: str, theirs: str) -> tuple[str, TreeMerge]:
        """The merge commit, and what it came to."""
        found = merge_trees.merge(self.vault, self.objects, ours, theirs, WHO)
        made = self.objects.write_commit(ours, found.put, "merge\n", WHO, WHO, (theirs,))
        assert made is not None
        return made, found

    def both_ways(self, ours: str, theirs: str) -> tuple[str, TreeMerge]:
        """The merge; the other way round it must have the same tree and tell the same."""
        made, found = self.merge(ours, theirs)
        other, told = self.merge(theirs, ours)
        assert self.blobs(made) == self.blobs(other)
        assert (found.copies, sorted(found.kept)) == (told.copies, sorted(told.kept))
        assert found.renamed == told.renamed
        return made, found

    def three(self, base: Files, ours: Files, theirs: Files) -> tuple[dict[str, bytes], TreeMerge]:
        """Merge two children of `base`, both ways; what the merged tree holds, and what is told."""
        start = self.commit(base)
        made, found = self.both_ways(self.commit(ours, start), self.commit(theirs, start))
        return self.files(made), found


@pytest.fixture(params=FORMATS)
def repo(tmp_path: Path, request: pytest.FixtureRequest) -> Repository:
    return Repository(make(tmp_path / "v", request.param))


@pytest.fixture
def quick(tmp_path: Path) -> Repository:
    return Repository(make(tmp_path / "v"))


def winner_and_loser(repo: Repository, one: bytes, other: bytes) -> tuple[bytes, bytes, str]:
    ids = {repo.objects.write_blob(data): data for data in (one, other)}
    loser, winner = sorted(ids)
    return ids[winner], ids[loser], loser


# Texts


def test_changes_of_both_sides_are_there(repo: Repository) -> None:
    base = {X: LONG, "gone.md": b"g\n", "work.txt": b"w\n"}
    ours = {X: b"ours\n" + LONG, "work.txt": b"w\n", "mine.md": b"m\n"}
    theirs = {X: LONG + b"theirs\n", "gone.md": b"g\n", "work.txt": b"W\n", "deep/er/y.md": b"y\n"}
    files, found = repo.three(base, ours, theirs)
    assert files == {
        X: b"ours\n" + LONG + b"theirs\n",
        "work.txt": b"W\n",
        "mine.md": b"m\n",
        "deep/er/y.md": b"y\n",
    }
    assert (found.copies, found.kept, found.renamed) == ({}, [], {})


def test_one_line_changed_by_both_has_a_copy_that_says_of_what(repo: Repository) -> None:
    files, found = repo.three({X: b"old\n"}, {X: b"mine\n"}, {X: b"yours\n"})
    winner, loser, oid = winner_and_loser(repo, b"mine\n", b"yours\n")
    copy = merging.copy_name(X, oid)
    assert files == {X: winner, copy: b'---\nconflict_of: "/x.md"\n---\n' + loser}
    assert found.copies == {copy: X}


def test_an_attachment_changed_by_both_has_a_copy_as_it_was(repo: Repository) -> None:
    files, found = repo.three({TABLE: b"\0a"}, {TABLE: b"\0b"}, {TABLE: b"\0c"})
    winner, loser, oid = winner_and_loser(repo, b"\0b", b"\0c")
    copy = merging.copy_name(TABLE, oid)
    assert files == {TABLE: winner, copy: loser}
    assert found.copies == {copy: TABLE}


def test_two_new_files_of_one_name_are_both_kept(repo: Repository) -> None:
    files, found = repo.three({}, {X: b"mine\n", "a.md": b"a\n"}, {X: b"yours\n", "b.md": b"b\n"})
    winner, loser, oid = winner_and_loser(repo, b"mine\n", b"yours\n")
    assert files[X] == winner
    assert files[merging.copy_name(X, oid)].endswith(loser)
    assert list(found.copies.values()) == [X]


def test_two_new_files_that_are_alike_are_one(repo: Repository) -> None:
    files, found = repo.three({}, {X: b"x\n", "a.md": b"a\n"}, {X: b"x\n"})
    assert files == {X: b"x\n", "a.md": b"a\n"}
    assert not found.copies


def test_an_edit_wins_over_a_removal_and_is_named(repo: Repository) -> None:
    files, found = repo.three({X: b"old\n", "y.md": b"y\n"}, {"y.md": b"y\n"}, {X: b"new\n"})
    assert files == {X: b"new\n"}
    assert found.kept == [X]


def test_what_both_removed_is_gone(repo: Repository) -> None:
    files, found = repo.three({X: b"old\n", "y.md": b"y\n"}, {"y.md": b"y\n"}, {"y.md": b"Y\n"})
    assert files == {"y.md": b"Y\n"}
    assert found.kept == []


# Renames


@pytest.mark.parametrize(
    "old, new",
    [
        ("memory/private/akashi/x.md", "memory/private/bob/x.md"),
        ("memory/private/akashi/x.md", "memory/shared/x.md"),
        ("memory/shared/x.md", "memory/private/bob/x.md"),
        ("x.md", "memory/shared/x.md"),
    ],
)
def test_no_text_follows_what_looks_like_a_rename_to_somebody_elses_folder(
    repo: Repository, old: str, new: str
) -> None:
    files, found = repo.three({old: LONG}, {new: LONG + b"his\n"}, {old: LONG + b"mine\n"})
    assert files == {new: LONG + b"his\n", old: LONG + b"mine\n"}
    assert found.kept == [old]


def test_empty_files_are_no_renames(repo: Repository) -> None:
    files, _ = repo.three({X: b""}, {"new.md": b""}, {X: b"text\n"})
    assert files == {X: b"text\n", "new.md": b""}


def test_a_rename_takes_the_other_sides_edit_along(repo: Repository) -> None:
    files, found = repo.three({X: LONG}, {"new.md": LONG}, {X: LONG + b"more\n"})
    assert files == {"new.md": LONG + b"more\n"}
    assert (found.copies, found.kept, found.renamed) == ({}, [], {})


def test_two_edits_in_a_renamed_file_that_clash_have_a_copy_beside_the_new_name(
    repo: Repository,
) -> None:
    files, found = repo.three({X: LONG}, {"new.md": LONG + b"mine\n"}, {X: LONG + b"yours\n"})
    assert set(found.copies.values()) == {"new.md"}
    assert {b"mine", b"yours"} <= set(b"".join(files.values()).split(b"\n"))


def test_of_two_new_names_the_last_stays_with_both_edits(repo: Repository) -> None:
    files, found = repo.three({X: LONG}, {"b.md": b"top\n" + LONG}, {"a.md": LONG + b"end\n"})
    assert files == {"b.md": b"top\n" + LONG + b"end\n"}
    assert found.renamed == {("a.md", "b.md"): "b.md"}


def test_two_files_renamed_to_one_name_are_both_kept(repo: Repository) -> None:
    other = LONG.replace(b"line", b"verse")
    files, found = repo.three({"a.md": LONG, "b.md": other}, {"n.md": LONG, "b.md": other},
                              {"a.md": LONG, "n.md": other})  # fmt: skip
    winner, loser, oid = winner_and_loser(repo, LONG, other)
    assert files.keys() == {"n.md", merging.copy_name("n.md", oid)}
    assert files["n.md"] == winner
    assert files[merging.copy_name("n.md", oid)].endswith(loser)
    assert set(found.copies.values()) == {"n.md"}


def test_what_one_side_renamed_and_the_other_removed_stays_under_its_new_name(
    repo: Repository,
) -> None:
    files, found = repo.three({X: LONG, "y": b"y"}, {"new.md": LONG, "y": b"y"}, {"y": b"y"})
    assert files == {"new.md": LONG, "y": b"y"}
    assert found.kept == ["new.md"]


def test_names_that_were_swapped_stay_swapped(repo: Repository) -> None:
    other = LONG.replace(b"line", b"verse")
    base = {"a.md": LONG, "b.md": other}
    files, _ = repo.three(base, {"a.md": other, "b.md": LONG}, base | {"c.md": b"c\n"})
    assert files == {"a.md": other, "b.md": LONG, "c.md": b"c\n"}


def test_a_new_file_at_the_new_name_of_another_is_kept_beside_it(repo: Repository) -> None:
    files, found = repo.three({X: LONG}, {"n.md": LONG}, {X: LONG + b"more\n", "n.md": b"new\n"})
    assert sorted(map(len, (found.copies, found.kept))) == [0, 1]
    texts = b"".join(files.values())
    assert LONG + b"more\n" in texts
    assert b"new\n" in texts


# Modes, links, submodules


@pytest.mark.parametrize(
    "base, one, other, wanted",
    [
        (FILE, PROGRAM, FILE, PROGRAM),
        (PROGRAM, FILE, PROGRAM, FILE),
        (None, FILE, PROGRAM, PROGRAM),
    ],
)
def test_a_mode_is_that_of_the_side_that_changed_it(
    repo: Repository, base: int | None, one: int, other: int, wanted: int
) -> None:
    start = repo.commit({"run.sh": (LONG, base)} if base else {})
    ours = repo.commit({"run.sh": (b"top\n" + LONG if base else LONG, one)}, start)
    theirs = repo.commit({"run.sh": (LONG + b"end\n" if base else LONG, other)}, start)
    made, _ = repo.both_ways(ours, theirs)
    assert repo.blobs(made)["run.sh"][1] == wanted
    assert repo.files(made)["run.sh"] == (b"top\n" + LONG + b"end\n" if base else LONG)


def test_of_two_targets_of_a_link_one_stays_and_the_other_is_kept(repo: Repository) -> None:
    start = repo.commit({"l": (b"a", LINK)})
    made, found = repo.both_ways(
        repo.commit({"l": (b"b", LINK)}, start), repo.commit({"l": (b"c", LINK)}, start)
    )
    assert set(repo.files(made).values()) == {b"b", b"c"}
    assert {mode for _, mode in repo.blobs(made).values()} == {LINK}
    assert set(found.copies.values()) == {"l"}


def test_of_a_link_and_a_text_one_stays_and_the_other_is_kept(repo: Repository) -> None:
    start = repo.commit({X: LONG})
    made, found = repo.both_ways(
        repo.commit({X: (b"elsewhere.md", LINK)}, start), repo.commit({X: b"top\n" + LONG}, start)
    )
    assert set(repo.files(made).values()) == {b"elsewhere.md", b"top\n" + LONG}
    assert {mode for _, mode in repo.blobs(made).values()} == {LINK, FILE}
    assert set(found.copies.values()) == {X}


def test_a_submodule_that_one_side_moved_is_moved(quick: Repository) -> None:
    was, now = (b"%d" % digit * 40 for digit in (1, 2))
    start = quick.commit({"sub": (was, MODULE), X: b"x\n"})
    made, _ = quick.both_ways(
        quick.commit({"sub": (now, MODULE), X: b"x\n"}, start),
        quick.commit({"sub": (was, MODULE), X: b"y\n"}, start),
    )
    assert quick.files(made) == {"sub": now, X: b"y\n"}


def test_a_submodule_that_both_sides_moved_is_left_to_git(quick: Repository) -> None:
    start, one, other = ({"sub": (b"%d" % digit * 40, MODULE), X: b"x\n"} for digit in range(1, 4))
    base = quick.commit(start)
    sides = quick.commit(one, base), quick.commit(other, base)
    with pytest.raises(RepositoryError, match="sub is a submodule that both sides changed"):
        quick.merge(*sides)


# Files and folders


def test_a_file_where_the_other_side_has_a_folder_is_kept_beside_that(repo: Repository) -> None:
    files, found = repo.three({}, {"a.md": b"file\n", "z": b""}, {"a.md/b.md": b"b\n"})
    oid = repo.objects.write_blob(b"file\n")
    copy = merging.copy_name("a.md", oid)
    assert files == {"a.md/b.md": b"b\n", copy: b"file\n", "z": b""}
    assert found.copies == {copy: "a.md"}


def test_a_folder_that_became_a_file_here_and_got_a_file_there_keeps_both(
    repo: Repository,
) -> None:
    base = {"d/a.md": b"a\n", "d/b.md": b"b\n"}
    files, found = repo.three(base, {"d": b"file\n"}, base | {"d/c.md": b"c\n", "d/a.md": b"A\n"})
    copy = merging.copy_name("d", repo.objects.write_blob(b"file\n"))
    assert files == {"d/a.md": b"A\n", "d/c.md": b"c\n", copy: b"file\n"}
    assert found.kept == ["d/a.md"]
    assert found.copies == {copy: "d"}


def test_a_file_that_became_a_folder_here_and_was_edited_there_keeps_both(
    repo: Repository,
) -> None:
    files, found = repo.three({"d": b"one\n"}, {"d/x.md": b"x\n"}, {"d": b"two\n"})
    copy = merging.copy_name("d", repo.objects.write_blob(b"two\n"))
    assert files == {"d/x.md": b"x\n", copy: b"two\n"}
    assert found.copies == {copy: "d"}


# Names of copies


def test_a_copys_name_that_another_text_has_gets_more_digits(repo: Repository) -> None:
    _, _, oid = winner_and_loser(repo, b"mine\n", b"yours\n")
    taken = merging.copy_name(X, oid)
    files, found = repo.three(
        {X: b"old\n", taken: b"taken\n"},
        {X: b"mine\n", taken: b"taken\n"},
        {X: b"yours\n", taken: b"taken\n"},
    )
    assert files[taken] == b"taken\n"
    assert found.copies == {merging.copy_name(X, oid, 12): X}


def test_a_copys_name_that_one_side_set_free_is_free_on_both(repo: Repository) -> None:
    _, _, oid = winner_and_loser(repo, b"mine\n", b"yours\n")
    free = merging.copy_name(X, oid)
    _, found = repo.three(
        {X: b"old\n", free: b"taken\n"}, {X: b"mine\n", free: b"taken\n"}, {X: b"yours\n"}
    )
    assert list(found.copies.values()) == [X]


def test_a_copy_that_one_side_settled_stays_settled(repo: Repository) -> None:
    start = repo.commit({X: b"old\n"})
    merged, found = repo.both_ways(
        repo.commit({X: b"mine\n"}, start), repo.commit({X: b"yours\n"}, start)
    )
    (copy,) = found.copies
    settled = repo.commit({X: b"settled\n"}, merged)
    beside = repo.commit(repo.files(merged) | {"y.md": b"y\n"}, merged)
    made, _ = repo.both_ways(settled, beside)
    assert repo.files(made) == {X: b"settled\n", "y.md": b"y\n"}
    assert copy not in repo.files(made)


# Histories


def test_histories_that_crossed_merge_over_an_ancestor_of_both(repo: Repository) -> None:
    start = repo.commit({X: LONG})
    one = repo.commit({X: b"top\n" + LONG, "a.md": b"a\n"}, start)
    two = repo.commit({X: LONG + b"end\n", "b.md": b"b\n"}, start)
    left, _ = repo.merge(one, two)
    right, _ = repo.merge(two, one)
    text = repo.files(left)[X]
    ours = repo.commit(repo.files(left) | {X: text.replace(b"top", b"TOP")}, left)
    theirs = repo.commit(repo.files(right) | {X: text.replace(b"end", b"END")}, right)
    assert len(merge_trees.merge_bases(repo.vault, ours, theirs)) == 2
    made, found = repo.both_ways(ours, theirs)
    assert repo.files(made)[X] == b"TOP\n" + LONG + b"END\n"
    assert repo.files(made)["a.md"] == b"a\n"
    assert not found.copies


def test_histories_that_crossed_in_a_conflict_have_its_copy_once(repo: Repository) -> None:
    start = repo.commit({X: b"old\n"})
    one, two = repo.commit({X: b"mine\n"}, start), repo.commit({X: b"yours\n"}, start)
    left, _ = repo.merge(one, two)
    right, _ = repo.merge(two, one)
    right = repo.commit(repo.files(right), right)
    made, found = repo.both_ways(left, right)
    assert repo.files(made) == repo.files(left)
    assert not found.copies


def test_histories_with_nothing_in_common_have_all_files_of_both(repo: Repository) -> None:
    made, found = repo.both_ways(
        repo.commit({"a.md": b"a\n", X: b"mine\n"}), repo.commit({"b.md": b"b\n", X: b"yours\n"})
    )
    assert {"a.md", "b.md", X} < repo.files(made).keys()
    assert list(found.copies.values()) == [X]


def test_names_that_are_no_utf_8_merge_as_others(repo: Repository) -> None:
    name = os.fsdecode(b"memory/shared/caf\xe9.md")
    files, _ = repo.three({name: LONG}, {name: b"top\n" + LONG}, {name: LONG + b"end\n"})
    assert files == {name: b"top\n" + LONG + b"end\n"}


def test_control_characters_in_names_are_kept(repo: Repository) -> None:
    name = "memory/shared/a\tb\nc\x07.md"
    files, found = repo.three({name: b"old\n"}, {name: b"mine\n"}, {name: b"yours\n"})
    assert set(found.copies.values()) == {name}
    assert files.keys() == {name, *found.copies}


# Beside git's own merge


def test_git_comes_to_the_same_where_nothing_clashes(quick: Repository) -> None:
    base = {X: LONG, "a.md": LONG.replace(b"line", b"a"), "gone.md": b"g\n", "w.txt": LONG}
    ours = {X: b"t\n" + LONG, "A.md": base["a.md"], "w.txt": LONG + b"e\n", "gone.md": b"g\n"}
    theirs = {X: LONG + b"e\n", "a.md": base["a.md"] + b"e\n", "w.txt": b"t\n" + LONG}
    start = quick.commit(base)
    one, other = quick.commit(ours, start), quick.commit(theirs, start)
    tree = git(quick.vault.root, "merge-tree", "--write-tree", one, other)
    made, _ = quick.both_ways(one, other)
    assert git(quick.vault.root, "rev-parse", f"{made}^{{tree}}") == tree


# Whatever the two sides did

NAMES = ("a.md", "b.md", "d/a.md", "d/e/c.md", "d", "t.txt", "t.bin")
_words = itertools.count()


def part(*lines: bytes) -> bytes:
    return b"\n".join([*lines, b""])


@st.composite
def trees(draw: st.DrawFn, word: str) -> dict[str, tuple[bytes, int]]:
    """A tree; each of its files has lines of its own."""
    files: dict[str, tuple[bytes, int]] = {}
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True)):
        if not clashes(files, name):
            files[name] = new_text(draw, f"{word}-{name}"), FILE
    return files


def new_text(draw: st.DrawFn, word: str) -> bytes:
    size = draw(st.integers(1, 6))
    lines = [f"{word}-{n}".replace("/", "-").encode() for n in range(size)]
    front = [b"---", f"title: {word}".encode(), b"---"] if draw(st.booleans()) else []
    return part(*front, *lines)


def clashes(files: Mapping[str, object], name: str) -> bool:
    """Whether a file `name` cannot stand in a tree beside the others."""
    return any(
        name == other or other.startswith(f"{name}/") or name.startswith(f"{other}/")
        for other in files
    )


@st.composite
def edits(
    draw: st.DrawFn, files: dict[str, tuple[bytes, int]], word: str
) -> dict[str, tuple[bytes, int]]:
    """The tree after a few changes; what is new is in words that nobody else has."""
    files = dict(files)
    for number in range(draw(st.integers(0, 4))):
        tag = f"{word}{number}"
        how = draw(st.sampled_from(["edit", "edit", "rename", "remove", "add", "mode", "link"]))
        if how == "add" or not files:
            name = draw(st.sampled_from(NAMES))
            if not clashes(files, name):
                files[name] = new_text(draw, tag), FILE
            continue
        name = draw(st.sampled_from(sorted(files)))
        data, mode = files[name]
        if how == "edit" and mode != LINK:
            lines = data.splitlines()
            at = draw(st.integers(0, len(lines)))
            taken = draw(st.integers(0, 1))
            files[name] = part(*lines[:at], tag.encode(), *lines[at + taken :]), mode
        elif how == "rename":
            new = draw(st.sampled_from(NAMES))
            del files[name]
            name = name if clashes(files, new) else new
            files[name] = data, mode
        elif how == "remove":
            del files[name]
        elif how == "mode" and mode != LINK:
            files[name] = data, FILE + PROGRAM - mode
        elif how == "link":
            files[name] = tag.encode(), LINK
    return files


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, tuple[bytes, int]]]:
    """A base, two sides of it, and what each did after both had merged."""
    base = draw(trees("base"))
    return [base, draw(edits(base, "one")), draw(edits(base, "two"))]


@pytest.fixture(scope="module")
def shared() -> Iterator[Repository]:
    """One repository for many examples. It sees no settings but these."""
    top = Path(tempfile.mkdtemp(prefix="avm-merge-"))
    patch = pytest.MonkeyPatch()
    from conftest import move_into

    (top / "home").mkdir()
    move_into(top / "home", patch)
    try:
        yield Repository(make(top / "v"))
    finally:
        patch.undo()
        shutil.rmtree(top)


def words_in(files: Mapping[str, bytes]) -> set[bytes]:
    """The lines that a side wrote, and the targets of links."""
    lines = {line for data in files.values() for line in data.split(b"\n")}
    return {line for line in lines if line.startswith((b"one", b"two"))}


@settings(suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_two_sides_come_to_one_tree_that_has_what_both_wrote(
    shared: Repository, data: st.DataObject
) -> None:
    base, ours, theirs = data.draw(histories())
    start = shared.commit(base)
    one, other = shared.commit(ours, start), shared.commit(theirs, start)
    made, found = shared.both_ways(one, other)
    files = shared.files(made)
    assert words_in(shared.files(one)) | words_in(shared.files(other)) <= words_in(files)
    assert not any(b"<<<<<<<" in text or b">>>>>>>" in text for text in files.values())
    for copy, rel in found.copies.items():
        assert paths.copied_from(copy) == rel
        assert copy in files
    # Merged once more with either side nothing changes.
    for side in (one, other):
        assert shared.files(shared.merge(made, side)[0]) == files
    # Both machines merged at once, and each went on.
    left, right = shared.merge(one, other)[0], shared.merge(other, one)[0]
    tree = {rel: (files[rel], mode) for rel, (_, mode) in shared.blobs(made).items()}
    left = shared.commit(data.draw(edits(tree, "one9")), left)
    right = shared.commit(data.draw(edits(tree, "two9")), right)
    last, _ = shared.both_ways(left, right)
    # What one took out by then may be gone; what either wrote since is there.
    since = words_in(shared.files(left)) | words_in(shared.files(right))
    fresh = {word for word in since if word.startswith((b"one9", b"two9"))}
    assert fresh <= words_in(shared.files(last))


@settings(suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_side_that_did_nothing_leaves_the_others_tree(
    shared: Repository, data: st.DataObject
) -> None:
    base, ours, _ = data.draw(histories())
    start = shared.commit(base)
    one, other = shared.commit(ours, start), shared.commit(base, start)
    made, found = shared.both_ways(one, other)
    assert shared.blobs(made) == shared.blobs(one)
    assert (found.copies, found.kept) == ({}, [])


def test_git_is_asked_for_nothing_that_a_name_could_say(quick: Repository) -> None:
    names = ["--output=x", ":(glob)*", "-", "a b", "*"]
    base: dict[str, bytes] = dict.fromkeys(names, LONG)
    files, _ = quick.three(
        base, dict.fromkeys(names, b"top\n" + LONG), dict.fromkeys(names, LONG + b"end\n")
    )
    assert files == dict.fromkeys(names, b"top\n" + LONG + b"end\n")


def test_files_that_are_too_large_are_not_merged_by_lines(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "MOST_BYTES", 100)
    ours, theirs = b"top\n" + LONG, LONG + b"end\n"
    files, found = repo.three({X: LONG}, {X: ours}, {X: theirs})
    assert set(files.values()) == {ours, theirs}
    assert list(found.copies.values()) == [X]
