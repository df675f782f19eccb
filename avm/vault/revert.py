"""Taking one change of a file back from the text as it is now: a three-way merge."""

from __future__ import annotations

from avm.base.merging import is_binary
from avm.vault.location import Vault
from avm.vault.merge_lines import merge_lines


class EditedSince(Exception):
    """The change cannot be taken back: the argument says what came after it."""


def reverted(
    vault: Vault, now: bytes | None, before: bytes | None, after: bytes | None
) -> bytes | None:
    """The content `now` without the change from `before` to `after`; None is no file.

    Raises EditedSince.
    """
    if now == after:
        return before
    if now == before:
        return now  # it is taken back already
    if now is None:
        raise EditedSince("it was removed or renamed since")
    if before is None:
        raise EditedSince("it was edited since it was made")
    if after is None:
        raise EditedSince("another file has its name now")
    if any(map(is_binary, (now, after, before))):
        raise EditedSince("it was edited since, and is no text")
    merged = merge_lines(vault.git_state, after, now, before)
    if merged is None:
        raise EditedSince("the same lines were edited since")
    return merged
