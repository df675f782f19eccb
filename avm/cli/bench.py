"""`avm bench`: what operations cost here, and how well recall answers."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
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

    numbers = [_number(text, "size", "116,1k,10k") for text in sizes.split(",")]
    tell, place = _teller(), report.machine()
    with _folder(keep) as folder:
        measured = []
        for number in numbers:
            (folder / str(number)).mkdir(parents=True, exist_ok=True)
            measured.append(measure(number, folder / str(number), tell))
    value = report.as_json(place, measured)
    door.result(value, report.as_text(place, measured, markdown=markdown))


@command.command("recall")
@click.option("--data", required=True, metavar="FILE", help="Conversations with questions, JSON.")
@click.option(
    "--budgets", default="500,1000,2000", metavar="N,N,…",
    help="Token budgets of the recalls; default 500,1000,2000.",
)  # fmt: skip
@click.option(
    "--layout", type=click.Choice(("turns", "sessions", "both")), default="both",
    help="What a memory is: `turns`, `sessions` or `both`, the default.",
)  # fmt: skip
@click.option(
    "--semantic", type=click.Choice(("on", "off", "both")), default="both",
    help="With vectors: `on`, `off` or `both`, the default.",
)  # fmt: skip
@click.option("--markdown", is_flag=True, help="Print a markdown table.")
@click.option("--keep", metavar="FOLDER", help="Keep the vaults there, and use them again.")
@shared
@click.pass_obj
def recall(
    door: Door,
    data: str,
    budgets: str,
    layout: str,
    semantic: str,
    markdown: bool,
    keep: str | None,
) -> None:
    """Print how much of what answers known questions recall and search bring back, by category.

    The data are conversations in a form of the LoCoMo set, which comes with no AVM. Each becomes a
    vault in the temp folder; the model reads some 30 passages a second.
    """
    from avm.bench import locomo, recall_report, report
    from avm.bench.conversation_vault import LAYOUTS
    from avm.bench.recall import measure

    numbers = [_number(text, "budget", "500,1000,2000") for text in budgets.split(",")]
    conversations = locomo.read(Path(data).expanduser())
    place = report.machine()
    with _folder(keep) as folder:
        measured = measure(
            conversations,
            folder,
            layouts=LAYOUTS if layout == "both" else (layout,),
            semantic={"on": (True,), "off": (False,), "both": (False, True)}[semantic],
            budgets=tuple(dict.fromkeys(numbers)),
            tell=_teller(),
        )
    text = recall_report.as_text(place, measured, markdown=markdown)
    door.result(recall_report.as_json(place, measured), text)


@command.command("fuse")
@click.option("--quick", is_flag=True, help="Few files, once: for a first look.")
@click.option("--markdown", is_flag=True, help="Print a markdown table.")
@shared
@click.pass_obj
def fuse(door: Door, quick: bool, markdown: bool) -> None:
    """Print what file operations take in a folder, a plain pass-through and AVM's mount.

    Makes its own vault and mounts in the temp folder; the vault's keeper runs.
    """
    from avm.bench import file_system, file_system_report, report

    place = report.machine()
    with _folder(None) as folder:
        extent = file_system.QUICK if quick else file_system.Extent()
        measured = file_system.measure(folder, _teller(), extent)
    text = file_system_report.as_text(place, measured, markdown=markdown)
    door.result(file_system_report.as_json(place, measured), text)


def _teller() -> Callable[[str], None]:
    """Where the lines on what is done now go: to a person who looks."""
    return warn if sys.stderr.isatty() else (lambda line: None)


@contextlib.contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    """The folder to keep vaults in, else a temporary one."""
    with tempfile.TemporaryDirectory(prefix="avm-bench-") as temporary:
        yield Path(keep or temporary).expanduser().resolve()


def _number(text: str, what: str, such: str) -> int:
    """`10k` as 10000. Raises UsageError."""
    digits, factor = text.strip().lower(), 1
    if digits[-1:] in _FACTORS:
        digits, factor = digits[:-1], _FACTORS[digits[-1]]
    if not digits.isdecimal() or int(digits) < 1:
        raise UsageError(f"{what} {text!r}: give numbers such as {such}")
    return int(digits) * factor
