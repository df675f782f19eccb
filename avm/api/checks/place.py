"""Where the vault is."""

from __future__ import annotations

from collections.abc import Iterator

from avm.api.checks.finding import Check, Finding
from avm.api.view import View
from avm.vault.network import unsafe_because


def _place(view: View) -> Iterator[Finding]:
    state = view.store.vault.state_dir
    if why := unsafe_because(state):
        what = f"{why}: the index can break there"
        yield Finding(str(state), what, "set AVM_STATE_DIR to a folder on a disk of this machine")


CHECKS = (Check("place", "AVM's state is not on a network or in a synced folder.", _place),)
