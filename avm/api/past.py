"""The past as one viewer may see it: the log, versions, differences, whole trees.

Present rules apply to it: what the viewer may not read now is absent from every commit. Expiry
hides nothing here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from avm.api import values
from avm.api.viewed import Viewed, a_folder, not_found
from avm.base import paths
from avm.base.access import Viewer
from avm.base.errors import NotFoundError
from avm.base.times import format_instant, instant_of
from avm.vault import files

if TYPE_CHECKING:
    from avm.api.commits import BlameLine, Commit
    from avm.vault.blame import Line
    from avm.vault.diff import Version
    from avm.vault.log import Logged
    from avm.vault.past import PastEntry, PastTrees

_OPS = {"added": "remember", "changed": "edit", "deleted": "forget"}
#: How much of a hash is shown.
SHORT = 7


class Past(Viewed):
    """What a viewer may ask of the past.

    A revision is a hash, `~3`, `HEAD~3`, a date or `yesterday`, for the owner also a branch or a
    tag. Dates are in `zone`, None for the process's own.
    """

    def log(
        self,
        path: str | None = None,
        *,
        agent: str | None = None,
        since: str | datetime | timedelta | None = None,
        limit: int | None = None,
        zone: tzinfo | None = UTC,
    ) -> list[Commit]:
        """The commits of a file through its renames, of a folder, or of all; newest first.

        `agent`: by this one; `since`: `7d`, a date, an instant. Raises NotFoundError for a path
        that never was, UsageError for a bad value.
        """
        head, rel = self._head(), paths.clean_rel(path or "")
        writer = None if agent is None else paths.check_agent(agent)
        start = self._since(since, zone)
        most = None if limit is None else values.positive(limit, "limit")
        found = self._of_file(rel, head, writer, start, most)
        if found is None:
            found = self._of_folder(rel, head, writer, start, most)
        shown = (_commit(self.viewer, commit) for commit in found)
        return [commit for commit in shown if commit.paths or self.viewer.agent is None]

    def history(self, path: str) -> list[Commit]:
        """All commits of one file, newest first, each with the name it had: `commit.path`.

        Raises NotFoundError for a file that never was.
        """
        return self.log(self._file(path))

    def show(self, path: str, rev: str | None = None, *, zone: tzinfo | None = UTC) -> bytes:
        """A file as it was at `rev`, under the name it had then; None: the newest that git has. The
        bytes are those that git would write into the work tree now.

        Raises NotFoundError, UsageError.
        """
        from avm.vault.past import checked_out

        rel, head = self._file(path), self._head()
        if rev is None:
            _, entry = self._newest(rel, head)
        else:
            _, entry = self._at(rel, head, self._revision(rev, zone))
        if entry is None:
            shown = f"there at {rev!r}" if rev else "committed yet"
            raise NotFoundError(
                f"{paths.display(rel)} was not {shown}: avm log {paths.display(rel)}"
            )
        return checked_out(self.store.vault, rel, entry.id)

    def diff(
        self,
        path: str,
        old: str | None = None,
        new: str | None = None,
        *,
        zone: tzinfo | None = UTC,
    ) -> str:
        """What changed in a file, as a unified diff; empty if nothing did.

        Between two revisions; from one to the file as it is now; without any: what is not committed
        yet, else the newest change. Raises NotFoundError, UsageError.
        """
        from avm.vault.diff import unified

        rel, head = self._file(path), self._head()
        vault = self.store.vault
        if old is not None:
            before = self._version(rel, head, self._revision(old, zone))
            if new is None:
                return unified(vault, before, self._working(rel))
            return unified(vault, before, self._version(rel, head, self._revision(new, zone)))
        entry = self._entry(head, rel)
        before = None if entry is None else self._labelled(rel, head, entry.id)
        return unified(vault, before, self._working(rel)) or self._newest_change(rel, head)

    def blame(self, path: str) -> list[BlameLine]:
        """Each line of a file and the commit it is from; of a file that is gone, as it was last.

        Raises NotFoundError.
        """
        from avm.api.commits import BlameLine
        from avm.vault.blame import blame

        rel, head = self._file(path), self._head()
        vault = self.store.vault
        if files.regular_file(vault, rel) is None:
            commit, entry = self._newest(rel, head)
            if entry is None:
                raise not_found(rel)
            return [_blamed(self.viewer, line) for line in blame(vault, rel, commit)]
        if self._entry(head, rel) is None:
            text = files.read(vault, rel).decode("utf-8", "replace")
            lines = text.removesuffix("\n").split("\n") if text else []
            return [BlameLine(n, line, None, None, None, None) for n, line in enumerate(lines, 1)]
        return [_blamed(self.viewer, line) for line in blame(vault, rel)]

    def tree_at(self, rev: str, *, zone: tzinfo | None = UTC) -> PastView:
        """The whole tree at `rev`. Raises NotFoundError, UsageError."""
        return PastView(self.store.trees, self.viewer, self._revision(rev, zone))

    def is_there(self, path: str) -> bool:
        """Whether a file is there for this viewer now, expired or not."""
        rel = paths.clean_rel(path)
        hidden = paths.in_dot_git(rel) or not self.viewer.can_read(rel)
        return not hidden and files.regular_file(self.store.vault, rel) is not None

    def ever_existed(self, path: str) -> bool:
        """Whether a file exists for this viewer, expired or not, or did at some time."""
        try:
            self._file(path)
        except NotFoundError:
            return False
        return True

    def _head(self) -> str:
        from avm.vault import history, revisions

        head = history.head(self.store.vault)
        if head is None:
            raise revisions.nothing_committed()
        return head

    def _revision(self, rev: str, zone: tzinfo | None) -> str:
        return self.store.revisions.find(
            rev, now=self.store.now(), zone=zone, any_name=self.viewer.agent is None
        )

    def _since(self, since: str | datetime | timedelta | None, zone: tzinfo | None) -> float | None:
        if since is None:
            return None
        if isinstance(since, timedelta):
            return self.store.now() - since.total_seconds()
        if isinstance(since, datetime):
            return (since if since.tzinfo else since.replace(tzinfo=zone)).timestamp()
        from avm.vault import revisions

        return revisions.since_of(str(since), self.store.now(), zone)

    def _file(self, path: str) -> str:
        """The rel of a file that is there, expired or not, or was. Raises NotFoundError."""
        from avm.vault import history, log

        rel = paths.clean_rel(path)
        if self.is_there(rel):
            return rel
        vault, head = self.store.vault, history.head(self.store.vault)
        if not rel or paths.in_dot_git(rel) or not self.viewer.can_read(rel):
            raise self.not_visible(rel)
        if files.is_folder(vault, rel):
            raise a_folder(rel)
        if head is None or not log.was_there(vault, head, [rel]):
            raise not_found(rel)
        return rel

    def _of_file(
        self, rel: str, head: str, writer: str | None, since: float | None, most: int | None
    ) -> list[Logged] | None:
        """The commits of the file `rel`; None if it is no file that this viewer may read."""
        from avm.vault import log
        from avm.vault.identity import agent_of

        vault, may = self.store.vault, self.viewer.can_read
        if not rel or paths.in_dot_git(rel) or not may(rel) or files.is_folder(vault, rel):
            return None
        limit = most if writer is None else None
        found = log.commits_of_file(vault, head, rel, readable=may, since=since, limit=limit)
        if not found and files.regular_file(vault, rel) is None:
            return None
        return [c for c in found if writer is None or agent_of(c.email) == writer][:most]

    def _of_folder(
        self, rel: str, head: str, writer: str | None, since: float | None, most: int | None
    ) -> list[Logged]:
        """The commits of the folder `rel`, or of all. Raises NotFoundError."""
        from avm.vault import log

        if paths.in_dot_git(rel) or not self.viewer.shows_folder(rel):
            raise self.not_visible(rel)
        scope = [rel] if rel else []
        if not self.viewer.can_read(rel):
            folders = self.viewer.read_folders or ()
            scope = [f for f in folders if not rel or f.startswith(f"{rel}/")]
        vault, viewer = self.store.vault, self.viewer
        limit = None if viewer.denied else most
        found = log.commits(vault, head, scope, agent=writer, since=since, limit=limit)
        if viewer.denied:  # what only touches that does not exist
            found = [one for one in found if any(map(viewer.can_read, one.paths))][:most]
        known = found or not rel or files.is_folder(vault, rel)
        if not known and not log.was_there(vault, head, scope):
            raise not_found(rel)
        return found

    def _newest(self, rel: str, head: str) -> tuple[str, PastEntry | None]:
        """The newest commit that has the file `rel`, and what it has; None if none has it."""
        from avm.vault import log

        entry = self._entry(head, rel)
        if entry is not None:
            return head, entry
        for commit in log.commits(self.store.vault, head, [rel], limit=1):
            for parent in commit.parents:
                entry = self._entry(parent, rel)
                if entry is not None:
                    return parent, entry
        return head, None

    def _at(self, rel: str, head: str, commit: str) -> tuple[str, PastEntry | None]:
        """What the file `rel` was called at `commit`, and what it was."""
        from avm.vault import log

        name = log.name_at(self.store.vault, head, rel, commit, self.viewer.can_read)
        if name is None:
            return rel, None
        entry = self._entry(commit, name)
        return (rel, self._entry(commit, rel)) if entry is None else (name, entry)

    def _entry(self, commit: str, rel: str) -> PastEntry | None:
        entry = self.store.trees.entry(commit, rel)
        return entry if entry is not None and entry.is_file else None

    def _version(self, rel: str, head: str, commit: str) -> Version | None:
        name, entry = self._at(rel, head, commit)
        return None if entry is None else self._labelled(name, commit, entry.id)

    def _working(self, rel: str) -> Version | None:
        from avm.vault.diff import Version

        here = files.regular_file(self.store.vault, rel) is not None
        return Version(rel, "now", None) if here else None

    def _labelled(self, rel: str, commit: str, blob: str) -> Version:
        from avm.vault.diff import Version

        when = format_instant(instant_of(self.store.trees.time(commit)))
        return Version(rel, f"{commit[:SHORT]} {when}", blob)

    def _newest_change(self, rel: str, head: str) -> str:
        from avm.vault import log
        from avm.vault.diff import unified

        vault, may = self.store.vault, self.viewer.can_read
        for commit in log.commits(vault, head, [rel], limit=1, name=rel):
            touch = commit.paths.get(rel)
            if touch is None:
                break
            old = new = None
            if touch.kind != "added":
                old = self._labelled(rel, commit.parents[0], touch.old)
            elif (moved := log.origin(vault, [commit])) and may(moved[1]):
                blob = commit.paths[moved[1]].old
                old = self._labelled(moved[1], commit.parents[0], blob)
            if touch.kind != "deleted":
                new = self._labelled(rel, commit.id, touch.new)
            return unified(vault, old, new)
        return ""


class PastView:
    """The tree of one commit as one viewer may see it. Paths are rels, "" is its root."""

    def __init__(self, trees: PastTrees, viewer: Viewer, commit: str) -> None:
        self._trees = trees
        self._viewer = viewer
        self._commit = commit

    @property
    def time(self) -> int:
        """When the commit was made, in seconds since the epoch."""
        return self._trees.time(self._commit)

    def entry(self, rel: str) -> PastEntry:
        """What `rel` was. Raises NotFoundError."""
        entry = None if paths.in_dot_git(rel) else self._trees.entry(self._commit, rel)
        if entry is None or not self._shows(rel, entry):
            raise NotFoundError(f"no memory at {paths.display(rel)} then")
        return entry

    def list(self, rel: str) -> dict[str, PastEntry]:
        """What the folder `rel` held. Raises NotFoundError."""
        if not self.entry(rel).is_folder:
            raise NotFoundError(f"no folder at {paths.display(rel)} then")
        below = self._trees.folder(self._commit, rel)
        prefix = f"{rel}/" if rel else ""
        return {
            name: entry
            for name, entry in below.items()
            if not paths.in_dot_git(prefix + name) and self._shows(prefix + name, entry)
        }

    def size(self, entry: PastEntry) -> int:
        """The size of a file or link in bytes."""
        return self._trees.size(entry)

    def read(self, entry: PastEntry) -> bytes:
        """The bytes of a file, or what a link says."""
        return self._trees.read(entry)

    def _shows(self, rel: str, entry: PastEntry) -> bool:
        viewer = self._viewer
        return viewer.shows_folder(rel) if entry.is_folder else viewer.can_read(rel)


def _commit(viewer: Viewer, logged: Logged) -> Commit:
    """As the viewer may see it: a subject may name what the viewer may not see."""
    from avm.api.commits import Commit
    from avm.vault.identity import agent_of

    visible = {rel: touch.kind for rel, touch in logged.paths.items() if viewer.can_read(rel)}
    subject, ops = logged.subject, logged.ops
    if viewer.agent is not None and len(visible) < len(logged.paths):
        ops = tuple(dict.fromkeys(_OPS[kind] for kind in visible.values()))
        subject = _subject(list(visible), ops)
    agent = agent_of(logged.email)
    return Commit(
        hash=logged.id,
        author=agent or logged.author,
        agent=agent,
        when=instant_of(logged.time),
        subject=subject,
        ops=ops,
        paths={paths.display(rel): kind for rel, kind in visible.items()},
        path=None if logged.name is None else paths.display(logged.name),
    )


def _subject(visible: list[str], ops: tuple[str, ...]) -> str:
    op = ops[0] if len(ops) == 1 else "update"
    if len(visible) == 1:
        return f"{op}: {paths.printable(paths.stem_of(visible[0]))}"
    return f"{op} {len(visible)} memories"


def _blamed(viewer: Viewer, line: Line) -> BlameLine:
    from avm.api.commits import BlameLine
    from avm.vault.identity import agent_of

    text = line.text.decode("utf-8", "replace")
    if line.id is None or not viewer.can_read(line.name):
        return BlameLine(line.number, text, None, None, None, None)
    agent = agent_of(line.email)
    author = agent or line.author
    return BlameLine(line.number, text, line.id, author, agent, instant_of(line.time))
