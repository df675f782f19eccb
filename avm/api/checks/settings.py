"""What `avm init` set up in the repository, and who the person is."""

from __future__ import annotations

from collections.abc import Iterator

from avm.api.checks.finding import Check, Finding
from avm.api.view import View
from avm.vault import condition
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
    Check("identity", "git knows your name and address (only told).", _identity),
)
