"""Is a search right that starts right after a change? `python tests/freshness/matrix.py`

Real editors and tools change a vault, and the very next search must find the new text and no longer
the old one: with a keeper and without, in a mount and behind it. Nothing waits in between. Prints a
table of reads that were right, of all; ends with 1 if one was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from readers import COLUMNS, Column, Read, no_mount_because
from ways import WAYS, Expected, Lab, Way

#: Nobody commits in between: a stash must find the edit.
_SETTINGS = {"AVM_COMMIT_WHO": "off", "AVM_SEMANTIC": "off"}
_IDENTITY = (
    "[user]\n\tname = Pat Person\n\temail = pat@example.org\n[init]\n\tdefaultBranch = main\n"
)


class Cell:
    """The reads of a row in a column: how many, how many right, what was wrong."""

    def __init__(self) -> None:
        self.reads = self.right = 0
        self.wrong: list[str] = []
        self.skipped = ""

    def run(self, way: Way, lab: Lab, column: Column, rounds: range) -> None:
        """Make the changes of some rounds, and read right after each."""
        for number in rounds:
            lab.interactive = number % 2 == 0
            try:
                for expected in way(lab):
                    self._check(column.first, expected)
                if lab.interactive and column.second:
                    word = next(iter(expected))  # of the last change: a process a read is slow
                    self._check(column.second, {word: expected[word]})
            except (RuntimeError, OSError, subprocess.SubprocessError) as err:
                self.wrong.append(f"round {number}: {err}")

    def _check(self, read: Read, expected: Expected) -> None:
        for word, rels in expected.items():
            found = read(word)
            self.reads += 1
            self.right += found == rels
            if found != rels:
                self.wrong.append(f"{word} is in {sorted(found)}, expected {sorted(rels)}")

    def __str__(self) -> str:
        return "–" if self.skipped else f"{self.right}/{self.reads}"


def matrix(folder: Path, rounds: int, files: int) -> tuple[dict[str, dict[str, Cell]], list[str]]:
    """The cells by row and column, and remarks on what could not be tried."""
    cells: dict[str, dict[str, Cell]] = {row: {} for row, _, _ in WAYS}
    remarks: dict[str, None] = {}
    for turn, (name, opened) in enumerate(COLUMNS.items()):
        if "mount" in name and (why := no_mount_because()):
            for row in cells.values():
                row[name] = Cell()
                row[name].skipped = why
            remarks[f"no mounts: {why}"] = None
            continue
        here = folder / name.replace(" ", "-")
        here.mkdir()
        vault = here / "vault"
        subprocess.run([sys.executable, "-P", "-m", "avm", "init", str(vault)], check=True,
            stdout=subprocess.DEVNULL)  # fmt: skip
        with opened(vault, here) as column:
            lab = Lab(vault, column.place, here, files, random.Random(name))
            for row, way, program in WAYS:
                cell = cells[row][name] = Cell()
                if program and not shutil.which(program):
                    cell.skipped = f"{program} is not installed"
                    remarks[cell.skipped] = None
                    continue
                cell.run(way, lab, column, range(turn, turn + rounds))
    return cells, list(remarks)


def table(cells: dict[str, dict[str, Cell]], remarks: list[str]) -> str:
    """The table as text."""
    width = max(map(len, cells))
    lines = ["".ljust(width) + "".join(f"  {name:>16}" for name in COLUMNS)]
    for row, columns in cells.items():
        lines.append(row.ljust(width) + "".join(f"  {columns[name]!s:>16}" for name in COLUMNS))
    every = [cell for columns in cells.values() for cell in columns.values()]
    right, reads = sum(cell.right for cell in every), sum(cell.reads for cell in every)
    lines.append(f"{right} of {reads} reads right, none of them after a wait")
    lines += [f"not tried: {remark}" for remark in remarks]
    lines += [
        f"WRONG: {row}, {name}: {what}"
        for row, columns in cells.items()
        for name, cell in columns.items()
        for what in cell.wrong
    ]
    return "\n".join(lines)


def as_json(cells: dict[str, dict[str, Cell]], remarks: list[str]) -> dict[str, Any]:
    """The same for a test."""
    rows = {row: {name: vars(cell) for name, cell in cols.items()} for row, cols in cells.items()}
    return {"rows": rows, "remarks": remarks}


def main() -> int:
    """Run it in a folder and a home of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4, help="changes a cell; default 4")
    parser.add_argument("--files", type=int, default=10_000, help="of cp -a; default 10000")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="avm-fresh-") as temporary:
        folder = Path(os.path.realpath(temporary))
        (folder / "run").mkdir(mode=0o700)
        (folder / ".gitconfig").write_text(_IDENTITY)
        os.environ.update(HOME=str(folder), XDG_RUNTIME_DIR=str(folder / "run"), **_SETTINGS)
        cells, remarks = matrix(folder, options.rounds, options.files)
    print(json.dumps(as_json(cells, remarks)) if options.json else table(cells, remarks))
    return int(any(cell.wrong for columns in cells.values() for cell in columns.values()))


if __name__ == "__main__":
    sys.exit(main())
