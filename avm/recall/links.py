"""Resolving `[[wikilinks]]`: path, then stem, then alias; the nearest folder first."""

from __future__ import annotations

from avm.base import paths
from avm.index.index import Index
from avm.index.text import Filter


class Resolver:
    """Resolves links among the memories that one viewer may see now."""

    def __init__(self, index: Index, where: Filter) -> None:
        visible = [row.path for row in index.list_memories(where)]
        self._paths = {path.casefold(): path for path in visible}
        self._names: dict[str, list[str]] = {}
        for path in visible:
            self._names.setdefault(paths.stem_of(path).casefold(), []).append(path)
        seen = set(visible)
        self._aliases: dict[str, list[str]] = {}
        for alias, path in index.aliases():
            if path in seen:
                self._aliases.setdefault(alias.casefold(), []).append(path)

    def resolve(self, target: str, source: str) -> str | None:
        """The memory that `target`, written in `source`, points at; None if there is none."""
        wanted = target.strip().lstrip("/").casefold()
        folder = paths.parent(source)
        for path in (wanted, f"{folder}/{wanted}".casefold() if folder else wanted):
            for name in (path, f"{path}.md"):
                if name in self._paths:
                    return self._paths[name]
        stem = paths.stem_of(wanted)
        named = self._names.get(stem, [])
        if "/" in wanted:
            tail = "/" + wanted.removesuffix(".md") + ".md"
            named = [path for path in named if ("/" + path.casefold()).endswith(tail)]
        return _nearest(named, folder) or _nearest(self._aliases.get(wanted, []), folder)


def _nearest(found: list[str], folder: str) -> str | None:
    def distance(path: str) -> tuple[int, str]:
        there, here = paths.parent(path).split("/"), folder.split("/")
        shared = 0
        for a, b in zip(there, here, strict=False):
            if a != b:
                break
            shared += 1
        return len(there) + len(here) - 2 * shared, path

    return min(found, key=distance, default=None)
