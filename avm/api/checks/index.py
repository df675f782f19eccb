"""The index against the files."""

from __future__ import annotations

from collections.abc import Iterator

from avm.api.checks.finding import Check, Finding
from avm.api.view import View

_SHOWN = 5


def _index(view: View) -> Iterator[Finding]:
    index = view.store.index
    faults = index.check()
    if faults:
        more = f" (and {len(faults) - _SHOWN} more)" if len(faults) > _SHOWN else ""
        yield Finding(
            str(view.store.vault.index_dir),
            f"it is not what the files say: {'; '.join(faults[:_SHOWN])}{more}",
            "avm doctor --fix builds it anew, avm index --wait the embeddings",
            index.rebuild,
        )


CHECKS = (Check("index", "The index holds what the files hold.", _index, "builds it anew"),)
