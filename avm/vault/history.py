"""What git knows of when a file came and last changed, from one walk of the history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from avm.base.errors import RepositoryError
from avm.vault import git
from avm.vault.ignore import SeenFile
from avm.vault.location import Vault
from avm.vault.repository import Detached, branch

_RECORD = b"\x01"


@dataclass(slots=True)
class PathHistory:
    """A path's newest change: blob id (hex), author times in seconds since the epoch.

    `added` is that of the newest commit that added the path. A time is 0 if the walk did not reach
    it; what stood before the walk is then known under the name `origin`.
    """

    blob: str
    changed: int
    added: int
    origin: str


def head(vault: Vault) -> str | None:
    """The commit that HEAD names, None before the first one."""
    try:
        return branch(vault)[1]
    except Detached as at:
        return str(at)


def head_if_told(vault: Vault) -> str | None:
    """What `head` says; None also where git cannot say it: files are found by their stamps then."""
    try:
        return head(vault)
    except RepositoryError:
        return None


class HeadWatch:
    """HEAD, asked again and again: a few stats as long as it does not move."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._files: list[SeenFile] = []
        self._head: str | None = None

    def head(self) -> str | None:
        """What `head_if_told` says."""
        # Every file is looked at: one that changed is not to be found changed again.
        changed = [file.changed() for file in self._files]
        if not changed or any(changed):
            git_dir, common = self._vault.git_dir, self._vault.common_dir
            name = SeenFile(git_dir / "HEAD")
            ref = (name.raw or b"").removeprefix(b"ref:").strip().decode("utf-8", "surrogateescape")
            places = (common / ref, common / "packed-refs", common / "reftable" / "tables.list")
            # Looked at before they are read: what changes in between is seen the next time.
            self._files = [name, *map(SeenFile, places)]
            self._head = head_if_told(self._vault)
        return self._head


def is_ancestor(vault: Vault, old: str, new: str) -> bool:
    """Whether `old` is reachable from `new`; False also if `old` is gone."""
    done = git.run(vault.root, ("merge-base", "--is-ancestor", old, new), check=False)
    return done.returncode == 0


def cut_off(vault: Vault) -> frozenset[str]:
    """The commits at which a shallow clone ends: git has nothing of what was before them."""
    try:
        return frozenset((vault.common_dir / "shallow").read_text().split())
    except FileNotFoundError:
        return frozenset()


def count(vault: Vault, new: str, old: str | None = None) -> int:
    """How many commits `old..new` has (all of `new` if None). Raises RepositoryError."""
    return int(git.output(vault.root, "rev-list", "--count", _span(new, old), "--"))


def path_histories(
    vault: Vault, new: str, old: str | None = None, passed: Callable[[], None] = lambda: None
) -> dict[str, PathHistory | None]:
    """The newest change of each path in `old..new` (all of `new` if None); None: it was deleted.

    A file renamed unchanged keeps its times. `passed` is called for each commit. Raises
    RepositoryError.
    """
    found: dict[str, PathHistory | None] = {}
    names: dict[str, str] = {}  # an older name → the name the file has now
    for time, status, blob, source, target in _raw_log(vault, _span(new, old), passed):
        if status == "D":
            if target not in names:
                found.setdefault(target, None)
            continue
        name = names.pop(target, target)
        known = found.setdefault(name, PathHistory(blob, 0, 0, target))
        if status == "R":
            names[source] = name
            found.setdefault(source, None)
        elif status != "A":
            names[target] = name
        if known is not None and not known.added:
            known.origin = source
            known.changed = known.changed or (time if status != "R" else 0)
            known.added = time if status == "A" else 0
    return found


def _span(new: str, old: str | None) -> str:
    return new if old is None else f"{old}..{new}"


def _raw_log(
    vault: Vault, span: str, passed: Callable[[], None]
) -> Iterator[tuple[int, str, str, str, str]]:
    """(author time, status letter, blob after, old name, new name), newest commit first."""
    args = (
        "-c",
        "log.showRoot=true",
        "log",
        "-z",
        "--raw",
        "--no-abbrev",
        "--find-renames=100%",
        "--format=%x01%at",
        span,
    )
    time = 0
    fields = git.fields(vault.root, (*args, "--"))
    for field in fields:
        if field.startswith(_RECORD):
            time = int(field[1:])
            passed()
            continue
        if not field.lstrip(b"\n").startswith(b":"):
            continue
        _, _, _, blob, letter = field.decode().split(" ")
        first = next(fields).decode("utf-8", "surrogateescape")
        renamed = letter[0] in "RC"
        second = next(fields).decode("utf-8", "surrogateescape") if renamed else first
        yield time, letter[0], blob, first, second
