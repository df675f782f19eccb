"""From a file's bytes to what the index holds of it. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from avm.base import memory_file, paths
from avm.base.memory_file import Front
from avm.index import chunks
from avm.vault.git import blob_id

#: The first 1 MB of a body is indexed; the rest stays in the file.
MAX_BODY_BYTES = 1_000_000
_CODE = re.compile(r"^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)|`[^`\n]*`", re.M | re.S)
_TAG = re.compile(r"(?<![\w/#&=`])#([^\W_][\w/-]*)")
_WIKILINK = re.compile(r"\[\[([^\[\]|#\n]+)(?:#[^\[\]|\n]*)?(?:\|[^\[\]\n]*)?\]\]")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
_CAMEL = re.compile(r"\b[A-Za-z]+[a-z0-9][A-Z]\w*\b|\b[A-Z]{2,}[a-z]\w*\b")
_CAMEL_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True)
class Passage:
    """A chunk as the index keeps it; lines are counted in the file, from 1."""

    first_line: int
    last_line: int
    head: str
    text: str
    context: str
    grams: str
    hash: bytes


@dataclass(frozen=True)
class Extracted:
    """All that the index holds of one file's content."""

    hash: str
    front: Front
    title: str
    tags: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    passages: tuple[Passage, ...]
    problems: tuple[str, ...]


def embedded_text(context: str, text: str) -> str:
    """What the model reads of a passage: its text after the memory's title and the headings above.

    The file's name is left out, so that a rename keeps its vectors.
    """
    return f"{context}\n{text}" if context else text


def extract(rel: str, raw: bytes) -> Extracted:
    """Take a memory apart. Never raises: broken front matter is text and a problem."""
    file = memory_file.parse(raw, max_body=MAX_BODY_BYTES)
    front = file.front
    title = front.title or paths.stem_of(rel)
    prose = _CODE.sub(" ", file.body)
    tags = dict.fromkeys(tag.casefold() for tag in (*front.tags, *_TAG.findall(prose)))
    links = [("link", target.strip()) for target in (*front.links, *_WIKILINK.findall(prose))]
    links += [("supersedes", target) for target in front.supersedes]
    links += [("alias", name) for name in front.aliases]
    offset = raw.count(b"\n", 0, file.split.body_start) + 1
    name = re.sub(r"[_\-./]+", " ", paths.stem_of(rel))
    words = " ".join(dict.fromkeys((title, name, *front.aliases, *tags)))
    passages = [
        _passage(words, front.title, chunk, offset) for chunk in chunks.split(file.body)
    ] or [_passage(words, front.title, chunks.Chunk("", (), 0, 0), offset)]
    return Extracted(
        hash=blob_id(raw),
        front=front,
        title=title,
        tags=tuple(tags),
        links=tuple(dict.fromkeys(link for link in links if link[1])),
        passages=tuple(passages),
        problems=file.problems,
    )


def _passage(words: str, title: str | None, chunk: chunks.Chunk, offset: int) -> Passage:
    # SQLite's text ends at a NUL for some of its functions.
    text = chunk.text.replace("\0", "\ufffd")
    head = " › ".join((words, *chunk.headings)).replace("\0", "\ufffd")
    context = " › ".join(filter(None, (title, *chunk.headings))).replace("\0", "\ufffd")
    embedded = embedded_text(context, text)
    return Passage(
        first_line=chunk.first_line + offset,
        last_line=chunk.last_line + offset,
        head=head,
        text=text,
        context=context,
        grams=grams(f"{head} {text}"),
        hash=hashlib.blake2b(embedded.encode(), digest_size=16).digest(),
    )


def grams(text: str) -> str:
    """Forms that `unicode61` cannot make: CJK runs as overlapping bigrams, camelCase split.

    A run of CJK characters is one token to FTS5, so 记忆 would not be found inside a sentence.
    """
    found: list[str] = []
    for run in _CJK.findall(text):
        found += bigrams(run)
    for word in _CAMEL.findall(text):
        found += _CAMEL_PART.findall(word)
    return " ".join(found)


def bigrams(run: str) -> list[str]:
    """The overlapping pairs of a run of CJK characters; a single one is itself."""
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]


def cjk_runs(text: str) -> list[str]:
    """The runs of CJK characters in `text`."""
    return _CJK.findall(text)
