"""Keeping what is about to go: text that no commit holds, an expired file in a new one's way."""

from __future__ import annotations

import json
import time
from pathlib import Path

from avm.base import paths
from avm.base.errors import NotFoundError
from avm.vault import files, git
from avm.vault.location import Vault

_NAME_CHARS = 50  # 200 bytes at most, of the 255 that a name may have


def keep_text(vault: Vault, rel: str) -> None:
    """Write the bytes of `rel` as a git blob unless git has them; `kept.jsonl` names the blob.

    git prunes a blob that nothing points at after two weeks (gc.pruneExpire).
    """
    try:
        raw = files.read(vault, rel)
    except NotFoundError:
        return
    blob = git.blob_id(raw)
    if (vault.common_dir / "objects" / blob[:2] / blob[2:]).exists():
        return
    if git.run(vault.root, ("cat-file", "-e", blob), check=False).returncode == 0:
        return  # in a pack
    written = git.run(vault.root, ("hash-object", "-w", "--stdin"), stdin=raw)
    record = {"path": rel, "blob": written.stdout.decode().strip(), "at": time.time()}
    vault.own_state.mkdir(parents=True, exist_ok=True)
    with (vault.own_state / "kept.jsonl").open("a") as log:
        log.write(json.dumps(record) + "\n")


def set_aside(vault: Vault, rel: str) -> Path:
    """Move a file out of the work tree into `state/rescue/`; returns where it is."""
    import shutil

    folder = vault.own_state / "rescue"
    folder.mkdir(parents=True, exist_ok=True)
    # The end of the name, so that with the time before it the file system takes it.
    place = folder / f"{time.time_ns()}-{paths.name_of(rel)[-_NAME_CHARS:]}"
    shutil.move(vault.path(rel), place)
    return place
