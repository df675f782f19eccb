"""Putting AVM into the files of a host and taking it out: first all is planned, then done."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from avm.base import atomic
from avm.base.errors import ConfigError, ExistsError
from avm.hooks.hosts import HOSTS, File, Launch
from avm.hooks.part import Part
from avm.hooks.records import Record, Records, sum_of
from avm.hooks.text import TextError, is_blank, lines


class Change(NamedTuple):
    """What becomes of one file: `old` are its bytes, `new` those to come, None where there is none.

    `place` is its name, `target` where the links of that lead; `what` is `done`, for people.
    `folders` are to be made before it or removed after it, the outermost first; `record` is what is
    noted then, None if nothing.
    """

    what: str
    place: Path
    target: Path
    old: bytes | None
    new: bytes | None
    done: str
    folders: tuple[Path, ...] = ()
    record: Record | None = None


def plan_install(files: Iterable[File], records: Records) -> list[Change]:
    """What it takes for every file to hold its part. Changes nothing.

    Raises ConfigError for a file that cannot be read or changed, ExistsError if a place in one is
    another's.
    """
    return [_install(file, records) for file in files]


def plan_uninstall(
    files: Iterable[File], records: Records, shared: Collection[Path] = ()
) -> list[Change]:
    """What it takes for no file to hold its part, but for `shared`, which others need.

    A file that nobody changed since is as it was before. Raises ConfigError.
    """
    return [
        _keep(place, file.part) if place in shared else _uninstall(place, file.part, records)
        for file in files
        for place in _present(file, records)
    ]


def shared_places(host: str, launch: Launch, project: Path | None) -> set[Path]:
    """The files of a host that another one needs, as other files of its own say."""
    mine = _places(HOSTS[host].files(launch, project))
    shared: set[Path] = set()
    for name, other in HOSTS.items():
        files = other.files(launch, project) if name != host else []
        own = [file for file in files if mine.isdisjoint(file.places)]
        if any(_holds(place, file.part) for file in own for place in file.places):
            shared |= mine & _places(files)
    return shared


def apply(changes: Sequence[Change], records: Records) -> None:
    """Do it, each file whole or not at all.

    Raises ConfigError, before anything is written, if a file is not as it was planned for.
    """
    for change in changes:
        _check(change)
    for change in changes:
        try:
            _apply(change, records)
        except OSError as err:
            raise ConfigError(f"{change.place}: {err.strerror}") from None


def installed_as(files: Iterable[File]) -> list[str]:
    """The command line of AVM's server as it is installed in one of the files; [] for none."""
    for file in files:
        for place in file.places:
            if _holds(place, file.part):
                with _told(place):
                    if words := file.part.words(_text(place, _read(_target(place)) or b"")):
                        return words
    return []


def diff(change: Change) -> str:
    """A change as a unified diff, "" if there is none."""
    before, after = (
        os.devnull if data is None else str(change.place) for data in (change.old, change.new)
    )
    told = difflib.unified_diff(_lines(change.old), _lines(change.new), before, after)
    shown = (line if line.endswith("\n") else f"{line}\n\\ No newline at end\n" for line in told)
    return "".join(shown)


def _install(file: File, records: Records) -> Change:
    place = next((place for place in file.places if _holds(place, file.part)), None)
    place = place or next(filter(os.path.exists, file.places), file.places[0])
    what, target = file.part.what, _target(place)
    old = _read(target)
    text = _text(place, old or b"")
    with _told(place):
        new = file.part.put(text).encode()
        if not file.part.is_in(new.decode()):
            raise TextError(_UNSURE, 1)
    record = records.get(target)
    if new == old:
        return Change(what, place, target, old, old, "already installed", record=record)
    done = "changed" if file.part.is_in(text) else "installed"
    made = tuple(folder for folder in record.folders if folder.is_dir()) if record else ()
    missing = _missing(target)
    original = _original(place, old, file.part, record)
    noted = Record(target, original, made + missing, sum_of(new))
    return Change(what, place, target, old, new, done, missing, noted)


def _uninstall(place: Path, part: Part, records: Records) -> Change:
    target = _target(place)
    old, record = _read(target), records.get(target)
    folders = record.folders if record else ()
    if old is None or not (_is_unchanged(old, record) or _is_in(place, old, part)):
        gone = folders if old is None else ()
        return Change(part.what, place, target, old, old, "not installed", gone)
    new = _original(place, old, part, record)
    return Change(part.what, place, target, old, new, "removed", folders)


def _keep(place: Path, part: Part) -> Change:
    target = _target(place)
    old = _read(target)
    return Change(part.what, place, target, old, old, _KEPT)


def _original(place: Path, old: bytes | None, part: Part, record: Record | None) -> bytes | None:
    """What a file would hold without its part: the bytes from before it if it is unchanged since.

    None if it would not be there.
    """
    if old is None:
        return None
    was = record.original if record else None
    if _is_unchanged(old, record):
        return was
    if not _is_in(place, old, part):
        return old
    with _told(place):
        text = part.take(_text(place, old), None if was is None else _text(place, was))
        if part.is_in(text):
            raise TextError(_UNSURE, 1)
    if part.is_all(text) and (was is None or is_blank(was.decode())):
        return was
    return text.encode()


def _is_unchanged(data: bytes, record: Record | None) -> bool:
    return record is not None and sum_of(data) == record.written


def _places(files: Iterable[File]) -> set[Path]:
    return {place for file in files for place in file.places}


def _present(file: File, records: Records) -> list[Path]:
    """The names under which a file is there, or was when AVM wrote it; else its first name."""
    present = [
        place
        for place in file.places
        if os.path.exists(place) or records.get(_target(place)) is not None
    ]
    return present or [file.places[0]]


def _holds(place: Path, part: Part) -> bool:
    with contextlib.suppress(ConfigError):
        data = _read(_target(place))
        return data is not None and _is_in(place, data, part)
    return False


def _is_in(place: Path, data: bytes, part: Part) -> bool:
    with _told(place):
        return part.is_in(_text(place, data))


def _check(change: Change) -> None:
    if _read(change.target) != change.old:
        raise ConfigError(f"{change.place} has changed meanwhile: try again")
    folder = next(folder for folder in change.target.parents if folder.exists())
    if change.new != change.old and not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{change.place}: its folder may not be written to")


def _apply(change: Change, records: Records) -> None:
    if change.done == _KEPT:
        return
    # First: a record of a file that was not written does no harm.
    if change.record and change.old != change.new:
        records.keep(change.record)
    if change.new is None:
        _check(change)
        change.target.unlink(missing_ok=True)
        for folder in reversed(change.folders):
            with contextlib.suppress(OSError):
                folder.rmdir()
    elif change.old is None:
        for folder in change.folders:
            folder.mkdir(exist_ok=True)
        atomic.write_new(change.target, change.new)
    elif change.new != change.old:
        _check(change)
        atomic.replace(change.target, change.new)
    if change.record is None:
        records.drop(change.target)


def _target(place: Path) -> Path:
    """Where a name leads: a link is followed, never replaced."""
    return Path(os.path.realpath(place))


def _missing(target: Path) -> tuple[Path, ...]:
    """The folders that `target` needs, the outermost first."""
    missing = [folder for folder in target.parents if not folder.exists()]
    return tuple(reversed(missing))


def _read(target: Path) -> bytes | None:
    try:
        return target.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as err:
        raise ConfigError(f"{target}: {err.strerror}") from None


def _text(place: Path, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise ConfigError(f"{place}, line {line}: it is not UTF-8") from None


@contextlib.contextmanager
def _told(place: Path) -> Iterator[None]:
    """Say in which file something is wrong."""
    try:
        yield
    except TextError as err:
        raise ConfigError(f"{place}, line {err.line}: {err}") from None
    except ExistsError as err:
        raise ExistsError(f"{place}: {err}") from None


def _lines(data: bytes | None) -> list[str]:
    return lines((data or b"").decode("utf-8", "replace"))


_KEPT = "kept: another agent reads them"
_UNSURE = "it cannot be changed with certainty"
