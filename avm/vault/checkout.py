"""Moving branch, index and work tree to another commit beside a person and agents at work.

git's own checkout looks at a file and writes over it a moment later, and a kill leaves it half
written. Here everything is unpacked beside first, by git with its filters; then, under AVM's write
lock and git's index lock, each file is renamed into place. What is edited, staged or not tracked is
never touched: then nothing moves. A note tells the next committer what to put back after a kill.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from avm.base import atomic, paths
from avm.base.errors import RepositoryError
from avm.base.paths import TEMP_PREFIX
from avm.vault import git, index_file, index_lock, recovery
from avm.vault.changes import CONFLICT, STAGED, changes
from avm.vault.files import Stamp
from avm.vault.location import Vault
from avm.vault.locks import locked
from avm.vault.merge_trees import difference, folders_of
from avm.vault.objects import SUBMODULE_MODE, Blob, Locked, Moved, Objects
from avm.vault.processes import GitWatch
from avm.vault.repository import RepositoryState
from avm.vault.staging import blob_on_disk, changes_of

#: Beyond this many paths git looks at the whole work tree, which is quicker than at each.
_FEW = 64
EDITED = "changed and not committed"
UNTRACKED = "in the way, and not tracked"
HELD = "open for writing in a mount: close it"
UNWATCHED = "changed, and git was told not to look at it"

#: What paths are to become; None: they go.
Put = Mapping[str, Blob | None]


class InTheWay(Exception):
    """Nothing was moved: the argument says, by rel, what is in the way."""


class Checkout:
    """Moves one vault from commit to commit."""

    def __init__(self, vault: Vault, objects: Objects, *, fsync: bool) -> None:
        self._vault = vault
        self._objects = objects
        self._fsync = fsync
        self._watch = GitWatch(vault.root)

    def move(
        self, before: RepositoryState, new: str, put: Put, held: Callable[[], Collection[str]]
    ) -> None:
        """Move from `before` to the commit `new`, which differs from it by `put`.

        `held` tells which paths are open for writing; it is asked under the lock that whoever opens
        one takes. Call it with the committers' mutex held. Raises
        InTheWay, Moved, Locked; RepositoryError if git cannot unpack a file.
        """
        _refuse(rel for rel in put if not paths.is_checked_out(rel))
        nowhere = _nowhere(self._vault, put)
        placed = {rel: blob for rel, blob in put.items() if rel not in nowhere}
        vault = self._vault
        with _unpacked(vault, placed, fsync=self._fsync) as incoming, locked(vault.write_lock):
            stamps = _stamps(vault, placed)
            if way := self._in_the_way(before.oid, placed, held()):
                raise InTheWay(way)
            if command := self._watch.running():
                raise Locked(command)
            self._switch(before, new, put, nowhere, incoming, stamps)

    def _in_the_way(self, head: str | None, put: Put, held: Collection[str]) -> dict[str, str]:
        """What would be lost, by rel."""
        if len(put) <= _FEW:
            found = changes_of(self._vault, self._objects, head, list(put))
            # What it says of bytes that git converts, and of very large files, git has to confirm.
            found = changes(self._vault, [change.path for change in found]) if found else []
        else:
            found = [change for change in changes(self._vault, (".",)) if change.path in put]
        way: dict[str, str] = {}
        tracked = self._objects.entries(head, put.keys()) if head else {}
        for change in found:
            if change.staged:
                way[change.path] = CONFLICT if change.unmerged else STAGED
            elif change.path in tracked:
                way[change.path] = EDITED
        for rel in index_file.unwatched(self._vault, tracked) if tracked else ():
            if rel not in way and not _is_as(self._vault, rel, tracked[rel], missing=True):
                way[rel] = UNWATCHED
        folders: dict[str, str | None] = {"": None}
        for rel, blob in put.items():
            other = _on_the_way(self._vault, paths.parent(rel), put, folders)
            if rel in held:
                way[rel] = HELD
            elif other is None and rel not in tracked and blob:
                other = self._untracked(rel, blob, put)
            if other is not None:
                way.setdefault(other, UNTRACKED)
        return way

    def _untracked(self, rel: str, blob: Blob, put: Put) -> str | None:
        """What stands where the new file `rel` is to be."""
        if any(put.get(folder, blob) is None for folder in folders_of(rel)):
            return None  # what goes was a file, or a link: nothing of it is there
        place = self._vault.path(rel)
        try:
            mode = place.lstat().st_mode
        except OSError:
            return None
        if blob[1] == SUBMODULE_MODE:
            return None if stat.S_ISDIR(mode) else rel
        if stat.S_ISDIR(mode):
            names = [f"{rel}/{name}" for name in _files_below(place)]
            return next((name for name in names if put.get(name, blob) is not None), None)
        return None if blob_on_disk(self._vault, rel, blob[0]) == blob else rel

    def _switch(
        self,
        before: RepositoryState,
        new: str,
        put: Put,
        nowhere: Collection[str],
        incoming: Path,
        stamps: Mapping[str, Stamp | None],
    ) -> None:
        vault = self._vault
        copy = vault.git_state / f"index.{os.getpid()}"
        copy.touch()
        note = {"old": before.oid, "new": new, "ref": before.ref}
        recovery.note(vault, ref=before.ref, new=new, copy=copy)
        placed = {rel: blob for rel, blob in put.items() if rel not in nowhere}
        went_back = False
        try:
            with index_lock.held(vault, copy):
                if RepositoryState.read(vault) != before:
                    raise Moved
                atomic.replace(
                    recovery.checkout_note(vault), json.dumps(note).encode(), fsync=self._fsync
                )
                try:
                    _place(vault, placed, incoming, stamps)
                    _write_index(vault, copy, put, nowhere, none="0" * len(new))
                    if self._fsync:
                        _sync(vault, placed)
                    self._objects.move_branch(before.ref, before.oid, new)
                except BaseException:
                    # Should this fail, the note stays for the next committer.
                    _put_back(vault, note)
                    recovery.checkout_note(vault).unlink()
                    went_back = True
                    raise
                index_lock.put_in_place(vault)
            recovery.checkout_note(vault).unlink()
        finally:
            copy.unlink(missing_ok=True)
            recovery.forget(vault)
            if went_back:
                recovery.see_anew(vault)


def put_back(vault: Vault) -> None:
    """Take back what a checkout placed before it failed, or its process was killed.

    Nothing, if the branch has moved: all was placed then. A file that is neither as it was nor as
    it was to become was edited meanwhile, and stays. Call it with the committers' mutex held.
    """
    try:
        note = json.loads(recovery.checkout_note(vault).read_bytes())
        with locked(vault.write_lock):
            _put_back(vault, note)
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        pass  # cut short: nothing had been placed
    recovery.checkout_note(vault).unlink(missing_ok=True)


def _put_back(vault: Vault, note: Mapping[str, Any]) -> None:
    old, new, ref = note["old"], note["new"], note["ref"]
    at = git.run(vault.root, ("rev-parse", "-q", "--verify", ref), check=False)
    if at.stdout.decode().strip() != (old or ""):
        return  # all was placed, or somebody has committed since
    forward, backward = difference(vault, old, new), difference(vault, new, old)
    ours = {rel: backward[rel] for rel in _as_placed(vault, forward)}
    with _unpacked(vault, ours, fsync=False) as incoming:
        _place(vault, ours, incoming, {})


def _as_placed(vault: Vault, put: Put) -> set[str]:
    """The paths that are as a checkout of `put` leaves them."""
    nowhere = _nowhere(vault, put)
    reached = {
        rel: blob
        for rel, blob in put.items()
        if rel not in nowhere and not _linked_folder(vault, rel)
    }
    found = {rel for rel, blob in reached.items() if _is_as(vault, rel, blob)}
    odd = {rel: blob for rel, blob in reached.items() if blob and rel not in found}
    # git converts some files: those are compared with what it makes of them.
    with _unpacked(vault, odd, fsync=False) as made:
        found |= {rel for rel in odd if _is_same(made / rel, vault.path(rel))}
    for rel in [rel for rel, blob in reached.items() if blob is None and rel not in found]:
        place = vault.path(rel)
        below = [f"{rel}/{name}" for name in _files_below(place)]
        if below and not place.is_symlink() and found.issuperset(below):
            found.add(rel)  # a folder took its place, and holds nothing else
    return found


def _is_same(one: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False) and not other.is_symlink()
    except OSError:
        return False


def _is_as(vault: Vault, rel: str, blob: Blob | None, *, missing: bool = False) -> bool:
    """Whether `blob` stands at `rel`; with `missing` also whether nothing does."""
    if (blob is None or missing) and not os.path.lexists(vault.path(rel)):
        return True
    return blob is not None and blob_on_disk(vault, rel, blob[0]) == blob


def _linked_folder(vault: Vault, rel: str) -> str | None:
    """The folder on the way to `rel` that is a link. Nothing is put in place through one."""
    folder = paths.parent(rel)
    while folder:
        if vault.path(folder).is_symlink():
            return folder
        folder = paths.parent(folder)
    return None


def _nowhere(vault: Vault, put: Put) -> set[str]:
    """The paths that this disk has no place for: git keeps them, no file stands for them.

    Names that are too long, also of what goes; and where letter case or Unicode's form makes no
    difference, a name that another file has, as may be a folder on the way: that file may be a
    link.
    """
    found = {rel for rel in put if paths.is_too_long(vault.root, rel)}
    ignoring = git.config_value(vault.root, "--type=bool", "--get", "core.ignorecase") == "true"
    if ignoring:
        taken: dict[str, str] = {}
        files: set[str] = set()
        folders: set[str] = set()
        for rel in sorted(rel for rel, blob in put.items() if blob and rel not in found):
            folder = _spelled(vault, paths.parent(rel))
            for name in _listed(vault.path(folder)):
                there = f"{folder}/{name}" if folder else name
                if put.get(there, ()) is not None:
                    taken.setdefault(paths.folded(there), there)
            name, above = paths.folded(rel), set(folders_of(paths.folded(rel)))
            if taken.setdefault(name, rel) != rel or name in folders or above & files:
                found.add(rel)
            else:
                files.add(name)
                folders |= above
    return found


def _spelled(vault: Vault, folder: str) -> str:
    """The folder as its name is spelled on the disk, if there is one of another letter case."""
    there = ""
    for name in folder.split("/") if folder else ():
        listed = _listed(vault.path(there))
        if name not in listed:
            same = (other for other in listed if paths.folded(other) == paths.folded(name))
            name = next(same, name)
        there = f"{there}/{name}" if there else name
    return there


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


@contextlib.contextmanager
def _unpacked(vault: Vault, put: Put, *, fsync: bool) -> Iterator[Path]:
    """A folder with the files and links of `put`, as git checks them out. Raises RepositoryError.

    A path that git takes for none of a work tree, such as one in `.git`, is refused here.
    """
    vault.git_state.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="tree.", dir=vault.git_state))
    files = {rel: blob for rel, blob in put.items() if blob and blob[1] != SUBMODULE_MODE}
    try:
        if files:
            env = {"GIT_INDEX_FILE": str(folder / "index")}
            feed = b"".join(_row(rel, blob) for rel, blob in files.items())
            git.run(vault.root, ("update-index", "-z", "--index-info"), stdin=feed, env=env)
            # What it takes for no path, or has as a file and as a folder, git leaves out.
            listed = git.run(vault.root, ("ls-files", "-z"), env=env).stdout.split(b"\0")
            _refuse(files.keys() - set(map(os.fsdecode, listed)))
            args = ("checkout-index", "--all", "--quiet", f"--prefix={folder}/files/")
            git.run(vault.root, args, env=env)
        if fsync:
            for rel, blob in files.items():
                if stat.S_ISREG(blob[1]):
                    _sync_file(folder / "files" / rel)
        yield folder / "files"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refuse(names: Iterable[str]) -> None:
    """Raises RepositoryError if there are any."""
    if shown := ", ".join(sorted(map(paths.display, names))[:10]):
        raise RepositoryError(f"nothing was moved: no file can have the name {shown}")


def _row(rel: str, blob: Blob | None, none: str = "") -> bytes:
    oid, mode = blob or (none, 0)
    return f"{mode:06o} {oid}\t".encode() + os.fsencode(rel) + b"\0"


def _on_the_way(vault: Vault, folder: str, put: Put, known: dict[str, str | None]) -> str | None:
    """What is no folder where `folder` is to be or one above it: a link is not followed. `known`:
    what was found out so far."""
    if folder in known:
        return known[folder]
    found = _on_the_way(vault, paths.parent(folder), put, known)
    if found is None:
        try:
            mode = os.lstat(f"{vault.root}/{folder}").st_mode
        except OSError:
            mode = stat.S_IFDIR  # it will be made
        goes = folder in put and put[folder] is None
        found = None if stat.S_ISDIR(mode) or goes else folder
    known[folder] = found
    return found


def _place(vault: Vault, put: Put, incoming: Path, stamps: Mapping[str, Stamp | None]) -> None:
    """Rename each file to where it belongs, and remove those that go. Raises Moved if one is no
    longer as its stamp says, or a folder of it is a link."""
    for rel in sorted(put, reverse=True):  # what is in a folder before what takes its place
        if put[rel] is None:
            _check(vault, rel, stamps)
            _remove(vault, rel)
    made: set[str] = set()
    for rel, blob in sorted(put.items()):
        if blob is None:
            continue
        folder = rel if blob[1] == SUBMODULE_MODE else paths.parent(rel)
        if folder not in made:
            if _linked_folder(vault, rel):
                raise Moved
            os.makedirs(f"{vault.root}/{folder}", exist_ok=True)
            made.add(folder)
        if blob[1] != SUBMODULE_MODE:
            if _check(vault, rel, stamps):
                _remove_empty(vault.path(rel))
            _rename(f"{incoming}/{rel}", f"{vault.root}/{rel}")


def _check(vault: Vault, rel: str, stamps: Mapping[str, Stamp | None]) -> bool:
    """Whether a folder stands there. Raises Moved."""
    status = _status(vault, rel)
    is_folder = status is not None and stat.S_ISDIR(status.st_mode)
    if rel in stamps and _stamp(status) != stamps[rel]:
        raise Moved
    return is_folder


def _stamps(vault: Vault, put: Put) -> dict[str, Stamp | None]:
    """What stands at each path, None: nothing. What is seen through a link that goes is not."""
    gone = {rel for rel, blob in put.items() if blob is None}
    return {
        rel: _stamp(_status(vault, rel)) if gone.isdisjoint(folders_of(rel)) else None
        for rel in put
    }


def _status(vault: Vault, rel: str) -> os.stat_result | None:
    try:
        return os.lstat(f"{vault.root}/{rel}")
    except OSError:
        return None


def _stamp(status: os.stat_result | None) -> Stamp | None:
    return None if status is None or stat.S_ISDIR(status.st_mode) else Stamp.of(status)


def _remove(vault: Vault, rel: str) -> None:
    """A file, and the folders that it leaves empty."""
    place = vault.path(rel)
    if place.is_dir() and not place.is_symlink():
        return  # a submodule's, or a folder that took the file's place
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        place.unlink()
    for folder in place.parents:
        if folder == vault.root:
            break
        try:
            folder.rmdir()
        except OSError:
            break


def _remove_empty(folder: Path) -> None:
    for place, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(place)


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except OSError as err:
        if err.errno != errno.EXDEV:
            raise
        # A linked worktree may be on another file system than its git dir.
        temp = f"{os.path.dirname(target)}/{TEMP_PREFIX}{os.getpid()}-checkout"
        shutil.copy2(source, temp, follow_symlinks=False)
        os.rename(temp, target)


def _write_index(
    vault: Vault, copy: Path, put: Put, nowhere: Collection[str], *, none: str
) -> None:
    """Write git's index with `put` in it into the file `copy`, which stays the same file. `none` is
    the id of no object."""
    made = copy.with_name(f"{copy.name}.new")
    try:
        if nowhere or not _put_quickly(vault, made, put):
            _put_by_git(vault, made, put, nowhere, none)
        status = made.stat()
        with made.open("rb") as source, copy.open("r+b") as target:
            shutil.copyfileobj(source, target)
            target.truncate()
        os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        made.unlink(missing_ok=True)


def _put_quickly(vault: Vault, made: Path, put: Put) -> bool:
    """Put the entries in without git, where that is all there is to do: whether it was."""
    entries: dict[str, tuple[Blob, Any]] = {}
    for rel, blob in put.items():
        if blob is None or blob[1] == SUBMODULE_MODE:
            return False
        entries[rel] = (blob, vault.path(rel).lstat())
    return index_file.put(vault, vault.git_index, made, entries)


def _put_by_git(vault: Vault, made: Path, put: Put, nowhere: Collection[str], none: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(vault.git_index, made)
    env = {"GIT_INDEX_FILE": str(made)}

    def update(*args: str, feed: bytes = b"", check: bool = True) -> None:
        git.run(vault.root, ("update-index", *args), stdin=feed, env=env, check=check)

    # First what goes: a folder may take the place of a file.
    rows = sorted(put.items(), key=lambda item: item[1] is not None)
    update("-z", "--index-info", feed=b"".join(_row(rel, blob, none) for rel, blob in rows))
    if hidden := [rel for rel in sorted(nowhere) if put[rel] is not None]:
        names = b"".join(os.fsencode(rel) + b"\0" for rel in hidden)
        update("--skip-worktree", "-z", "--stdin", feed=names)
    update("-q", "--refresh", check=False)  # it fails for what somebody edited, which is his


def _sync(vault: Vault, put: Put) -> None:
    folders = {vault.path(rel).parent for rel in put}
    for folder in filter(Path.is_dir, folders):
        atomic.sync_folder(folder)


def _sync_file(place: Path) -> None:
    fd = os.open(place, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _files_below(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        links = (name for name in folders if os.path.islink(os.path.join(place, name)))
        for name in (*names, *links):
            yield os.path.relpath(os.path.join(place, name), folder)
