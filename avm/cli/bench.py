"""`avm bench`: what operations cost here, beside what they could cost at least."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from avm.base.errors import UsageError
from avm.cli.door import Door, shared, warn

_FACTORS = {"k": 1_000, "m": 1_000_000}


@click.group("bench")
def command() -> None:
    """Measure AVM on this machine, on vaults made for it: docs/benchmarks.md."""


@command.command("scale")
@click.option(
    "--sizes", default="116,1k,10k", metavar="N,N,…",
    help="Numbers of memories: 116,1k,10k,100k,1m; default 116,1k,10k.",
)  # fmt: skip
@click.option("--markdown", is_flag=True, help="Print markdown tables.")
@click.option("--keep", metavar="FOLDER", help="Keep the vaults there, and use them again.")
@shared
@click.pass_obj
def scale(door: Door, sizes: str, markdown: bool, keep: str | None) -> None:
    """Print what each operation takes in vaults of varied text, p50 and p95, beside its floor.

    Makes its own vaults in the temp folder; 100k memories take some minutes and 1.5 GB.
    """
    from avm.bench import report
    from avm.bench.scale import measure

    numbers = [_number(text) for text in sizes.split(",")]
    tell = warn if sys.stderr.isatty() else (lambda line: None)
    place = report.machine()
    with tempfile.TemporaryDirectory(prefix="avm-bench-") as temporary:
        folder = Path(keep or temporary).expanduser().resolve()
        measured = []
        for number in numbers:
            (folder / str(number)).mkdir(parents=True, exist_ok=True)
            measured.append(measure(number, folder / str(number), tell))
    value = report.as_json(place, measured)
    door.result(value, report.as_text(place, measured, markdown=markdown))


def _number(text: str) -> int:
    """`10k` as 10000. Raises UsageError."""
    digits, factor = text.strip().lower(), 1
    if digits[-1:] in _FACTORS:
        digits, factor = digits[:-1], _FACTORS[digits[-1]]
    if not digits.isdecimal() or int(digits) < 1:
        raise UsageError(f"size {text!r}: give numbers such as 116,1k,10k")
    return int(digits) * factor
