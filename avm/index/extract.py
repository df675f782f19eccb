"""From a file's bytes to what the index holds of it. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from avm.base import memory_file, paths
from avm.base.memory_file import Front
from avm.index import chunks
from avm.index.words import cjk_column, parts_column
from avm.vault.git import blob_id

#: The first 1 MB of a body is indexed; the rest stays in the file.
MAX_BODY_BYTES = 1_000_000
#: A longer value is no name that a question would use, and more of them no description.
_LONGEST_FIELD = 60
_MOST_FIELDS = 50
#: A title is one line: with another it could pose as a line of an answer.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LETTER = re.compile(r"[^\W\d_]")
_BOM = b"\xef\xbb\xbf"
_CODE = re.compile(r"^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)|`[^`\n]*`", re.M | re.S)
_TAG = re.compile(r"(?<![\w/#&=`])#([^\W_][\w/-]*)")
_WIKILINK = re.compile(r"\[\[([^\[\]|#\n]+)(?:#[^\[\]|\n]*)?(?:\|[^\[\]\n]*)?\]\]")


class Passage(NamedTuple):
    """A chunk as the index keeps it; lines are counted in the file, from 1, `start` and `end` in
    its bytes."""

    first_line: int
    last_line: int
    start: int
    end: int
    head: str
    text: str
    context: str
    cjk: str
    parts: str
    hash: bytes


class Link(NamedTuple):
    """What a memory points at, or a name of its own; `name` is what both are found by."""

    kind: str
    target: str
    name: str


class Field(NamedTuple):
    """What the front matter says of a memory in a key of its own, for people and questions."""

    name: str
    value: str


class Extracted(NamedTuple):
    """All that the index holds of one file's content."""

    hash: str
    front: Front
    title: str
    tags: tuple[str, ...]
    fields: tuple[Field, ...]
    links: tuple[Link, ...]
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
    title = _CONTROL.sub(" ", front.title or "").strip() or paths.stem_of(rel)
    prose = _CODE.sub(" ", file.body)
    tags = dict.fromkeys(tag.casefold() for tag in (*front.tags, *_TAG.findall(prose)))
    links = [("link", target.strip()) for target in (*front.links, *_WIKILINK.findall(prose))]
    links += [("supersedes", target) for target in front.supersedes]
    links += [("alias", name) for name in front.aliases]
    links.append(("name", paths.stem_of(rel)))
    body = _body_start(raw, file.split.body_start)
    before = raw.count(b"\n", 0, body) + 1
    name = re.sub(r"[_\-./]+", " ", paths.stem_of(rel))
    words = " ".join(dict.fromkeys((title, name, *front.aliases, *tags)))
    found = chunks.split(raw, body, min(len(raw), body + MAX_BODY_BYTES))
    passages = [
        _passage(words, front.title, chunk, before)
        for chunk in found or [chunks.Chunk("", (), 0, 0, body, body)]
    ]
    return Extracted(
        hash=blob_id(raw),
        front=front,
        title=title,
        tags=tuple(tags),
        fields=_fields(front),
        links=tuple(dict.fromkeys(Link(kind, to, paths.link_name(to)) for kind, to in links if to)),
        passages=tuple(passages),
        problems=file.problems,
    )


def _fields(front: Front) -> tuple[Field, ...]:
    said = {**front.other, "agent": front.agent or ""}
    found: dict[Field, None] = {}
    for name, value in said.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and len(item) <= _LONGEST_FIELD and _LETTER.search(item):
                found[Field(name.casefold(), " ".join(item.casefold().split()))] = None
    return tuple(found)[:_MOST_FIELDS]


def _body_start(raw: bytes, start: int) -> int:
    """Past the BOM, which stands in a body only if the front matter could not be read."""
    return start + len(_BOM) if raw.startswith(_BOM, start) else start


def _passage(words: str, title: str | None, chunk: chunks.Chunk, before: int) -> Passage:
    # SQLite's text ends at a NUL for some of its functions.
    text = chunk.text.replace("\0", "\ufffd")
    head = " › ".join((words, *chunk.headings)).replace("\0", "\ufffd")
    context = " › ".join(filter(None, (title, *chunk.headings))).replace("\0", "\ufffd")
    # Plain ASCII, as most text is, needs far less of a look than what stands between headings.
    searched = f"{head} {text}".replace(" › ", " ")
    return Passage(
        first_line=chunk.first_line + before,
        last_line=chunk.last_line + before,
        start=chunk.start,
        end=chunk.end,
        head=head,
        text=text,
        context=context,
        cjk=cjk_column(searched),
        parts=parts_column(searched),
        hash=hashlib.blake2b(embedded_text(context, text).encode(), digest_size=16).digest(),
    )
