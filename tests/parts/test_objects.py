"""One contract for git's objects and branches, through libgit2 and through the git program."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import git

from avm.base.errors import RepositoryError
from avm.vault.identity import Identity
from avm.vault.location import Vault
from avm.vault.objects import FILE_MODE, Blob, Locked, Moved, Objects, Signature, open_objects
from avm.vault.objects_git import MOST_PATHS, GitObjects
from avm.vault.objects_libgit2 import LastingRepository, Libgit2Objects, open_repository
from avm.vault.past import PastTrees

PAT = Signature(Identity("Pat Person", "pat@example.org"), 1_700_000_000, 60)
AKASHI = Signature(Identity("akashi", "akashi@agents.avm.invalid"), 1_700_000_123, -210)
LINK, SCRIPT = 0o120000, 0o100755

#: Names that a command line, a pathspec or a line of text could take for something else.
ODD = [
    "memory/記憶 ümlaut 🙂.md",
    'memory/quote".md',
    "memory/back\\slash.md",
    "memory/new\nline.md",
    "memory/tab\t.md",
    "memory/*[x]?.md",
    "memory/ blanks .md",
    "memory/latin-\udce9.md",
    "-dash.md",
    ":(top)colon.md",
    ":(glob)**",
    "memory/:!x.md",
]

WAYS: list[tuple[str, Callable[[Vault], Objects], str]] = [
    ("libgit2", Libgit2Objects, "sha1"),
    ("git", GitObjects, "sha1"),
    ("git-sha256", GitObjects, "sha256"),
]


def repository(root: Path, object_format: str = "sha1") -> Vault:
    """An empty repository; no vault, because nothing here asks for more."""
    git(root.parent, "init", "-q", f"--object-format={object_format}", str(root))
    return Vault(root, root / ".git", root / ".git", root / ".git/avm", adopted=True)


@pytest.fixture(params=WAYS, ids=[name for name, _, _ in WAYS])
def way(request: pytest.FixtureRequest) -> tuple[str, Callable[[Vault], Objects], str]:
    return request.param


@pytest.fixture
def vault(tmp_path: Path, way: tuple[str, Callable[[Vault], Objects], str]) -> Vault:
    return repository(tmp_path / "r", way[2])


@pytest.fixture
def objects(vault: Vault, way: tuple[str, Callable[[Vault], Objects], str]) -> Objects:
    return way[1](vault)


def make_commit(
    objects: Objects, parent: str | None, put: dict[str, Blob | None], message: str = "x\n"
) -> str:
    """A commit that must come about."""
    made = objects.write_commit(parent, put, message, AKASHI, PAT)
    assert made is not None
    return made


def files(objects: Objects, *names: str, text: str = "text\n") -> dict[str, Blob | None]:
    return {name: (objects.write_blob(f"{name}: {text}".encode("utf-8", "surrogateescape")),
                   FILE_MODE) for name in names}  # fmt: skip


def run(vault: Vault, *args: str, stdin: bytes = b"") -> bytes:
    """What git prints, to the byte."""
    done = subprocess.run(
        ["git", *args], cwd=vault.root, input=stdin, capture_output=True, check=True
    )
    return done.stdout


def tree(vault: Vault, rev: str) -> dict[str, Blob]:
    """What a commit's tree holds, as git lists it."""
    listed = git(vault.root, "ls-tree", "-r", "-z", "--full-tree", rev)
    rows = (line.partition("\t") for line in listed.split("\0") if line)
    return {name: (facts.split(" ")[2], int(facts[:6], 8)) for facts, _, name in rows}


# Reading


def test_entries_are_files_and_links_and_nothing_else(vault: Vault, objects: Objects) -> None:
    blob = objects.write_blob(b"x")
    put: dict[str, Blob | None] = {
        "memory/a.md": (blob, FILE_MODE),
        "memory/run.sh": (blob, SCRIPT),
        "memory/link.md": (blob, LINK),
        "memory/deep/er/b.md": (blob, FILE_MODE),
    }
    at = make_commit(objects, None, put)
    module = f"160000 commit {at}\tmodule\0".encode()
    listed = git(vault.root, "ls-tree", "-z", at).encode()
    whole = run(vault, "mktree", "-z", stdin=listed + module).decode().strip()
    at = git(vault.root, "commit-tree", "-m", "x", whole)
    asked = [*put, "memory", "memory/deep", "memory/deep/er", "module", "module/x.md", "absent.md",
             "memory/absent.md", "memory/a.md/below.md", "memory/A.md", "mem"]  # fmt: skip
    assert objects.entries(at, asked) == put
    assert objects.entries(at, []) == {}
    assert objects.entries(None, asked) == {}


def test_entries_of_odd_names(vault: Vault, objects: Objects) -> None:
    put = files(objects, *(name for name in ODD if "\udce9" not in name))
    at = make_commit(objects, None, put)
    assert tree(vault, at) == put
    assert objects.entries(at, ODD) == put
    for name in ODD:
        assert objects.entries(at, [name]) == ({name: put[name]} if name in put else {})


def test_entries_of_more_paths_than_fit_a_command_line(objects: Objects) -> None:
    names = [f"memory/{number}.md" for number in range(MOST_PATHS + 1)]
    put = dict.fromkeys(names, (objects.write_blob(b"x"), FILE_MODE))
    at = make_commit(objects, None, dict(put))
    assert objects.entries(at, names) == put
    assert objects.entries(at, [*names[:3], "memory/absent.md"]) == {n: put[n] for n in names[:3]}


def test_ignored_is_what_git_ignores(vault: Vault, objects: Objects, tmp_path: Path) -> None:
    everywhere = tmp_path / "everywhere"
    everywhere.write_text("*.global\n")
    git(vault.root, "config", "core.excludesFile", str(everywhere))
    (vault.git_dir / "info/exclude").write_text("*.excluded\n/memory/top.md\n")
    for folder, rules in {
        "": "*.tmp\n!kept.tmp\nbuild/\n",
        "memory": "*.log\n/only-here.md\n",
        "memory/deep": "!kept.log\n*\n!*/\n!*.md\n",
        "memory/deep/er": "secret*.md\n",
    }.items():
        (vault.root / folder).mkdir(parents=True, exist_ok=True)
        (vault.root / folder / ".gitignore").write_text(rules)
    (vault.root / "memory/build").mkdir()
    (vault.root / "memory/build/x.md").write_text("x")
    is_ignored = {
        "memory/a.md": False, "a.tmp": True, "memory/a.tmp": True, "memory/kept.tmp": False,
        "memory/a.log": True, "memory/deep/kept.log": True, "memory/only-here.md": True,
        "memory/deep/only-here.md": False, "memory/top.md": True, "memory/deep/top.md": False,
        "x.global": True, "memory/x.excluded": True, "memory/deep/a.txt": True,
        "memory/deep/a.md": False, "memory/deep/er/a.md": False, "memory/deep/er/secret1.md": True,
        "memory/build/x.md": True, "memory/absent/build/x.md": True, "memory/build": True,
        "memory/記.tmp": True, "memory/*.md": False, "memory/[.log": True,
    }  # fmt: skip
    assert objects.ignored(is_ignored) == {name for name in is_ignored if is_ignored[name]}
    assert objects.ignored([]) == set()


def test_a_name_behind_a_link_or_in_a_submodule_hides_no_other(
    vault: Vault,
    objects: Objects,
    tmp_path: Path,
    way: tuple[str, Callable[[Vault], Objects], str],
) -> None:
    (vault.root / ".gitignore").write_text("*.tmp\n")
    (vault.root / "link").symlink_to(tmp_path)
    git(vault.root, "init", "-q", f"--object-format={way[2]}", "nested")
    git(vault.root / "nested", "commit", "-q", "--allow-empty", "-m", "x")
    git(vault.root, "add", "nested")
    assert objects.ignored(["link/x.md", "nested/x.md", "a.tmp", "b.tmp", "c.md"]) >= {
        "a.tmp",
        "b.tmp",
    }
    assert "c.md" not in objects.ignored(["link/x.md", "nested/x.md", "c.md"])


@pytest.mark.parametrize("raw", [b"", b"text\n", b"\0\xff\r\n", b"x" * 100_000], ids=len)
def test_a_blob_is_stored_byte_for_byte(vault: Vault, objects: Objects, raw: bytes) -> None:
    git(vault.root, "config", "core.autocrlf", "true")
    blob = objects.write_blob(raw)
    assert objects.read_blob(blob) == raw
    assert run(vault, "cat-file", "blob", blob) == raw
    assert objects.write_blob(raw) == blob


def test_a_blob_that_is_not_there_is_an_error(objects: Objects) -> None:
    absent = "1" * len(objects.write_blob(b"x"))
    with pytest.raises(RepositoryError):
        objects.read_blob(absent)


@pytest.mark.parametrize(
    "setting",
    [
        "config core.fileMode false", "config core.autocrlf true", "config core.autocrlf input",
        "attribute *.md filter=x", "attribute *.md working-tree-encoding=UTF-16",
        "attribute *.md ident", "attribute *.md text", "attribute *.md text=auto",
        "attribute *.md eol=crlf", "attribute *.md crlf",
    ],
)  # fmt: skip
def test_a_path_that_git_converts_is_not_verbatim(
    vault: Vault, way: tuple[str, Callable[[Vault], Objects], str], setting: str
) -> None:
    kind, _, value = setting.partition(" ")
    if kind == "config":
        git(vault.root, "config", *value.split())
    else:
        (vault.root / ".gitattributes").write_text(value + "\n")
    assert not way[1](vault).is_verbatim("memory/a.md")


@pytest.mark.parametrize("rule", ["", "*.md -text", "*.md binary", "*.txt filter=x"])
def test_libgit2_knows_what_is_verbatim(tmp_path: Path, rule: str) -> None:
    vault = repository(tmp_path / "r")
    (vault.root / ".gitattributes").write_text(rule + "\n")
    assert Libgit2Objects(vault).is_verbatim("memory/a.md")


# Writing commits


def test_the_first_commit_has_no_parent(vault: Vault, objects: Objects) -> None:
    put = files(objects, "memory/a.md")
    at = make_commit(objects, None, put)
    assert tree(vault, at) == put
    assert git(vault.root, "log", "-1", "--format=%P", at) == ""
    assert git(vault.root, "for-each-ref") == ""


def test_what_is_put_is_added_changed_and_removed(vault: Vault, objects: Objects) -> None:
    first = files(objects, "a.md", "b.md", "memory/a.md", "memory/b.md", "memory/c/d.md")
    base = make_commit(objects, None, first)
    new = files(objects, "memory/a.md", "memory/new/er/x.md", text="changed\n")
    new["memory/b.md"] = (first["memory/b.md"][0], SCRIPT)  # type: ignore[index]
    at = make_commit(objects, base, new | {"a.md": None, "memory/c/d.md": None, "absent.md": None,
                                           "memory/no/such.md": None})  # fmt: skip
    assert tree(vault, at) == {"b.md": first["b.md"], **new}
    assert git(vault.root, "log", "-1", "--format=%P", at) == base
    git(vault.root, "fsck", "--strict", "--no-dangling")


def test_a_folder_that_is_emptied_leaves_the_tree(vault: Vault, objects: Objects) -> None:
    base = make_commit(objects, None, files(objects, "keep.md", "d/e/f/a.md", "d/e/f/b.md"))
    at = make_commit(objects, base, {"d/e/f/a.md": None, "d/e/f/b.md": None})
    assert git(vault.root, "ls-tree", "-r", "-t", "--name-only", at) == "keep.md"
    at = make_commit(objects, at, {"keep.md": None})
    assert git(vault.root, "ls-tree", at) == ""


@pytest.mark.parametrize("gone_first", [True, False])
def test_file_and_folder_change_places(vault: Vault, objects: Objects, gone_first: bool) -> None:
    put = files(objects, "memory/x.md", "memory/y.md/deep/in.md")
    base = make_commit(objects, None, put)
    gone: dict[str, Blob | None] = {"memory/x.md": None, "memory/y.md/deep/in.md": None}
    new = files(objects, "memory/x.md/in.md", "memory/y.md")
    at = make_commit(objects, base, gone | new if gone_first else new | gone)
    assert tree(vault, at) == new
    # One without a word on the other, as two authors do it.
    at = make_commit(objects, base, files(objects, "memory/x.md/in.md"))
    assert set(tree(vault, at)) == {"memory/x.md/in.md", "memory/y.md/deep/in.md"}
    at = make_commit(objects, at, {"memory/x.md": None, "keep.md": put["memory/x.md"]})
    assert "memory/x.md/in.md" in tree(vault, at)


def test_a_tree_that_stays_the_same_is_no_commit(objects: Objects) -> None:
    put = files(objects, "memory/a.md", "b.md")
    base = make_commit(objects, None, put)
    for same in (put, {}, {"absent.md": None}, {"memory/a.md": put["memory/a.md"]}):
        assert objects.write_commit(base, same, "x\n", AKASHI, PAT) is None


def test_what_else_is_in_the_index_and_the_work_tree_does_not_get_in(
    vault: Vault, objects: Objects
) -> None:
    (vault.root / "staged.md").write_text("staged\n")
    git(vault.root, "add", "staged.md")
    index = vault.git_index.read_bytes()
    put = files(objects, "memory/a.md")
    assert tree(vault, make_commit(objects, None, put)) == put
    assert vault.git_index.read_bytes() == index
    assert not any(path.name.startswith("tree.") for path in vault.git_dir.glob("avm/*"))


def test_message_and_signatures_are_stored_to_the_byte(vault: Vault, objects: Objects) -> None:
    git(vault.root, "config", "i18n.commitEncoding", "ISO-8859-1")
    git(vault.root, "config", "commit.cleanup", "strip")
    git(vault.root, "config", "user.name", "Somebody Else")
    message = "Lerne – 学ぶ\n\n# no comment\n\nAgent: akashi\nMemory-Op: edit\n"
    named = Signature(Identity("Zoë Ñandú", "zoe@example.org"), 1_700_000_000, 765)
    at = objects.write_commit(None, files(objects, "a.md"), message, AKASHI, named)
    assert at is not None
    head, _, body = run(vault, "cat-file", "commit", at).partition(b"\n\n")
    assert body.decode() == message
    assert head.decode().splitlines()[1:] == [
        "author akashi <akashi@agents.avm.invalid> 1700000123 -0330",
        "committer Zoë Ñandú <zoe@example.org> 1700000000 +1245",
    ]


@pytest.mark.parametrize("seconds", [0, 5, 99_999_999, 2**31, 4_102_444_800])
@pytest.mark.parametrize("offset", [0, 1, -1, 840, -720])
def test_any_time_and_zone_is_kept(
    vault: Vault, objects: Objects, seconds: int, offset: int
) -> None:
    when = Signature(PAT.who, seconds, offset)
    at = objects.write_commit(None, files(objects, "a.md"), "x\n", when, when)
    assert at is not None
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}{abs(offset) % 60:02}"
    assert f"{seconds} {zone}\n".encode() in run(vault, "cat-file", "commit", at)


def test_both_ways_make_the_same_commits(tmp_path: Path) -> None:
    """Byte for byte: whichever way a round takes, history is the same."""
    git_names = [name for name in ODD if "\udce9" not in name]
    steps: list[list[str]] = [git_names, ["a.md", "memory/x.md", "memory/d/y.md"], ["a.md/in.md"]]
    ids = []
    for name, make, _ in WAYS[:2]:
        objects = make(repository(tmp_path / name))
        at, made = None, []
        for number, names in enumerate(steps):
            at = make_commit(objects, at, files(objects, *names), f"Step {number} – é\n")
            made.append(at)
        at = make_commit(objects, at, {"memory/d/y.md": None, git_names[0]: None}, "no line end")
        ids.append([*made, at])
    assert ids[0] == ids[1]


def test_rows_are_in_git_s_order(vault: Vault, objects: Objects) -> None:
    """A folder sorts as if its name ended in a slash."""
    names = [f"m{end}" for end in ("", "!.md", "-x.md", ".md", "0.md", "/a.md", "é.md", "M.md")]
    at = None
    for name in names[1:]:
        at = make_commit(objects, at, files(objects, name))
    at = make_commit(objects, at, {"m/a.md": None, **files(objects, "m")})
    at = make_commit(objects, at, {"m": None, **files(objects, "m/b/c.md", "m/b.md")})
    assert set(tree(vault, at)) == {*names[1:], "m/b/c.md", "m/b.md"} - {"m/a.md"}
    git(vault.root, "fsck", "--strict", "--no-dangling")


def test_what_is_not_there_gets_into_no_commit(objects: Objects) -> None:
    absent = "1" * len(objects.write_blob(b"x"))
    with pytest.raises(RepositoryError):
        objects.write_commit(None, {"a.md": (absent, FILE_MODE)}, "x\n", AKASHI, PAT)


# What a process that stays keeps open and in memory

MANY = 600


def test_a_pack_that_git_replaced_is_let_go(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc tells what is open")
    vault = repository(tmp_path / "r")
    objects, past = Libgit2Objects(vault), PastTrees(vault, many=True)
    at = None
    for number in range(3):
        at = make_commit(objects, at, files(objects, f"{number}.md"))
        git(vault.root, "update-ref", "refs/heads/main", at)
        git(vault.root, "repack", "-adq")
        git(vault.root, "prune-packed", "-q")
        assert set(objects.entries(at, ["0.md"])) == set(past.folder(at, "")) & {"0.md"}
    packs = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    ours = {name for name in packs if name.startswith(str(vault.root))}
    assert len(ours) == 1, ours


def test_names_that_were_asked_for_and_removed_are_not_kept(tmp_path: Path) -> None:
    objects = Libgit2Objects(repository(tmp_path / "r"))
    blob = objects.write_blob(b"x")

    def act(number: int) -> None:
        name = f"memory/{number}-only-once.md"
        at = make_commit(objects, None, {name: (blob, FILE_MODE), "a.md": (blob, FILE_MODE)})
        assert set(objects.entries(at, [name])) == {name}
        make_commit(objects, at, {name: None})

    act(0)
    gc.collect()
    before = sys.getallocatedblocks()
    for number in range(1, MANY):
        act(number)
    gc.collect()
    assert sys.getallocatedblocks() - before < MANY / 2


def test_the_rules_of_folders_that_were_asked_for_are_not_kept(tmp_path: Path) -> None:
    vault = repository(tmp_path / "r")
    lasting = LastingRepository(vault)
    used = _heap()
    for number in range(5 * MANY):
        with lasting.used([f"d{number}/a.md"]) as repo:
            assert not repo.path_is_ignored(f"d{number}/a.md")
    assert _heap() - used < 5 * MANY * 150


def _heap() -> int:
    """The bytes in use that C code asked for."""

    class Info(ctypes.Structure):
        _fields_ = [(f"_{number}", ctypes.c_size_t) for number in range(10)]

    try:
        ask = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        pytest.skip("this C library does not tell what is in use")
    ask.restype = Info
    gc.collect()
    found = ask()
    return int(found._4) + int(found._7)  # hblkhd, uordblks


# Branches


@pytest.fixture(params=["refs/heads/main", "refs/heads/a/b/c", "refs/heads/記憶"])
def ref(request: pytest.FixtureRequest, vault: Vault) -> str:
    git(vault.root, "symbolic-ref", "HEAD", request.param)
    return str(request.param)


def test_a_branch_is_made_and_moved(vault: Vault, objects: Objects, ref: str) -> None:
    first = make_commit(objects, None, files(objects, "a.md"))
    objects.move_branch(ref, None, first)
    assert git(vault.root, "rev-parse", ref) == first
    second = make_commit(objects, first, files(objects, "b.md"))
    objects.move_branch(ref, first, second)
    assert git(vault.root, "rev-parse", "HEAD") == second
    logged = [f"{second} commit (avm)", f"{first} commit (avm)"]
    assert git(vault.root, "log", "-g", "--format=%H %gs", ref).splitlines() == logged
    third = make_commit(objects, second, files(objects, "c.md"))
    git(vault.root, "pack-refs", "--all")
    assert not (vault.git_dir / ref).exists()
    objects.move_branch(ref, second, third)
    assert git(vault.root, "rev-parse", ref) == third
    git(vault.root, "fsck", "--strict")


def test_a_branch_that_is_elsewhere_is_not_moved(vault: Vault, objects: Objects, ref: str) -> None:
    first = make_commit(objects, None, files(objects, "a.md"))
    second = make_commit(objects, first, files(objects, "b.md"))
    with pytest.raises(Moved):  # it is not there at all
        objects.move_branch(ref, first, second)
    objects.move_branch(ref, None, second)
    for old in (None, first):
        with pytest.raises(Moved):
            objects.move_branch(ref, old, first)
    git(vault.root, "pack-refs", "--all")
    for old in (None, first):
        with pytest.raises(Moved):
            objects.move_branch(ref, old, first)
    assert git(vault.root, "rev-parse", ref) == second


@pytest.mark.parametrize("exists", [True, False])
def test_a_branch_whose_lock_is_held_is_not_moved(
    vault: Vault, objects: Objects, ref: str, exists: bool
) -> None:
    first = make_commit(objects, None, files(objects, "a.md"))
    second = make_commit(objects, first, files(objects, "b.md"))
    if exists:
        objects.move_branch(ref, None, first)
    lock = vault.git_dir / f"{ref}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_bytes(b"theirs")
    with pytest.raises(Locked, match=ref):
        objects.move_branch(ref, first if exists else None, second)
    assert lock.read_bytes() == b"theirs"
    lock.unlink()
    objects.move_branch(ref, first if exists else None, second)
    assert git(vault.root, "rev-parse", ref) == second


# Which way is taken, and signing


def test_libgit2_is_taken_where_it_can_open_the_repository(tmp_path: Path) -> None:
    vault = repository(tmp_path / "one")
    assert isinstance(open_objects(vault), Libgit2Objects)
    assert isinstance(open_objects(vault, sign=True), GitObjects)
    other = repository(tmp_path / "two", "sha256")
    assert isinstance(open_objects(other), GitObjects)
    with pytest.raises(RepositoryError, match="libgit2 cannot open"):
        open_repository(other)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen to sign with")
@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_commits_are_signed_if_asked_for(tmp_path: Path, object_format: str) -> None:
    vault = repository(tmp_path / "r", object_format)
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    signers = tmp_path / "signers"
    signers.write_text(f"pat@example.org {key.with_suffix('.pub').read_text()}")
    git(vault.root, "config", "gpg.format", "ssh")
    git(vault.root, "config", "user.signingKey", str(key))
    git(vault.root, "config", "gpg.ssh.allowedSignersFile", str(signers))
    objects = open_objects(vault, sign=True)
    signed = make_commit(objects, None, files(objects, "a.md"))
    assert git(vault.root, "log", "-1", "--format=%G? %GS", signed) == "G pat@example.org"
    git(vault.root, "verify-commit", signed)
    git(vault.root, "config", "commit.gpgSign", "true")
    plain = make_commit(GitObjects(vault), None, files(objects, "a.md"))
    assert b"gpgsig" not in run(vault, "cat-file", "commit", plain)
    key.unlink()
    with pytest.raises(RepositoryError):
        objects.write_commit(None, files(objects, "b.md"), "x\n", AKASHI, PAT)
