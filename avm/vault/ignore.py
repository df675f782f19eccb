"""What is no memory: git's ignore rules and `.avmignore`, read by `pathspec`.

Rules nest as git's do: the file nearest to a path decides, in a file the last match. A tracked file
is never ignored by git's rules; `.avmignore` holds for tracked files too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avm.base.config import user_config_home
from avm.base.paths import TEMP_PREFIX
from avm.vault import git
from avm.vault.location import Vault

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

GIT_FILE = ".gitignore"
AVM_FILE = ".avmignore"
#: Keeps a killed writer's temp file out of `git status` (info/exclude, written by avm init).
TEMP_RULE = f"{TEMP_PREFIX}*"
#: The group in pathspec's expressions that matches the slash after a folder.
_FOLDER_MARK = "ps_d"


@dataclass(frozen=True)
class Rules:
    """The rules in force in one folder: specs with the folder they are relative to, far to near."""

    git_specs: tuple[tuple[str, GitIgnoreSpec], ...] = ()
    avm_specs: tuple[tuple[str, GitIgnoreSpec], ...] = ()

    def entering(self, folder: Path, rel: str, names: Iterable[str]) -> Rules:
        """The rules inside the folder `rel`, whose entries are `names`."""
        git_specs, avm_specs = self.git_specs, self.avm_specs
        for name in names:
            if name == GIT_FILE:
                git_specs += _read(folder / GIT_FILE, rel)
            elif name == AVM_FILE:
                avm_specs += _read(folder / AVM_FILE, rel)
        if git_specs is self.git_specs and avm_specs is self.avm_specs:
            return self
        return Rules(git_specs, avm_specs)

    def git_ignores(self, rel: str, *, is_dir: bool) -> bool:
        """Whether git would ignore an untracked `rel`."""
        return _ignored(self.git_specs, rel, is_dir)

    def avm_ignores(self, rel: str, *, is_dir: bool) -> bool:
        """Whether `.avmignore` files take `rel` out."""
        return _ignored(self.avm_specs, rel, is_dir)


def base_rules(vault: Vault) -> Rules:
    """The rules that hold everywhere: `core.excludesFile`, then `info/exclude`."""
    specs: tuple[tuple[str, GitIgnoreSpec], ...] = ()
    for file in (_global_file(vault), vault.common_dir / "info" / "exclude"):
        if file is not None:
            specs += _read(file, "")
    return Rules(git_specs=specs)


def tracked_in_spite(vault: Vault) -> list[str]:
    """Tracked files that match git's ignore rules, as rels: memories all the same."""
    listed = git.run(vault.root, ("ls-files", "-z", "-c", "-i", "--exclude-standard"), check=False)
    return [name.decode("utf-8", "surrogateescape") for name in listed.stdout.split(b"\0") if name]


def _global_file(vault: Vault) -> Path | None:
    value = git.config_value(vault.root, "--type=path", "--get", "core.excludesFile")
    if value:
        return Path(value)
    return user_config_home() / "git" / "ignore"  # gitignore(5)


def _read(file: Path, rel: str) -> tuple[tuple[str, GitIgnoreSpec], ...]:
    try:
        if file.is_symlink() and file.name in (GIT_FILE, AVM_FILE):
            return ()  # git does not follow them either
        lines = file.read_text("utf-8-sig", "surrogateescape").splitlines()
    except OSError:
        return ()
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


def _ignored(specs: tuple[tuple[str, GitIgnoreSpec], ...], rel: str, is_dir: bool) -> bool:
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
