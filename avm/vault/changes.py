"""What differs from HEAD under `memory/`, and whose it is: what the committer decides on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from avm.base import paths
from avm.vault import git
from avm.vault.authors import Entry
from avm.vault.location import Vault


@dataclass(frozen=True)
class Change:
    """A path that differs from HEAD. `staged`: the person put something of it in git's index."""

    path: str
    kind: str  # "added", "changed" or "deleted", as git's work tree shows it
    staged: bool
    unmerged: bool = False


@dataclass(frozen=True)
class Group:
    """Changes that go into one commit: one author, the operations in order of their first write."""

    agent: str | None
    paths: tuple[str, ...]
    ops: tuple[str, ...]


@dataclass(frozen=True)
class Decision:
    """What to commit now, and which paths wait for what."""

    groups: tuple[Group, ...]
    waiting: dict[str, str]


def changes(vault: Vault) -> list[Change]:
    """Ask git what differs under `memory/`. Raises RepositoryError."""
    args = ("status", "--porcelain=v2", "-z", "--untracked-files=all", "--no-renames")
    done = git.run(vault.root, (*args, "--ignore-submodules=all", "--", "memory"))
    return list(_parse_status(done.stdout))


def _parse_status(data: bytes) -> Iterator[Change]:
    for field in data.split(b"\0"):
        line = field.decode("utf-8", "surrogateescape")
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

    `people` is whether the person's own edits are committed at all, through whatever door they came
    (not in an adopted vault). `only`: this agent's writes and nobody else's.
    """

    now: float
    quiet: float
    people_quiet: float
    people: bool
    held: Collection[str] = ()
    only: str | None = None


def decide(
    found: Iterable[Change], entries: Iterable[Entry], stamps: dict[str, float], policy: Policy
) -> Decision:
    """Which changes go into which commit. Pure.

    `stamps`: when each path last changed on disk, for those the journal does not know.
    """
    written: dict[str, list[Entry]] = {}
    for entry in entries:
        written.setdefault(entry.path, []).append(entry)
    ripe: dict[str | None, list[tuple[float, str, str]]] = {}
    waiting: dict[str, str] = {}
    found = list(found)
    staged = {change.path for change in found if change.staged}
    for change in found:
        path = change.path
        if paths.is_editor_name(paths.name_of(path)):
            continue
        own = written.get(path, [])
        agent = own[-1].agent if own else None
        if change.unmerged:
            waiting[path] = "merge conflict"
        elif path in staged:  # `git rm --cached` shows a path twice: as staged and as untracked
            waiting[path] = "staged by you: git commit"
        elif agent is None and not policy.people:
            continue
        elif policy.only is not None and agent != policy.only:
            waiting[path] = "written by another"
        elif not paths.is_utf8(path):
            waiting[path] = "its name is not UTF-8: rename it, or commit it with git"
        elif path in policy.held:
            waiting[path] = "open for writing"
        else:
            since = own[-1].at if own else stamps.get(path, policy.now)
            rest = policy.quiet if own else policy.people_quiet
            if abs(policy.now - since) < rest:  # a clock set far back holds up nothing
                waiting[path] = "still fresh"
            else:
                ripe.setdefault(agent, []).append((since, path, _op(change, own)))
    groups = [_group(agent, rows) for agent, rows in ripe.items()]
    return Decision(tuple(sorted(groups, key=lambda group: group.agent or "")), waiting)


def _op(change: Change, own: list[Entry]) -> str:
    if change.kind == "deleted":
        return "forget"
    if any(entry.op == "remember" for entry in own):
        return "remember"
    return "remember" if change.kind == "added" else "edit"


def _group(agent: str | None, rows: list[tuple[float, str, str]]) -> Group:
    rows.sort()
    return Group(agent, tuple(row[1] for row in rows), tuple(row[2] for row in rows))


def message(group: Group, subject: str | None = None) -> str:
    """The commit message: a subject for one memory or a count, and trailers."""
    if not subject:
        if len(group.paths) == 1:
            subject = f"{group.ops[0]}: {_one_line(paths.stem_of(group.paths[0]))}"
        else:
            ops = set(group.ops)
            verb = ops.pop() if len(ops) == 1 else "update"
            subject = f"{verb} {len(group.paths)} memories"
    trailers = [f"Agent: {group.agent}"] if group.agent else []
    trailers += [f"Memory-Op: {op}" for op in dict.fromkeys(group.ops)]
    return f"{subject}\n\n" + "\n".join(trailers) + "\n"


def _one_line(name: str) -> str:
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in shown)
