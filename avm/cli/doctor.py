"""`avm doctor`: what is wrong with the vault, and how it is mended."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator

import click

from avm.api import View, doctor
from avm.api import checks as api_checks
from avm.api.checks import Check, Finding
from avm.base.config import mount_registry
from avm.cli.door import Door, shared
from avm.fuse import mounts, registry
from avm.overlay import shadowed


def _stale_mounts(view: View) -> Iterator[Finding]:
    for entry in registry.read_all(mount_registry()):
        if entry.stale and entry.vault == view.store.vault.root:
            yield Finding(
                str(entry.mountpoint),
                "a mount whose server has died",
                "avm doctor --fix unmounts it",
                functools.partial(mounts.repair, entry.mountpoint),
            )


CHECKS = (
    *api_checks.CHECKS,
    *shadowed.CHECKS,
    Check("stale-mount", "Mounts whose server has died.", _stale_mounts, "unmounts them"),
)


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Mend what cannot be mended wrongly.")
@shared
@click.pass_obj
def command(door: Door, fix: bool) -> None:
    """Say what is wrong with the vault, and how it is mended. Exits 1 if something is.

    An agent hears of the memories that it may read, and of nothing else.
    """
    view = door.view()
    if fix:
        done = doctor.mend(view, CHECKS)
    else:
        done = doctor.Mended((), tuple(doctor.check(view, CHECKS)))
    count = len(doctor.applicable(view, CHECKS))
    wrong = [finding for finding in done.left if not finding.note]
    lines = [f"mended: {finding.check}: {finding.path or finding.what}" for finding in done.mended]
    lines += [f"note: {finding}" if finding.note else str(finding) for finding in done.left]
    if not wrong:
        lines.append(f"all is well: {count} checks")
    value = {"checks": count, "mended": _plain(done.mended), "findings": _plain(done.left)}
    door.result(value, "".join(f"{line}\n" for line in lines))
    if wrong:
        sys.exit(1)


def _plain(findings: Iterable[Finding]) -> list[dict[str, object]]:
    return [
        {
            "check": finding.check,
            "path": finding.path,
            "what": finding.what,
            "mend": finding.mend,
            "fixable": finding.fixable,
            "note": finding.note,
        }
        for finding in findings
    ]
