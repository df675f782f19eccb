"""The eight tools: what an agent may ask and do, each a call or two of the API.

Strict: an argument that a tool does not know is an error. Results are typed and within a budget of
tokens. Free text is annotated as exactly `str`: the SDK parses anything else as JSON first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avm.api import View
from avm.base.errors import AVMError, UsageError
from avm.base.times import format_instant
from avm.mcp.answers import (
    Change,
    Found,
    History,
    Listed,
    Listing,
    Read,
    Recall,
    Search,
    Written,
)
from avm.recall.tokens import count_tokens

#: What an answer holds at most, in o200k tokens, where the caller names no budget.
_BUDGET = 4_000
_MOST_TOKENS = 20_000
#: A line of more characters for each token of the budget is taken as too long, uncounted.
_MOST_CHARS = 16
#: How many files of one commit are named.
_MOST_PATHS = 20

_Item = TypeVar("_Item", bound=BaseModel)

Path = Annotated[str, Field(description="A vault path: /memory/private/akashi/rsi_rule.md")]
Folder = Annotated[str, Field(description="Only in this folder; empty for everything.")]
Query = Annotated[
    str,
    Field(
        description="Words, phrases in quotes, and filters: tag:x path:/memory/shared agent:a"
        " since:7d before:2026-01-01 importance>0.5 -word"
    ),
]
Budget = Annotated[
    int, Field(ge=1, le=_MOST_TOKENS, description="Tokens that the answer may have.")
]


class Tools:
    """The tools for whoever `view` says is asking."""

    def __init__(self, view: Callable[[], View]) -> None:
        self._view = view

    def all(self) -> list[Tool]:
        """The eight."""
        return [
            self._tool(self.avm_recall, read_only=True),
            self._tool(self.avm_remember),
            self._tool(self.avm_search, read_only=True),
            self._tool(self.avm_read, read_only=True),
            self._tool(self.avm_list, read_only=True),
            self._tool(self.avm_edit),
            self._tool(self.avm_forget, destructive=True),
            self._tool(self.avm_history, read_only=True),
        ]

    def _tool(
        self, function: Callable[..., Any], *, read_only: bool = False, destructive: bool = False
    ) -> Tool:
        annotations = ToolAnnotations(
            read_only_hint=read_only,
            destructive_hint=destructive,
            idempotent_hint=read_only,
            open_world_hint=False,
        )
        return _Strict.of(_told(function), annotations)

    # The tools: their docstrings are what the model reads.

    def avm_recall(
        self,
        query: Query = "",
        max_tokens: Budget = 2_000,
        strategy: Literal["balanced", "relevance", "recency", "importance"] = "balanced",
        folder: Folder = "",
    ) -> Recall:
        """What the memory knows about a question, packed into a token budget. Ask this first: at
        the start of a task, and whenever something may have been learned before. Without a query:
        what is pinned, important and recent."""
        done = self._view().recalled(query, max_tokens, strategy, folder=folder)
        return Recall(
            text=done.text, tokens=done.tokens, memories=done.memories, ranked_by=done.ranked_by
        )

    def avm_remember(
        self,
        text: Annotated[str, Field(min_length=1, description="What to keep, as markdown.")],
        title: Annotated[str, Field(description="One line; it names the file.")] = "",
        importance: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5,
        tags: Annotated[list[str], Field(description="Words such as trading or risk/fx.")] = [],  # noqa: B006
        namespace: Annotated[
            str, Field(description="Share it with all agents, in /memory/shared/NAMESPACE.")
        ] = "",
        ttl: Annotated[str, Field(description="Forget it after 30d, 12h, …; empty: never.")] = "",
    ) -> Written:
        """Keep something for later sessions: a fact, a decision and why, what the user prefers.
        One thing a memory. The same title and text again changes nothing."""
        done = self._view().remember(
            text,
            title=title or None,
            importance=None if importance == 0.5 else importance,
            tags=tags,
            namespace=namespace or None,
            ttl=ttl or None,
        )
        return Written(path=done.path, hints=list(done.hints))

    def avm_search(
        self,
        query: Query,
        limit: Annotated[int, Field(ge=1, le=100)] = 10,
        folder: Folder = "",
        max_tokens: Budget = _BUDGET,
    ) -> Search:
        """Find memories: paths, titles and the best passage of each. avm_read reads one whole."""
        hits = self._view().search(query, limit, folder=folder)
        found = [
            Found(
                path=h.path, line=h.line, score=round(h.score, 3), title=h.title, snippet=h.snippet
            )
            for h in hits
        ]
        kept = _within(max_tokens, found)
        return Search(hits=kept, more=len(kept) < len(found))

    def avm_read(
        self,
        path: Path,
        line: Annotated[int, Field(ge=1, description="Begin at this line.")] = 1,
        at: Annotated[str, Field(description="As it was then: a date, 7d, a commit.")] = "",
        max_tokens: Budget = _BUDGET,
    ) -> Read:
        """Read a file of the memory, front matter and all; of a long one as much as fits."""
        view = self._view()
        raw = view.show(path, at) if at else view.read_bytes(path)
        lines = _lines(raw.decode("utf-8", "replace"))
        if line > max(1, len(lines)):
            raise UsageError(f"line {line}: {path} has {len(lines)}")
        text, count, cut = _page(lines[line - 1 :], max_tokens)
        end = line - 1 + count
        return Read(path=path, text=text, next_line=end + 1 if end < len(lines) else 0, cut=cut)

    def avm_list(
        self,
        folder: Folder = "",
        tag: Annotated[str, Field(description="Only with this tag.")] = "",
        sort: Literal["path", "changed", "importance"] = "changed",
        limit: Annotated[int, Field(ge=1, le=200)] = 50,
        offset: Annotated[int, Field(ge=0)] = 0,
        max_tokens: Budget = _BUDGET,
    ) -> Listing:
        """List memories, newest first; with sort also by importance or path."""
        rows = self._view().memories(folder, sort=sort, tag=tag or None)
        listed = [
            Listed(
                path=row.path,
                title=row.title,
                importance=0.5 if row.importance is None else row.importance,
                changed=format_instant(row.changed),
                expires=format_instant(row.expires) if row.expires else "",
            )
            for row in rows[offset : offset + limit]
        ]
        kept = _within(max_tokens, listed)
        end = offset + len(kept)
        return Listing(
            memories=kept, total=len(rows), next_offset=end if end < len(rows) and kept else 0
        )

    def avm_edit(
        self,
        path: Path,
        new: Annotated[str, Field(description="The text that is to stand there.")],
        old: Annotated[
            str, Field(description="The text that it replaces, exactly once; empty: append.")
        ] = "",
    ) -> Written:
        """Change a memory: replace one piece of its text, or append to it. What it said before
        stays in history, once it was committed."""
        view = self._view()
        done = view.edit(path, old, new) if old else view.append(path, new)
        return Written(path=done.path, hints=list(done.hints))

    def avm_forget(self, path: Path) -> Written:
        """Remove a memory. History keeps it: avm_read with at= still reads it."""
        self._view().forget(path)
        return Written(path=path, hints=[])

    def avm_history(
        self,
        path: Annotated[str, Field(description="A file or folder; empty for everything.")] = "",
        limit: Annotated[int, Field(ge=1, le=100)] = 10,
        max_tokens: Budget = _BUDGET,
    ) -> History:
        """Who changed what, when: of one memory, a folder, or all of it."""
        commits = [
            Change(
                hash=one.hash[:12],
                when=format_instant(one.when),
                author=one.author,
                subject=one.subject,
                files=len(one.paths),
                paths=dict(list(one.paths.items())[:_MOST_PATHS]),
            )
            for one in self._view().log(path, limit=limit)
        ]
        kept = _within(max_tokens, commits)
        return History(commits=kept, more=len(kept) < len(commits))


class _Strict(Tool):
    """A tool that tells in one line what is wrong with its arguments; one that it does not know is
    wrong, and the line says which there are."""

    @classmethod
    def of(cls, function: Callable[..., Any], annotations: ToolAnnotations) -> Tool:
        """A function as a tool. The SDK's own class drops unknown arguments."""
        tool = cls.from_function(function, annotations=annotations)
        base = tool.fn_metadata.arg_model
        body = {"model_config": ConfigDict(extra="forbid"), "__module__": __name__}
        model: Any = type(base.__name__, (base,), body)
        tool.fn_metadata.arg_model = model
        tool.parameters = model.model_json_schema(by_alias=True)
        return tool

    async def run(
        self, arguments: dict[str, Any], context: Any, convert_result: bool = False
    ) -> Any:
        try:
            self.fn_metadata.validate_arguments(arguments)
        except ValidationError as err:
            raise ToolError("; ".join(map(self._wrong, err.errors()))) from None
        return await super().run(arguments, context, convert_result)

    def _wrong(self, error: Any) -> str:
        name = ".".join(map(str, error["loc"]))
        if error["type"] == "extra_forbidden":
            return (
                f"no argument {name}: {self.name} takes {', '.join(self.parameters['properties'])}"
            )
        return f"{name}: {error['msg']}"


def _told(function: Callable[..., Any]) -> Callable[..., Any]:
    """A user's mistake is told to the model in its one line; anything else is a bug."""

    @functools.wraps(function)
    def told(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        except AVMError as err:
            raise ToolError(str(err)) from None

    return told


def _within(budget: int, items: list[_Item]) -> list[_Item]:
    """As many as fit, one at least."""
    left = budget
    for number, item in enumerate(items):
        left -= count_tokens(item.model_dump_json())
        if left < 0:
            return items[: max(1, number)]
    return items


def _lines(text: str) -> list[str]:
    """Lines as git and search count them: they end in a line feed and nothing else."""
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _page(lines: list[str], budget: int) -> tuple[str, int, bool]:
    """The lines that fit as a text, how many they are, and whether the only one had to be cut."""
    left = budget
    for number, line in enumerate(lines):
        left -= budget + 1 if len(line) > _MOST_CHARS * budget else count_tokens(line)
        if left < 0:
            if number == 0:
                return _cut(line, budget), 1, True
            return "".join(lines[:number]), number, False
    return "".join(lines), len(lines), False


def _cut(line: str, budget: int) -> str:
    """The longest beginning of a line that fits, or nearly."""
    fits, over = 0, min(len(line), _MOST_CHARS * budget) + 1
    while over - fits > 1:
        middle = (fits + over) // 2
        if count_tokens(line[:middle]) <= budget:
            fits = middle
        else:
            over = middle
    return line[:fits]
