"""`avm hooks`: git's hooks of this clone: putting them in, taking them out."""

from __future__ import annotations

import sys

import click

from avm.base.errors import AccessError
from avm.cli.door import Door, shared, warn
from avm.vault import driver, hooks
from avm.vault.hooks import Hook, State
from avm.vault.location import Vault

_ACTS = ("install", "uninstall", "status")


@click.command("hooks")
@click.argument("act", type=click.Choice(_ACTS), metavar="|".join(_ACTS), default="status")
@shared
@click.pass_obj
def command(door: Door, act: str) -> None:
    """Put AVM's hooks where git looks for them, take them out, or say which are there.

    install keeps a hook of somebody else's beside ours, which calls it first, and sets the merge
    driver up where it is missing. uninstall puts back what was there; the driver stays. Exits 1 if
    one is not as it should be: docs/sync-and-conflicts.md.
    """
    avm = door.avm()
    vault = avm.store.vault
    if act != "status" and avm.store.config["agent"]:
        raise AccessError("the hooks of a vault are its owner's: no agent may change them")
    if act == "install":
        found = hooks.install(vault)
        if not driver.is_set_up(vault):
            driver.set_up(vault)
    else:
        found = hooks.uninstall(vault) if act == "uninstall" else hooks.status(vault)
    merging = driver.state(vault)
    door.result(_as_value(vault, found, merging), _as_text(found, merging))
    for hook in found:
        if hook.why:
            warn(f"{hook.place} is {hook.state.value}: {hook.why}")
    missing = any(hook.state is not State.INSTALLED for hook in found)
    wrong = missing or merging is not driver.State.SET_UP
    if any(hook.why for hook in found) or (act != "uninstall" and wrong):
        sys.exit(1)


def _as_value(vault: Vault, found: list[Hook], merging: driver.State) -> dict[str, object]:
    told = [
        {"hook": hook.name, "state": hook.state.value, "place": str(hook.place),
         "before": str(hook.before) if hook.before else None, "why": hook.why}
        for hook in found
    ]  # fmt: skip
    return {"vault": str(vault.root), "hooks": told, "merge_driver": merging.value}


def _as_text(found: list[Hook], merging: driver.State) -> str:
    lines = []
    for hook in found:
        before = f", after {hook.before.name}" if hook.before else ""
        lines.append(f"{hook.name:<13} {hook.state.value}{before}")
    lines.append(f"{'merge driver':<13} {merging.value}")
    return "".join(f"{line}\n" for line in lines)
