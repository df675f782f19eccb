"""What came of a change. Paths are vault paths: `/memory/…`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remembered:
    """A memory that was written, or was there already; `hints` are lines worth showing."""

    path: str
    hints: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class Restored:
    """A file that was brought back; `notes` are lines worth showing."""

    path: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class Undone:
    """What taking commits back did, or would do in a `dry_run`.

    `commits`: their hashes, newest first; `changed` maps vault paths to `changed back`, `brought
    back` or `removed`; `left` to why a path stays as it is.
    """

    commits: tuple[str, ...]
    changed: dict[str, str]
    left: dict[str, str]
    dry_run: bool = False


@dataclass(frozen=True)
class Collected:
    """The expired memories that were removed from the tree, and why others stay or are not
    committed."""

    removed: tuple[str, ...]
    left: dict[str, str]


@dataclass(frozen=True)
class Settled:
    """A conflict that was settled; `removed` are the copies that went, `waits` why that is not
    committed yet."""

    path: str
    removed: tuple[str, ...]
    waits: str | None = None
