"""Commits, with the paths that they touched: of one path, followed through its renames, or of all.

`git log --follow` is not used: it ignores the Bloom filters of a commit-graph and looks at every
commit there is. The history of one name is asked for, and only the commits that added that name are
asked whether they moved it from another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from avm.base.errors import RepositoryError
from avm.base.paths import is_checked_out, printable
from avm.vault import git, history
from avm.vault.identity import agent_identity
from avm.vault.location import Vault

_RECORD = b"\x01"
_FORMAT = "%x01%H%x00%P%x00%an%x00%ae%x00%ct%x00%s%x00%(trailers:key=Memory-Op,valueonly)"
_FIELDS = 7
#: Nothing a person configured may change what git prints, and no path is a pattern. A `.mailmap`
#: comes with a pull: nobody's commits become an agent's by it.
_PLAIN = (
    "--literal-pathspecs", "-c", "log.follow=false", "-c", "log.showSignature=false",
    "-c", "log.showRoot=true", "-c", "log.mailmap=false",
)  # fmt: skip
_RAW = ("-z", "--raw", "--no-renames", "--no-abbrev", "--no-color")
_LOG = ("--full-diff", "--no-diff-merges", "--no-notes", "--encoding=UTF-8", f"--format={_FORMAT}")
_KINDS = {"A": "added", "D": "deleted"}
#: Modes of regular files, and of nothing.
_FILE_MODES = ("100644", "100755", "100664", "000000")


class Touch(NamedTuple):
    """What a commit did to a path: `added`, `changed` or `deleted`; blob ids in hex, all zeros for
    none. `is_file`: neither side is a symbolic link or a submodule."""

    kind: str
    old: str
    new: str
    is_file: bool = True


class Logged(NamedTuple):
    """A commit. `time`: of the committer, in seconds since the epoch; `paths`: everything that
    differs from its first parent; `name`: what the path asked for was called then (None: all)."""

    id: str
    parents: tuple[str, ...]
    author: str
    email: str
    time: int
    subject: str
    ops: tuple[str, ...]
    paths: dict[str, Touch]
    name: str | None = None


def commits(
    vault: Vault,
    start: str,
    scope: Sequence[str] = (),
    *,
    agent: str | None = None,
    since: float | None = None,
    limit: int | None = None,
    name: str | None = None,
) -> list[Logged]:
    """The commits that `start` has grown from, newest first; with `scope` those that touch one of
    these files and folders.

    `agent`: by this one; `since`: seconds since the epoch; `name` is noted in each. Raises
    RepositoryError.
    """
    args = [*_PLAIN, "log", *_RAW, *_LOG]
    if limit is not None:
        args.append(f"-{limit}")
    if since is not None:
        args.append(f"--max-age={max(0, int(since))}")
    if agent is not None:
        args += ["--fixed-strings", f"--author=<{agent_identity(agent).email}>"]
    done = git.run(vault.root, (*args, "--end-of-options", start, "--", *scope), check=False)
    if done.returncode != 0:
        raise RepositoryError(f"git log in {vault.root}: {git.last_line(done.stderr)}")
    found = list(_parse(done.stdout, name))
    _compare_merges(vault, [commit for commit in found if len(commit.parents) > 1])
    return found


def commits_of_file(
    vault: Vault,
    start: str,
    rel: str,
    *,
    readable: Callable[[str], bool],
    since: float | None = None,
    limit: int | None = None,
) -> list[Logged]:
    """The commits of one file, newest first, under the names that it had.

    Ends where an older name is not `readable`. Empty if `start` never had the file.
    """
    found: list[Logged] = []
    name, seen = rel, {rel}
    while True:
        rest = None if limit is None else limit - len(found)
        of_name = commits(vault, start, [name], since=since, limit=rest, name=name)
        of_name = [commit for commit in of_name if name in commit.paths]
        moved = origin(vault, of_name)
        if moved is None:
            return found + of_name
        number, older = moved
        found += of_name[: number + 1]
        commit = of_name[number]
        if older in seen or not readable(older) or (limit is not None and len(found) >= limit):
            return found
        name, start = older, commit.parents[0]
        seen.add(name)


def origin(vault: Vault, of_name: Sequence[Logged]) -> tuple[int, str] | None:
    """The newest of one name's commits that moved the file here, and the name it moved from.

    Returns its place in the list with that name; None if the file was new each time it was added.
    """
    adding = {
        commit.id: number
        for number, commit in enumerate(of_name)
        if len(commit.parents) == 1
        and commit.paths[commit.name or ""].kind == "added"
        # A move takes the file from somewhere.
        and any(touch.kind == "deleted" for touch in commit.paths.values())
    }
    if not adding:
        return None
    feed = "".join(f"{oid}\n" for oid in adding).encode()
    args = (
        "diff-tree",
        "--stdin",
        "-r",
        "-z",
        "--find-renames",
        "--diff-filter=R",
        "--name-status",
    )
    fields = iter(git.run(vault.root, args, stdin=feed).stdout.split(b"\0"))
    number = -1
    for field in fields:
        text = field.decode("utf-8", "surrogateescape").strip("\n")
        if text in adding:
            number = adding[text]
        elif text:
            older, newer = (
                next(fields).decode("utf-8", "surrogateescape") for _ in range(2)
            )  # what stands first is R and how alike the two are
            if newer == of_name[number].name and is_checked_out(older):
                return number, older
    return None


def name_at(
    vault: Vault, head: str, rel: str, commit: str, readable: Callable[[str], bool]
) -> str | None:
    """What the file that is `rel` now was called at `commit`; None if that name is not `readable`.

    Which name it had before the oldest that is known of it is not known: that one it is then.
    """
    name, start, seen = rel, head, {rel}
    while True:
        of_name = [c for c in commits(vault, start, [name], name=name) if name in c.paths]
        moved = origin(vault, of_name)
        if moved is None:
            return name
        number, older = moved
        move = of_name[number]
        if older in seen or history.is_ancestor(vault, move.id, commit):
            return name
        if not readable(older):
            return None
        name, start = older, move.parents[0]
        seen.add(name)


def was_there(vault: Vault, head: str, scope: Sequence[str]) -> bool:
    """Whether the history of `head` has one of these files or folders."""
    args = ("--literal-pathspecs", "rev-list", "-1", "--end-of-options", head, "--", *scope)
    return bool(git.output(vault.root, *args))


def _compare_merges(vault: Vault, merges: Sequence[Logged]) -> None:
    """Fill in what each merge differs in from its first parent.

    If `git log` itself were asked, it would list merges that it else leaves out of a path's log.
    """
    if not merges:
        return
    by_id = {merge.id: merge for merge in merges}
    feed = "".join(f"{merge.id} {merge.parents[0]}\n" for merge in merges).encode()
    args = ("diff-tree", "--stdin", "-r", *_RAW)
    fields = iter(git.run(vault.root, args, stdin=feed).stdout.split(b"\0"))
    paths: dict[str, Touch] = {}
    for field in fields:
        field = field.lstrip(b"\n")
        if field.startswith(b":"):
            _add_touch(paths, field, next(fields))
        elif field:
            paths = by_id[field.decode()].paths


def _parse(data: bytes, name: str | None) -> Iterator[Logged]:
    fields = iter(data.split(b"\0"))
    head: list[str] = []
    paths: dict[str, Touch] = {}
    for field in fields:
        field = field.lstrip(b"\n")
        if field.startswith(_RECORD):
            if head:
                yield _logged(head, paths, name)
            rest = [next(fields) for _ in range(_FIELDS - 1)]
            head = [item.decode("utf-8", "replace") for item in (field[1:], *rest)]
            paths = {}
        elif field.startswith(b":"):
            _add_touch(paths, field, next(fields))
    if head:
        yield _logged(head, paths, name)


def _add_touch(paths: dict[str, Touch], facts: bytes, rel: bytes) -> None:
    mode_before, mode, old, new, letter = facts.decode().lstrip(":").split(" ")
    name = rel.decode("utf-8", "surrogateescape")
    if is_checked_out(name):
        kind = _KINDS.get(letter[0], "changed")
        is_file = mode_before in _FILE_MODES and mode in _FILE_MODES
        paths[name] = Touch(kind, old, new, is_file)


def _logged(head: list[str], paths: dict[str, Touch], name: str | None) -> Logged:
    oid, parents, author, email, time, subject, ops = head
    return Logged(
        id=oid,
        parents=tuple(parents.split()),
        author=printable(author),
        email=email,
        time=int(time),
        subject=printable(subject),
        ops=tuple(printable(op) for op in ops.splitlines() if op),
        paths=paths,
        name=name,
    )
