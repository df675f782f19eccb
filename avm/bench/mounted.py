"""Create, read and stat through a real mount, and the same on the folder behind it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from avm.bench.figures import Floor, Row, each, median, row
from avm.bench.keeping import command

#: Where the files are made; the caller removes it.
FOLDER = "memory/shared/bench-mount"


def mounted_rows(vault: Path, point: Path, rels: Sequence[str], text: str) -> list[Row] | str:
    """The rows of create, read and stat for as many files as `rels` names; else why there are
    none."""
    started = subprocess.run(
        command(vault, "mount", str(point), "--daemon"), capture_output=True, text=True, check=False
    )
    if started.returncode != 0:
        lines = started.stderr.strip().splitlines()
        return f"no FUSE figures: {lines[-1] if lines else 'avm mount failed'}"
    try:
        through = _times(point, rels, text, "mount")
    finally:
        subprocess.run(command(vault, "unmount", str(point)), capture_output=True, check=False)
    bare = _times(vault, rels, text, "bare")
    return [
        row(f"FUSE {what}", through[what], Floor(f"the folder's {what}", median(bare[what])))
        for what in through
    ]


def _times(root: Path, rels: Sequence[str], text: str, stem: str) -> dict[str, list[float]]:
    places = [f"{root}/{rel}" for rel in rels]
    (root / FOLDER).mkdir(parents=True, exist_ok=True)

    def create(number: int) -> None:
        with open(f"{root}/{FOLDER}/{stem}-{number}.md", "w") as file:
            file.write(text)

    def read(place: str) -> None:
        with open(place, "rb") as file:
            file.read()

    return {
        "create": each(create, range(len(rels))),
        "read": each(read, places),
        "stat": each(os.stat, places),
    }
