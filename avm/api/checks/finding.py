"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from avm.api.view import View


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: where, what, and how it is mended.

    `path` is a vault path or a path of the system, "" for the whole; `fix` mends it if that cannot
    go wrong. A `note` is worth knowing and nothing is wrong. `check` is filled in by doctor.
    """

    path: str
    what: str
    mend: str
    fix: Callable[[], object] | None = None
    note: bool = False
    check: str = ""

    @property
    def fixable(self) -> bool:
        """Whether `avm doctor --fix` mends it."""
        return self.fix is not None

    def __str__(self) -> str:
        place = f"{self.path}: " if self.path else ""
        mend = f"; {self.mend}" if self.mend else ""
        return f"{self.check}: {place}{self.what}{mend}"


@dataclass(frozen=True)
class Check:
    """A named check. `doc` says in a line what is looked for; `mended` what `--fix` does, "" for
    nothing. `for_agents`: it speaks of nothing but memories that the view may read."""

    name: str
    doc: str
    run: Callable[[View], Iterable[Finding]]
    mended: str = ""
    for_agents: bool = False
