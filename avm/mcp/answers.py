"""What the tools answer: each class is a schema that the host is shown."""

from __future__ import annotations

from pydantic import BaseModel


class Recall(BaseModel):
    """An answer packed into the budget, as markdown with the path of each passage."""

    text: str
    tokens: int
    memories: int
    ranked_by: str


class Found(BaseModel):
    """A memory that matches; `score` compares within one answer only."""

    path: str
    line: int
    score: float
    title: str
    snippet: str


class Search(BaseModel):
    """What matches, best first; `more` says that the budget left some out."""

    hits: list[Found]
    more: bool


class Read(BaseModel):
    """A file's text from `line` on; `next_line` is where it goes on, 0 at its end.

    `cut`: the one line here is longer than the budget, and its rest is left out.
    """

    path: str
    text: str
    next_line: int
    cut: bool


class Listed(BaseModel):
    """A memory in a list. Times are ISO 8601, UTC; empty for never."""

    path: str
    title: str
    importance: float
    changed: str
    expires: str


class Listing(BaseModel):
    """Some of `total` memories; `next_offset` is where the list goes on, 0 at its end."""

    memories: list[Listed]
    total: int
    next_offset: int


class Written(BaseModel):
    """Where something was written, and what is worth knowing of it."""

    path: str
    hints: list[str]


class Change(BaseModel):
    """A commit: `files` is how many it changed, `paths` what became of the first of them."""

    hash: str
    when: str
    author: str
    subject: str
    files: int
    paths: dict[str, str]


class History(BaseModel):
    """Commits, newest first; `more` says that the budget left some out."""

    commits: list[Change]
    more: bool
