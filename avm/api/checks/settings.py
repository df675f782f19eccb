"""What `avm init` set up in the repository, and who the person is."""

from __future__ import annotations

from collections.abc import Iterator

from avm.api.checks.finding import Check, Finding
from avm.api.view import View
from avm.vault import condition, driver
from avm.vault.identity import person
from avm.vault.init import exclude_temp_files


def _line_ends(view: View) -> Iterator[Finding]:
    vault = view.store.vault
    if not vault.adopted and not condition.is_text_kept(vault):
        yield Finding(
            "/.gitattributes",
            "git may change the line ends of memories",
            "add the line: memory/** -text",
        )


def _temp_rule(view: View) -> Iterator[Finding]:
    vault = view.store.vault
    if not condition.has_temp_rule(vault):
        yield Finding(
            str(vault.common_dir / "info" / "exclude"),
            "the files of killed writers would show in git status",
            "avm doctor --fix adds the rule",
            lambda: exclude_temp_files(vault.root),
        )


def _merge_driver(view: View) -> Iterator[Finding]:
    vault = view.store.vault
    state = driver.state(vault)
    if state is driver.State.OVERRULED:
        yield Finding(
            str(vault.common_dir / "info" / "attributes"),
            "your lines there keep a git pull of yours from merging memories by AVM's rules",
            "take them out if you do not mean it (docs/sync-and-conflicts.md)",
            note=True,
        )
    elif state is not driver.State.SET_UP:
        what = "is not set up" if state is driver.State.MISSING else f"is {state.value}"
        yield Finding(
            str(vault.common_dir / "config"),
            f"the merge driver {what}: a git pull of yours would not merge by this AVM's rules",
            "avm doctor --fix sets it up",
            lambda: driver.set_up(vault),
        )


def _identity(view: View) -> Iterator[Finding]:
    root = view.store.vault.root
    unset = condition.unset_identity(view.store.vault)
    if unset:
        who = person(root)
        yield Finding(
            "",
            f"git does not know your {' and '.join(unset)}: commits say {who.name} <{who.email}>",
            f"git config --global {unset[0]} VALUE",
            note=True,
        )


CHECKS = (
    Check("line-ends", "`.gitattributes` keeps git from changing memories.", _line_ends),
    Check(
        "exclude-rule",
        "`info/exclude` hides the files of killed writers.",
        _temp_rule,
        "adds the rule",
    ),
    Check(
        "merge-driver",
        "git merges memories by AVM's rules.",
        _merge_driver,
        "sets the driver up",
    ),
    Check("identity", "git knows your name and address (only told).", _identity),
)
