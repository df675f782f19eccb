"""`avm mount`: show the vault as a file system."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from avm.api.waiting import Waiting
from avm.base.config import mount_registry
from avm.cli.door import Door, shared

#: The answer comes within 0.3 s here; a loaded machine that rebuilds nothing still makes this.
_READY_SECONDS = 30.0
#: How long a computation keeps the interpreter while a file is asked for: a `cat` needs it ten
#: times. Python's own 5 ms would make that 40 ms.
_SWITCH_SECONDS = 0.0002


@click.command("mount")
@click.argument("mountpoint", metavar="MOUNT")
@click.option("--daemon", is_flag=True, help="Return when the mount answers; it stays.")
@click.option("--read-only", is_flag=True, help="Nothing can be changed through it.")
@click.option(
    "--allow-other", is_flag=True, help="Other users of the machine may enter, as file modes allow."
)
@click.option("--ready-fd", type=int, hidden=True)
@shared
@click.pass_obj
def command(
    door: Door,
    mountpoint: str,
    daemon: bool,
    read_only: bool,
    allow_other: bool,
    ready_fd: int | None,
) -> None:
    """Show the vault at MOUNT, an empty folder (made if it is missing), until it is unmounted.

    With --agent the mount shows what that agent may see. Writes through it are committed in the
    background, two seconds after the last. cat MOUNT/:help says what can be asked.
    """
    point = Path(os.path.abspath(mountpoint))
    chosen = [
        name for name, on in (("--read-only", read_only), ("--allow-other", allow_other)) if on
    ]
    if daemon:
        start(door, point, chosen)
        place = {"mountpoint": str(point), "agent": door.avm().store.config["agent"]}
        door.result(place, f"mounted at {point}; cat {point}/:help\n")
    else:
        options: dict[str, str | int | bool] = {}
        if read_only:
            options["ro"] = True
        if allow_other:
            # The tree asks nobody's mode bits, so the kernel must.
            options |= {"allow_other": True, "default_permissions": True}
        _serve(door, point, options, ready_fd)


def start(door: Door, point: Path, options: Sequence[str] = ()) -> int:
    """Mount in the background with more options of `avm mount`; the server's process number."""
    from avm.fuse import background
    from avm.fuse.mount import prepare

    store = door.avm().store
    prepare(point, store.vault.root)
    name = hashlib.sha256(os.fsencode(point)).hexdigest()[:16]
    log = store.vault.state_dir / f"mount-{name}.log"
    # -P: a plain -m would import from the current folder, which may be a vault.
    program = [sys.executable, "-P", "-m", "avm"]
    command = [*program, "--vault", str(store.vault.root), "mount", str(point)]
    if store.config["agent"]:
        command += ["--agent", store.config["agent"]]
    return background.start([*command, *options], point, log, _READY_SECONDS)


def _serve(
    door: Door, point: Path, options: dict[str, str | int | bool], ready_fd: int | None
) -> None:
    from avm.fuse import background, mount, registry
    from avm.overlay.tree import Tree

    tell: Callable[[], None] = (
        background.announce(ready_fd) if ready_fd is not None else lambda: None
    )
    avm = door.avm(Waiting.MOUNT)
    agent, root = avm.store.config["agent"], avm.store.vault.root
    real = Path(os.path.realpath(point))
    tree = Tree(avm.view(agent))

    def ready() -> None:
        registry.register(
            mount_registry(), mountpoint=real, vault=root, agent=agent, started=time.time()
        )
        tree.start()
        tell()

    sys.setswitchinterval(_SWITCH_SECONDS)
    # A daemon must not hold the folder it was started in.
    os.chdir("/")
    try:
        mount.serve(
            tree,
            point,
            vault_root=root,
            on_ready=ready,
            options=options,
            fast=avm.store.config["mount.fast"],
        )
    finally:
        registry.forget(mount_registry(), mountpoint=real)
