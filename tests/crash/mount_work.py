"""Work in a folder: a seeded series of mixed acts, done for real and in memory, which must agree.

    python tests/crash/mount_work.py --seed 3 --acts 1000 --log LOG [OPTIONS] PLACE

does it in PLACE, a folder of its own, and appends what was acknowledged to LOG, an act a line, as
JSON. Where the mount breaks off it waits for the next one, looks at what there is, and goes on.
`--notes`: also appends lines to the files of a folder that it shares with others. `--bare`: PLACE
has no virtual nodes. `--unlinked`: no file gets a second name.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from avm.base import memory_file

#: What is done and to what: `["write", "a.md", "text"]`. Names are those from the folder on.
Act = list[str]

#: How many files a folder holds about.
_FILES = 40
_FOLDERS = 5
_NOTE_FILES = 2
_WORDS = ("alpha", "bridge", "candle", "delta", "ember", "forest", "granite", "記憶", "é")
_UNIQUE = re.compile(r"(?<=\s)u\d+q\d+(?=\s)")
_REMOUNT_SECONDS = 60.0
#: How often an act may break off: a mount may be killed again while it is tried.
_TRIES = 10


class Wrong(Exception):
    """Something else was there than what had been written."""


class Content:
    """What a folder holds: files by number of inode, as hard links share them."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.texts: dict[int, bytes] = {}
        self.links: dict[str, str] = {}
        self.folders: set[str] = {""}
        self._inodes = 0

    def text(self, name: str) -> bytes:
        """The bytes of a file."""
        return self.texts[self.names[name]]

    def copy(self) -> Content:
        """Another of the same content."""
        new = Content()
        new.names, new.texts = dict(self.names), dict(self.texts)
        new.links, new.folders, new._inodes = dict(self.links), set(self.folders), self._inodes
        return new

    def snapshot(self) -> dict[str, bytes | str | None]:
        """Every name: a file's bytes, where a link points, None for a folder."""
        found: dict[str, bytes | str | None] = dict.fromkeys(self.folders - {""})
        return found | self.links | {name: self.text(name) for name in self.names}

    def apply(self, act: Act) -> None:
        """Do it in memory; what only asks changes nothing."""
        getattr(self, f"_{act[0]}", lambda *_: None)(*act[1:])

    def touched(self, act: Act) -> set[str]:
        """The files that may be half changed when it breaks off, under all their names."""
        given = [name for name in act[1:3] if name in self.names or name == act[1]]
        inodes = {self.names[name] for name in given if name in self.names}
        return set(given) | {act[2]} | {n for n, inode in self.names.items() if inode in inodes}

    def _new(self, name: str, data: bytes) -> None:
        self._drop(name)
        self._inodes += 1
        self.names[name] = self._inodes
        self.texts[self._inodes] = data

    def _drop(self, name: str) -> None:
        self.links.pop(name, None)
        inode = self.names.pop(name, None)
        if inode is not None and inode not in self.names.values():
            del self.texts[inode]

    def _write(self, name: str, text: str) -> None:
        if name in self.names:
            self.texts[self.names[name]] = text.encode()
        else:
            self._new(name, text.encode())

    def _replace(self, name: str, text: str) -> None:
        self._new(name, text.encode())

    def _append(self, name: str, text: str) -> None:
        self.texts[self.names[name]] += text.encode()

    def _truncate(self, name: str, size: str) -> None:
        inode = self.names[name]
        self.texts[inode] = self.texts[inode][: int(size)].ljust(int(size), b"\0")

    def _patch(self, name: str, at: str, text: str) -> None:
        inode, data = self.names[name], text.encode()
        old = self.texts[inode]
        self.texts[inode] = old[: int(at)] + data + old[int(at) + len(data) :]

    def _rename(self, old: str, new: str) -> None:
        if self.names.get(old) == self.names.get(new):
            return  # as rename(2): two names of one file stay
        self._drop(new)
        self.names[new] = self.names.pop(old)

    def _move(self, old: str, new: str) -> None:
        def moved(name: str) -> str:
            return new + name[len(old) :] if name == old or name.startswith(f"{old}/") else name

        self.folders = {moved(name) for name in self.folders}
        self.names = {moved(name): inode for name, inode in self.names.items()}
        self.links = {moved(name): target for name, target in self.links.items()}

    def _unlink(self, name: str) -> None:
        self._drop(name)

    def _held(self, name: str) -> None:
        self._drop(name)

    def _mkdir(self, name: str) -> None:
        self.folders.add(name)

    def _rmdir(self, name: str) -> None:
        self.folders.remove(name)

    def _symlink(self, name: str, target: str) -> None:
        self.links[name] = target

    def _link(self, old: str, new: str) -> None:
        self.names[new] = self.names[old]

    def _tags(self, name: str, words: str) -> None:
        self._spliced(name, memory_file.set_key(self.text(name), "tags", words.split()))

    def _body(self, name: str, text: str) -> None:
        old = self.text(name)
        self._spliced(name, old[: memory_file.split(old).body_start] + text.encode())

    def _spliced(self, name: str, data: bytes) -> None:
        """AVM's own doors write another file in the place of the old one."""
        if data != self.text(name):
            self._new(name, data)

    def _forget(self, *names: str) -> None:
        for name in names:
            self._drop(name)


class Choice:
    """Chooses acts that are possible, by chance from a seed."""

    def __init__(self, seed: int, *, nodes: bool, notes: bool, links: bool = True) -> None:
        self._chance = random.Random(seed)
        self._seed = seed
        self._serial = 0
        acts: dict[Callable[[Content], Act | None], int] = {
            self._create: 14, self._overwrite: 10, self._replace: 6, self._append: 10,
            self._truncate: 4, self._patch: 4, self._rename: 8, self._move: 2, self._unlink: 9,
            self._held: 2, self._mkdir: 2, self._rmdir: 2, self._symlink: 1, self._link: int(links),
            self._read: 12, self._list: 5, self._stat: 5,
        }  # fmt: skip
        if nodes:
            acts |= {self._tags: 2, self._body: 3, self._search: 2, self._meta: 1}
        if notes:
            acts[self._note] = 5
        self._acts, self._weights = list(acts), list(acts.values())

    def next(self, content: Content) -> Act:
        """The next act on what there is."""
        self._serial += 1
        while True:
            act = self._chance.choices(self._acts, self._weights)[0](content)
            if act is not None:
                return act

    def _some(self, content: Content, end: str = "") -> str:
        return self._chance.choice([name for name in content.names if name.endswith(end)])

    def _fresh(self, content: Content) -> str:
        folder = self._chance.choice(sorted(content.folders))
        end = self._chance.choice([".md"] * 4 + [".txt"])
        return f"{folder}/n{self._serial}{end}".lstrip("/")

    def _text(self, front: bool = True) -> str:
        chance, unique = self._chance, f"u{self._seed}q{self._serial}"
        words = " ".join(chance.choices(_WORDS, k=chance.randrange(1, 200)))
        head = f"---\ntitle: {unique}\ntags: [{chance.choice(_WORDS)}]\n---\n" if front else ""
        return f"{head}{unique} {words}\n"

    def _create(self, content: Content) -> Act | None:
        if len(content.names) >= _FILES:
            return self._unlink(content)
        return ["write", self._fresh(content), self._text(self._chance.random() < 0.5)]

    def _overwrite(self, content: Content) -> Act | None:
        return ["write", self._some(content), self._text()] if content.names else None

    def _replace(self, content: Content) -> Act | None:
        return ["replace", self._some(content), self._text()] if content.names else None

    def _append(self, content: Content) -> Act | None:
        if not content.names:
            return None
        name = self._some(content)
        if len(content.text(name)) > 20_000:
            return ["write", name, self._text()]
        return ["append", name, f"{self._text(False)}"]

    def _truncate(self, content: Content) -> Act | None:
        if not content.names:
            return None
        name = self._some(content)
        data = content.text(name)
        least = memory_file.split(data).body_start
        return ["truncate", name, str(self._chance.randint(least, len(data) + 9))]

    def _patch(self, content: Content) -> Act | None:
        if not content.names:
            return None
        name = self._some(content)
        data = content.text(name)
        at = self._chance.randint(memory_file.split(data).body_start, len(data))
        return ["patch", name, str(at), self._text(False)]

    def _rename(self, content: Content) -> Act | None:
        if not content.names:
            return None
        old = self._some(content)
        end = old[old.rindex(".") :]
        new = self._some(content, end) if self._chance.random() < 0.3 else self._fresh(content)
        return ["rename", old, new] if old != new else None

    def _move(self, content: Content) -> Act | None:
        folders = sorted(content.folders - {""})
        return ["move", self._chance.choice(folders), f"d{self._serial}"] if folders else None

    def _unlink(self, content: Content) -> Act | None:
        names = [*content.names, *content.links]
        return ["unlink", self._chance.choice(names)] if names else None

    def _held(self, content: Content) -> Act | None:
        return ["held", self._some(content)] if content.names else None

    def _mkdir(self, content: Content) -> Act | None:
        return ["mkdir", f"d{self._serial}"] if len(content.folders) <= _FOLDERS else None

    def _rmdir(self, content: Content) -> Act | None:
        full = {str(Path(name).parent) for name in (*content.names, *content.links)}
        empty = sorted(content.folders - full - {""})
        return ["rmdir", self._chance.choice(empty)] if empty else None

    def _symlink(self, content: Content) -> Act | None:
        return ["symlink", f"l{self._serial}", "nowhere"] if len(content.links) < 5 else None

    def _link(self, content: Content) -> Act | None:
        if not content.names or len(content.names) >= _FILES:
            return None
        old = self._some(content)
        return ["link", old, f"h{self._serial}{old[old.rindex('.') :]}"]

    def _read(self, content: Content) -> Act | None:
        return ["read", self._some(content)] if content.names else None

    def _stat(self, content: Content) -> Act | None:
        return ["stat", self._some(content)] if content.names else None

    def _list(self, content: Content) -> Act | None:
        return ["list", self._chance.choice(sorted(content.folders))]

    def _memory(self, content: Content) -> str | None:
        names = [name for name in content.names if name.endswith(".md")]
        return self._chance.choice(names) if names else None

    def _tags(self, content: Content) -> Act | None:
        name = self._memory(content)
        tags = f"t{self._serial} {self._chance.choice(_WORDS)}"
        return ["tags", name, tags] if name else None

    def _body(self, content: Content) -> Act | None:
        name = self._memory(content)
        return ["body", name, self._text(False)] if name else None

    def _meta(self, content: Content) -> Act | None:
        name = self._memory(content)
        return ["meta", name] if name else None

    def _search(self, content: Content) -> Act | None:
        name = self._memory(content)
        data = content.text(name) if name else b"\0"
        # What was cut in a character or extended is not text any more.
        words = [] if b"\0" in data else _UNIQUE.findall(data.decode("utf-8", "replace"))
        return ["search", name, words[-1]] if name and words else None

    def _note(self, content: Content) -> Act | None:
        line = f"{self._seed} {self._serial} {'.' * self._chance.randrange(80)}\n"
        return ["note", f"log{self._chance.randrange(_NOTE_FILES)}.md", line]


class Hands:
    """Does acts for real in `place`. Raises OSError, and Wrong where what it reads is not right."""

    def __init__(self, place: Path, notes: Path | None) -> None:
        self.place = place
        self._notes = notes

    def do(self, act: Act, before: Content) -> None:
        """Do it; `before` is what is there."""
        {"read": self._read, "stat": self._stat, "list": self._list}.get(act[0], self._other)(
            act, before
        )

    def is_noted(self, act: Act) -> bool:
        """Whether a line is in its shared file."""
        assert self._notes
        return act[2] in (self._notes / act[1]).read_text().splitlines(keepends=True)

    def _read(self, act: Act, before: Content) -> None:
        _same((self.place / act[1]).read_bytes(), before.text(act[1]), act)

    def _stat(self, act: Act, before: Content) -> None:
        _same((self.place / act[1]).stat().st_size, len(before.text(act[1])), act)

    def _list(self, act: Act, before: Content) -> None:
        names = (*before.names, *before.links, *before.folders - {""})
        expected = [Path(name).name for name in names if _parent(name) == act[1]]
        _same(sorted(os.listdir(self.place / act[1])), sorted(expected), act)

    def _other(self, act: Act, before: Content) -> None:
        at = self.place / act[1]
        match act:
            case ["write", _, text]:
                at.write_bytes(text.encode())
            case ["replace", _, text]:
                new = at.with_name(f"{at.name}.tmp")
                new.write_bytes(text.encode())
                new.rename(at)
            case ["append", _, text]:
                with at.open("ab") as file:
                    file.write(text.encode())
            case ["truncate", _, size]:
                os.truncate(at, int(size))
            case ["patch", _, offset, text]:
                with at.open("r+b") as file:
                    file.seek(int(offset))
                    file.write(text.encode())
            case ["rename" | "move", _, new_name]:
                at.rename(self.place / new_name)
            case ["unlink", _]:
                at.unlink()
            case ["held", name]:
                with at.open("rb") as file:
                    at.unlink()
                    _same(file.read(), before.text(name), act)
            case ["mkdir", _]:
                at.mkdir()
            case ["rmdir", _]:
                at.rmdir()
            case ["symlink", _, target]:
                at.symlink_to(target)
            case ["link", _, new_name]:
                (self.place / new_name).hardlink_to(at)
            case ["tags" | "body" as node, _, text]:
                at.with_name(f"{at.name}:{node}").write_text(text)
            case ["meta", _]:
                found = json.loads(at.with_name(f"{at.name}:meta").read_bytes())
                _same(found["path"].rpartition("/")[2], at.name, act)
            case ["search", _, word]:
                answer = (self.place / f":search?{word}").read_text()
                _same(f"/{act[1]}" in answer, True, [*act, answer])
            case ["note", name, line]:
                assert self._notes
                fd = os.open(self._notes / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                try:
                    os.write(fd, line.encode())
                finally:
                    os.close(fd)
            case ["forget", *names]:
                for name in names:
                    (self.place / name).unlink(missing_ok=True)
            case _:
                raise AssertionError(act)


def snapshot(folder: Path) -> dict[str, bytes | str | None]:
    """What is in a folder, as `Content.snapshot` says it."""
    found: dict[str, bytes | str | None] = {}
    for entry in _walk(folder):
        name = str(entry.relative_to(folder))
        if entry.is_symlink():
            found[name] = str(entry.readlink())
        else:
            found[name] = None if entry.is_dir() else entry.read_bytes()
    return found


def _walk(folder: Path) -> Iterable[Path]:
    for entry in folder.iterdir():
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry)


def differences(
    found: dict[str, bytes | str | None], expected: dict[str, bytes | str | None]
) -> dict[str, str]:
    """Where two snapshots differ, for people."""
    missing = object()
    return {
        name: f"{found.get(name, 'missing')!r:.300} instead of {expected.get(name, 'none')!r:.300}"
        for name in found.keys() | expected.keys()
        if found.get(name, missing) != expected.get(name, missing)
    }


def replay(log: Path) -> tuple[Content, list[Act], int]:
    """What the acknowledged acts make of an empty folder; the acts, and how many broke off."""
    acts = [json.loads(line) for line in log.read_text().splitlines()]
    content = Content()
    for act in acts:
        content.apply(act)
    return content, acts, sum(act[0] == "cut" for act in acts)


def work(hands: Hands, choice: Choice, acts: int, log: IO[str]) -> None:
    """Do it, and log what was acknowledged."""
    content = Content()

    def acknowledged(act: Act) -> None:
        content.apply(act)
        log.write(json.dumps(act) + "\n")
        log.flush()

    for _ in range(acts):
        act = choice.next(content)
        for tries in range(1, _TRIES + 1):
            try:
                hands.do(act, content)
                acknowledged(act)
                break
            except OSError as error:
                acknowledged(["cut", str(error)])
                if tries == _TRIES:
                    raise
                done = _settled(hands, act, content)
                if done is not None:
                    acknowledged(done)
                    break


def _settled(hands: Hands, act: Act, content: Content) -> Act | None:
    """After an act broke off: what was done all the same; None if nothing was.

    All that was acknowledged must be there as it was.
    """
    deadline = time.monotonic() + _REMOUNT_SECONDS
    while True:
        try:
            found = snapshot(hands.place)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    if act[0] == "note":
        _same(differences(found, content.snapshot()), {}, act)
        return act if hands.is_noted(act) else None
    if found == content.snapshot():
        return None
    after = content.copy()
    after.apply(act)
    if found == after.snapshot():
        return act
    touched = content.touched(act) | {f"{act[1]}.tmp"}
    wrong = differences(found, content.snapshot())
    _same({name: wrong[name] for name in wrong.keys() - touched}, {}, act)
    # Begun and not finished, which only these can be: cut to write anew, or written beside.
    _same(act[0] in ("write", "replace", "rename"), True, [*act, str(wrong)])
    forget = ["forget", *sorted(touched & found.keys() - content.folders)]
    hands.do(forget, content)
    return forget


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _same(found: object, expected: object, act: Act) -> None:
    if found != expected:
        raise Wrong(f"{act}: {found!r:.1000} instead of {expected!r:.1000}")


def main() -> None:
    """Run it as a program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--acts", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--notes", type=Path)
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--unlinked", action="store_true")
    parser.add_argument("place", type=Path)
    options = parser.parse_args()
    hands = Hands(options.place, options.notes)
    nodes, notes, links = not options.bare, options.notes is not None, not options.unlinked
    choice = Choice(options.seed, nodes=nodes, notes=notes, links=links)
    with options.log.open("a") as log:
        work(hands, choice, options.acts, log)


if __name__ == "__main__":
    sys.exit(main())
