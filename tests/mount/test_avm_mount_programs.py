"""Real programs in a real mount, in `memory/` and outside of it: what they leave is right in the
mount, and in the vault behind it."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import git, needs_fuse, wait_for
from freshness.terminal import typed

from mount.conftest import Room, bash

pytestmark = needs_fuse


def need(program: str) -> None:
    """Skip the test where a program is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"no {program}")


def hidden_files(room: Room) -> list[Path]:
    """What AVM keeps of files that were unlinked while open."""
    vault = next(folder for folder in room.behind.parents if (folder / ".git").is_dir())
    return list(vault.glob(".git/avm/hidden/*/*"))


# git


HISTORY = """
set -e
git init -q origin && cd origin
for n in $(seq 20); do echo "line $n" > "$n 漢字.md"; done
ln -s '1 漢字.md' link.md && echo '#!/bin/sh' > run.sh && chmod +x run.sh
git add . && git commit -qm One
cd .. && git clone -q origin clone
"""
WORK = """
set -e
git checkout -q -b side && echo side > '2 漢字.md' && git mv run.sh walk.sh && git commit -qam Side
git checkout -q main && echo main > '3 漢字.md' && git commit -qam Main
git merge -q --no-edit side
echo stashed > '4 漢字.md' && git stash -q && test "$(cat '4 漢字.md')" = 'line 4'
git stash pop -q && git commit -qam Stashed
git worktree add -q ../tree side
echo tree > ../tree/new.md && git -C ../tree add . && git -C ../tree commit -qm Tree
git gc -q --prune=now
"""


def test_git_works_in_a_mount(room: Room) -> None:
    """`diff-files` compares the stamps in git's index with the disk: they are one on both sides."""
    room.bash(HISTORY)
    objects = [p for p in (room.mount / "clone/.git/objects").rglob("*") if p.is_file()]
    assert len(objects) > 20
    assert {p.stat().st_nlink for p in objects} == {2}
    bash(WORK, room.mount / "clone")
    assert list((room.behind / "clone/.git/objects").glob("??/*")) == []
    assert git(room.mount / "tree", "status", "--porcelain") == ""
    for side in room.sides:
        git(side / "clone", "diff-files", "--quiet")
        assert git(side / "clone", "status", "--porcelain") == ""
        git(side / "clone", "fsck", "--full", "--strict")
        assert (side / "clone/walk.sh").stat().st_mode & 0o111
        assert os.readlink(side / "clone/link.md") == "1 漢字.md"
    wait_for(lambda: not hidden_files(room), "the removal of what git unlinked")


def test_a_repository_can_be_used_from_both_sides_in_turn(outside: Room) -> None:
    outside.bash("git init -q repo && echo 0 > repo/note.md && git -C repo add .")
    for number in range(6):
        side, other = outside.sides if number % 2 else outside.sides[::-1]
        (side / "repo/note.md").write_text(f"{number}\n")
        assert git(other / "repo", "diff", "--name-only") in ("note.md", "")
        git(side / "repo", "commit", "-qam", f"Number {number}")
        assert git(other / "repo", "log", "-1", "--format=%s") == f"Number {number}"
        assert git(other / "repo", "status", "--porcelain") == ""
    git(outside.mount / "repo", "fsck", "--full", "--strict")


# Editors


class Editor(NamedTuple):
    """An editor in a terminal that puts `two` for `one`, with backups on."""

    line: str
    keys: str = ""
    ready: str = ""
    beside: str = ""  # what it has beside the file while the text is changed and not saved


OLD = "one\n漢字 🚀 → ça\n\ttab, blanks  \n"
NEW = OLD.replace("one", "two")
VIM = (
    "vim -N -u NONE -i NONE --cmd 'set backup backupskip= backupcopy={}' -c '%s/one/two/'"
    " -c 'silent !ls -A . $BEHIND > $SEEN' -c wq note.md"
)
LISP = (
    '\'(progn (setq backup-enable-predicate (lambda (name) t)) (find-file "note.md")'
    ' (search-forward "one") (replace-match "two")'
    ' (call-process "sh" nil nil nil "-c" "ls -A . $BEHIND > $SEEN") (save-buffer) (kill-emacs))\''
)
EDITORS = {
    "vim backupcopy=no": Editor(VIM.format("no"), beside=".note.md.swp"),
    "vim backupcopy=yes": Editor(VIM.format("yes"), beside=".note.md.swp"),
    "emacs -nw": Editor(f"emacs -nw -Q --eval {LISP}", beside=".#note.md"),
    "emacs --batch": Editor(f"emacs --batch -Q --eval {LISP}"),
    "nano": Editor("nano -I -G --backup note.md", "\x0btwo\r\x13\x18", "GNU nano"),
}


@pytest.mark.parametrize("name", EDITORS)
def test_an_editor_saves_every_byte_and_leaves_only_its_backup(
    name: str, room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor, seen = EDITORS[name], tmp_path / "seen"
    need(name.split(maxsplit=1)[0])
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("SEEN", str(seen))
    monkeypatch.setenv("BEHIND", str(room.behind))
    (room.mount / "note.md").write_text(OLD)
    (room.mount / "note.md").chmod(0o640)
    typed(shlex.split(editor.line), room.mount, editor.keys, editor.ready)
    if editor.beside:
        assert seen.read_text().splitlines().count(editor.beside) == 2
    for side in room.sides:
        assert sorted(os.listdir(side)) == ["note.md", "note.md~"]
        assert (side / "note.md").read_bytes() == NEW.encode()
        assert (side / "note.md~").read_bytes() == OLD.encode()
        assert stat.S_IMODE((side / "note.md").stat().st_mode) == 0o640


@pytest.mark.parametrize("line", ["sed -i s/one/two/ note.md", "perl -pi -e s/one/two/ note.md"])
def test_a_filter_in_place_keeps_the_mode(line: str, outside: Room) -> None:
    need(line.split(maxsplit=1)[0])
    (outside.mount / "note.md").write_text(OLD)
    (outside.mount / "note.md").chmod(0o604)
    outside.bash(line)
    for side in outside.sides:
        assert os.listdir(side) == ["note.md"]
        assert (side / "note.md").read_bytes() == NEW.encode()
        assert stat.S_IMODE((side / "note.md").stat().st_mode) == 0o604


# Copying


Facts = dict[str, tuple[str, int, object]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files, folders, links and a pipe, outside of any vault, with modes and times of their own."""
    root, chance = tmp_path / "tree", random.Random(2)
    (root / "deep/er 漢字").mkdir(parents=True)
    (root / "note.md").write_text(OLD)
    (root / "empty.md").touch()
    (root / "deep/noise.bin").write_bytes(chance.randbytes(300_001))
    (root / "deep/er 漢字/🚀 read only.md").write_text("r\n")
    (root / "run.sh").write_text("#!/bin/sh\n")
    os.link(root / "note.md", root / "deep/second name.md")
    os.symlink("deep/second name.md", root / "link.md")
    os.symlink("no/where", root / "deep/dangling.md")
    os.symlink("deep", root / "folder link")
    os.mkfifo(root / "deep/pipe.md")
    (root / "deep/er 漢字/🚀 read only.md").chmod(0o444)
    (root / "run.sh").chmod(0o755)
    (root / "deep").chmod(0o750)
    for path in (*root.rglob("*"), root):
        when = chance.randrange(10**18, 17 * 10**17)
        os.utime(path, ns=(when, when), follow_symlinks=False)
    return root


def facts(root: Path) -> Facts:
    """What is below a folder: of each name the mode, the time in nanoseconds, the content."""

    def of() -> Iterator[tuple[str, tuple[str, int, object]]]:
        for path in root.rglob("*"):
            status = path.lstat()
            content: object = os.readlink(path) if path.is_symlink() else None
            if stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            mode = stat.filemode(status.st_mode)
            yield str(path.relative_to(root)), (mode, status.st_mtime_ns, content)

    return dict(of())


COPYING = (
    "cp -a {0}/. {1}",
    "cp -a --sparse=always {0}/. {1}",
    "rsync -a {0}/ {1}",
    "rsync -aHAX {0}/ {1}",
    "tar c --format=posix -C {0} . | tar xp -C {1}",
)


@pytest.mark.parametrize("line", COPYING)
def test_a_tree_is_copied_in_and_out_as_it_is(
    line: str, room: Room, tree: Path, tmp_path: Path
) -> None:
    need(line.split(maxsplit=1)[0])
    inside, out, original = room.mount / "tree", tmp_path / "out", facts(tree)
    assert len(original) == 12
    inside.mkdir()
    out.mkdir()
    bash(line.format(tree, inside), tmp_path)
    assert facts(inside) == original
    assert facts(room.behind / "tree") == original
    bash(line.format(inside, out), tmp_path)
    assert facts(out) == original
    if not line.startswith("rsync -a "):
        for copy in (inside, room.behind / "tree", out):
            assert (copy / "note.md").samefile(copy / "deep/second name.md")
    if line.startswith("rsync"):
        again = line.replace("rsync", "rsync --itemize-changes")
        for source, copy in ((tree, inside), (tree, room.behind / "tree"), (inside, out)):
            assert bash(again.format(source, copy), tmp_path) == ""
        (inside / "note.md").write_text("changed\n")
        assert "note.md" in bash(again.format(tree, inside), tmp_path)


def test_a_tree_is_moved_in_within_and_out(room: Room, tree: Path, tmp_path: Path) -> None:
    original = facts(tree)
    bash(f"mv {tree} {room.mount}/in", tmp_path)
    assert not tree.exists()
    assert facts(room.behind / "in") == original
    room.bash("mv in 'within 漢字'")
    assert os.listdir(room.behind) == ["within 漢字"]
    assert facts(room.mount / "within 漢字") == original
    bash(f"mv '{room.mount}/within 漢字' out", tmp_path)
    assert facts(tmp_path / "out") == original
    assert os.listdir(room.mount) == os.listdir(room.behind) == []


def test_holes_stay_holes(outside: Room, tmp_path: Path) -> None:
    data = b"begin" + bytes(4_000_000) + b"end"
    (tmp_path / "full").write_bytes(data)
    bash(f"cp --sparse=always full {outside.mount}/sparse", tmp_path)
    outside.bash("cp --sparse=always sparse again")
    for name in ("sparse", "again"):
        assert [(side / name).read_bytes() == data for side in outside.sides] == [True, True]
        blocks = [(side / name).stat().st_blocks for side in outside.sides]
        assert blocks[0] == blocks[1] < 1000


# Small tools


def test_mv_n_replaces_nothing(room: Room) -> None:
    room.bash("echo a > a.md; echo b > b.md; mv -n a.md c.md")
    room.bash("mv -n c.md b.md || true")  # later versions of mv say so by their exit code
    assert [(room.behind / n).read_text() for n in ("b.md", "c.md")] == ["b\n", "a\n"]
    assert not (room.mount / "a.md").exists()


def test_ln_gives_a_file_a_second_name(room: Room) -> None:
    room.bash("echo a > a.md; ln a.md b.md; ln -s a.md s.md; ln -sfn b.md t.md; ln -sfn a.md t.md")
    facts = [(side / n).stat() for side in room.sides for n in ("a.md", "b.md", "s.md", "t.md")]
    assert len({f.st_ino for f in facts}) == 1
    assert {f.st_nlink for f in facts} == {2}
    room.bash("ln a.md b.md", ok=False)
    room.bash("echo more >> b.md; rm a.md")
    assert (room.behind / "b.md").read_text() == "a\nmore\n"
    assert (room.mount / "b.md").stat().st_nlink == 1
    assert os.readlink(room.behind / "t.md") == "a.md"
    room.bash("cat t.md", ok=False)


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
def test_touch_sets_each_time_to_the_nanosecond(name: str, room: Room) -> None:
    early, late = 981_173_106_123_456_789, 4_102_444_799_999_999_999
    room.bash(f"touch {name} && touch -d @981173106.123456789 {name}")
    room.bash(f"touch -m -d @4102444799.999999999 {name} && touch -r {name} b.txt")
    for side in room.sides:
        times = [(side / one).stat() for one in (name, "b.txt")]
        assert [(t.st_atime_ns, t.st_mtime_ns) for t in times] == [(early, late)] * 2


def test_touch_leaves_alone_what_it_is_not_told(room: Room) -> None:
    room.bash("touch a.md && touch -m -d @1000000000.000000001 a.md && ln -s a.md s.md")
    room.bash("touch -a a.md && touch -h -d @7 s.md && touch -c none.md")
    for side in room.sides:
        assert (side / "a.md").stat().st_mtime_ns == 1_000_000_000_000_000_001
        assert (side / "s.md").lstat().st_mtime_ns == 7_000_000_000
        assert not (side / "none.md").exists()


#: A line, and what the file holds then, which held `0123456789`.
CUTS = {
    "truncate -s 4 f.md": b"0123",
    "truncate -s +3 f.md": b"0123456789\0\0\0",
    "truncate -s 0 f.md": b"",
    "printf XY | dd of=f.md oflag=append conv=notrunc status=none": b"0123456789XY",
    "printf XY | dd of=f.md bs=1 seek=4 conv=notrunc status=none": b"0123XY6789",
    "printf XY | dd of=f.md bs=1 seek=12 conv=notrunc,fsync status=none": b"0123456789\0\0XY",
    "printf XY | tee -a f.md": b"0123456789XY",
    "fallocate -l 12 f.md 2> /dev/null; cat f.md > g.md && mv g.md f.md": b"0123456789",
    "install -m 600 f.md g.md && printf X > f.md && cat g.md >> f.md": b"X0123456789",
}


@pytest.mark.parametrize("line", CUTS)
def test_a_tool_cuts_or_appends(line: str, outside: Room) -> None:
    (outside.mount / "f.md").write_bytes(b"0123456789")
    outside.bash(line)
    for side in outside.sides:
        assert (side / "f.md").read_bytes() == CUTS[line]
        assert (side / "f.md").stat().st_size == len(CUTS[line])


def test_chmod_and_umask_give_the_same_mode_on_both_sides(room: Room) -> None:
    room.bash("umask 027; echo x > a.md; mkdir d; chmod u+s,g+w,o= a.md; chmod 1770 d")
    for side in room.sides:
        modes = [stat.filemode((side / name).stat().st_mode) for name in ("a.md", "d")]
        assert modes == ["-rwSrw----", "drwxrwx--T"]
