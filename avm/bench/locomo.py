"""Reads conversations with questions, in a form of the LoCoMo data set.

The set: Maharana et al., "Evaluating Very Long-Term Conversational Memory of LLM Agents", ACL 2024.

A JSON object of `conversations`; each has an `id`, `sessions` of `n`, `date` and `turns` (`id`,
`speaker` and `text`), and `qa` of `question`,
`category` and `evidence`, the ids of the turns that hold the answer. The data set's licence is
CC BY-NC 4.0: it comes with no AVM.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from avm.base.errors import UsageError

#: The categories whose answers are in the conversation, by the data set's numbers; 5, questions
#: about what was never said, has nothing to be found.
CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
#: `1:56 pm on 8 May, 2023`
_DATE = "%I:%M %p on %d %B, %Y"
_KINDS = {str: "text", int: "a whole number", list: "a list"}
#: Ids become names of files and folders.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_-]{0,63}")


class Turn(NamedTuple):
    """What one speaker says at a time, in one line."""

    id: str
    speaker: str
    text: str


class Session(NamedTuple):
    """A talk at one time, in UTC: the data names no zone."""

    number: int
    when: datetime
    turns: tuple[Turn, ...]


class Question(NamedTuple):
    """A question, and the ids of the turns that hold its answer."""

    text: str
    category: int
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Conversation:
    """Sessions in their order, and what is asked of them."""

    id: str
    sessions: tuple[Session, ...]
    questions: tuple[Question, ...]

    @cached_property
    def texts(self) -> dict[str, str]:
        """What is said, by the turn's id."""
        return {turn.id: turn.text for session in self.sessions for turn in session.turns}

    @property
    def answerable(self) -> tuple[Question, ...]:
        """The questions of `CATEGORIES` that name their evidence."""
        return tuple(q for q in self.questions if q.category in CATEGORIES and q.evidence)


def read(file: Path) -> list[Conversation]:
    """The conversations of a data file. Raises UsageError, in one line on what is wrong where."""
    try:
        value = json.loads(file.read_bytes())
    except OSError as err:
        raise UsageError(f"cannot read {file}: {err.strerror}") from None
    except ValueError as err:  # also what is not UTF-8
        raise UsageError(f"{file} is not JSON: {err}") from None
    found = [
        _conversation(one, where)
        for one, where in _each(value, "conversations", str(file), "conversation")
    ]
    if len({one.id for one in found}) < len(found):
        raise UsageError(f"{file}: two conversations have the same 'id'")
    if not any(one.answerable for one in found):
        raise UsageError(f"{file}: no question of categories 1–4 with evidence")
    return found


def one_line(text: str) -> str:
    """The text with each run of white space as one blank."""
    return " ".join(text.split())


def _conversation(value: Any, where: str) -> Conversation:
    sessions = tuple(_session(one, at) for one, at in _each(value, "sessions", where, "session"))
    ids = [turn.id for session in sessions for turn in session.turns]
    known = set(ids)
    if not ids:
        raise UsageError(f"{where} has no turn")
    if len(known) < len(ids):
        raise UsageError(f"{where}: two turns have the same 'id'")
    if len({session.number for session in sessions}) < len(sessions):
        raise UsageError(f"{where}: two sessions have the same 'n'")
    questions = tuple(_question(one, at, known) for one, at in _each(value, "qa", where, "qa"))
    return Conversation(_id(value, where), sessions, questions)


def _session(value: Any, where: str) -> Session:
    date = _field(value, "date", str, where)
    try:
        when = datetime.strptime(one_line(date), _DATE).replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(
            f"{where}: 'date' is {date!r}: it must be like '1:56 pm on 8 May, 2023'"
        ) from None
    turns = tuple(_turn(one, at) for one, at in _each(value, "turns", where, "turn"))
    return Session(_field(value, "n", int, where), when, turns)


def _turn(value: Any, where: str) -> Turn:
    speaker, text = (one_line(_field(value, name, str, where)) for name in ("speaker", "text"))
    return Turn(_id(value, where), speaker, text)


def _question(value: Any, where: str, known: set[str]) -> Question:
    evidence = _field(value, "evidence", list, where)
    for one in evidence:
        if not isinstance(one, str) or one not in known:
            raise UsageError(f"{where}: 'evidence' names {one!r}, which is no turn's 'id'")
    text = _field(value, "question", str, where)
    category = _field(value, "category", int, where)
    return Question(text, category, tuple(dict.fromkeys(evidence)))


def _id(value: Any, where: str) -> str:
    text: str = _field(value, "id", str, where)
    if not _ID.fullmatch(text):
        raise UsageError(f"{where}: 'id' is {text!r}: it must be letters, digits, ':', '_', '-'")
    return text


def _each(value: Any, name: str, where: str, what: str) -> Iterator[tuple[Any, str]]:
    """The items of the list `value[name]`, each with where it stands."""
    items: Sequence[Any] = _field(value, name, list, where)
    for number, item in enumerate(items, 1):
        yield item, f"{where}: {what} {number}"


def _field(value: Any, name: str, kind: type, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where} is no object")
    if name not in value:
        raise UsageError(f"{where} has no {name!r}")
    if not isinstance(value[name], kind) or isinstance(value[name], bool):
        raise UsageError(f"{where}: {name!r} is not {_KINDS[kind]}")
    return value[name]
