"""What killed processes left behind, and what AVM keeps for the person."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator

from avm.api.checks.finding import Check, Finding
from avm.api.view import View
from avm.vault import condition, housekeeping, rescue


def _temp_files(view: View) -> Iterator[Finding]:
    for temp in condition.temp_files(view.store.vault):
        yield Finding(
            str(temp),
            "a writer that is gone left it half done",
            "avm doctor --fix removes it",
            functools.partial(temp.unlink, missing_ok=True),
        )


def _hidden(view: View) -> Iterator[Finding]:
    for folder in condition.hidden_folders(view.store.vault.git_state / "hidden"):
        yield Finding(
            str(folder),
            "files that were removed while open, of a mount that is gone",
            "avm doctor --fix removes them",
            functools.partial(shutil.rmtree, folder, ignore_errors=True),
        )


def _kept(view: View) -> Iterator[Finding]:
    vault = view.store.vault
    texts, files = rescue.kept(vault), rescue.rescued(vault)
    if texts:
        yield Finding(
            str(rescue.kept_file(vault)),
            f"{len(texts)} replaced texts that no commit held are kept as git blobs",
            f"git lets go of them after {housekeeping.KEPT_DAYS} days",
            note=True,
        )
    if files:
        size = sum(file.stat().st_size for file in files)
        yield Finding(
            str(files[0].parent),
            f"{len(files)} files that gave way to others are kept aside ({size:,} bytes)",
            "remove what you do not want",
            note=True,
        )


CHECKS = (
    Check("temp-file", "Temporary files of writers that are gone.", _temp_files, "removes them"),
    Check("hidden-file", "Unlinked files of mounts that are gone.", _hidden, "removes them"),
    Check("kept", "Texts and files that AVM keeps for you (only told).", _kept),
)
