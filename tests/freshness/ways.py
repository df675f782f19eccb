"""The ways in which text changes: editors, tools, git. Each is a generator that makes a change and
yields what a search that starts now must find: words, and the files that hold them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from terminal import typed

Expected = Mapping[str, set[str]]
#: Long enough past to be no racy stamp.
_OLD = 1_700_000_000


@dataclass
class Lab:
    """A vault, and the folder in which programs change it: the vault itself, or a mount of it."""

    vault: Path
    place: Path
    scratch: Path
    files: int
    chance: random.Random = field(default_factory=random.Random)
    interactive: bool = False  # this round's editors run in a terminal, as for a person

    def words(self, count: int) -> list[str]:
        """New words, all of one length."""
        return ["".join(self.chance.choices("bcdfghjklmnpqrstvwxz", k=12)) for _ in range(count)]

    def start(self, name: str, word: str) -> str:
        """A note that holds `word`, written by some program; its rel."""
        rel = f"memory/shared/{name}/note.md"
        self.write(rel, text(word))
        return rel

    def write(self, rel: str, body: str) -> Path:
        """Write a file where the programs work."""
        path = self.place / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            file.write(body)
        return path

    def run(self, *command: str, folder: Path | None = None) -> None:
        """Run a program where the programs work; it must succeed."""
        done = subprocess.run(
            command,
            cwd=folder or self.place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=900,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout!r} {done.stderr!r}")

    def git(self, *args: str) -> None:
        """git on the work tree where the programs work. A mount shows no `.git`, so git is told."""
        where = ["--git-dir", str(self.vault / ".git"), "--work-tree", str(self.place)]
        self.run("git", *(where if self.place != self.vault else []), *args)

    def commit_all(self) -> None:
        """Whatever the rounds before left, committed by the person."""
        self.git("add", "--all", "memory")
        self.git("commit", "--quiet", "--allow-empty", "--message", "All")


def text(word: str) -> str:
    """A note's text: the same length for every word."""
    return f"{word} is what this note is about\n"


def vim(lab: Lab) -> Iterator[Expected]:
    """Backups on, which vim makes by renaming; a swap file beside."""
    old, new = lab.words(2)
    rel = lab.start("vim", old)
    yield {old: {rel}}
    plain = ["vim", "-N", "-u", "NONE", "-i", "NONE", "--cmd", "set backup backupcopy=no"]
    if lab.interactive:
        typed([*plain, rel], lab.place, f":%s/{old}/{new}/g\r:wq\r")
    else:
        lab.run(*plain, "-Es", "-c", f"%s/{old}/{new}/g", "-c", "wq", rel)
    yield {new: {rel}, old: set()}


def emacs(lab: Lab) -> Iterator[Expected]:
    """Backups on, which emacs makes by renaming; in a terminal lock files too."""
    old, new = lab.words(2)
    rel = lab.start("emacs", old)
    yield {old: {rel}}
    lisp = (
        "(setq make-backup-files t) (goto-char (point-min))"
        f' (while (search-forward "{old}" nil t) (replace-match "{new}" t t)) (save-buffer)'
    )
    if lab.interactive:
        typed(["emacs", "-nw", "-Q", rel, "--eval", f"(progn {lisp} (kill-emacs))"], lab.place)
    else:
        lab.run("emacs", "--batch", "-Q", "--eval", f'(progn (find-file "{rel}") {lisp})')
    yield {new: {rel}, old: set()}


def nano(lab: Lab) -> Iterator[Expected]:
    """In a terminal: cut the line, type another, save, leave."""
    old, new = lab.words(2)
    rel = lab.start("nano", old)
    yield {old: {rel}}
    typed(["nano", "-I", "--backup", rel], lab.place, f"\x0b{text(new)[:-1]}\r\x13\x18", "GNU nano")
    yield {new: {rel}, old: set()}


def vscode_in_place(lab: Lab) -> Iterator[Expected]:
    """Visual Studio Code's save: open what is there, truncate it, write, sync."""
    program = (
        "import os, sys\nfd = os.open(sys.argv[1], os.O_WRONLY)\nos.ftruncate(fd, 0)\n"
        "os.write(fd, sys.argv[2].encode())\nos.fdatasync(fd)\nos.close(fd)"
    )
    yield from _by_program(lab, "vscode", program)


def vscode_atomic(lab: Lab) -> Iterator[Expected]:
    """Its other way, for settings and by choice: a file beside, renamed over the old one."""
    program = (
        "import os, sys\nname = sys.argv[1] + '.vsctmp'\nwith open(name, 'x') as file:\n"
        "    file.write(sys.argv[2])\n    file.flush()\n    os.fdatasync(file.fileno())\n"
        "os.rename(name, sys.argv[1])"
    )
    yield from _by_program(lab, "vscode-atomic", program)


def obsidian(lab: Lab) -> Iterator[Expected]:
    """Obsidian's save: the file opened anew and written whole, in place."""
    yield from _by_program(
        lab, "obsidian", "import sys\nwith open(sys.argv[1], 'w') as f: f.write(sys.argv[2])"
    )


def _by_program(lab: Lab, name: str, program: str) -> Iterator[Expected]:
    old, new = lab.words(2)
    rel = lab.start(name, old)
    yield {old: {rel}}
    lab.run(sys.executable, "-I", "-S", "-c", program, rel, text(new))
    yield {new: {rel}, old: set()}


def sed(lab: Lab) -> Iterator[Expected]:
    """`sed -i`: a temporary file, renamed."""
    old, new = lab.words(2)
    rel = lab.start("sed", old)
    yield {old: {rel}}
    lab.run("sed", "-i", f"s/{old}/{new}/", rel)
    yield {new: {rel}, old: set()}


def temp_and_mv(lab: Lab) -> Iterator[Expected]:
    """A shell's way to write at once."""
    old, new = lab.words(2)
    rel = lab.start("mv", old)
    yield {old: {rel}}
    lab.run("sh", "-c", f"printf '%s' '{text(new)}' > {rel}.tmp && mv {rel}.tmp {rel}")
    yield {new: {rel}, old: set()}


def mv_folder(lab: Lab) -> Iterator[Expected]:
    """A folder with folders in it gets another name, and its old one back."""
    word, deep = lab.words(2)
    name, other = f"memory/shared/folder-{word[:4]}", f"memory/shared/other-{word[:4]}"
    lab.write(f"{name}/note.md", text(word))
    lab.write(f"{name}/a/b/deep.md", text(deep))
    yield {word: {f"{name}/note.md"}, deep: {f"{name}/a/b/deep.md"}}
    lab.run("mv", name, other)
    yield {word: {f"{other}/note.md"}, deep: {f"{other}/a/b/deep.md"}}
    lab.run("mv", other, name)
    yield {word: {f"{name}/note.md"}, deep: {f"{name}/a/b/deep.md"}}
    lab.run("rm", "-r", name)
    yield {word: set(), deep: set()}


def rsync(lab: Lab) -> Iterator[Expected]:
    """`rsync -t` keeps the source's time, which is older than the file's; the size is the same."""
    old, new = lab.words(2)
    rel = lab.start("rsync", old)
    yield {old: {rel}}
    source = lab.scratch / "rsync"
    source.mkdir(exist_ok=True)
    (source / "note.md").write_text(text(new))
    os.utime(source / "note.md", (_OLD, _OLD))
    lab.run("rsync", "-t", "--ignore-times", f"{source}/note.md", rel)
    yield {new: {rel}, old: set()}


def touch_r(lab: Lab) -> Iterator[Expected]:
    """Another text of the same size, and the time of before put back."""
    old, new = lab.words(2)
    rel = lab.start("touch", old)
    reference = lab.scratch / "reference"
    reference.touch()
    os.utime(reference, (_OLD, _OLD))
    lab.run("touch", "-r", str(reference), rel)
    yield {old: {rel}}
    lab.run("sh", "-c", f"printf '%s' '{text(new)}' > {rel} && touch -r {reference} {rel}")
    yield {new: {rel}, old: set()}


def git_checkout(lab: Lab) -> Iterator[Expected]:
    """Another branch and back."""
    old, new = lab.words(2)
    rel = lab.start("checkout", old)
    lab.commit_all()
    side = f"side-{new}"
    lab.git("checkout", "--quiet", "-b", side)
    lab.write(rel, text(new))
    lab.commit_all()
    yield {new: {rel}, old: set()}
    lab.git("checkout", "--quiet", "-")
    yield {old: {rel}, new: set()}
    lab.git("checkout", "--quiet", side)
    yield {new: {rel}, old: set()}
    lab.git("checkout", "--quiet", "-")
    yield {old: {rel}, new: set()}


def git_stash(lab: Lab) -> Iterator[Expected]:
    """An edit is stashed, and comes back."""
    old, new = lab.words(2)
    rel = lab.start("stash", old)
    lab.commit_all()
    lab.write(rel, text(new))
    yield {new: {rel}, old: set()}
    lab.git("stash", "--quiet")
    yield {old: {rel}, new: set()}
    lab.git("stash", "pop", "--quiet")
    yield {new: {rel}, old: set()}


def git_pull(lab: Lab) -> Iterator[Expected]:
    """Another clone's commit, which changes one note and brings another."""
    old, new, added = lab.words(3)
    rel, more = lab.start("pull", old), f"memory/shared/pull/{added}.md"
    lab.commit_all()
    yield {old: {rel}}
    clone = lab.scratch / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    lab.run("git", "clone", "--quiet", str(lab.vault), str(clone), folder=lab.scratch)
    (clone / rel).write_text(text(new))
    (clone / more).write_text(text(added))
    lab.run("git", "add", "--all", folder=clone)
    lab.run("git", "commit", "--quiet", "--message", "Theirs", folder=clone)
    lab.git("pull", "--quiet", "--ff-only", str(clone), "HEAD")
    yield {new: {rel}, added: {more}, old: set()}


def cp_many(lab: Lab) -> Iterator[Expected]:
    """`cp -a` of a tree of many files, some of which are asked for; then these are removed."""
    tree = lab.words(1)[0]
    source, target = lab.scratch / tree, f"memory/shared/many-{tree}"
    words = {}
    for number in range(lab.files):
        word = f"{tree}{number:05}"
        below = f"{number // 500}/{number}.md"
        words[word] = below
        (source / below).parent.mkdir(parents=True, exist_ok=True)
        (source / below).write_text(text(word))
        os.utime(source / below, (_OLD, _OLD))
    asked = lab.chance.sample(sorted(words), k=min(5, lab.files))
    lab.run("cp", "-a", str(source), target)
    yield {word: {f"{target}/{words[word]}"} for word in asked}
    lab.run("rm", *(f"{target}/{words[word]}" for word in asked))
    yield {word: set() for word in asked}
    shutil.rmtree(source)


Way = Callable[[Lab], Iterator[Expected]]
#: What a row is called, how it changes text, the program it needs.
WAYS: tuple[tuple[str, Way, str], ...] = (
    ("vim", vim, "vim"),
    ("emacs", emacs, "emacs"),
    ("nano", nano, "nano"),
    ("VS Code, in place", vscode_in_place, ""),
    ("VS Code, atomic", vscode_atomic, ""),
    ("Obsidian", obsidian, ""),
    ("sed -i", sed, "sed"),
    ("temp + mv", temp_and_mv, ""),
    ("mv of a folder", mv_folder, ""),
    ("rsync -t", rsync, "rsync"),
    ("touch -r", touch_r, ""),
    ("git checkout", git_checkout, "git"),
    ("git stash", git_stash, "git"),
    ("git pull", git_pull, "git"),
    ("cp -a of many", cp_many, ""),
)
