"""The check for real files that no mount can show, because a virtual node has their name."""

from __future__ import annotations

import os
from collections.abc import Iterator

from avm.api import View
from avm.api.checks import Check, Finding
from avm.base import paths
from avm.overlay.virtual import asked_by


def _shadowed(view: View) -> Iterator[Finding]:
    top = str(view.store.vault.root)
    for folder, folders, names in os.walk(top):
        if ".git" in folders:
            folders.remove(".git")
        for name in sorted(name for name in (*names, *folders) if ":" in name):
            rel = os.path.relpath(os.path.join(folder, name), top)
            if asked_by(rel) and view.viewer.can_read(rel):
                what = "a virtual node has this name: no mount shows it"
                yield Finding(paths.display(rel), what, "rename it, or remove it if it is foreign")


CHECKS = (Check("shadowed", "Files whose names are virtual nodes.", _shadowed, for_agents=True),)
