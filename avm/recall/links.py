"""Resolving `[[wikilinks]]`: path, then stem, then alias; the nearest folder first."""

from __future__ import annotations

from avm.base import paths
from avm.index.index import Index
from avm.index.text import Filter


class Resolver:
    """Resolves links among the memories that one viewer may see now."""

    def __init__(self, index: Index, where: Filter) -> None:
        self._index = index
        self._where = where
        self._called: dict[str, list[tuple[str, str, str]]] = {}
        self._resolved: dict[tuple[str, str], str | None] = {}

    def resolve(self, target: str, source: str) -> str | None:
        """The memory that `target`, written in `source`, points at; None if there is none."""
        key = target, paths.parent(source)
        if key not in self._resolved:
            self._resolved[key] = self._resolve(target, source)
        return self._resolved[key]

    def _resolve(self, target: str, source: str) -> str | None:
        written = target.strip().lstrip("/")
        wanted = written.casefold()
        folder = paths.parent(source)
        called = self._by_name(paths.link_name(target))
        named = [path for path, kind, _ in called if kind == "name"]
        # Of two that differ in letter case alone the one that is written so.
        by_path = {path.casefold(): path for path in named} | {path: path for path in named}
        for path in (written, f"{folder}/{written}" if folder else written):
            for name in (path, f"{path}.md", path.casefold(), f"{path}.md".casefold()):
                if name in by_path:
                    return by_path[name]
        if "/" in wanted:
            tail = "/" + wanted.removesuffix(".md") + ".md"
            named = [path for path in named if ("/" + path.casefold()).endswith(tail)]
        aliased = [
            path for path, kind, alias in called if kind == "alias" and alias.casefold() == wanted
        ]
        return _nearest(named, folder) or _nearest(aliased, folder)

    def _by_name(self, name: str) -> list[tuple[str, str, str]]:
        if name not in self._called:
            self._called[name] = self._index.called(name, self._where)
        return self._called[name]


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
