"""Making a vault, adopting a repository as one, and taking the adoption back."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from avm.base import atomic
from avm.base.config import runtime_folder
from avm.base.errors import ExistsError, NoVaultError, RepositoryError
from avm.base.paths import PRIVATE, SHARED
from avm.vault import background, driver, git, hooks
from avm.vault.identity import person
from avm.vault.ignore import TEMP_RULE
from avm.vault.location import (
    ADOPTED_KEY,
    FORMAT,
    FORMAT_FILE,
    MARKER,
    Vault,
    git_dirs,
    is_vault,
    open_vault,
)
from avm.vault.locks import locked, try_lock

_README = """\
This folder marks an AVM vault: memories of agents and people as markdown files in git.
`format` is the number of the vault format. Nothing here configures anything.
"""
# `-text`: the bytes of a memory are the bytes that were written, on every machine. A clone without
# the driver merges as if `merge` were not said.
_ATTRIBUTES = "".join(f"{line}\n" for line in ("memory/** -text", *driver.ATTRIBUTES))
_FILES = {
    FORMAT_FILE: f"{FORMAT}\n",
    f"{MARKER}/README.md": _README,
    ".gitattributes": _ATTRIBUTES,
    f"{PRIVATE}/.gitkeep": "",
    f"{SHARED}/.gitkeep": "",
}
#: Set beside ADOPTED_KEY when `avm init` also ran `git init`, so that `--undo` can take it back.
_MADE_REPO_KEY = "avm.madeRepository"


def is_absent_or_empty(folder: Path) -> bool:
    """Whether `folder` can become a new vault without anything of anybody's in it."""
    try:
        return not any(folder.iterdir())
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False


def make(root: Path, state_dir: Path | None = None) -> Vault:
    """Make a vault in an absent or empty folder and commit its skeleton, as the person.

    Of several processes that do so at once, one makes it and the others find it. Raises
    ExistsError if the folder holds something.
    """
    with _alone(root):
        if is_vault(root.resolve()):
            return open_vault(root, state_dir)
        return _make(root, state_dir)


def _alone(root: Path) -> AbstractContextManager[None]:
    """Keep other processes from setting the vault at `root` up at the same time."""
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    return locked(runtime_folder() / f"init-{name}.lock")


def _make(root: Path, state_dir: Path | None) -> Vault:
    if not is_absent_or_empty(root):
        raise ExistsError(f"{root} is not empty: avm init {root} adopts what is there")
    _git_init(root)
    fill(root)
    vault = open_vault(root, state_dir)
    vault.git_state.mkdir(exist_ok=True)
    driver.set_up(vault)
    return vault


def fill(root: Path) -> None:
    """Commit a new vault's files, as the person, in a repository that has no commit yet."""
    for name, text in _FILES.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_new(target, text.encode())
    exclude_temp_files(root)
    who = person(root)
    git.run(root, ("add", "--force", "--", *_FILES))
    git.run(
        root,
        ("commit", "--quiet", "--no-gpg-sign", "--no-verify", "-m", "Start an AVM vault"),
        env=who.environment(),
    )


def adopt(root: Path, state_dir: Path | None = None) -> Vault:
    """Make the repository or folder of notes at `root` a vault without touching one of its files.

    A folder without a repository gets one. Raises NoVaultError for a file or a missing folder,
    RepositoryError for a bare repository and for a folder inside another repository.
    """
    if not root.is_dir():
        raise NoVaultError(f"{root} is not a folder")
    made_repository = git_dirs(root.resolve()) is None
    if made_repository:
        around = git.run(root, ("rev-parse", "--show-toplevel"), check=False)
        if around.returncode == 0:
            top = around.stdout.decode("utf-8", "surrogateescape").strip()
            raise RepositoryError(f"{root} is inside the git repository {top}: avm init {top}")
        if b"must be run in a work tree" in around.stderr:
            raise RepositoryError(f"{root} is a bare git repository: avm init a clone of it")
        _git_init(root)
        git.run(root, ("config", "--local", _MADE_REPO_KEY, "true"))
    git.run(root, ("config", "--local", ADOPTED_KEY, "true"))
    return _set_up(root, state_dir)


def _set_up(root: Path, state_dir: Path | None) -> Vault:
    """What each clone needs for itself in the vault at `root`; nothing where it is there."""
    vault = open_vault(root, state_dir)
    if driver.state(vault) in (driver.State.MISSING, driver.State.OLD):
        with _alone(root):
            driver.set_up(vault)
    exclude_temp_files(root)
    return vault


def unadopt(root: Path, state_dir: Path | None = None) -> str:
    """Take an adoption back; returns a line on what was done.

    AVM's mark, index, journal, hooks and merge driver go; the memories and their commits stay, and
    so does what was rescued. The repository itself goes only if AVM made it and it holds nothing.
    Raises RepositoryError for a vault that AVM made, and while a mount or another program works on
    it.
    """
    vault = open_vault(root, state_dir)
    if not vault.adopted:
        raise RepositoryError(f"{root} was made by avm init, not adopted: nothing to take back")
    lock = try_lock(background.lock_path(vault))
    if lock is None:
        raise RepositoryError(f"{root} is in use: avm unmount its mounts first (avm status)")
    lock.release()
    kept = _remove_state(vault)
    _forget_temp_files(vault.common_dir)
    driver.take_back(vault)
    with contextlib.suppress(RepositoryError):  # they are none of ours: see hooks.folder
        hooks.uninstall(vault)
    made = git.config_value(root, "--local", "--get", _MADE_REPO_KEY) == "true"
    git.run(root, ("config", "--local", "--remove-section", "avm"))
    if made and not kept and _holds_nothing(vault):
        shutil.rmtree(vault.git_dir)
        return f"{root}: adoption taken back, and the empty repository that it had made"
    rescued = f"; rescued files are in {kept[0].parent}" if kept else ""
    return f"{root}: adoption taken back; files and commits are as they were{rescued}"


def _remove_state(vault: Vault) -> list[Path]:
    """Remove AVM's state but for the user's config and what was rescued; returns the latter."""
    rescued = [vault.own_state / "rescue", vault.own_state / "kept.jsonl"]
    rescued = [path for path in rescued if path.is_file() or any(path.glob("*"))]
    kept = [*rescued, vault.git_state / "config.toml"]
    for state in {vault.state_dir, vault.git_state}:
        for path in sorted(state.rglob("*"), reverse=True):  # what is in a folder before it
            if any(path == keep or keep in path.parents or path in keep.parents for keep in kept):
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
        if state.is_dir() and not any(state.iterdir()):
            state.rmdir()
    return rescued


def _holds_nothing(vault: Vault) -> bool:
    """Whether the repository has no ref, no reflog and nothing staged: `git init` and no more."""
    refs = git.output(vault.root, "for-each-ref", "--count=1")
    logs = vault.git_dir / "logs"
    logged = logs.is_dir() and any(path.is_file() for path in logs.rglob("*"))
    return not refs and not logged and not vault.git_index.exists()


def init(root: Path, state_dir: Path | None = None) -> tuple[Vault, str]:
    """`avm init`: make, adopt, or find what is there; returns the vault and `made`, `adopted` or
    `found`. A vault that came by `git clone` is found, and set up here."""
    if is_vault(root.resolve()):
        return _set_up(root, state_dir), "found"
    if is_absent_or_empty(root):
        return make(root, state_dir), "made"
    return adopt(root, state_dir), "adopted"


def _git_init(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    # pygit2 opens neither sha256 nor reftable repositories, which git 3 makes the default.
    formats = {"GIT_DEFAULT_HASH": "sha1", "GIT_DEFAULT_REF_FORMAT": "files"}
    branch = git.config_value(root, "--get", "init.defaultBranch") or "main"
    git.run(root, ("init", "--quiet", f"--initial-branch={branch}"), env=formats)


def exclude_temp_files(root: Path) -> None:
    """Keep a killed writer's temp file out of `git status`, in this clone only."""
    dirs = git_dirs(root.resolve())
    if dirs is None:
        return
    exclude = dirs[1] / "info" / "exclude"
    data = exclude.read_bytes() if exclude.exists() else b""
    rule = os.fsencode(TEMP_RULE)
    if rule not in data.splitlines():
        exclude.parent.mkdir(exist_ok=True)
        # On top, so that taking the line out again leaves every byte as it was.
        atomic.replace(exclude, rule + b"\n" + data)


def _forget_temp_files(common_dir: Path) -> None:
    exclude = common_dir / "info" / "exclude"
    if exclude.exists():
        lines = exclude.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if line.strip() != os.fsencode(TEMP_RULE)]
        if kept:
            atomic.replace(exclude, b"".join(kept))
        else:
            exclude.unlink()
