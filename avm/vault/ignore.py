"""What is no memory: git's ignore rules and `.avmignore`, read by `pathspec`.

Rules nest as git's do: the file nearest to a path decides, in a file the last match. A tracked file
is never ignored by git's rules; `.avmignore` holds for tracked files too.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from avm.base.config import user_config_home, user_git_configs
from avm.base.paths import TEMP_PREFIX
from avm.vault import git
from avm.vault.files import Stamp, raise_if_exhausted
from avm.vault.location import Vault

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

GIT_FILE = ".gitignore"
AVM_FILE = ".avmignore"
#: Keeps a killed writer's temp file out of `git status` (info/exclude, written by avm init).
TEMP_RULE = f"{TEMP_PREFIX}*"
#: The group in pathspec's expressions that matches the slash after a folder.
_FOLDER_MARK = "ps_d"


Specs = tuple[tuple[str, "GitIgnoreSpec"], ...]


class SeenFile:
    """A small file as it was seen last. One that is gone, unreadable or no file has no bytes.

    `changed` looks at the stamp, and for two seconds after it at the bytes too.
    """

    #: Of git's index only the end is read: its sum is there.
    _MOST_BYTES = 1 << 16

    def __init__(self, place: Path | str, *, linked: bool = True) -> None:
        self._place = str(place)
        self._linked = linked
        self._stamp: Stamp | None = None
        self._checked_ns = 0
        self.raw: bytes | None = None
        self.changed()

    def changed(self) -> bool:
        """Look at it again; whether it is not what it was."""
        checked_ns = time.time_ns()
        try:
            stamp = Stamp.of(os.stat(self._place, follow_symlinks=self._linked))
        except (OSError, ValueError):
            stamp = None
        if stamp == self._stamp and not (stamp and stamp.is_racy(self._checked_ns)):
            return False
        raw = self._read() if stamp else None
        # Of what is longer than we read the stamp counts too.
        partly = raw is not None and len(raw) == self._MOST_BYTES and stamp != self._stamp
        changed = raw != self.raw or partly
        self._stamp, self._checked_ns, self.raw = stamp, checked_ns, raw
        return changed

    def _read(self) -> bytes | None:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if self._linked else os.O_NOFOLLOW)
        try:
            with open(os.open(self._place, flags), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - self._MOST_BYTES))
                return file.read()
        except OSError as err:
            raise_if_exhausted(err, self._place)
            return None


class RuleFile(SeenFile):
    """A file of ignore rules that hold below the folder `rel`."""

    _MOST_BYTES = 1 << 30

    def __init__(self, place: Path | str, rel: str, *, linked: bool = False) -> None:
        self.specs: Specs = ()
        self._rel = rel
        super().__init__(place, linked=linked)

    def changed(self) -> bool:
        """Look at it again; whether it says something else than it did."""
        if not super().changed():
            return False
        self.specs = _parsed(self.raw, self._rel)
        return True


class Rules(NamedTuple):
    """The rules in force in one folder: specs with the folder they are relative to, far to near."""

    git_specs: Specs = ()
    avm_specs: Specs = ()

    def with_files(self, git_file: RuleFile | None, avm_file: RuleFile | None) -> Rules:
        """The rules inside a folder that has these two files."""
        git_more = git_file.specs if git_file else ()
        avm_more = avm_file.specs if avm_file else ()
        if not git_more and not avm_more:
            return self
        return Rules(self.git_specs + git_more, self.avm_specs + avm_more)

    def git_ignores(self, rel: str, *, is_dir: bool) -> bool:
        """Whether git would ignore an untracked `rel`."""
        return _ignored(self.git_specs, rel, is_dir)

    def avm_ignores(self, rel: str, *, is_dir: bool) -> bool:
        """Whether `.avmignore` files take `rel` out."""
        return _ignored(self.avm_specs, rel, is_dir)


class OuterRules:
    """The rules that hold everywhere: `core.excludesFile`, then `info/exclude`.

    Watches these two and git's configuration, which names the first. A configuration file that
    comes into being where none was is seen at the places that git documents only.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._config: list[SeenFile] = []
        self._files: list[RuleFile] = []
        self._is_read = False

    def rules(self) -> Rules:
        """The rules as they are now."""
        if self.changed():
            # Looked at before git reads them: what changes in between is seen the next time.
            fixed = [SeenFile(place) for place in self._places()]
            value, more = self._asked()
            self._config = fixed + [SeenFile(place) for place in more]
            exclude = self._vault.common_dir / "info" / "exclude"
            self._files = [RuleFile(place, "", linked=True) for place in (value, exclude)]
            self._is_read = True
        return Rules(git_specs=tuple(spec for file in self._files for spec in file.specs))

    def changed(self) -> bool:
        """Whether they may be others than at the last look; starts no program."""
        # Every file is looked at: one that changed is not to be found changed again.
        for file in (*self._config, *self._files):
            self._is_read &= not file.changed()
        return not self._is_read

    def _places(self) -> tuple[Path, ...]:
        vault = self._vault
        local = (vault.common_dir / "config", vault.git_dir / "config.worktree")
        return (*user_git_configs(), *local)

    def _asked(self) -> tuple[Path, set[Path]]:
        """What git says of `core.excludesFile`, and the files that its configuration came from."""
        root, value = self._vault.root, ""
        listed = git.run(root, ("config", "--list", "--show-origin", "-z"), check=False)
        fields = listed.stdout.decode("utf-8", "surrogateescape").split("\0")
        for entry in fields[1::2]:
            key, _, text = entry.partition("\n")
            if key == "core.excludesfile":
                value = text
        if value.startswith(("~", "%")):
            value = git.config_value(root, "--type=path", "--get", "core.excludesFile")
        origins = {field.removeprefix("file:") for field in fields[::2] if field[:5] == "file:"}
        # gitignore(5) names the default.
        named = root / value if value else user_config_home() / "git" / "ignore"
        return named, {root / origin for origin in origins} - set(self._places())


def is_left_out(root: Path, rel: str) -> bool:
    """Whether `.avmignore` files say that the tracked file `rel` is no memory."""
    rules, names = Rules(), rel.split("/")
    for depth in range(1, len(names) + 1):
        folder = "/".join(names[: depth - 1])
        rules = rules.with_files(None, RuleFile(root / folder / AVM_FILE, folder))
        if rules.avm_ignores("/".join(names[:depth]), is_dir=depth < len(names)):
            return True
    return False


def tracked_in_spite(vault: Vault) -> list[str]:
    """Tracked files that match git's ignore rules, as rels: memories all the same."""
    return _listed(vault, "-c")


def untracked_and_ignored(vault: Vault) -> list[str]:
    """Files below `memory/` that git ignores, as rels: none of them is a memory."""
    return _listed(vault, "-o", "--", "memory")


def _listed(vault: Vault, which: str, *paths: str) -> list[str]:
    asked = ("ls-files", "-z", which, "-i", "--exclude-standard", *paths)
    listed = git.run(vault.root, asked, check=False)
    return [name.decode("utf-8", "surrogateescape") for name in listed.stdout.split(b"\0") if name]


def _parsed(raw: bytes | None, rel: str) -> Specs:
    lines = (raw or b"").decode("utf-8-sig", "surrogateescape").splitlines()
    # AVM's own line in info/exclude matches no memory; without it most vaults need no pathspec.
    rules = [line for line in lines if line.strip() and line[0] != "#" and line != TEMP_RULE]
    if not rules:
        return ()
    from pathspec import GitIgnoreSpec

    patterns = []
    for line in rules:
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            continue  # one bad line never stops the rest
        patterns.append(line)
    return ((rel, GitIgnoreSpec.from_lines(patterns)),) if patterns else ()


def _ignored(specs: Specs, rel: str, is_dir: bool) -> bool:
    for base, spec in reversed(specs):
        below = rel[len(base) + 1 :] if base else rel
        verdict = _verdict(spec, below + "/" if is_dir else below)
        if verdict is not None:
            return verdict
    return False


def _verdict(spec: GitIgnoreSpec, path: str) -> bool | None:
    """What the last pattern says that matches `path` itself, None if there is none.

    One that matches a folder above says nothing here: folders are asked on the way down, each for
    itself, as git does. (`GitIgnoreSpec.check_file` lets `*` win over a later `!folder/`.)
    """
    for pattern in reversed(list(spec.patterns)):
        if pattern.include is not None and _matches_itself(pattern, path):
            return bool(pattern.include)
    return None


def _matches_itself(pattern: Any, path: str) -> bool:
    found = pattern.match_file(path)
    if found is None:
        return False
    match, is_folder = found.match, path.endswith("/")
    if match.groupdict().get(_FOLDER_MARK) is None:
        # `folder/**` is all that is in the folder, not the folder.
        return not is_folder or pattern.match_file(path[:-1]) is not None
    # `*/` is a mark and nothing else: it matches at the first slash, and every folder has a last.
    bare = match.span() == match.span(_FOLDER_MARK)
    return match.end(_FOLDER_MARK) == len(path) or (bare and is_folder)
