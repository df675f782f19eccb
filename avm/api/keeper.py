"""The vault's keeper as the other processes see it: asked if it is there, started by those that
stay."""

from __future__ import annotations

import os
import threading
import time
from binascii import crc32
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avm import __version__
from avm.api.waiting import Waiting
from avm.base import atomic, programs
from avm.base.config import Config, socket_folder
from avm.base.errors import ConfigError
from avm.base.keeper_client import Connection, Hello, KeeperClient
from avm.vault.location import Vault

if TYPE_CHECKING:
    from subprocess import Popen

#: A barrier takes a millisecond; a reader that waited this long does the keeper's work itself.
_BARRIER_SECONDS = 0.1
#: How long a keeper that was started is waited for before another is; each time twice as long,
#: until one answers.
_AGAIN_SECONDS = 1.0
_LONGEST_AGAIN_SECONDS = 60.0
_STATUS_SECONDS = 2.0
#: Nobody waits for a keeper that is woken: it may have a large pull before it.
_WAKE_SECONDS = 60.0
#: The ability to embed and to rank by meaning: only where the libraries are installed.
EMBED = "embed"
_POLL_SECONDS = 0.1
_NOTE = "keeper.socket"
#: How long a mount does without a keeper before it commits by itself.
_ALONE_SECONDS = 5.0


#: Keepers that this process started and that outlive it. Kept so that one that ends earlier is
#: reaped at the next start instead of staying a zombie.
_started: list[Popen[bytes]] = []


def socket_path(vault: Vault) -> Path:
    """Where a keeper of `vault` listens that is started as this process was. Raises ConfigError.

    Two vaults of one name do no harm: the hello tells the root, and whoever meets the keeper of
    another vault does without. So sums are enough, and no command loads a hash for this. One of
    each direction: two of the same, only begun otherwise, would be equal together.
    """
    place = os.fsencode(vault.state_dir)
    name = f"{crc32(place):08x}{crc32(place[::-1]):08x}"
    return socket_folder() / f"keeper-{name}.sock"


def note_socket(vault: Vault, place: Path) -> None:
    """For the keeper: tell the others where it listens. Raises OSError.

    A process of the same user may have another runtime folder, or none: cron's, one of `sudo`, of
    ssh without a session. What all have in common is the vault.
    """
    note = vault.state_dir / _NOTE
    try:
        atomic.replace(note, os.fsencode(place))
    except OSError:
        note.unlink(missing_ok=True)  # an older one would lead elsewhere
        raise


def noted_socket(vault: Vault) -> Path | None:
    """Where the last keeper of `vault` said that it listens; None if none did.

    Only a place to look at: who is there is asked for (`Connection`). The note may be a dead
    keeper's, or have been copied with the vault.
    """
    try:
        note = (vault.state_dir / _NOTE).read_bytes()
    except OSError:
        return None
    return Path(os.fsdecode(note)) if note else None


def hello(vault: Vault, abilities: Collection[str] = ()) -> Hello:
    """How this process introduces itself; a keeper names its abilities."""
    from avm.index.database import SCHEMA

    root = os.fsdecode(vault.root)
    return Hello(__version__, SCHEMA, root, os.getpid(), tuple(sorted(abilities)))


def abilities(config: Config) -> tuple[str, ...]:
    """What a keeper of this program and this configuration can do."""
    from avm.embed.model_folder import semantic_installed

    base = ("barrier", "flush", "held", "remind", "status", "stop")
    return (*base, EMBED) if config["semantic"] != "off" and semantic_installed() else base


class KeeperLink:
    """Asks the keeper of one vault. Thread-safe."""

    def __init__(self, vault: Vault, config: Config, waiting: Waiting) -> None:
        self._vault = vault
        self._config = config
        self._autostart: bool = config["keeper.autostart"]
        self._waiting = waiting
        try:
            own = socket_path(vault)
        except (ConfigError, OSError):
            own = None  # no socket can be there: one that this process starts could not listen
            self._autostart = False
        self._client = KeeperClient(lambda: noted_socket(vault) or own, hello(vault))
        self._not_before = 0.0
        self._again_seconds = _AGAIN_SECONDS
        self._coming = False
        self._compared = False
        self._starting = threading.Lock()

    def ask(self, op: str, *, timeout: float, **fields: Any) -> dict[str, Any] | None:
        """The keeper's answer; None if there is none, or none within `timeout` seconds."""
        answer = self._client.ask(op, timeout=timeout, **fields)
        if answer is not None:
            self._again_seconds = _AGAIN_SECONDS
        return answer

    @property
    def met(self) -> Hello | None:
        """Who the keeper is that was met last, also one that cannot be asked; None if none."""
        return self._client.met

    def connect(self) -> Connection | None:
        """A conversation of its own with the keeper, None if there is no keeper."""
        return self._client.connect()

    def barrier(self) -> bool:
        """Whether the index shows every write that returned before this call."""
        answer = self.ask("barrier", timeout=_BARRIER_SECONDS)
        return answer is not None and "error" not in answer

    def status(self) -> dict[str, Any] | None:
        """What the keeper says of itself; None if there is none."""
        return self.ask("status", timeout=_STATUS_SECONDS)

    def start_better(self) -> None:
        """Start a keeper if the one there is cannot do all that one of this program could.

        Asked once: it then takes the place of the other.
        """
        if not self._compared and self._autostart:
            self._compared = True
            met = self._client.met
            if met and EMBED not in met.abilities and EMBED in abilities(self._config):
                self.start()

    def start(self) -> bool:
        """Start a keeper if this process may and none is there; waits for nothing.

        Returns whether one may be expected.
        """
        if not self._autostart or self._waiting in (Waiting.COMMAND, Waiting.KEEPER):
            return False
        with self._starting:
            if time.monotonic() >= self._not_before:
                self._not_before = time.monotonic() + self._again_seconds
                self._again_seconds = min(2 * self._again_seconds, _LONGEST_AGAIN_SECONDS)
                met = self._client.met
                if met and not hello(self._vault, abilities(self._config)).replaces(met):
                    return False
                self._coming = start_program(self._vault) is not None
            return self._coming

    def forget(self) -> None:
        """Hang up."""
        self._client.hang_up()


def wake(vault: Vault, config: Config) -> bool:
    """Let the keeper of `vault` look at what has changed, if one runs; whether one did."""
    link = KeeperLink(vault, config, Waiting.COMMAND)
    answer = link.ask("barrier", timeout=_WAKE_SECONDS)
    link.forget()
    return answer is not None and "error" not in answer


def description(told: Mapping[str, Any] | None, *, in_full: bool) -> str:
    """One line on the keeper, from its `status`; not `in_full`: nothing that tells of the vault as
    a whole."""
    if told is None:
        return "none runs: each question looks at all files"
    if not in_full:
        return "runs"
    line = f"process {told['pid']}, watches {told['watched']} folders"
    for trouble in (told["problem"], told["hindrance"]):
        line += f"; {trouble}" if trouble else ""
    return line


def start_program(
    vault: Vault, words: Sequence[str] = ("keeper", "--quiet")
) -> Popen[bytes] | None:
    """Run `avm keeper`, or another verb, in the background; None if it cannot be run."""
    import subprocess

    _started[:] = [program for program in _started if program.poll() is None]
    command = programs.python_command("avm")
    if not command:
        return None
    root = os.fsdecode(vault.root)
    try:
        vault.state_dir.mkdir(parents=True, exist_ok=True)
        with (vault.state_dir / "keeper.log").open("ab") as log:
            program = subprocess.Popen(
                [*command, "--vault", root, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=programs.environment(os.environ),
                start_new_session=True,
            )
    except OSError:
        return None
    _started.append(program)
    return program


class Attachment:
    """A mount's standing conversation with the keeper: it tells which files are open for writing.

    If the keeper goes, another one is started; if none comes, `alone(True)` is called, and
    `alone(False)` when there is one again.
    """

    def __init__(
        self,
        link: KeeperLink,
        held: Callable[[], Collection[str]],
        alone: Callable[[bool], None],
    ) -> None:
        self._link = link
        self._held = held
        self._alone = alone
        self._stop = threading.Event()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name="avm-attachment", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the conversation."""
        self._stop.set()
        if self._connection:
            self._connection.shut()
        self._thread.join()

    def _run(self) -> None:
        alone_at, alone = time.monotonic() + _ALONE_SECONDS, False
        while not self._stop.is_set():
            connection = self._link.connect()
            if connection is not None:
                self._connection = connection
                if alone:
                    self._alone(False)
                self._converse(connection)
                alone_at, alone = time.monotonic() + _ALONE_SECONDS, False
                continue
            coming = self._link.start()
            if not alone and (not coming or time.monotonic() > alone_at):
                self._alone(True)
                alone = True
            self._stop.wait(_POLL_SECONDS)
        if alone:
            self._alone(False)

    def _converse(self, connection: Connection) -> None:
        try:
            connection.ask(None, {"op": "attach"})
            while not self._stop.is_set():
                connection.listen(None)
                connection.tell({"held": sorted(self._held())})
        except (OSError, ValueError):
            return
        finally:
            connection.close()
