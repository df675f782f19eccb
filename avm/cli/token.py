"""`avm token`: who may come in over HTTP."""

from __future__ import annotations

import click

from avm.api.tokens import Tokens
from avm.base.errors import UsageError
from avm.base.times import format_instant, instant_of
from avm.cli.door import Door, shared


@click.group("token", no_args_is_help=True)
def command() -> None:
    """Tokens by which agents are known to avm mcp --http."""


@command.command("create")
@shared
@click.pass_obj
def create(door: Door) -> None:
    """Make a token for the agent of --agent and print it, once: only its sum is kept."""
    avm = door.avm()
    agent = avm.store.config["agent"]
    if agent is None:
        raise UsageError("say for whom: avm token create --agent NAME")
    token = Tokens(avm.store.vault).create(agent)
    door.result({"agent": agent, "token": token}, f"{token}\n")


@command.command("list")
@shared
@click.pass_obj
def list_(door: Door) -> None:
    """List the tokens that hold, with --agent that agent's: id, agent, when it was made."""
    store = door.avm().store
    agent = store.config["agent"]
    found = [t for t in Tokens(store.vault).list() if agent in (None, t.agent)]
    lines = [f"{t.id}  {t.agent}  {format_instant(instant_of(t.made))}\n" for t in found]
    door.result([t._asdict() for t in found], "".join(lines) or "no tokens\n")


@command.command("revoke")
@click.argument("id")
@shared
@click.pass_obj
def revoke(door: Door, id: str) -> None:
    """Let the token of this ID hold no more."""
    gone = Tokens(door.avm().store.vault).revoke(id)
    door.result(gone._asdict(), f"{gone.id} of {gone.agent} holds no more\n")
