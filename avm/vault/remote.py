"""A remote repository, through the git program: its ssh, credential helpers and proxies."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from avm.base.errors import RemoteError, RepositoryError
from avm.vault import git
from avm.vault.location import Vault

_HEADS = "refs/heads/"
#: A connection that carries less than this many bytes a second for so many seconds is given up.
_STALLED = ("-c", "http.lowSpeedLimit=100", "-c", "http.lowSpeedTime=30")
#: What a remote says of a branch that moved meanwhile, or that another push holds just then.
_MOVED = (
    "fetch first",
    "non-fast-forward",
    "cannot lock ref",
    "stale info",
    "failed to update ref",
    "incorrect old value",
    "failed to lock",
    "reference already exists",
)


#: What git says to everybody whose remote cannot be read.
_ADVICE = ("Please make sure you have", "and the repository exists", "hint:", "Cloning into")
#: A name and a password in an address.
_LOGIN = re.compile(r"//[^/@\s]+@")


class NoRemote(RepositoryError):
    """There is no remote to sync with, or one of several that nobody has chosen."""


class PushedFirst(Exception):
    """Somebody else pushed meanwhile: fetch again."""


@dataclass(frozen=True)
class Remote:
    """A remote and the branch of it (without `refs/heads/`) that is synced.

    `source`: its name or address, for git alone: it may hold a password. `name` and `url` are that
    name and the address without one.
    """

    source: str
    branch: str
    url: str
    is_named: bool

    @property
    def name(self) -> str:
        """What people call it."""
        return self.source if self.is_named else self.url

    @property
    def ref(self) -> str:
        """Where what was fetched is kept."""
        key = hashlib.sha256(f"{self.url}\0{self.branch}".encode("utf-8", "replace")).hexdigest()
        return f"refs/avm/remote/{key[:16]}"

    def __str__(self) -> str:
        return f"{self.branch} of {self.name}"


def find(vault: Vault, ref: str, named: str | None) -> Remote:
    """The remote to sync the branch `ref` with: the one `named`, else the branch's own, else the
    only one, or `origin`. Raises RepositoryError."""
    branch = ref.removeprefix(_HEADS)
    known = git.output(vault.root, "remote").splitlines()
    upstream = git.config_value(vault.root, "--get", f"branch.{branch}.remote")
    name = named or upstream
    if not name and known:
        name = known[0] if len(known) == 1 else "origin" if "origin" in known else ""
    if not name:
        which = f"say which: {', '.join(known)}" if known else "git remote add origin URL"
        raise NoRemote(f"{vault.root} has no remote to sync with: {which}")
    merge = git.config_value(vault.root, "--get", f"branch.{branch}.merge")
    there = merge.removeprefix(_HEADS) if merge and name == upstream else branch
    if name in known:
        url = without_secret(git.output(vault.root, "remote", "get-url", name))
        return Remote(name, there, url, is_named=True)
    if named and "/" not in named and ":" not in named:
        raise RepositoryError(f"{named!r} is no remote: {', '.join(known) or 'git remote add'}")
    return Remote(name, there, without_secret(name), is_named=False)


def without_secret(url: str) -> str:
    """An address less the name and password that may stand in it: `https://pat:…@host/…`."""
    scheme, mark, rest = url.partition("://")
    if not mark or scheme == "ssh":
        return url
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


class Link:
    """Talks to one remote. `halted` is asked now and then and ends what is under way; `asking`:
    whether git may ask the person for a password."""

    def __init__(
        self, vault: Vault, remote: Remote, halted: Callable[[], bool], *, asking: bool = False
    ) -> None:
        self._vault = vault
        self._remote = remote
        self._halted = halted
        self._asking = asking

    def fetch(self) -> str | None:
        """The commit that the remote's branch is at, fetched; None if it has no branch at all.

        Raises RemoteError; RepositoryError if it has branches, but not this one.
        """
        remote = self._remote
        source = f"+{_HEADS}{remote.branch}:{remote.ref}"
        args = ("fetch", "--no-tags", "--no-recurse-submodules", "--no-auto-gc",
                "--no-write-fetch-head", "--", remote.source, source)  # fmt: skip
        code, _, said = self._run(*args)
        if code == 0:
            return git.output(self._vault.root, "rev-parse", "--verify", remote.ref)
        if b"couldn't find remote ref" not in said:
            raise RemoteError(f"cannot fetch from {remote.name}: {reason(said)}")
        code, listed, said = self._run("ls-remote", "--heads", "--", remote.source)
        if code != 0:
            raise RemoteError(f"cannot reach {remote.name}: {reason(said)}")
        heads = [line.split("\t")[1].removeprefix(_HEADS) for line in listed.decode().splitlines()]
        if heads:
            raise RepositoryError(
                f"{remote.name} has no branch {remote.branch} but {', '.join(heads[:5])}: git push"
                f" {remote.name} {remote.branch}, or git switch {heads[0]}"
            )
        return None

    def push(self, commit: str) -> None:
        """Set the remote's branch to `commit`, which descends from it. The person's own pre-push
        hook runs, as git-lfs needs it. Raises PushedFirst, RemoteError."""
        remote = self._remote
        target = f"{commit}:{_HEADS}{remote.branch}"
        args = ("push", "--porcelain", "--no-recurse-submodules", "--", remote.source, target)
        code, told, said = self._run(*args, hooks=True)
        if code == 0:
            git.run(self._vault.root, ("update-ref", remote.ref, commit))
            return
        rejected = next((line for line in told.decode().splitlines() if line.startswith("!")), "")
        why = rejected.rpartition("\t")[2]
        if any(mark in why for mark in _MOVED):
            raise PushedFirst
        raise RemoteError(f"cannot push to {remote.name}: {why or reason(said)}")

    def _run(self, *args: str, hooks: bool = False) -> tuple[int, bytes, bytes]:
        return git.run_until(
            self._vault.root,
            (*_STALLED, *args),
            self._halted,
            env={"GIT_TERMINAL_PROMPT": "1"} if self._asking else _quiet(),
            hooks=hooks,
            asking=self._asking,
        )


def _quiet() -> dict[str, str]:
    """Variables that keep git, and what it starts, from asking anybody anything."""
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "SSH_ASKPASS_REQUIRE": "never"}
    return quiet | {name: os.environ[name] for name in ("GIT_ASKPASS",) if name in os.environ}


def reason(said: bytes) -> str:
    """What git says went wrong: its own lines, not the advice after them."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(_ADVICE)] or ["git gives no reason"]
    marks = ("fatal: ", "error: ", "remote: ")
    marked = [line for line in told if line.startswith(marks)]
    first = told[0] if not told[0].startswith(marks) else None  # ssh's own word, before git's
    reason = [line for line in (first, *marked[:1]) if line]
    return _LOGIN.sub("//", "; ".join(reason or told[-1:]))
