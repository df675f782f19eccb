"""A search that starts after a change sees it, whoever made it and however.

The index stays equal to one that is built anew.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import git, keeper_of, run_avm, wait_for
from vault_helpers import assert_well, index_file

from avm import AVM
from avm.api import keeper as api_keeper
from avm.vault.files import Stamp
from avm.vault.location import open_vault

OLD = 1_700_000_000


class Lab:
    """A vault open in Python, and other programs that change its files."""

    def __init__(self, root: Path, late: bool) -> None:
        self.avm = AVM(root, semantic="off")
        self.root = root
        self._late = late
        for name, word in (("a", "alpha"), ("b", "beta"), ("deep/er/c", "gamma")):
            self.write(f"memory/shared/{name}.md", f"{word} common\n")
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "-m", "First")
        assert self.found("common") == ["a", "b", "deep/er/c"]
        self.settle()

    def write(self, rel: str, text: str) -> Path:
        """Write a file as any program does: open, write, close."""
        place = self.root / rel
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("w") as file:
            file.write(text)
        return place

    def place(self, name: str) -> Path:
        """The file of a note in shared."""
        return self.root / f"memory/shared/{name}.md"

    def sh(self, script: str) -> None:
        """Run a shell script in the shared folder."""
        subprocess.run(["bash", "-ec", script], cwd=self.root / "memory/shared", check=True)

    def found(self, query: str) -> list[str]:
        """The notes that match, by name."""
        hits = self.avm.search(query, 100)
        return sorted(h.path.removeprefix("/memory/shared/").removesuffix(".md") for h in hits)

    def settle(self) -> None:
        """In a `late` lab: as if every file had been read long after it was written.

        Else every file is read again for two seconds and the stamps would never be tried. The next
        write then gets another stamp, as it would after such a time.
        """
        if not self._late:
            return
        with sqlite3.connect(index_file(self.avm.store.vault)) as index:
            index.execute("UPDATE memory SET checked_ns = checked_ns + 60000000000")
        index.close()
        probe, before = self.root / ".git/probe", time.time_ns()

        def ticked() -> bool:
            probe.touch()
            return probe.stat().st_ctime_ns > before

        wait_for(ticked, "the file system's clock to go on")


def rows(index: Path) -> dict[str, list[Any]]:
    """All that an index says, without the numbers that depend on when it was built."""
    queries = {
        "memory": "SELECT path, hash, mtime_ns, ctime_ns, size, inode, title, importance, created,"
        " expires, ttl, agent, pinned, problems, changed, ends FROM memory_at ORDER BY path",
        "tag": "SELECT path, tag FROM tag JOIN memory m ON m.id = memory_id ORDER BY path, tag",
        "link": "SELECT path, kind, target, name FROM link JOIN memory m ON m.id = memory_id"
        " ORDER BY path, kind, target",
        "chunk": "SELECT path, ordinal, first_line, last_line, start_byte, end_byte, head, text,"
        " context, cjk, parts,"
        " hex(chunk.hash) FROM chunk JOIN memory m ON m.id = memory_id ORDER BY path, ordinal",
        "history": "SELECT * FROM history ORDER BY path",
        "head": "SELECT value FROM fact WHERE name = 'head'",
    }
    connection = sqlite3.connect(index)
    try:
        # Raises if the full text is not that of the chunks.
        connection.execute(
            "INSERT INTO chunk_text (chunk_text, rank) VALUES ('integrity-check', 1)"
        )
        connection.rollback()
        return {name: connection.execute(query).fetchall() for name, query in queries.items()}
    finally:
        connection.close()


def assert_as_new(root: Path, kept: Path, tmp: Path) -> None:
    """The index `kept` holds what one that is built now would hold."""
    state = tmp / f"state-{random.randrange(10**9)}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVM_STATE_DIR", str(state))
        with AVM(root, semantic="off") as anew:
            anew.index()
            fresh = index_file(anew.store.vault)
            assert rows(kept) == rows(fresh)


@pytest.fixture(params=["at once", "late", "kept"])
def lab(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lab]:
    """A lab whose index is compared with a new one at the end of the test.

    When it is `kept`, a keeper sees to the index and this process never scans.
    """
    root = tmp_path / "vault"
    with contextlib.ExitStack() as stack:
        if request.param == "kept":
            monkeypatch.setattr(api_keeper, "_BARRIER_SECONDS", 30.0)
            AVM(root, semantic="off").close()
            stack.enter_context(keeper_of(root))
        made = Lab(root, late=request.param == "late")
        stack.callback(made.avm.close)
        yield made
        made.avm.search("common")
        assert_as_new(made.root, index_file(made.avm.store.vault), tmp_path)
        if request.param == "kept":
            index = made.avm.store.index
            assert "_filler" not in vars(index), "this process scanned: the keeper did not answer"
        assert_well(made.avm)


# Single changes: (what happens, what is asked, what is found)


def in_place(lab: Lab) -> None:
    """The same size and inode, at once after it was read."""
    with lab.place("a").open("r+") as file:
        file.write("omega")


def in_place_same_mtime(lab: Lab) -> None:
    place = lab.place("a")
    before = place.stat()
    in_place(lab)
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))


def through_a_second_name(lab: Lab) -> None:
    os.link(lab.place("a"), lab.root / "outside.txt")
    lab.found("common")
    (lab.root / "outside.txt").write_text("omega common\n")


def to_symlink(lab: Lab) -> None:
    lab.place("a").unlink()
    lab.place("a").symlink_to("b.md")


def through_mmap(lab: Lab) -> None:
    import mmap

    with lab.place("a").open("r+") as file, mmap.mmap(file.fileno(), 0) as view:
        view[:5] = b"omega"
        view.flush()


def shell(script: str) -> Callable[[Lab], None]:
    """A change by a shell script."""

    def change(lab: Lab) -> None:
        lab.sh(script)

    change.__name__ = script
    return change


@pytest.mark.parametrize(
    ("change", "gone", "there"),
    [
        (shell("printf 'omega' > new.md"), [], ["new"]),
        (shell("mkdir -p x/y; printf 'omega' > x/y/z.MD"), [], ["x/y/z.MD"]),
        (shell("printf 'omega' >> a.md"), [], ["a"]),
        (in_place, ["a"], ["a"]),
        (in_place_same_mtime, ["a"], ["a"]),
        (through_a_second_name, ["a"], ["a"]),
        (through_mmap, ["a"], ["a"]),
        (shell("sed -i s/alpha/omega/ a.md"), ["a"], ["a"]),
        (shell("printf 'omega common\\n' > t; touch -r a.md t; mv t a.md"), ["a"], ["a"]),
        (shell("printf 'omega common\\n' > t; touch -r a.md t; cp -p t a.md"), ["a"], ["a"]),
        (shell("printf 'omega common\\n' > t; touch -d @1 t; cp -p t a.md"), ["a"], ["a"]),
        (shell("echo omega > b.md; mv b.md a.md"), ["a"], ["a"]),
        (shell("mv a.md a.txt; echo omega > b.md"), ["a"], ["b"]),
        (shell("rm a.md; ln b.md a.md; echo omega > b.md"), ["a"], ["a", "b"]),
        (shell("rm a.md; mkdir a.md; echo omega > a.md/in.md"), ["a"], ["a.md/in"]),
        (to_symlink, ["a"], []),
        (shell("mv a.md .a.md"), ["a"], []),
        (shell("mv a.md a.md~; echo omega > a.md"), ["a"], ["a"]),
        (shell("rm a.md"), ["a"], []),
        (shell(": > a.md; echo omega > b.md"), ["a"], ["b"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_change_is_in_the_next_search(
    lab: Lab, change: Callable[[Lab], None], gone: list[str], there: list[str]
) -> None:
    assert lab.found("alpha") == ["a"] and lab.found("omega") == []
    lab.settle()
    change(lab)
    assert lab.found("omega") == there
    assert lab.found("alpha") == [name for name in ("a",) if name not in gone]
    names = {info.path for info in lab.avm.memories()}
    place = lab.place("a")
    assert ("/memory/shared/a.md" in names) == (place.is_file() and not place.is_symlink())


def test_moves(lab: Lab) -> None:
    lab.sh("mv a.md b.md deep/")
    assert lab.found("common") == ["deep/a", "deep/b", "deep/er/c"]
    lab.settle()
    lab.sh("mv deep/a.md t; mv deep/b.md deep/a.md; mv t deep/b.md")
    assert (lab.found("alpha"), lab.found("beta")) == (["deep/b"], ["deep/a"])
    lab.settle()
    lab.sh("mv deep DEEP")
    assert lab.found("common") == ["DEEP/a", "DEEP/b", "DEEP/er/c"]
    lab.settle()
    lab.sh("cp -a DEEP copy")
    assert len(lab.found("common")) == 6
    lab.sh("rm -r DEEP copy")
    assert lab.found("common") == []


def test_git_moves_files_about(lab: Lab) -> None:
    def run(*args: str) -> None:
        lab.settle()
        git(lab.root, *args)

    run("checkout", "--quiet", "-b", "other")
    lab.sh("sed -i s/alpha/omega/ a.md; rm b.md; echo delta common > d.md")
    run("add", "--all")
    run("commit", "--quiet", "-m", "Other")
    assert lab.found("common") == ["a", "d", "deep/er/c"]
    run("checkout", "--quiet", "main")
    assert (lab.found("alpha"), lab.found("omega"), lab.found("beta")) == (["a"], [], ["b"])
    run("checkout", "--quiet", "other")
    assert (lab.found("alpha"), lab.found("omega"), lab.found("delta")) == ([], ["a"], ["d"])
    lab.sh("sed -i s/omega/sigma/ a.md")
    assert lab.found("sigma") == ["a"]
    run("stash", "--quiet")
    assert (lab.found("sigma"), lab.found("omega")) == ([], ["a"])
    run("stash", "pop", "--quiet")
    assert (lab.found("sigma"), lab.found("omega")) == (["a"], [])
    run("reset", "--quiet", "--hard", "main")
    assert (lab.found("common"), lab.found("alpha")) == (["a", "b", "deep/er/c"], ["a"])
    run("mv", "memory/shared/a.md", "memory/shared/moved.md")
    run("commit", "--quiet", "-m", "Move")
    assert lab.found("alpha") == ["moved"]
    run("commit", "--quiet", "--amend", "-m", "Moved", "--date", "2020-01-01T00:00:00Z")
    run("rm", "--quiet", "memory/shared/b.md")
    assert lab.found("beta") == []


def test_dates_follow_git(lab: Lab) -> None:
    """What ranks by recency is the same as in a fresh index after commits, amends and resets."""
    tmp = lab.root.parent
    for date, text in ((OLD, "alpha two common\n"), (OLD + 900, "alpha three common\n")):
        lab.write("memory/shared/a.md", text)
        git(lab.root, "commit", "--quiet", "-am", "Edit", "--date", str(date))
        lab.found("alpha")
        assert_as_new(lab.root, index_file(lab.avm.store.vault), tmp)
    git(lab.root, "reset", "--quiet", "--soft", "HEAD~1")
    assert lab.found("three") == ["a"]


def test_a_new_stamp_alone_is_a_change(lab: Lab) -> None:
    """What is not committed ranks by its stamp, and what was kept of the order must go."""
    for name, day in (("x", 1), ("y", 2)):
        os.utime(
            lab.write(f"memory/shared/{name}.md", f"{name} undated"), (OLD + day * 86_400,) * 2
        )
    lab.settle()

    def newest() -> list[str]:
        found = [hit.path for hit in lab.avm.search("since:2023-01-01", 100)]
        return [path[-4] for path in found if path[-4] in "xy"]

    assert newest() == ["y", "x"]
    before = lab.avm.store.index.generation()
    os.utime(lab.place("x"), (OLD + 3 * 86_400,) * 2)
    assert newest() == ["x", "y"]
    assert lab.avm.store.index.generation() != before


def test_ignore_rules_come_and_go(lab: Lab) -> None:
    lab.write("memory/shared/deep/d.md", "delta common")
    lab.write("memory/shared/x/e.md", "epsilon common")
    all_of_it = ["a", "b", "deep/d", "deep/er/c", "x/e"]
    assert lab.found("common") == all_of_it
    for rel, rule, left in (
        (".gitignore", "x/", ["a", "b", "deep/d", "deep/er/c"]),
        ("memory/shared/.gitignore", "*\n!x/\n!e.md", ["a", "b", "deep/er/c", "x/e"]),
        (".git/info/exclude", "d.md", ["a", "b", "deep/er/c", "x/e"]),
        (".avmignore", "deep/", ["a", "b", "x/e"]),
        ("memory/.avmignore", "*.md\n!/shared/b.md", ["b"]),
        ("memory/shared/deep/.avmignore", "er", ["a", "b", "deep/d", "x/e"]),
    ):
        lab.settle()
        place = lab.root / rel
        before = place.read_text() if place.exists() else None
        lab.write(rel, rule + "\n")
        assert lab.found("common") == left, rel
        assert len(lab.avm.memories()) == len(left), rel
        if before is None:
            place.unlink()
        else:
            place.write_text(before)
        assert lab.found("common") == all_of_it, rel


def test_what_is_ignored_is_what_git_ignores(tmp_path: Path) -> None:
    """Random rules in random folders, compared with git's own answer."""
    chance = random.Random(5)
    folders = ["", "a", "a/b", "b", "a/a", "b/a/b", "c d"]
    names = ["a.md", "b.md", "x y.md", "[z].md", "B.MD"]
    rules = [
        "*", "*.md", "a", "b", "a.md", "a/", "b/", "**/a", "a/**", "a/*", "*/b", "**/b/", "a/b",
        "?.md", "[ab].md", "a*", "c d", "c\\ d/", "x y.md ", "\\[z].md", "**", "a/**/b", "/a",
        "/b/", "/*", "*/", "#a", "\\#a", "[!a]*", "", "b/a", "a/*.md", "**/", "[z].md", ".*",
    ]  # fmt: skip
    with AVM(tmp_path / "vault", semantic="off") as avm:
        root = avm.store.vault.root
        for folder in folders:
            (root / folder).mkdir(parents=True, exist_ok=True)
            for name in names:
                (root / folder / name).write_text("common")
        for _ in range(100):
            for old in root.rglob(".gitignore"):
                old.unlink()
            for _ in range(chance.randint(1, 3)):
                lines = [chance.choice(["", "", "!"]) + chance.choice(rules) for _ in range(3)]
                file = root / chance.choice(folders) / ".gitignore"
                file.write_text(chance.choice(["", "\ufeff"]) + "\n".join(lines))
            listed = git(root, "ls-files", "-coz", "--exclude-standard").split("\0")
            expected = {f"/{name}" for name in listed if name[-3:].lower() == ".md"}
            expected -= {"/.avm/README.md"}
            told = {str(p): p.read_text() for p in root.rglob(".gitignore")}
            assert {info.path for info in avm.memories()} == expected, told


def test_the_user_s_own_ignore_file(lab: Lab) -> None:
    lab.write("memory/shared/draft.md", "common draft")
    mine = Path.home() / ".config/git/ignore"
    mine.parent.mkdir(parents=True)
    mine.write_text("draft.md\n")
    assert lab.found("draft") == []
    other = Path.home() / "ignore"
    other.write_text("b.md\n")
    git(lab.root, "config", "core.excludesFile", str(other))
    assert lab.found("draft") == ["draft"] and lab.found("beta") == ["b"]


def test_a_tracked_file_is_a_memory_though_it_matches(lab: Lab) -> None:
    lab.write(".gitignore", "*.md\n")
    lab.write("memory/shared/new.md", "common new")
    assert lab.found("common") == ["a", "b", "deep/er/c"]
    git(lab.root, "add", "--force", "memory/shared/new.md")
    assert lab.found("common") == ["a", "b", "deep/er/c", "new"]
    git(lab.root, "rm", "--quiet", "--cached", "memory/shared/new.md")
    assert lab.found("common") == ["a", "b", "deep/er/c"]
    lab.settle()
    with lab.place("a").open("r+") as file:
        file.write("omega")
    assert lab.found("omega") == ["a"]
    lab.write("memory/shared/deep/.avmignore", "*\n")
    assert lab.found("common") == ["a", "b"]
    lab.sh("rm -r deep b.md")
    assert lab.found("common") == ["a"]


# The index itself


def test_the_index_may_go_at_any_moment(lab: Lab) -> None:
    for _ in range(3):
        shutil.rmtree(lab.avm.store.vault.index_dir)
        assert lab.found("common") == ["a", "b", "deep/er/c"]
        lab.sh("echo ' common' >> a.md")
        shutil.rmtree(lab.avm.store.vault.index_dir)
        assert len(lab.avm.memories()) == 3


def noise(size: int) -> bytes:
    """The same random bytes each time."""
    return random.Random(7).randbytes(size)


def overwritten(data: bytes, start: int) -> bytes:
    """`data` with noise from `start` on."""
    return data[:start] + noise(len(data) - start)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "noise": lambda data: noise(len(data)),
    "noise after the header": lambda data: overwritten(data, 100),
    "noise after the first page": lambda data: overwritten(data, 4096),
    "noise in the second half": lambda data: overwritten(data, len(data) // 2),
    "text": lambda data: b"not a database",
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "one page": lambda data: data[:4096],
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("when", ["closed", "open", "open, a new file"])
def test_a_damaged_index_is_built_again(tmp_path: Path, damage: str, when: str) -> None:
    lab = Lab(tmp_path / "vault", late=True)
    index = index_file(lab.avm.store.vault)
    _checkpoint(index)
    broken = DAMAGE[damage](index.read_bytes())
    if when == "closed":
        lab.avm.close()
        lab.avm = AVM(lab.root, semantic="off")
    if when != "open":
        for suffix in ("", "-wal", "-shm"):
            index.with_name(index.name + suffix).unlink(missing_ok=True)
    index.write_bytes(broken)
    try:
        assert lab.found("common") == ["a", "b", "deep/er/c"]
        assert lab.avm.remember("common new", title="new").path == "/memory/shared/new.md"
        assert lab.found("common") == ["a", "b", "deep/er/c", "new"]
        assert lab.avm.status().memories == 4
        assert_as_new(lab.root, index_file(lab.avm.store.vault), tmp_path)
    finally:
        lab.avm.close()


def test_a_damaged_page_anywhere_is_no_matter(tmp_path: Path) -> None:
    """Pages that only some questions read: the header and the list of files are fine."""
    lab = Lab(tmp_path / "vault", late=True)
    index = index_file(lab.avm.store.vault)
    _checkpoint(index)
    lab.avm.close()
    good = index.read_bytes()
    rebuilt = 0
    for start in range(4096, len(good), 4096):
        index_file(lab.avm.store.vault).write_bytes(
            good[:start] + noise(4096) + good[start + 4096 :]
        )
        with AVM(lab.root, semantic="off") as avm:
            assert len(avm.search("common")) == len(avm.memories()) == avm.stats().memories == 3
            assert "alpha" in avm.recall("alpha") and avm.tags() == {}
            avm.write("/memory/shared/new.md", f"word{start}")
            assert [hit.path for hit in avm.search(f"word{start}")] == ["/memory/shared/new.md"]
            avm.forget("/memory/shared/new.md")
            rebuilt += avm.status().notice is not None
    assert rebuilt > 10


def _checkpoint(index: Path) -> None:
    connection = sqlite3.connect(index)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


@pytest.mark.parametrize("number", [1, 99_999])
def test_an_index_of_another_schema_is_built_again(tmp_path: Path, number: int) -> None:
    lab = Lab(tmp_path / "vault", late=False)
    lab.avm.close()
    index = index_file(open_vault(lab.root))
    connection = sqlite3.connect(index)
    connection.execute("DROP TABLE link")
    connection.execute(f"PRAGMA user_version = {number}")
    connection.commit()
    connection.close()
    with AVM(lab.root, semantic="off") as avm:
        assert len(avm.search("common")) == 3
        assert f"schema {number}" in str(avm.status().notice)
    assert_as_new(lab.root, index_file(open_vault(lab.root)), tmp_path)


def test_a_command_on_a_damaged_index_says_so_in_one_line_and_answers(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "vault", late=False)
    lab.avm.close()
    index = index_file(open_vault(lab.root))
    index.write_bytes(overwritten(index.read_bytes(), 4096))
    done = run_avm("search", "alpha", "--vault", str(lab.root), AVM_SEMANTIC="off")
    assert done.returncode == 0
    assert done.stderr.startswith("avm: index rebuilt: ") and done.stderr.count("\n") == 1
    assert done.stdout == "1.00 /memory/shared/a.md#L1  alpha common\n"


# Races


@pytest.fixture(params=["stamps of this file system", "stamps of whole seconds"])
def stamps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many writes share a stamp where a file system, or an older kernel, has a coarse clock."""
    if request.param != "stamps of whole seconds":
        return

    def coarse(status: os.stat_result) -> Stamp:
        second = 10**9
        mtime, ctime = status.st_mtime_ns // second, status.st_ctime_ns // second
        return Stamp(mtime * second, ctime * second, status.st_size, status.st_ino)

    monkeypatch.setattr(Stamp, "of", staticmethod(coarse))


@pytest.mark.usefixtures("stamps")
@pytest.mark.parametrize("how", ["in place", "rename", "truncate"])
def test_two_hundred_edits_and_not_one_stale_answer(tmp_path: Path, how: str) -> None:
    with AVM(tmp_path / "vault", semantic="off") as avm:
        place = tmp_path / "vault/memory/shared/x.md"
        place.write_text("word0000 common\n")
        stale = []
        for n in range(200):
            word = f"word{n:04}"
            if how == "in place":
                fd = os.open(place, os.O_WRONLY)
                os.pwrite(fd, word.encode(), 0)
                os.close(fd)
            elif how == "truncate":
                place.write_text(f"{word} common\n")
            else:
                place.with_name("t").write_text(f"{word} common\n")
                place.with_name("t").rename(place)
            if [hit.snippet for hit in avm.search(word)] != [f"{word} common"]:
                stale.append(n)
        assert stale == []
        avm.search("common")
        assert_as_new(tmp_path / "vault", index_file(avm.store.vault), tmp_path)


@pytest.mark.usefixtures("stamps")
def test_expiry_flips_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same size, in place, within one stamp: lists and single files agree."""
    monkeypatch.setenv("AVM_CLOCK", "2026-06-01")
    with AVM(tmp_path / "vault", semantic="off") as avm:
        place = tmp_path / "vault/memory/shared/x.md"
        place.write_text("---\nexpires: 2025-01-01\n---\ncommon\n")
        fd = os.open(place, os.O_WRONLY)
        stale = []
        for n in range(200):
            alive = n % 2 == 0
            os.pwrite(fd, b"2027" if alive else b"2025", len("---\nexpires: "))
            seen = (avm.exists("/memory/shared/x.md"), bool(avm.memories()))
            if seen != (alive, alive):
                stale.append((n, seen))
        os.close(fd)
        assert stale == []


def test_another_process_indexes_meanwhile(tmp_path: Path) -> None:
    """Two that bring one index up to date at once, while a third edits, agree in the end."""
    root = tmp_path / "vault"
    AVM(root).close()
    code = (
        "import sys; from avm import AVM\n"
        "with AVM(sys.argv[1], semantic='off') as a:\n"
        "    for n in range(60): a.search('common')\n"
    )
    others = [subprocess.Popen(["python", "-c", code, str(root)]) for _ in range(2)]
    with AVM(root, semantic="off") as avm:
        stale = 0
        for n in range(60):
            place = root / f"memory/shared/n{n % 7}.md"
            if n % 5 == 4:
                place.unlink(missing_ok=True)
                stale += any(hit.path.endswith(place.name) for hit in avm.search("common", 50))
            else:
                place.write_text(f"common word{n}\n")
                stale += [hit.snippet for hit in avm.search(f"word{n}")] != [f"common word{n}"]
        assert stale == 0
        assert [other.wait(60) for other in others] == [0, 0]
        avm.search("common")
    assert_as_new(root, index_file(open_vault(root)), tmp_path)
