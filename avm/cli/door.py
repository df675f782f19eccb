"""What every verb shares: the vault and agent asked for, reading stdin, printing, closing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from avm.api import AVM, View, open_avm
from avm.api.waiting import Waiting
from avm.base import stderr
from avm.base.errors import AVMError, UsageError
from avm.cli.places import Place, here

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Door:
    """One run of a command: opens the vault when it is first needed, closes it at the end."""

    def __init__(self, vault: str | None, agent: str | None) -> None:
        self.vault = vault
        self.agent = agent
        self.as_json = False
        self._avm: AVM | None = None
        self._place: Place | None = None

    @property
    def place(self) -> Place:
        """Where the caller stands: in a mount, in a vault, or elsewhere."""
        if self._place is None:
            self._place = here()
        return self._place

    def avm(
        self, waiting: Waiting = Waiting.COMMAND, *, known: bool = False, **arguments: Any
    ) -> AVM:
        """The vault, as its owner. `arguments` are configuration; `known` as for `open_avm`. Raises
        AVMError."""
        if self._avm is None:
            vault = self.vault
            given = {"agent": self.agent, **arguments}
            if vault is None and self.place.mount:
                vault = self.place.mount.vault
                given["agent"] = self.agent or self.place.mount.agent
            self._avm = open_avm(None, {"vault": vault, **given}, waiting, known=known)
        return self._avm

    def view(self, **arguments: Any) -> View:
        """The view of the agent asked for, else the owner's."""
        avm = self.avm(**arguments)
        return avm.view(avm.store.config["agent"])

    def rel(self, path: str) -> str:
        """A PATH argument as a rel of the vault. Raises UsageError."""
        return self.place.rel(path, self.avm().store.vault.root)

    def path_at(self, text: str, at: str | None = None) -> tuple[str, str | None]:
        """PATH, or PATH@REV, as (rel, REV or None); `at` is REV given apart.

        A whole name that exists wins, else it is split at the first `@` whose left side exists or
        once did. Raises UsageError.
        """
        whole = self.rel(text)
        if at is not None or "@" not in text:
            return whole, at
        view = self.view()
        parts = text.split("@")
        if not view.is_there(whole):
            for number in range(1, len(parts)):
                left, rev = "@".join(parts[:number]), "@".join(parts[number:])
                if left and rev and view.ever_existed(rel := self.rel(left)):
                    return rel, rev
        return whole, None

    def close(self) -> None:
        """Commit what waits; a commit that cannot be made now is a warning: the file is safe."""
        if self._avm is None:
            return
        if notice := self._avm.store.notice:
            warn(notice)
        try:
            report = self._avm.close()
        except AVMError as err:
            warn(f"saved, but not committed: {err}")
            return
        if report and report.blocked:
            warn(f"saved; the commit waits: {report.blocked}")

    def mention_semantic(self) -> None:
        """Say once a vault, in one line, how to turn semantic search on where it is not there."""
        from avm.api.embedding import INSTALL_HINT
        from avm.embed.model_folder import semantic_installed

        store = self.avm().store
        marker = store.vault.own_state / "semantic-mentioned"
        if store.config["semantic"] == "off" or semantic_installed() or marker.exists():
            return
        warn(INSTALL_HINT)
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()

    def result(self, value: Any, text: str) -> None:
        """Print `value` as JSON if asked to, else `text`."""
        if self.as_json:
            import json

            text = json.dumps(value, default=_plain, ensure_ascii=False) + "\n"
        say(text)


def shared(function: _Function) -> _Function:
    """The options of every verb: --vault, --agent, --json."""
    return shared_but_agent(_AGENT(function))


def shared_but_agent(function: _Function) -> _Function:
    """The same for a verb whose --agent means something else: who acts is said before the verb."""
    return _VAULT(_JSON(function))


#: Lets `-word` through as an argument: none of AVM's options has one dash.
ASKING = {"ignore_unknown_options": True}


def _sets(name: str) -> Callable[..., None]:
    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(ctx.find_object(Door), name, value)

    return callback


_JSON = click.option(
    "--json", is_flag=True, expose_value=False, callback=_sets("as_json"), help="Print JSON."
)
_AGENT = click.option(
    "--agent", metavar="NAME", expose_value=False, callback=_sets("agent"),
    help="Act for this agent.",
)  # fmt: skip
_VAULT = click.option(
    "--vault", metavar="FOLDER", expose_value=False, callback=_sets("vault"), help="The vault."
)


def say(text: str | bytes) -> None:
    """Write to stdout, as UTF-8 whatever the locale.

    Raises BrokenPipeError if the reader has left, AVMError if nothing can be written.
    """
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    if sys.stdout is None:
        raise AVMError("cannot write the answer: stdout is closed")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as err:
        drop_output()
        raise AVMError(f"cannot write the answer: {err.strerror}") from None


def drop_output() -> None:
    """Let what is still to be written go nowhere: Python would complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(line: str) -> None:
    """One line on stderr."""
    stderr.tell(line)


def text_argument(words: tuple[str, ...]) -> str:
    """Words joined by blanks; a single `-` is stdin."""
    if words == ("-",):
        return sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    return " ".join(words)


def question_argument(words: tuple[str, ...]) -> str:
    """The same for a question, which may hold `-word`; such a verb has ASKING as its settings.

    Raises UsageError for an option that there is not.
    """
    for word in words:
        if word.startswith("--"):
            raise UsageError(f"No such option {word!r}.")
    return text_argument(words)


def _plain(value: object) -> object:
    import dataclasses
    from datetime import datetime

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
