"""What is like a text by its words, among what a viewer may see; and what remember finds so.

One full-text search of the text's own telling words names a few memories, and their texts are
compared. No model, and a bounded number of files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from avm.base import memory_file, paths
from avm.base.errors import NotFoundError
from avm.recall import similarity
from avm.recall.query import telling_words
from avm.recall.versions import successors
from avm.vault import files

if TYPE_CHECKING:
    from avm.api.store import Store
    from avm.index.index import MemoryRow
    from avm.index.text import Filter

#: Words of a text that are looked for: of a near-duplicate any few of them would do.
_MOST_WORDS = 24
#: Passages of the search for each memory that is wanted: a long one has several.
_PASSAGES_EACH = 5
_COMPARED = 5
#: Memories of one title that are looked at, the newest.
_MOST_TITLED = 20


class Wanted(NamedTuple):
    """A memory that is to be written: its text, its title if it has one, the stem of its file and
    the folders (rels) that it may be in."""

    text: str
    title: str | None
    stem: str
    folders: tuple[str, ...]


def saying_the_same(store: Store, where: Filter, text: str, until: float | None) -> str | None:
    """The memory (a rel) that says all that `text` does, at least `until` then (seconds since the
    epoch, None: for ever); what is superseded does not count."""
    with store.index.snapshot():
        near = [item for item in nearest(store, where, text, _COMPARED) if _stays(item[0], until)]
        found = _current(store, where, near)
    return next((row.path for row, there in found if similarity.adds_nothing(text, there)), None)


def _stays(row: MemoryRow, until: float | None) -> bool:
    return row.ends is None or (until is not None and until <= row.ends)


def version_of(
    store: Store, where: Filter, wanted: Wanted, until: float | None
) -> tuple[str, bool] | None:
    """The memory (a rel) that the wanted one is a version of, and whether its text is the very
    same, at least `until` then: one that says the same, else one of the same title, else one that
    differs in numbers, signs and negations."""
    with store.index.snapshot():
        near = _current(store, where, nearest(store, where, wanted.text, _COMPARED))
        titled = _current(store, where, _titled(store, where, wanted))
    says = [item for item in near if similarity.says_the_same(wanted.text, item[1])]
    versions = [item for item in near if similarity.is_version(wanted.text, item[1])]
    for row, there in (*says, *titled, *versions):
        return row.path, _stays(row, until) and there.strip() == wanted.text.strip()
    return None


def nearest(store: Store, where: Filter, text: str, most: int) -> list[tuple[MemoryRow, str]]:
    """The `most` memories that full text finds for a text's own words, best first, each with its
    text. Call it in a snapshot."""
    index = store.index
    hits = index.search(telling_words(text, _MOST_WORDS), where, most * _PASSAGES_EACH)
    first = {hit.memory_id: hit.chunk_id for hit in reversed(hits)}
    ids = list(dict.fromkeys(hit.memory_id for hit in hits))[:most]
    rows = index.passages([first[memory_id] for memory_id in ids])
    found = (rows[first[memory_id]][1] for memory_id in ids)
    return [(row, text) for row in found for text in text_of(store, row.path)]


def text_of(store: Store, rel: str) -> Iterator[str]:
    """The text of a memory without its front matter; nothing if its file has gone."""
    try:
        yield memory_file.parse(files.read(store.vault, rel)).body
    except NotFoundError:
        return


def _titled(store: Store, where: Filter, wanted: Wanted) -> list[tuple[MemoryRow, str]]:
    """The memories of the same title in the folders that the new one may be in, newest first."""
    if wanted.title is None:
        return []
    title, found = wanted.title.casefold(), []
    for row in store.index.numbered(wanted.stem, where, _MOST_TITLED):
        if row.title.casefold() == title and paths.parent(row.path) in wanted.folders:
            found += [(row, text) for text in text_of(store, row.path)]
    return found


def _current(
    store: Store, where: Filter, found: list[tuple[MemoryRow, str]]
) -> list[tuple[MemoryRow, str]]:
    """Those that nothing supersedes."""
    superseded = successors(store.index, where, {row.id for row, _ in found})
    return [item for item in found if item[0].id not in superseded]
