"""Which contents may be committed although they hold what looks like a secret.

The person allowed them, by `avm allow` or when writing. Kept by git blob id, so that a changed file
is looked at again, in a journal of lines in the vault's own state: it is nobody else's decision.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avm.base import paths
from avm.vault.git import blob_id
from avm.vault.journal import Journal
from avm.vault.location import Vault

if TYPE_CHECKING:
    from avm.base.secrets import Finding

#: A file's first megabyte is looked at, as of its text the first megabyte is indexed: what a pull
#: brings may be long, and made to be slow.
_LOOKED_AT = 1024 * 1024


class Allowed:
    """The allowed contents of one vault. Any number of processes may add to them."""

    def __init__(self, vault: Vault) -> None:
        self._file: Path = vault.own_state / "allowed.jsonl"
        self._read: tuple[tuple[int, int] | None, frozenset[str]] = (None, frozenset())

    def allow(self, rel: str, raw: bytes, findings: Sequence[Finding]) -> None:
        """Note that these bytes, seen at `rel`, may be committed; twice is once."""
        if self.is_allowed(raw):
            return
        rules = sorted({finding.rule for finding in findings})
        Journal(self._file).append({"blob": blob_id(raw), "path": rel, "rules": rules})

    def is_allowed(self, raw: bytes) -> bool:
        """Whether exactly these bytes were allowed."""
        return blob_id(raw) in self._blobs()

    def findings(self, raw: bytes) -> list[Finding]:
        """What keeps these bytes out of commits; empty if they were allowed."""
        from avm.base import secrets

        found = secrets.find(raw[:_LOOKED_AT])
        return [] if found and self.is_allowed(raw) else found

    def held_because(self, rel: str, raw: bytes) -> str | None:
        """Why these bytes, seen at `rel`, are kept out of commits, in one line; None if they are
        not."""
        from avm.base import secrets

        findings = self.findings(raw)
        if not findings:
            return None
        told, shown = secrets.told(findings), shlex.quote(paths.display(rel))
        return f"holds what looks like a secret ({told}): avm allow {shown}"

    def _blobs(self) -> frozenset[str]:
        """The blob ids in the journal, read again when it has grown."""
        try:
            status = self._file.stat()
        except FileNotFoundError:
            return frozenset()
        tag = (status.st_size, status.st_ino)
        seen, blobs = self._read
        if seen != tag:
            blobs = frozenset(map(_blob, self._file.read_bytes().splitlines()))
            self._read = (tag, blobs)
        return blobs


def _blob(line: bytes) -> str:
    try:
        return str(json.loads(line)["blob"])
    except (ValueError, TypeError, KeyError):
        return ""  # cut short by a kill: what it said is asked again
