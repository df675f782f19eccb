"""Files through a real mount: the bytes written are the bytes read, by every door."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from conftest import git, needs_fuse, run_avm, wait_for

from mount.conftest import Mount, Mounting, bash, failing

pytestmark = needs_fuse

NAMES = (
    "plain.md",
    "with blanks in it.md",
    'it\'s "quoted" `twice`.md',
    "emoji 🚀 и кириллица 漢字.md",
    "10:30 stand-up.md",
    ":no node.md",
    "note.md:nosuch.md",
    "what? really*.md",
    "$HOME & ; | \\ <x>.md",
    "-rf.md",
    "100% [x] {y} #z.md",
    "tab\tand\nnewline.md",
    "UPPER.MD",
    "q" * 252 + ".md",
    "漢" * 84 + ".md",
)


def blob(data: bytes) -> str:
    """The name git gives to these bytes."""
    done = subprocess.run(
        ["git", "hash-object", "--stdin"], input=data, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


# Bytes and names


def test_random_bytes_survive_the_mount_and_every_door(akashi: Mount) -> None:
    chance, blobs = random.Random(1), set()
    for size in (0, 1, 4096, 131072 + 1, 3_000_000):
        for name in (f"noise{size}.md", f"chart{size}.png"):
            data, path = chance.randbytes(size), akashi.private / name
            path.write_bytes(data)
            assert path.read_bytes() == data
            assert path.stat().st_size == size
            assert (akashi.behind / "private" / "akashi" / name).read_bytes() == data
            cat = [sys.executable, "-m", "avm", "cat", f"/memory/private/akashi/{name}"]
            assert subprocess.run(cat, capture_output=True, check=True).stdout == data
            blobs.add(blob(data))
    for node in (":search?x", ":recall", ":recall:x", ":stats", ":tags"):
        assert akashi.ask(node)
    akashi.unmount()
    names = git(akashi.vault, "ls-tree", "-r", "--format=%(objectname)", "HEAD", "memory/private")
    assert blobs <= set(names.splitlines())


def test_ten_megabytes_of_text_survive_and_are_found(mount: Mount) -> None:
    """The first megabyte of a body is indexed."""
    line = "the quick brown fox → jumps\n"
    text = "needle here\n" + line * (10_000_000 // len(line))
    (mount.shared / "big.md").write_text(text)
    assert (mount.shared / "big.md").read_text() == text
    assert run_avm("cat", "/memory/shared/big.md").stdout == text
    assert "/memory/shared/big.md#L1" in mount.search("needle")
    assert len(mount.ask(":recall:fox")) < 20_000
    assert mount.bash("tail -c 6 M/memory/shared/big.md") == "jumps\n"


def test_any_name_survives_the_mount_every_door_and_git(akashi: Mount) -> None:
    for number, name in enumerate(NAMES):
        (akashi.private / name).write_text(f"haystack number{number}\n")
    assert sorted(os.listdir(akashi.private)) == sorted(NAMES)
    hits = json.loads(run_avm("search", "--json", "--limit", "99", "haystack").stdout)
    assert {hit["path"] for hit in hits} == {f"/memory/private/akashi/{name}" for name in NAMES}
    for number, name in enumerate(NAMES):
        text = f"haystack number{number}\n"
        assert (akashi.private / name).read_text() == text
        assert akashi.search(f"number{number}").endswith(text)
    long = [f"/memory/private/akashi/{name}" for name in NAMES]
    assert run_avm("cat", *long).stdout.count("haystack") == len(NAMES)
    akashi.unmount()
    listed = git(akashi.vault, "ls-tree", "-z", "--name-only", "HEAD", "memory/private/akashi/")
    assert {Path(p).name for p in listed.split("\0") if p} == set(NAMES)
    assert git(akashi.vault, "status", "--porcelain") == ""


def test_a_name_that_is_no_utf8_is_a_file_like_any_other(mount: Mount) -> None:
    path = os.fsencode(mount.shared) + b"/caf\xe9.md"
    with open(path, "wb") as file:
        file.write(b"latin\n")
    assert b"caf\xe9.md" in os.listdir(os.fsencode(mount.shared))
    with open(path, "rb") as file:
        assert file.read() == b"latin\n"
    (mount.shared / "plain.md").write_text("plain\n")
    mount.unmount()
    assert git(mount.vault, "log", "-1", "--format=%s") == "remember: plain"
    assert "caf�.md: its name is not UTF-8" in run_avm("status").stdout


def test_an_empty_memory_is_in_listings_and_breaks_no_answer(mount: Mount) -> None:
    mount.bash("touch M/memory/shared/empty.md")
    assert mount.bash("ls M/memory/shared") == "empty.md\n"
    assert mount.ask(":stats").startswith("memories 1\n")
    assert mount.ask(":recall")
    assert json.loads(mount.ask("empty.md:meta", "memory/shared"))["size"] == 0


def test_text_the_memory_format_does_not_like_stays_as_it_is(mount: Mount) -> None:
    for number, data in enumerate(
        (
            b"---\ntitle: [broken\n---\nneedle\n",
            b"\xef\xbb\xbf---\r\ntitle: dos\r\n---\r\nneedle\r\n",
            b"---\nno: end\nneedle",
            b"needle \xff\xfe\x00 bytes",
            b"---\n---\nneedle\n",
        )
    ):
        path = mount.shared / f"odd{number}.md"
        path.write_bytes(data)
        assert path.read_bytes() == data
    found = mount.search("needle")
    assert [n for n in range(5) if f"odd{n}.md" not in found] == []


# Programs


#: `backupskip`: vim makes no backup of what is in the temp folder, where tests are.
VIM = "vim -es -u NONE -i NONE -c 'set backupskip=' {} -c '%s/one/two/' -c wq note.md"
#: Ways in which programs save, each in a folder of its own that holds `note.md`.
SAVING = (
    VIM.format("-c 'set nobackup nowritebackup'"),
    VIM.format("-c 'set backup writebackup backupcopy=no'") + " && rm note.md~",
    VIM.format("-c 'set backup backupcopy=yes backupext=.bak'") + " && rm note.md.bak",
    VIM.format("-n -c 'set nobackup writebackup backupcopy=no'"),
    "mv note.md note.md~; echo two > note.md; rm note.md~",
    "sed -i s/one/two/ note.md",
    "perl -pi -e s/one/two/ note.md",
    "echo two > .note.tmp; mv .note.tmp note.md",
    "echo two > ~/new && mv ~/new note.md",
    "rm note.md && echo two > note.md",
    "cp note.md .#copy && echo two > .#copy && cat .#copy > note.md; rm .#copy",
)


def test_programs_save_as_they_do(akashi: Mount) -> None:
    folders = [akashi.private / f"case{number}" for number in range(len(SAVING))]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "note.md").write_text("one\n")
    akashi.wait_committed("private/akashi", "akashi")
    for folder, line in zip(folders, SAVING, strict=True):
        bash(line, folder)
        assert (folder / "note.md").read_text() == "two\n", line
        assert f"{folder.name}/note.md" in akashi.search(
            "two", f"memory/private/akashi/{folder.name}"
        )
    akashi.unmount()
    for folder, line in zip(folders, SAVING, strict=True):
        rel = f"private/akashi/{folder.name}"
        assert os.listdir(akashi.behind / rel) == ["note.md"], line
        assert git(akashi.vault, "show", f"HEAD:memory/{rel}/note.md") == "two", line
        assert set(akashi.authors_of(rel)) == {"akashi"}
    assert git(akashi.vault, "status", "--porcelain", "-uall") == ""


def test_eight_processes_append_every_line(mount: Mount) -> None:
    """`>>` from eight shells at once, four of them behind the mount."""
    loop = "for i in $(seq 100); do echo line-{}-$i >> {}/memory/shared/log.md; done"
    shells = [
        subprocess.Popen(["bash", "-c", loop.format(n, "M" if n % 2 else "avm")], cwd=mount.home)
        for n in range(8)
    ]
    assert [shell.wait(60) for shell in shells] == [0] * 8
    lines = (mount.shared / "log.md").read_text().splitlines()
    assert sorted(lines) == sorted(f"line-{n}-{i}" for n in range(8) for i in range(1, 101))
    assert "line-7-100" in mount.search("line-7-100")


def test_an_unlinked_file_lives_on_while_open(akashi: Mount) -> None:
    note, folder = akashi.private / "note.md", akashi.behind / "private" / "akashi"
    note.write_text("one\n")
    akashi.wait_committed("private/akashi/note.md", "akashi")
    with note.open("r+") as file:
        note.unlink()
        assert os.listdir(akashi.private) == []
        assert os.listdir(folder) == []
        assert os.fstat(file.fileno()).st_size == 4
        assert file.read() == "one\n"
        file.write("more\n")
        file.flush()
        os.ftruncate(file.fileno(), 6)
        assert os.fstat(file.fileno()).st_size == 6
        file.seek(0)
        assert file.read() == "one\nmo"
        assert git(akashi.vault, "status", "--porcelain", "-uall") in (
            "D memory/private/akashi/note.md",
            "",
        )
        assert "Nothing found" in akashi.search("one")
        assert len(list(akashi.state.glob("hidden/*/*"))) == 1
    wait_for(lambda: not list(akashi.state.glob("hidden/*/*")), "the removal of the hidden file")
    akashi.wait_committed("private/akashi/note.md", "akashi")
    assert git(akashi.vault, "status", "--porcelain", "-uall") == ""


def test_a_file_renamed_over_while_open_keeps_its_text_for_its_reader(mount: Mount) -> None:
    for name in ("old.md", "new.md"):
        (mount.shared / name).write_text(f"{name}\n")
    with (mount.shared / "old.md").open() as file:
        (mount.shared / "new.md").rename(mount.shared / "old.md")
        assert file.read() == "old.md\n"
        assert (mount.shared / "old.md").read_text() == "new.md\n"
        assert sorted(os.listdir(mount.behind / "shared")) == [".gitkeep", "old.md"]


# What becomes of it in git


def test_a_second_version_of_the_same_size_in_the_same_second_is_committed(akashi: Mount) -> None:
    """git trusts stat data in whole seconds, unless the index's own time tells it not to."""
    path = akashi.private / "note.md"
    wait_for(lambda: time.time() % 1 < 0.05, "the beginning of a second")
    path.write_text("one\n")
    akashi.wait_committed("private/akashi/note.md", "akashi")
    wait_for(lambda: time.time() % 1 > 0.85, "the end of that second, where the machine is quick")
    path.write_text("two\n")
    akashi.wait_committed("private/akashi/note.md", "akashi")
    assert git(akashi.vault, "show", "HEAD:memory/private/akashi/note.md") == "two"
    assert akashi.authors_of("private/akashi/note.md") == ["akashi", "akashi"]


CUTTING = (
    "echo three > {}",
    "truncate -s 1 {}",
    "python3 -c 'import os; os.truncate(\"{}\", 0)'",
    'python3 -c \'open("{}", "r+").truncate(1)\'',
    "echo three > M/memory/shared/new.md && mv M/memory/shared/new.md {}",
)


def test_text_that_no_commit_holds_is_kept_before_it_is_cut(
    mounting: Mounting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVM_COMMIT_QUIET", "1h")
    mount = mounting(quick=False)
    for number, line in enumerate(CUTTING):
        rel, text = f"memory/shared/note{number}.md", f"{number}, not committed\n"
        (mount / rel).write_text(text)
        mount.bash(line.format(f"M/{rel}"))
        assert (mount / rel).read_text() != text, line
        rows = (mount.state / "state" / "kept.jsonl").read_text().splitlines()
        kept = [json.loads(row) for row in rows]
        assert [row["path"] for row in kept[number:]] == [rel], line
        assert git(mount.vault, "cat-file", "-p", kept[-1]["blob"]) == text.strip()


def test_names_that_libfuse_gives_are_nobodys(mount: Mount) -> None:
    """One that another file system left in the vault is not listed: it could not be read."""
    (mount.behind / "shared" / ".fuse_hidden0001").write_text("left\n")
    assert os.listdir(mount.shared) == [".gitkeep"]
    assert failing(partial((mount.shared / ".fuse_hidden0002").write_text, "x")) == "EINVAL"
    assert not (mount.behind / "shared" / ".fuse_hidden0002").exists()
