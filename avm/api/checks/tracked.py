"""What git tracks: names and links that do harm on some machine, files that are none of a vault's.

It may all have come with a pull. Nothing here is followed, run or obeyed; it is named.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

from avm.api.checks.finding import Check, Finding
from avm.api.view import View
from avm.base import paths
from avm.vault import git
from avm.vault.index_file import tracked
from avm.vault.location import FORMAT_FILE, MARKER

#: What the large hosts refuse.
_MOST_BYTES = 100 * 2**20
#: No shorter path has a name of over 255 bytes.
_FEWEST_CHARS = 60
#: Control characters, and those that turn the direction of a text.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_LINK, _SUBMODULE = 0o120000, 0o160000
_OWN = (FORMAT_FILE, f"{MARKER}/README.md")


def _seen(view: View) -> Iterator[tuple[str, int]]:
    """Each tracked path that this viewer may read, with git's mode of it."""
    for rel, mode in tracked(view.store.vault):
        if view.viewer.can_read(rel):
            yield rel, mode


def _shown(rel: str) -> str:
    return paths.printable(paths.display(rel))


def _long(view: View) -> Iterator[Finding]:
    root = view.store.vault.root
    for rel, _ in _seen(view):
        if len(rel) > _FEWEST_CHARS and paths.is_too_long(root, rel):
            yield Finding(
                _shown(rel),
                "no disk takes a name of this length: git alone has the file",
                "git show :NAME > SHORTER, then git rm --cached NAME",
            )


def _twins(view: View) -> Iterator[Finding]:
    found: dict[str, list[str]] = {}
    for rel, _ in _seen(view):
        found.setdefault(rel.lower() if rel.isascii() else paths.folded(rel), []).append(rel)
    twins = [names for names in found.values() if len(names) > 1]
    if not twins:
        return
    root = view.store.vault.root
    here = git.config_value(root, "--type=bool", "--get", "core.ignorecase") == "true"
    place = "this disk" if here else "the disks of macOS and Windows"
    for first, *others in twins:
        same = ", ".join(map(_shown, others))
        what = f"it and {same} are one file on {place}: letter case and accents' form do not count"
        yield Finding(_shown(first), what, "git mv one of them to another name", note=not here)


def _controls(view: View) -> Iterator[Finding]:
    for rel, _ in _seen(view):
        if _CONTROLS.search(rel):
            what = "control characters in its name: shown as ? by AVM, obeyed by some terminals"
            yield Finding(_shown(rel), what, "rename it", note=True)


def _links_out(view: View) -> Iterator[Finding]:
    root = os.fspath(view.store.vault.root)
    for rel, mode in _seen(view):
        place = f"{root}/{rel}"
        if mode == _LINK and os.path.islink(place):
            target = os.path.realpath(place)
            if target != root and not target.startswith(f"{root}/"):
                what = "a symbolic link out of the vault: AVM does not follow it, others do"
                yield Finding(_shown(rel), what, "look at it, or remove it", note=True)


def _settings(view: View) -> Iterator[Finding]:
    for rel, _ in _seen(view):
        if rel.lower().startswith(f"{MARKER}/") and rel not in _OWN:
            what = "nothing tracked configures AVM: this file does nothing"
            yield Finding(_shown(rel), what, "settings are in docs/configuration.md", note=True)


def _submodules(view: View) -> Iterator[Finding]:
    for rel, mode in _seen(view):
        if mode == _SUBMODULE or rel == ".gitmodules":
            what = "git's submodules: AVM neither fetches nor indexes nor commits them"
            yield Finding(_shown(rel), what, "git submodule, if you mean them", note=True)


def _large(view: View) -> Iterator[Finding]:
    root = view.store.vault.root
    for rel, _ in _seen(view):
        try:
            status = os.lstat(root / rel)
        except OSError:
            continue
        if status.st_size > _MOST_BYTES and stat.S_ISREG(status.st_mode):
            what = f"{status.st_size / 2**20:,.0f} MB: many hosts refuse files of over 100 MB"
            yield Finding(_shown(rel), what, "keep it elsewhere, or use git lfs", note=True)


CHECKS = (
    Check("long-name", "Tracked names that no disk takes.", _long, for_agents=True),
    Check(
        "twins",
        "Tracked names that differ in letter case or Unicode's form alone (only told, unless this"
        " disk makes no difference).",
        _twins,
        for_agents=True,
    ),
    Check(
        "control-characters",
        "Control characters in tracked names (only told).",
        _controls,
        for_agents=True,
    ),
    Check(
        "link-out",
        "Tracked symbolic links that lead out of the vault (only told).",
        _links_out,
        for_agents=True,
    ),
    Check("tracked-settings", "Tracked files in `.avm/` that do nothing (only told).", _settings),
    Check("submodules", "Submodules (only told).", _submodules),
    Check("large-file", "Tracked files of over 100 MB (only told).", _large, for_agents=True),
)
