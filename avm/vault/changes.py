"""What differs from HEAD under `memory/`, and whose it is: what the committer decides on."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from avm.base import paths
from avm.vault import git
from avm.vault.authors import Entry
from avm.vault.location import Vault

_PLAIN_OPS = ("remember", "edit", "forget")
NOT_UTF8 = "its name is not UTF-8: rename it, or commit it with git"
STAGED = "staged by you: git commit"
CONFLICT = "merge conflict"
FRESH = "still fresh"
OPEN = "open for writing"


@dataclass(frozen=True)
class Change:
    """A path that differs from HEAD. `staged`: the person put something of it in git's index.

    `watch`: git was told not to look at it; the option of `git update-index` that takes that back.
    """

    path: str
    kind: str  # "added", "changed" or "deleted", as git's work tree shows it
    staged: bool
    unmerged: bool = False
    watch: str = ""


@dataclass(frozen=True)
class Item:
    """One path in a commit. `blob` is the content of an earlier version, None: as it is on disk."""

    path: str
    op: str
    blob: str | None = None


@dataclass(frozen=True)
class Group:
    """What goes into one commit: one author, the items in order of their first write."""

    agent: str | None
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Decision:
    """What to commit now, in this order, and which paths wait for what.

    Of a path that waits earlier versions may be committed all the same.
    """

    groups: tuple[Group, ...]
    waiting: dict[str, str]


def changes(vault: Vault, names: Collection[str] = ("memory",)) -> list[Change]:
    """Ask git what differs under `memory/`, or at `names` alone. Raises RepositoryError."""
    args = ("--literal-pathspecs", "status", "--porcelain=v2", "-z", "--untracked-files=all")
    options = ("--no-renames", "--ignore-submodules=all")
    done = git.run(vault.root, (*args, *options, "--", *names))
    return list(_parse_status(done.stdout))


def _parse_status(data: bytes) -> Iterator[Change]:
    for raw in data.split(b"\0"):
        line = raw.decode("utf-8", "surrogateescape")
        if line.startswith("? "):
            if not line.endswith("/"):  # a repository of its own, nested
                yield Change(line[2:], "added", staged=False)
        elif line.startswith("1 "):
            _, xy, submodule, _, _, _, _, _, path = line.split(" ", 8)
            if submodule == "N...":
                kind = {"D": "deleted", "A": "added"}.get(xy[1], "changed")  # A: `git add -N`
                yield Change(path, kind, staged=xy[0] != ".")
        elif line.startswith("u "):
            yield Change(line.split(" ", 10)[10], "changed", staged=True, unmerged=True)


@dataclass(frozen=True)
class Policy:
    """When a change is ripe. Times in seconds; `now` since the epoch.

    A write by AVM's doors rests for `quiet`, but once its path has waited for `max_wait` it is
    ripe; any other program's rests for `people_quiet`. `people` is whether the person's own edits
    are committed at all, through whatever door they came. `only`: what this agent wrote last.
    `within`: these paths and no other.
    """

    now: float
    quiet: float
    people_quiet: float
    people: bool
    max_wait: float = float("inf")
    held: Collection[str] = ()
    only: str | None = None
    within: Collection[str] | None = None


@dataclass
class _Version:
    """One version of a path: who wrote it, by which operations, when first and last."""

    agent: str | None
    blob: str | None = None
    entries: list[Entry] = field(default_factory=list)


def decide(
    found: Iterable[Change],
    entries: Iterable[Entry],
    stamps: Callable[[Change], float | None],
    policy: Policy,
) -> Decision:
    """Which changes go into which commit. Pure.

    `stamps`: when a path that the journal does not know last changed on disk, if that can be told.
    A path that several wrote in turn is in several commits: first each earlier version.
    """
    written: dict[str, list[Entry]] = {}
    for entry in entries:
        written.setdefault(entry.path, []).append(entry)
    by_path: dict[str, Change] = {}
    for change in found:  # `git rm --cached` shows a path twice: as staged and as untracked
        known = by_path.get(change.path)
        by_path[change.path] = change if known is None or change.staged else known
    for path, own in written.items():
        earlier = [entry.agent for entry in own if entry.blob]
        # Its last version may be as HEAD has it. An edit of the person's that is in HEAD is done.
        if earlier and (policy.people or None not in earlier):
            by_path.setdefault(path, Change(path, "changed", staged=False))
    layers: dict[int, dict[str | None, list[tuple[float, Item]]]] = {}
    waiting: dict[str, str] = {}
    for path, change in by_path.items():
        if policy.within is not None and path not in policy.within:
            continue
        versions = _versions(written.get(path, []))
        ripe, reason = _ripe(change, versions, stamps, policy)
        if reason:
            waiting[path] = reason
        for number, (since, version) in enumerate(ripe, 1 - len(versions)):
            item = Item(path, _op(change, version, first=version is versions[0]), version.blob)
            layers.setdefault(number, {}).setdefault(version.agent, []).append((since, item))
    groups = [
        Group(agent, tuple(item for _, item in sorted(rows, key=_by_time)))
        for number in sorted(layers)
        for agent, rows in sorted(layers[number].items(), key=lambda pair: pair[0] or "")
    ]
    return Decision(tuple(groups), waiting)


def _by_time(row: tuple[float, Item]) -> tuple[float, str]:
    return row[0], row[1].path


def _versions(own: list[Entry]) -> list[_Version]:
    """A path's versions, oldest first; the last is on disk, the person's if no entry tells."""
    versions = [_Version(None)]
    for entry in own:
        last = versions[-1]
        last.agent = entry.agent
        if entry.blob is not None:
            last.blob = entry.blob
            versions.append(_Version(None))
        else:
            last.entries.append(entry)
    return versions


def _ripe(
    change: Change,
    versions: list[_Version],
    stamps: Callable[[Change], float | None],
    policy: Policy,
) -> tuple[list[tuple[float, _Version]], str]:
    """The versions of a path that are to be committed, with their times, and why others wait."""
    path, last = change.path, versions[-1]
    if paths.is_editor_name(paths.name_of(path)):
        return [], ""
    if change.unmerged:
        return [], CONFLICT
    if change.staged:
        return [], STAGED
    if change.watch:
        again = f"git update-index {change.watch} {shlex.quote(path)}"
        return [], f"git was told not to look at it: {again}"
    earlier = [(0.0, version) for version in versions[:-1]]
    if not policy.people and last.agent is None and not earlier:
        return [], ""
    if not policy.people and any(version.agent is None for _, version in earlier):
        return [], "on top of an edit of yours that is not committed: git commit"
    # Nobody may have written since the last version was noted: what is on disk is that, or an edit
    # of the person's.
    written = versions if last.entries else versions[:-1]
    if policy.only is not None and (not written or written[-1].agent != policy.only):
        return [], "written by another"
    if last.agent is None and (not policy.people or policy.only is not None):
        return earlier, ""
    if not paths.is_utf8(path):
        return [], NOT_UTF8
    if path in policy.held:
        return earlier, OPEN
    journalled = last.entries
    seen = journalled[-1].at if journalled else stamps(change)
    since = policy.now if seen is None else seen
    rest = policy.quiet if journalled else policy.people_quiet
    waited = policy.now - journalled[0].at if journalled else 0.0
    if abs(policy.now - since) < rest and waited < policy.max_wait:
        return earlier, FRESH  # a clock set far back holds up nothing
    return [*earlier, (since, last)], ""


def _op(change: Change, version: _Version, *, first: bool) -> str:
    ops = [entry.op for entry in version.entries]
    if ops and ops[-1] not in _PLAIN_OPS:
        return ops[-1]  # what one command does, undo or restore, is told by its name
    if version.blob is None and change.kind == "deleted":
        return "forget"
    if "remember" in ops or (first and version.blob is None and change.kind == "added"):
        return "remember"
    return "edit"


@dataclass(frozen=True)
class Wording:
    """What a caller wants a commit to say: a subject for the one that is made up, more trailers."""

    subject: str | None = None
    trailers: Sequence[str] = ()


def message(
    group: Group, wording: Wording = Wording(), dropped: Collection[str] = frozenset()
) -> str:
    """The commit message: a subject for one memory or a count, and trailers.

    `dropped`: the paths whose front matter is no longer there.
    """
    ops = list(dict.fromkeys(item.op for item in group.items))
    names = [item.path for item in group.items]
    subject = wording.subject
    if not subject:
        if len(names) == 1:
            subject = f"{ops[0]}: {paths.printable(paths.stem_of(names[0]))}"
        else:
            subject = f"{ops[0] if len(ops) == 1 else 'update'} {len(names)} memories"
        count = len(set(names) & set(dropped))
        if count:
            subject += (
                " (front matter dropped)"
                if len(names) == 1
                else (f" (front matter dropped from {count})")
            )
    trailers = [f"Agent: {group.agent}"] if group.agent else []
    trailers += [f"Memory-Op: {op}" for op in ops]
    trailers += wording.trailers
    return f"{subject}\n\n" + "\n".join(trailers) + "\n"
