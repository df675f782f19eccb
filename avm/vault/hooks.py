"""AVM's hooks in a clone: putting them where git looks, beside the hooks of others, and out again.

A hook of somebody else's is kept as `NAME.before-avm`, and our script calls it first. Ours is known
by its last line, the sum of what is above: a hook without it, or whose sum is wrong, is not ours to
replace or remove.
"""

from __future__ import annotations

import enum
import hashlib
import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple

from avm.base import atomic
from avm.base.errors import RepositoryError
from avm.vault import git
from avm.vault.location import Vault

#: The hooks that tell the keeper of a change.
WAKING = ("post-merge", "post-checkout", "post-commit", "post-rewrite")
NAMES = ("pre-commit", *WAKING)
BEFORE = ".before-avm"
_SUM = b"# installed by avm hooks install; sum "
_SUM_LINE = re.compile(rb"^%s([0-9a-f]{16})\n\Z" % re.escape(_SUM), re.MULTILINE)
#: A script that looks at the name it was called by (husky's) would not know itself under another.
_BY_NAME = re.compile(
    rb"basename[^\n]*\$\{?0|\$\{0##|^\s*(?:\.|source)\s[^\n]*\$\{?0", re.MULTILINE
)
_MODE = 0o755


class State(enum.Enum):
    """What is at a hook's place."""

    INSTALLED = "installed"
    MISSING = "not installed"
    OLD = "of another version of AVM"
    EDITED = "edited since avm installed it"
    ANOTHERS = "another's"


class Hook(NamedTuple):
    """A hook by its name, and what is at its place.

    `before` is the hook of somebody else's that ours calls first; `why` says what kept ours from
    being installed or removed, "" if nothing did.
    """

    name: str
    state: State
    place: Path
    before: Path | None = None
    why: str = ""


def folder(vault: Vault) -> Path:
    """Where git looks for the hooks of this repository.

    Raises RepositoryError if that is a folder that other repositories use too.
    """
    scope, told = _hooks_path(vault)
    if told is None:
        return vault.common_dir / "hooks"
    by_hand = "add the lines of hooks/README.md to the hooks there by hand"
    if scope not in ("local", "worktree"):
        own = shlex.quote(str(vault.common_dir / "hooks"))
        raise RepositoryError(
            f"core.hooksPath = {told} is in the {scope} git config, for many repositories:"
            f" {by_hand}, or: git config --local core.hooksPath {own}"
        )
    place = (vault.root / told).resolve()
    inside = {vault.root.resolve(), vault.common_dir.resolve(), vault.git_dir.resolve()}
    if not inside.intersection((place, *place.parents)):
        raise RepositoryError(f"core.hooksPath = {told} is outside of this repository: {by_hand}")
    return place


def status(vault: Vault) -> list[Hook]:
    """What is at each hook's place. Raises RepositoryError."""
    at = folder(vault)
    return [_look(at / name) for name in NAMES]


def install(vault: Vault) -> list[Hook]:
    """Install what is missing or old; a second time nothing changes. Raises RepositoryError.

    Whoever has a `why` afterwards could not be.
    """
    at = folder(vault)
    at.mkdir(parents=True, exist_ok=True)
    return [_install(at / name) for name in NAMES]


def uninstall(vault: Vault) -> list[Hook]:
    """Take ours out and put back what was there before, the same file. Raises RepositoryError."""
    at = folder(vault)
    return [_uninstall(at / name) for name in NAMES]


def script(name: str) -> bytes:
    """The script of a hook, as it is installed."""
    packaged = Path(__file__).parents[1] / "_data" / "hooks"
    source = packaged if packaged.is_dir() else packaged.parents[2] / "hooks"
    text = (source / "git" / name).read_bytes()
    return text + _SUM + _sum(text) + b"\n"


def _hooks_path(vault: Vault) -> tuple[str, str | None]:
    """core.hooksPath and the scope of the config that says it; None if it is not set."""
    asked = ("config", "--show-scope", "-z", "--type=path", "--get-all", "core.hooksPath")
    done = git.run(vault.root, asked, check=False)
    fields = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    # `git.run` itself sets it, for its one command.
    pairs = [pair for pair in zip(fields[::2], fields[1::2], strict=False) if pair[0] != "command"]
    return pairs[-1] if pairs else ("", None)


def _look(place: Path) -> Hook:
    before = place.with_name(place.name + BEFORE)
    kept = before if os.path.lexists(before) else None
    return Hook(place.name, _state(place), place, kept)


def _state(place: Path) -> State:
    if not os.path.lexists(place):
        return State.MISSING
    try:
        data = place.read_bytes()
    except OSError:  # a folder, a link to nowhere
        return State.ANOTHERS
    wanted = script(place.name)
    if data in (wanted, _without_sum(wanted)):  # the latter: copied or linked by hand
        return State.INSTALLED if os.access(place, os.X_OK) else State.OLD
    if _SUM not in data:
        return State.ANOTHERS
    text = _without_sum(data)
    return State.OLD if text != data and data == text + _SUM + _sum(text) + b"\n" else State.EDITED


def _install(place: Path) -> Hook:
    hook = _look(place)
    if hook.state is State.INSTALLED:
        return hook
    if hook.state is State.EDITED:
        return hook._replace(why="it is left as it is; remove it by hand, then install again")
    if hook.state is State.ANOTHERS:
        if hook.before:
            why = f"it and {hook.before.name} are both there: remove one of them by hand"
            return hook._replace(why=why)
        if why := _not_to_be_moved(place):
            by_hand = f"add to it by hand: avm hook git {place.name}"
            return hook._replace(why=f"{why}: {by_hand}")
        os.rename(place, place.with_name(place.name + BEFORE))
    atomic.replace(place, script(place.name), mode=_MODE)
    return _look(place)


def _not_to_be_moved(place: Path) -> str:
    """Why a hook of somebody else's would not work under another name; "" if it would."""
    if not place.is_file():
        return "it is no file"
    return "it looks at its own name" if _BY_NAME.search(place.read_bytes()) else ""


def _uninstall(place: Path) -> Hook:
    hook = _look(place)
    if hook.state is State.EDITED:
        return hook._replace(why="it is left as it is; remove it by hand")
    if hook.state in (State.INSTALLED, State.OLD):
        if hook.before:
            os.replace(hook.before, place)
        else:
            place.unlink()
    elif hook.state is State.MISSING and hook.before:
        os.rename(hook.before, place)
    return _look(place)


def _without_sum(data: bytes) -> bytes:
    return _SUM_LINE.sub(b"", data)


def _sum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:16].encode()
