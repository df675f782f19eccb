"""Finding a vault: which folder is one, where its git dir and AVM's own state are.

Reads a few small files and starts no program, so that every command can afford it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from avm.base.errors import NoVaultError, RepositoryError
from avm.vault import git

MARKER = ".avm"
FORMAT_FILE = f"{MARKER}/format"
FORMAT = 1
#: Set to `true` in the config of a repository that was adopted as it is.
ADOPTED_KEY = "avm.vault"
#: Set to `true` in a clone of an empty repository, which made its first commit itself.
CLONED_EMPTY_KEY = "avm.clonedEmpty"


class Vault(NamedTuple):
    """A vault's places. `adopted`: marked in git's config, not by a tracked `.avm/` folder."""

    root: Path
    git_dir: Path
    common_dir: Path
    state_dir: Path
    adopted: bool

    @property
    def index_dir(self) -> Path:
        """What can be rebuilt from the files."""
        return self.state_dir / "index"

    @property
    def own_state(self) -> Path:
        """What cannot: small and journalled."""
        return self.state_dir / "state"

    @property
    def git_state(self) -> Path:
        """State that must be on git's own file system, wherever the rest is moved."""
        return self.git_dir / "avm"

    @property
    def write_lock(self) -> Path:
        """The lock that AVM holds while it writes over a file below `memory/`."""
        return self.own_state / "write.lock"

    @property
    def mounts_lock(self) -> Path:
        """The lock that the vault's mounts share while they are there."""
        return self.git_state / "mounts.lock"

    @property
    def git_index(self) -> Path:
        """git's own index file."""
        return self.git_dir / "index"

    def path(self, rel: str) -> Path:
        """The place of `rel` on disk."""
        return self.root / rel


def config_file(root: Path) -> Path | None:
    """The vault's own, never tracked `config.toml`, if `root` is in a git repository at all."""
    dirs = git_dirs(root)
    return dirs[0] / "avm" / "config.toml" if dirs else None


def open_vault(root: Path, state_dir: Path | None = None) -> Vault:
    """The vault at `root`. Raises NoVaultError; RepositoryError for a format that is newer.

    `state_dir` moves index, journal and locks into a sub-folder of it, named after the vault.
    """
    real = root.resolve()
    kind = _kind(real)
    dirs = git_dirs(real)
    if kind is None or dirs is None:
        raise NoVaultError(f"no vault at {root}: avm init {root}")
    git_dir, common_dir = dirs
    state = git_dir / "avm"
    if state_dir is not None:
        import hashlib

        state = state_dir.resolve() / hashlib.sha256(str(real).encode()).hexdigest()[:16]
    return Vault(real, git_dir, common_dir, state, adopted=kind == "adopted")


def vault_around(folder: Path) -> Path | None:
    """The root of the nearest vault that holds `folder`; other repositories are passed by."""
    try:
        real = folder.resolve()
    except OSError:
        return None
    for candidate in (real, *real.parents):
        if is_vault(candidate):
            return candidate
    return None


def is_vault(root: Path) -> bool:
    """Whether `root` is one: by its tracked marker, which any clone has, or by git's config."""
    return _kind(root) is not None


def is_known(root: Path) -> bool:
    """Whether AVM was set up or used in the vault at `root` by its user: `avm init`, `avm clone`
    and all that writes leave marks in git's folder, which a clone by git alone does not have."""
    dirs = git_dirs(root)
    if dirs is None:
        return False
    git_dir, common_dir = dirs
    if (git_dir / "avm").is_dir():
        return True
    text = _config_text(common_dir)
    return '[merge "avm' in text or "[avm" in text


def git_dirs(root: Path) -> tuple[Path, Path] | None:
    """(git dir, common dir) of the work tree at `root`: they differ in a linked worktree."""
    dot_git = root / ".git"
    try:
        if dot_git.is_dir():
            git_dir = dot_git
        elif dot_git.is_file():
            text = dot_git.read_text("utf-8", "surrogateescape")
            git_dir = (root / text.removeprefix("gitdir:").strip()).resolve()
        else:
            return None
        common = git_dir / "commondir"
        if common.is_file():
            return git_dir, (git_dir / common.read_text().strip()).resolve()
        return (git_dir, git_dir) if (git_dir / "HEAD").is_file() else None
    except OSError:
        return None


def _kind(root: Path) -> str | None:
    """`made`, `adopted`, or None if `root` is no vault."""
    dirs = git_dirs(root)
    if dirs is None:
        return None
    try:
        number = int((root / FORMAT_FILE).read_text()[:20])
    except (OSError, ValueError):
        return "adopted" if _is_marked(root, dirs[1]) else None
    if number > FORMAT:
        raise RepositoryError(
            f"{root} has vault format {number}, this AVM knows {FORMAT}: upgrade avm-memory"
        )
    return "made"


def _is_marked(root: Path, common_dir: Path) -> bool:
    text = _config_text(common_dir)
    # The file is looked at first: most repositories are not vaults, and asking git takes 3 ms.
    # That one file: git finds no repository, and so no configuration, where HEAD holds noise.
    asked = ("--file", str(common_dir / "config"), "--get", ADOPTED_KEY)
    return "[avm" in text and git.config_value(root, *asked) == "true"


def _config_text(common_dir: Path) -> str:
    """A repository's own configuration, unread; "" if it cannot be had."""
    try:
        return (common_dir / "config").read_text("utf-8", "replace")
    except OSError:
        return ""
