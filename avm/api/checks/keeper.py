"""The background program, if one runs."""

from __future__ import annotations

from collections.abc import Iterator

from avm.api.checks.finding import Check, Finding
from avm.api.view import View


def _keeper(view: View) -> Iterator[Finding]:
    link = view.store.keeper
    told = link.status()
    if told is None:
        if link.met is not None:
            yield Finding(
                "",
                f"the keeper (process {link.met.pid}) is of AVM {link.met.version} and does not"
                " work with this one: each question looks at all files",
                "avm keeper stop, with the version that started it; then avm keeper start",
                note=True,
            )
        return
    if told["problem"]:
        mend = f"see {view.store.vault.state_dir / 'keeper.log'}"
        yield Finding("", f"the keeper cannot bring the index up to date: {told['problem']}", mend)
    if told["hindrance"]:
        what = "the keeper looks at folders for each question instead of watching them"
        yield Finding("", f"{what}: {told['hindrance']}", "docs/keeper.md", note=True)


CHECKS = (Check("keeper", "The keeper, if one runs, watches all folders and works.", _keeper),)
