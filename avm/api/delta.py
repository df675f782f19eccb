"""What has changed since a viewer read of it last. The marks live in the vault's own state."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from avm.api.viewed import Viewed, again_if_damaged
from avm.base import atomic, paths
from avm.base.times import format_instant, instant_of
from avm.vault import files


class News(NamedTuple):
    """What has changed since a mark, in lines; `mark()` moves the mark to what they tell of."""

    text: str
    mark: Callable[[], None]


class Delta(Viewed):
    """What a viewer may ask of changes."""

    def delta(self, path: str = "", *, peek: bool = False) -> str:
        """What has changed since this viewer last asked here, the first time all there is.

        Of a folder a line a memory: `+` new, `~` changed, `-` gone, `>` moved; of a memory a
        unified diff. With `peek` the next time tells it again. Raises NotFoundError.
        """
        news = self.news(path)
        if not peek:
            news.mark()
        return news.text

    @again_if_damaged
    def news(self, path: str = "") -> News:
        """The same, for who sets the mark once it was read. Raises NotFoundError."""
        rel = paths.clean_rel(path)
        there = not rel or paths.is_placeholder(rel) or files.is_folder(self.store.vault, rel)
        if there and self.viewer.shows_folder(rel):
            return self._folder_news(rel)
        return self._file_news(self._existing(path))

    def _folder_news(self, rel: str) -> News:
        self.store.refresh()
        now = {row.path: row for row in self.store.index.versions(self._filter(rel))}
        mark = self._mark(rel)
        then: dict[str, str] = mark.get("memories", {})
        gone: dict[str, list[str]] = {}
        for path in sorted(then.keys() - now.keys()):
            gone.setdefault(then[path], []).append(path)
        lines = []
        for path, row in now.items():
            shown, title = paths.display(path), " ".join(row.title.split())
            if path not in then and gone.get(row.hash):
                lines.append(f"> {shown}  from {paths.display(gone[row.hash].pop())}\n")
            elif then.get(path) != row.hash:
                lines.append(f"{'~' if path in then else '+'} {shown}  {title}\n")
        left = sorted(path for names in gone.values() for path in names)
        lines += [f"- {paths.display(path)}\n" for path in left]
        state = {"memories": {path: row.hash for path, row in now.items()}}
        return self._news(rel, mark, "".join(lines), state)

    def _file_news(self, rel: str) -> News:
        import difflib

        text = files.read(self.store.vault, rel).decode("utf-8", "surrogateescape")
        mark = self._mark(rel)
        old = mark.get("text", "")
        name = paths.display(rel)
        before = f"{name} {mark['at']}" if mark else "/dev/null"
        lines = difflib.unified_diff(_lines(old), _lines(text), before, f"{name} now")
        return self._news(rel, mark, "".join(lines), {"text": text})

    def _news(self, rel: str, mark: dict[str, Any], text: str, state: dict[str, Any]) -> News:
        at = format_instant(instant_of(self.store.now()))
        whose = {"agent": self.viewer.agent, "path": rel, "at": at}

        def set_mark() -> None:
            place = self._place(rel)
            place.parent.mkdir(parents=True, exist_ok=True)
            atomic.replace(place, json.dumps({**whose, **state}).encode() + b"\n")

        since = f"since {mark['at']}" if mark else "yet"
        return News(text or f"Nothing new {since}.\n", set_mark)

    def _mark(self, rel: str) -> dict[str, Any]:
        """The mark, empty if there is none."""
        try:
            told = json.loads(self._place(rel).read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    def _place(self, rel: str) -> Path:
        import hashlib

        who = f"{self.viewer.agent or ''}/{rel}".encode("utf-8", "surrogateescape")
        name = hashlib.sha256(who).hexdigest()[:32]
        return self.store.vault.own_state / "delta" / f"{name}.json"


def _lines(text: str) -> list[str]:
    """The lines, each with its end: a diff's must end as lines do."""
    *lines, rest = text.split("\n")
    ended = [f"{line}\n" for line in lines]
    return [*ended, f"{rest}\n\\ No newline at end of file\n"] if rest else ended
