"""What every part of a viewer's API stands on: who it is for, and what that one may touch."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from avm.api.store import Store
from avm.base import paths
from avm.base.access import Viewer
from avm.base.errors import AccessError, AVMError, NotFoundError, UsageError
from avm.vault import files

if TYPE_CHECKING:
    from avm.index.index import MemoryRow
    from avm.index.text import Filter
    from avm.vault.journal import Mark

_REFUSALS = 10
_Method = TypeVar("_Method", bound=Callable[..., Any])
_Error = TypeVar("_Error", bound=AVMError)


def again_if_damaged(method: _Method) -> _Method:
    """Ask twice where the index turned out to be damaged: the second time it is a new one."""

    @functools.wraps(method)
    def asked(*args: Any, **named: Any) -> Any:
        from avm.index.database import IndexThrownAway

        try:
            return method(*args, **named)
        except IndexThrownAway:
            return method(*args, **named)

    return cast(_Method, asked)


class Viewed:
    """One viewer of one vault, and the checks that all its parts share."""

    def __init__(self, store: Store, viewer: Viewer) -> None:
        self.store = store
        self.viewer = viewer
        #: What could not be written to a virtual node and why, newest last: a shell says no more
        #: than `Invalid argument`.
        self.refusals: deque[tuple[str, str]] = deque(maxlen=_REFUSALS)
        self.refusal_count = 0

    def exists(self, path: str) -> bool:
        """Whether the file exists for this viewer: there, readable, not expired."""
        try:
            self._existing(path)
        except NotFoundError:
            return False
        return True

    def refused(self, rel: str, why: str) -> None:
        """Note for `status` why a write to a virtual node was refused."""
        self.refusals.append((paths.display(rel), why))
        self.refusal_count += 1

    def denied(self, op: str, rel: str, error: _Error) -> _Error:
        """Log that `op` on `rel` was denied to this viewer. Returns `error`, to be raised."""
        self.store.supervision.denied(self.viewer.agent, op, rel, str(error))
        return error

    def not_visible(self, rel: str) -> NotFoundError:
        """The error to raise for what this viewer may not see: as if it were not there. Where
        something is there, and the vault's own `.git` aside, that it was asked for is logged."""
        if not paths.in_dot_git(rel) and os.path.lexists(self.store.vault.path(rel)):
            self.denied("read", rel, AccessError("not to be read by this agent"))
        return not_found(rel)

    def wrote(self, rel: str, op: str) -> Mark | None:
        """Note that `rel` was written as this viewer, here or by a mount's pass-through."""
        mark = self.store.record(rel, self.viewer.agent, op)
        self.store.commit_in_background()
        return mark

    def _readable(self, by_rel: dict[str, str]) -> dict[str, str]:
        return {rel: text for rel, text in by_rel.items() if self.viewer.can_read(rel)}

    def _sees(self, rel: str, scope: str) -> bool:
        """Whether what is told of `rel` is for this viewer, who asks about the folder `scope`."""
        return self.viewer.can_read(rel) and paths.is_below(rel, scope)

    def _filter(self, folder: str) -> Filter:
        from avm.index.text import Filter

        scope = paths.clean_rel(folder)
        if not paths.is_utf8(scope):
            raise UsageError(f"folder {folder!r}: no memory is in a folder whose name is not UTF-8")
        viewer = self.viewer
        return Filter(viewer.read_folders, scope, self.store.now(), denied=viewer.denied)

    def _there(self, path: str) -> tuple[str, os.stat_result]:
        """A file that is there for this viewer, expired or not: its rel and its status. Raises
        NotFoundError."""
        rel = paths.clean_rel(path)
        status = files.regular_file(self.store.vault, rel)
        if paths.in_dot_git(rel) or not self.viewer.can_read(rel):
            raise self.not_visible(rel)
        if files.is_folder(self.store.vault, rel):
            raise a_folder(rel)
        if status is None:
            raise not_found(rel)
        return rel, status

    def _existing(self, path: str) -> str:
        rel, status = self._there(path)
        if self.store.has_ended(rel, status):
            raise not_found(rel)
        return rel

    def _indexed(self, rel: str) -> MemoryRow:
        """What the index knows of an existing file. Raises NotFoundError for what is no memory."""
        row = self.store.index.memory(rel)
        if row is None:
            raise not_found(rel)
        return row

    def _writable(self, path: str) -> str:
        rel = paths.clean_rel(path)
        self._check_writable(rel)
        return rel

    def _check_writable(self, rel: str, op: str = "write", may_not: str = "write there") -> None:
        if not rel or not self.viewer.can_write(rel):
            raise self._may_not(op, rel, may_not)

    def _may_not(self, op: str, rel: str, what: str) -> AccessError:
        """The error to raise for what this viewer may not do at `rel`; it is logged."""
        why = f"{paths.display(rel)}: {self._who()} may not {what}"
        return self.denied(op, rel, AccessError(why))

    def _check_owner(self, op: str, may_not: str) -> None:
        """Raise AccessError for an agent."""
        if self.viewer.agent is not None:
            why = f"{self._who()} may not {may_not}: only the owner"
            raise self.denied(op, "", AccessError(why))

    def _who(self) -> str:
        return f"agent {self.viewer.agent}" if self.viewer.agent else "nobody"


def not_found(rel: str) -> NotFoundError:
    return NotFoundError(f"no memory at {paths.display(rel)}")


def a_folder(rel: str) -> NotFoundError:
    """What is said of a folder where a file is asked for."""
    return NotFoundError(f"{paths.display(rel)} is a folder: name a file in it")
