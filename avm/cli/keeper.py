"""`avm keeper`: the background program of a vault."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import click

from avm.api.waiting import Waiting
from avm.base.errors import AVMError
from avm.cli.door import Door, shared

_START_SECONDS = 15.0


@click.command("keeper")
@click.argument("act", type=click.Choice(("run", "start", "status", "stop")), default="run")
@click.option("--quiet", is_flag=True, hidden=True)
@shared
@click.pass_obj
def command(door: Door, act: str, quiet: bool) -> None:
    """Keep the vault's index, embeddings and commits up to date, until it is idle for long.

    run (the default) stays in the foreground; start returns when it answers. Mounts and Python
    processes start one by themselves ([keeper] autostart); commands use it if it runs. Everything
    works without it, slower.
    """
    if act == "run":
        _run(door, quiet)
    elif act == "start":
        _start(door)
    elif act == "stop":
        _stop(door)
    else:
        store = door.avm().store
        status = store.keeper.status()
        if status and store.config["agent"]:  # what it counts is of the whole vault
            status = {"pid": status["pid"]}
        door.result(status, _as_text(status))
        if status is None:
            sys.exit(1)


def _run(door: Door, quiet: bool) -> None:
    from avm.keeper.keeper import keep

    store = door.avm(Waiting.KEEPER).store
    os.chdir("/")  # it must not hold the folder it was started in
    other = keep(store)
    if other and not quiet:
        door.result({"pid": other.pid}, f"a keeper runs already (process {other.pid})\n")


def _start(door: Door) -> None:
    from avm.api.keeper import start_program

    keeper = door.avm().store.keeper
    deadline = time.monotonic() + _START_SECONDS
    started = None
    while (status := keeper.status()) is None:
        if started is None:
            started = start_program(door.avm().store.vault)
        if started is None or started.poll() or time.monotonic() > deadline:
            log = door.avm().store.vault.state_dir / "keeper.log"
            raise AVMError(f"the keeper does not start; see {log}")
        time.sleep(0.02)
    door.result(status, _as_text(status))


def _stop(door: Door) -> None:
    from avm.api.keeper import hello
    from avm.keeper.election import is_taken, stop

    vault = door.avm().store.vault
    runs = is_taken(vault)
    if not stop(vault, hello(vault)):
        raise AVMError("the keeper does not end: it may be committing; try again")
    door.result({"stopped": runs}, "stopped\n" if runs else "no keeper runs\n")


def _as_text(status: dict[str, Any] | None) -> str:
    if status is None:
        return "no keeper runs: mounts and Python processes start one, avm keeper start does too\n"
    if "watched" not in status:
        return f"keeper   process {status['pid']}\n"
    lines = [
        f"keeper   process {status['pid']}, {status['rss'] / 1e6:.0f} MB,"
        f" {status['mounts']} mounts attached",
        f"watches  {status['watched']} folders",
    ]
    if status["hindrance"]:
        lines.append(f"         {status['unwatched']} looked at each time: {status['hindrance']}")
    if status["overflows"]:
        lines.append(f"         {status['overflows']} times too many events at once: all looked at")
    meaning = status["meaning"]
    state = meaning["problem"] or f"{meaning['have']} of {meaning['total']} passages embedded"
    lines.append(f"meaning  {state}")
    if sync := status.get("sync"):
        lines.append(f"sync     {_sync_line(sync)}")
    if status["problem"]:
        lines.append(f"problem  {status['problem']}")
    return "\n".join(lines) + "\n"


def _sync_line(sync: dict[str, Any]) -> str:
    if sync["at_work"]:
        return "at work"
    upcoming = "after the next commit" if sync["next"] is None else f"in {sync['next']:.0f} s"
    return f"{sync['problem']}; again {upcoming}" if sync["problem"] else f"next {upcoming}"
