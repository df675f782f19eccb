"""Vaults with a bare remote between them, and what others push."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from conftest import git
from vault_helpers import head, make

from avm.base.config import Config
from avm.vault import cloning, objects
from avm.vault.committer import Committer
from avm.vault.location import Vault, open_vault
from avm.vault.objects import Blob
from avm.vault.sync import Consent, Syncer, SyncReport

X = "memory/shared/x.md"


def bare(place: Path, object_format: str = "sha1") -> Path:
    """An empty bare repository."""
    git(place.parent, "init", "-q", "--bare", f"--object-format={object_format}", str(place))
    return place


def first(top: Path, remote: Path, files: Mapping[str, str | bytes] = {}) -> Vault:
    """A vault in `top/a` with these files, which the remote has too."""
    object_format = git(remote, "rev-parse", "--show-object-format")
    vault = make(top / "a", object_format)
    git(vault.root, "remote", "add", "origin", str(remote))
    write(vault, files)
    git(vault.root, "add", ".")
    git(vault.root, "commit", "-q", "--allow-empty", "-m", "Files")
    sync(vault)
    return vault


def clone(remote: Path, root: Path) -> Vault:
    """One more vault."""
    return cloning.clone(str(remote), root)[0]


def pair(top: Path, files: Mapping[str, str | bytes] = {}, form: str = "sha1") -> list[Vault]:
    """Two vaults with a remote, which all have these files."""
    remote = bare(top / "remote.git", form)
    return [first(top, remote, files), clone(remote, top / "b")]


def write(vault: Vault, files: Mapping[str, str | bytes | None]) -> None:
    """Write files as an editor does; None removes one."""
    for rel, data in files.items():
        place = vault.path(rel)
        if data is None:
            place.unlink()
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data.encode() if isinstance(data, str) else data)


def sync(
    vault: Vault,
    remote: str | None = None,
    *,
    held: Collection[str] = (),
    unrelated: bool = False,
    loss: bool = False,
) -> SyncReport:
    """One sync of a new syncer."""
    config = Config()
    syncer = Syncer(vault, config, Committer(vault, config), lambda: held)
    return syncer.sync(remote, Consent(unrelated=unrelated, loss=loss))


def pushed(vault: Vault, files: Mapping[str, str | bytes | None]) -> str:
    """What another vault did and synced; its commit."""
    write(vault, files)
    git(vault.root, "add", "--all", "--force")
    git(vault.root, "commit", "-qm", "Theirs")
    sync(vault)
    return head(vault.root)


def push_blobs(vault: Vault, put: Mapping[str, Blob | None]) -> str:
    """Push a commit whose tree has these blobs, which need not be on any disk."""
    opened = objects.open_objects(vault)
    args = ("-c", "core.protectNTFS=false", "-c", "core.protectHFS=false")
    env_index = vault.git_state / "made.index"
    env_index.unlink(missing_ok=True)
    feed = b"".join(
        b"%06o %s\t%s\0" % (blob[1], blob[0].encode(), name.encode("utf-8", "surrogateescape"))
        for name, blob in put.items()
        if blob
    )
    assert opened

    def run(*words: str, stdin: bytes = b"") -> str:
        done = subprocess.run(
            ["env", f"GIT_INDEX_FILE={env_index}", "git", *args, *words],
            cwd=vault.root, input=stdin, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    run("read-tree", "HEAD")
    run("update-index", "-z", "--index-info", stdin=feed)
    return push_tree(vault, run("write-tree"))


def push_tree(vault: Vault, tree: str) -> str:
    """Push a commit with this tree on top of HEAD, and leave the work tree as it is."""
    made = git(vault.root, "commit-tree", "-p", "HEAD", "-m", "Made", tree)
    git(vault.root, "push", "-q", "origin", f"{made}:refs/heads/main")
    return made


def raw_tree(vault: Vault, entries: Collection[tuple[str, bytes, str]]) -> str:
    """A tree of exactly these entries (mode, name, id), whatever git thinks of it."""
    data = b"".join(b"%s %s\0" % (m.encode(), n) + bytes.fromhex(oid) for m, n, oid in entries)
    done = subprocess.run(
        ["git", "hash-object", "-t", "tree", "-w", "--literally", "--stdin"],
        cwd=vault.root, input=data, capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout.decode().strip()


def reopened(vault: Vault) -> Vault:
    return open_vault(vault.root)
