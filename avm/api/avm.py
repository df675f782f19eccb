"""Opening a vault: the owner's view of it, and agents' views from there."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avm.api.store import Store
from avm.api.view import AgentMemory, View
from avm.api.waiting import Waiting
from avm.base import config as configuration
from avm.base.access import OWNER
from avm.base.errors import AVMError, ExistsError, NoVaultError
from avm.vault.location import config_file, is_known, is_vault, open_vault, vault_around

if TYPE_CHECKING:
    from avm.vault.committer import Report


class AVM(View):
    """A vault, as its owner sees it: everything. `agent_memory` gives an agent's view.

    `path`, else `$AVM_VAULT`, else the vault around the current folder, else `~/avm`. An absent or
    empty folder given as `path`, and the default, become a vault; anything else that is none raises
    NoVaultError. `semantic` is `auto` (embeddings when they are ready), `wait` or `off`.

    Writes are committed in the background, the last at `close` or at the end of the process.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, semantic: str | None = None):
        store = open_store(path, {"semantic": semantic}, create=True, waiting=Waiting.LIBRARY)
        self._hold(store)

    def _hold(self, store: Store) -> None:
        View.__init__(self, store, OWNER)
        weakref.finalize(self, _close_quietly, store)

    def agent_memory(self, name: str) -> AgentMemory:
        """The memory of the agent `name`: `[a-z0-9][a-z0-9_-]{0,62}`. Raises UsageError."""
        return AgentMemory(self.store, name, self)

    def view(self, agent: str | None) -> View:
        """An agent's view, or this one for None."""
        return self if agent is None else self.agent_memory(agent)

    def close(self) -> Report | None:
        """Commit what waits and let go of everything; the last commit round's report, if any."""
        return self.store.close()

    def __enter__(self) -> AVM:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"AVM({str(self.store.vault.root)!r})"


def open_avm(
    path: str | os.PathLike[str] | None,
    arguments: Mapping[str, Any],
    waiting: Waiting,
    *,
    known: bool = False,
) -> AVM:
    """For doors: a vault that must be one already (but for the default), with config arguments.

    `waiting` says what kind of process this is. With `known` a vault around the current folder
    counts only if AVM was set up in it: whoever is started by another program in a folder that
    came from anywhere does not take what is in there for its memory.
    """
    avm = AVM.__new__(AVM)
    avm._hold(open_store(path, arguments, create=False, waiting=waiting, known=known))
    return avm


def open_store(
    path: str | os.PathLike[str] | None,
    arguments: Mapping[str, Any],
    *,
    create: bool,
    waiting: Waiting,
    known: bool = False,
) -> Store:
    """Find the vault (made if it may be), read the configuration, open. Raises AVMError."""
    first = configuration.from_process(arguments)
    root = Path(path).expanduser() if path is not None else first["vault"]
    if root is None:
        root = vault_around(Path())
        if root is None or (known and not is_known(root)):
            root, create = configuration.default_vault(), waiting is not Waiting.HOOK
    elif path is None:
        create = False
    root = Path(os.path.abspath(root))
    if not is_vault(root.resolve()):
        if not create:
            raise NoVaultError(f"no vault at {root}: avm init {root}")
        from avm.vault import init

        try:
            init.make(root)
        except ExistsError:
            raise NoVaultError(f"no vault at {root}: avm init {root}") from None
    config = configuration.from_process(arguments, config_file(root.resolve()))
    return Store(open_vault(root, config["state_dir"]), config, waiting)


def _close_quietly(store: Store) -> None:
    """At the end of a process that did not close: memories are files already, commits can wait."""
    try:
        store.close()
    except AVMError:
        return
