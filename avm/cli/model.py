"""`avm model`: the embedding model on this machine: where it is, getting it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from avm.base.config import (
    default_vault,
    from_process,
    hub_cache,
    hub_endpoint,
    hub_is_offline,
    model_home,
)
from avm.base.errors import ModelError, UsageError
from avm.cli.door import Door, shared
from avm.embed.model_folder import MODEL_ID, check_sums, find_model_folder, semantic_installed
from avm.vault.location import is_vault, vault_around

_ACTS = ("status", "download", "add")


@click.command("model")
@click.argument("act", metavar="status|download|add")
@click.argument("folder", required=False)
@shared
@click.pass_obj
def command(door: Door, act: str, folder: str | None) -> None:
    """Look after the embedding model all-MiniLM-L6-v2, which search by meaning needs.

    status: where it is, whether its files are the official ones, how much is embedded.

    download: fetch it from the Hugging Face hub (90 MB), each file checked against its official
    sum. No other command of AVM's uses the network for a model.

    add FOLDER: check and copy the files from a folder, for machines without network.
    """
    if act not in _ACTS:
        raise UsageError(f"avm model {act}: use one of {', '.join(_ACTS)}")
    if (act == "add") != (folder is not None):
        raise UsageError("avm model add FOLDER" if act == "add" else f"avm model {act}: no FOLDER")
    if act == "status":
        _status(door)
        return
    from avm.embed import download

    home = model_home() / MODEL_ID
    if folder is not None:
        download.add(Path(folder).expanduser(), home)
    else:
        if hub_is_offline():
            raise ModelError("HF_HUB_OFFLINE forbids the network: unset it to download the model")
        _with_bar(lambda report: download.download(hub_endpoint(), home, report))
    text = f"{MODEL_ID} is in {home}\n"
    door.result({"model": MODEL_ID, "folder": str(home)}, text)


def _status(door: Door) -> None:
    """Print the state; exit 1 if the model cannot be used."""
    configured, coverage = from_process({})["model"], None
    if _is_there(door):
        configured, coverage = door.avm().store.config["model"], door.view().index()
    folder, problem = None, None
    try:
        folder = find_model_folder(configured, hub_cache(), model_home())
        check_sums(folder)
    except ModelError as err:
        problem = str(err)
    if problem is None and not semantic_installed():
        problem = "not installed: pip install 'avm-memory[semantic]'"
    lines = [f"model     {MODEL_ID}", f"folder    {folder or 'none'}"]
    lines.append(f"problem   {problem}" if problem else "files     the official ones")
    if coverage:
        lines.append(f"embedded  {coverage[0]} of {coverage[1]} passages")
    value: dict[str, Any] = {"model": MODEL_ID, "folder": folder, "problem": problem}
    value |= {"embedded": coverage[0], "passages": coverage[1]} if coverage else {}
    door.result(value, "\n".join(lines) + "\n")
    if problem:
        sys.exit(1)


def _is_there(door: Door) -> bool:
    """Whether there is a vault to speak of: asking for the model makes none."""
    settings = from_process({"vault": door.vault})
    if settings["vault"] is not None or door.place.mount is not None:
        return True
    return vault_around(Path()) is not None or is_vault(default_vault())


def _with_bar(work: Callable[[Callable[[str, int, int | None], None] | None], None]) -> None:
    if not sys.stderr.isatty():
        work(None)
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TaskID, TransferSpeedColumn

    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def report(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)

        work(report)
