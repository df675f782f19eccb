"""Names inside a vault: agents, vault paths, and file names made from titles.

A vault path is written `/memory/private/akashi/rsi_rule.md` for people; inside AVM it is the same
without the leading slash (`rel`), the form that git and the file system use. The root is "".
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection
from pathlib import Path

from avm.base.errors import UsageError

PRIVATE = "memory/private"
SHARED = "memory/shared"
#: Folders that look real in a mount before they are: `echo … > M/memory/private/akashi/x.md` works
#: on a fresh machine and in an adopted vault.
SKELETON = ("memory", PRIVATE, SHARED)
TEMP_PREFIX = ".avm-tmp-"
_TEMP_ENDS = ("~", ".swp", ".swo", ".swx")

_AGENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+')
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_COPY = re.compile(r"(.+)\.conflict-[0-9a-f]{8,64}(\.[^./]+)?", re.DOTALL)
_STEM_BYTES = 200  # leaves room for `-2.md` under the 255 bytes of ext4, APFS and NTFS
_FIRST_WORDS = 6
#: NAME_MAX and PATH_MAX.
_MOST_NAME_BYTES, _MOST_PATH_BYTES = 255, 4096
_FIRST_WORDS_CHARS = 48


def check_agent(name: str) -> str:
    """Return `name` if it is a legal agent name, else raise UsageError."""
    if not isinstance(name, str) or not _AGENT.fullmatch(name):
        raise UsageError(
            f"agent {name!r}: use 1 to 63 of a-z 0-9 _ -, beginning with a letter or digit"
        )
    return name


def is_agent_name(name: str) -> bool:
    """Whether `name` is a legal agent name."""
    return _AGENT.fullmatch(name) is not None


def is_placeholder(rel: str) -> bool:
    """Whether `rel` is a folder that looks real before it is."""
    return rel in SKELETON or (parent(rel) == PRIVATE and is_agent_name(name_of(rel)))


def agent_folder(agent: str) -> str:
    """The private folder of `agent`, as a rel."""
    return f"{PRIVATE}/{agent}"


def private_to(rel: str) -> str | None:
    """The agent in whose private folder a rel is; None for what is in none."""
    agent, slash, _ = rel.removeprefix(f"{PRIVATE}/").partition("/")
    return agent if slash and rel.startswith(f"{PRIVATE}/") else None


def clean_rel(path: str) -> str:
    """Make a vault path (with or without its leading slash) a rel.

    Raises UsageError for `..`, for NUL, for an empty component that is not at an end, and for what
    is no file name at all.
    """
    rel = path.strip("/")
    parts = rel.split("/") if rel else []
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise UsageError(f"path {path!r}: a vault path has no empty, '.' or '..' component")
    try:
        rel.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UsageError(f"path {path!r}: it holds half a character") from None
    return rel


def clean_folder(value: str, what: str) -> str:
    """Check a `namespace=` or `folder=` value: one or more plain names joined by `/`."""
    try:
        rel = clean_rel(value)
    except UsageError:
        rel = ""
    names = rel.split("/")
    absolute = value.startswith("/")
    odd = any(n.startswith(".") or _UNSAFE.search(n) or n != n.strip() for n in names)
    if not rel or absolute or odd:
        raise UsageError(
            f"{what} {value!r}: use plain folder names joined by '/', such as market or tech/db"
        )
    return rel


def display(rel: str) -> str:
    """A rel as people see it: with a leading slash, undecodable bytes shown as `?`."""
    return "/" + rel.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def printable(text: str) -> str:
    """A text from anywhere on one line of a terminal: whatever could move its cursor is a `?`."""
    shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in shown)


def folded(rel: str) -> str:
    """Equal for two names that are one where letter case and Unicode's forms make no difference."""
    return unicodedata.normalize("NFC", rel).casefold()


def copied_from(rel: str) -> str | None:
    """The file that a conflict copy is of by its name; None for any other file."""
    match = _COPY.fullmatch(rel) if ".conflict-" in rel else None
    return match[1] + (match[2] or "") if match else None


def is_too_long(root: Path, rel: str) -> bool:
    """Whether no file system of Linux or macOS takes `rel` below `root`."""
    whole = len(os.fsencode(root)) + len(os.fsencode(rel)) + 2
    return whole > _MOST_PATH_BYTES or any(
        len(os.fsencode(name)) > _MOST_NAME_BYTES for name in rel.split("/")
    )


def parent(rel: str) -> str:
    """The folder that holds `rel`; the root's is the root."""
    return rel.rpartition("/")[0]


def is_below(rel: str, folder: str) -> bool:
    """Whether `rel` is in `folder`, however deep, or is `folder` itself."""
    return not folder or rel == folder or rel.startswith(folder + "/")


def is_below_any(rel: str, folders: Collection[str]) -> bool:
    """Whether `rel` is one of `folders` or in one of them; asks for each folder above it."""
    while rel:
        if rel in folders:
            return True
        rel = parent(rel)
    return "" in folders


def topmost(rels: Collection[str]) -> set[str]:
    """Those of `rels` that are in no other one of them."""
    return {rel for rel in rels if not rel or not is_below_any(parent(rel), rels)}


def name_of(rel: str) -> str:
    """The last component."""
    return rel.rpartition("/")[2]


def stem_of(rel: str) -> str:
    """The last component without `.md`."""
    name = name_of(rel)
    return name[:-3] if is_memory_name(name) else name


def link_name(target: str) -> str:
    """What a link and the memory that it means have in common: the stem, case folded."""
    return stem_of(target.strip().lstrip("/").casefold())


def is_memory_name(name: str) -> bool:
    """Whether a file of this name is a memory: `.md` in any letter case."""
    return name[-3:].lower() == ".md" and len(name) > 3


def is_memory(rel: str) -> bool:
    """Whether the file at `rel` is a memory by its name."""
    return is_memory_name(name_of(rel))


def is_utf8(rel: str) -> bool:
    """Whether a name off the disk is UTF-8: one that is not can be no memory."""
    try:
        rel.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_hidden_name(name: str) -> bool:
    """Whether `name` starts with a dot: no memory, no folder of memories."""
    return name.startswith(".")


def in_dot_git(rel: str) -> bool:
    """Whether `rel` is the vault's own `.git` or in it (any letter case: macOS folds it)."""
    return rel[:1] == "." and rel.partition("/")[0].lower() == ".git"


def is_checked_out(rel: str) -> bool:
    """Whether git would put a file at `rel`: a tree that comes with a pull can hold anything."""
    return not any(name in ("", ".", "..") or name.lower() == ".git" for name in rel.split("/"))


def is_editor_name(name: str) -> bool:
    """Whether `name` is an editor's or AVM's temporary file (vim, emacs, LibreOffice)."""
    return name == "4913" or name.startswith((".#", "#", TEMP_PREFIX)) or name.endswith(_TEMP_ENDS)


def stem_from_title(title: str) -> str:
    """A file stem from a title: as given where safe on every file system, else made so.

    Unsafe is what Windows, macOS or Linux refuse, or what would hide the file: the characters
    `<>:"/\\|?*`, controls, leading dots, trailing dots and blanks, device names, over 200 bytes.
    """
    text = unicodedata.normalize("NFC", title)
    if is_memory_name(text):
        text = text[:-3]
    text = _UNSAFE.sub("-", text).strip().lstrip(".#-").rstrip(". ~")
    text = text.encode("utf-8")[:_STEM_BYTES].decode("utf-8", "ignore").strip()
    if _DEVICE.fullmatch(text):
        text = f"{text}_"
    return text or "memory"


def stem_from_text(text: str) -> str:
    """A file stem from the first words of a memory without a title."""
    words = _WORD.findall(text[:1000].lower())[:_FIRST_WORDS]
    joined = "_".join(words)[:_FIRST_WORDS_CHARS].strip("_")
    return stem_from_title(joined) if joined else "memory"
