"""The merge driver's set-up in a clone, for people who `git pull` themselves.

Which files it merges travels with the vault (`.gitattributes`); the command that merges them is
in each clone's own config, where no pull can reach it. `info/attributes` says the files again: it
comes before all tracked files, so that none that arrives takes the driver away from a memory.
"""

from __future__ import annotations

import enum

from avm.base import atomic
from avm.vault import git
from avm.vault.location import Vault

#: Which files: memories, in any letter case, and all that is stored beside them.
ATTRIBUTES = ("*.[mM][dD] merge=avm", "memory/** merge=avm")

# git hands the line to sh, in the top folder of the work tree, for each file that both sides
# changed. It stands in the config whole: a script in the package would be an absolute path, which
# goes stale when avm is upgraded or moved, and then nothing could say so.
#
# What git puts in: %O, %A and %B are names that git makes, %L a number, %P the file's name, quoted
# for the shell by git itself (all versions that know %P: 2.5). %% is a %.
#
# A driver that only fails is worse than none: at 1 to 127 git takes what is in %A, which is ours
# without a marker, for the conflict's text, and `git add` then drops theirs (before 2.42 beyond 128
# too). So without avm, and if it fails, git's own text merge is made, with git's usual markers;
# and the file is a conflict in any case, so that somebody looks at it.
#
# The word that avm prints is asked for as well as its exit code: other programs are called avm too.
_TRY = (
    "set -- %O %A %B %L %P;"
    " if ! command -v avm >/dev/null 2>&1; then why='avm is not in PATH';"
    ' elif said=$(avm hook git merge{base} -- "$@" </dev/null) && [ "$said" = {merged} ];'
    " then exit 0; else why='avm failed'; fi;"
    ' git merge-file -q --marker-size="$4" -L ours -L base -L theirs "$2" "$1" "$3";'
)
_TELL = (
    " if [ $? -lt 128 ]; then did='git merged it as text: look at it and git add it';"
    ' else did="this side stays: the other is git show :3:NAME"; fi;'
    " printf 'avm: %%s: %%s, so %%s, or abort, mend that and merge again\\n'"
    ' "$5" "$why" "$did" >&2;'
)
_END = " exit 1"

#: What `avm hook git merge` prints once the file is merged.
MERGED = "merged"
#: The driver, and the one for ancestors that git makes up where histories cross: nobody sees those.
_LINE = _TRY.format(base="", merged=MERGED) + _TELL + _END
_BASE_LINE = _TRY.format(base=" --base", merged=MERGED) + _END
_CONFIG = {
    "merge.avm.name": "memories of AVM",
    "merge.avm.driver": _LINE,
    "merge.avm.recursive": "avm-base",
    "merge.avm-base.name": "ancestors of memories of AVM",
    "merge.avm-base.driver": _BASE_LINE,
}
#: Where it is asked which driver merges: a shared and a private memory, and one of the owner's.
_PROBES = ("memory/shared/x.md", "memory/private/x/x.md", "x.md")


class State(enum.Enum):
    """How far the driver is set up."""

    SET_UP = "installed"
    MISSING = "not installed"
    OLD = "of another version of AVM"
    #: The person's own lines in `info/attributes` name another driver: they are left alone.
    OVERRULED = "overruled by other lines in info/attributes"


def state(vault: Vault) -> State:
    """How far the driver is set up in this clone. Raises RepositoryError."""
    configured = _configured(vault)
    if "merge.avm.driver" not in configured:
        return State.MISSING
    if configured != _CONFIG:
        return State.OLD
    told = git.run(vault.root, ("check-attr", "-z", "merge", "--", *_PROBES)).stdout.split(b"\0")
    if all(value == b"avm" for value in told[2::3]):
        return State.SET_UP
    return State.OVERRULED if _has_attributes(vault) else State.MISSING


def is_set_up(vault: Vault) -> bool:
    """Whether git merges memories with the driver, as this version of AVM sets it up."""
    return state(vault) is State.SET_UP


def set_up(vault: Vault) -> None:
    """Set the driver up, or bring it up to date. Raises RepositoryError, OSError."""
    configured = _configured(vault)
    for key, value in _CONFIG.items():
        if configured.get(key) != value:
            git.run(vault.root, ("config", "--local", "--replace-all", key, value))
    if not _has_attributes(vault):
        lines = "".join(f"{line}\n" for line in ATTRIBUTES).encode()
        place = vault.common_dir / "info" / "attributes"
        place.parent.mkdir(exist_ok=True)
        # On top: the person's own lines below win, and are the same bytes when ours are gone.
        atomic.replace(place, lines + _others(vault))


def take_back(vault: Vault) -> None:
    """Undo `set_up`; the person's lines in `info/attributes` stay as they are."""
    for section in ("merge.avm", "merge.avm-base"):
        git.run(vault.root, ("config", "--local", "--remove-section", section), check=False)
    place = vault.common_dir / "info" / "attributes"
    if not place.exists():
        return
    if others := _others(vault):
        atomic.replace(place, others)
    else:
        place.unlink()


def _configured(vault: Vault) -> dict[str, str]:
    """What this clone's config says of the driver."""
    asked = ("config", "--local", "-z", "--get-regexp", r"^merge\.avm(-base)?\.")
    done = git.run(vault.root, asked, check=False)  # 1: nothing
    entries = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    return {key: value for key, _, value in (entry.partition("\n") for entry in entries) if key}


def _has_attributes(vault: Vault) -> bool:
    lines = [line.strip() for line in _lines(vault)]
    return all(line.encode() in lines for line in ATTRIBUTES)


def _others(vault: Vault) -> bytes:
    """What `info/attributes` holds but for our lines."""
    ours = {line.encode() for line in ATTRIBUTES}
    return b"".join(line for line in _lines(vault) if line.strip() not in ours)


def _lines(vault: Vault) -> list[bytes]:
    try:
        data = (vault.common_dir / "info" / "attributes").read_bytes()
    except FileNotFoundError:
        return []
    return data.splitlines(keepends=True)
