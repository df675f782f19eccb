"""What to look for and among what: words as FTS5 expressions, filters as SQL. Pure.

No user text is ever FTS5 or SQL syntax: words are quoted strings, values are parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from avm.base import paths
from avm.base.importance import DEFAULT_IMPORTANCE
from avm.index.words import cjk_runs, identifiers, normal, pairs, without_cjk

_COMPARE = frozenset(("<", "<=", "=", ">=", ">"))


class Term(NamedTuple):
    """One thing to look for, as it was written: a word, an identifier, a run of CJK or a phrase."""

    text: str

    def expression(self) -> str:
        """The FTS5 expression, an operand that needs no brackets."""
        text = normal(self.text.replace("\0", " "))
        runs = [
            f"cjk : {_quoted(' '.join(pairs(run)))}" + (" *" if len(run) == 1 else "")
            for run in cjk_runs(text)
        ]
        words = without_cjk(text)
        if not words.strip():
            return _joined(runs, " AND ")
        forms = [words]
        folded = words.casefold()
        if folded != words.lower():
            forms.append(folded)
        parts = identifiers(words)
        if parts:
            forms.append(" ".join(parts))
        return _joined([_joined([_quoted(form) for form in forms], " OR "), *runs], " AND ")


class Words(NamedTuple):
    """What to look for. Any of the terms matches."""

    terms: tuple[Term, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.terms)

    def expressions(self) -> list[str]:
        """An FTS5 expression a term."""
        return [term.expression() for term in self.terms]

    def match_expression(self) -> str:
        """The FTS5 expression that matches any of them; "" for none."""
        return " OR ".join(self.expressions())


NO_WORDS = Words()


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _joined(operands: list[str], operator: str) -> str:
    return operands[0] if len(operands) == 1 else f"({operator.join(operands)})"


class Condition(NamedTuple):
    """One thing that a memory must be, or with `negated` must not.

    `key`: `tag`, `path` (a file, a folder, with a trailing `*` any beginning), `agent`, `since` and
    `before` (`value`: seconds since the epoch), or `importance` before one of `< <= = >= >`.
    """

    key: str
    value: str | float
    negated: bool = False

    def sql(self) -> tuple[str, list[object]]:
        """A condition on `m` and its parameters."""
        text, values = self._plain_sql()
        return (f"NOT {text}" if self.negated else text), values

    def _plain_sql(self) -> tuple[str, list[object]]:
        value = self.value
        if self.key == "tag":
            return (
                "(m.id IN (SELECT t.memory_id FROM tag AS t"
                " WHERE t.tag = ? OR (t.tag >= ? AND t.tag < ?)))",
                [value, f"{value}/", f"{value}0"],
            )
        if self.key == "path":
            return _path_sql(str(value))
        if self.key == "agent":
            below, bounds = _below([paths.agent_folder(str(value))])
            return f"(m.agent IS ? OR (m.agent IS NULL AND {below}))", [value, *bounds]
        if self.key in ("since", "before"):
            compare = ">=" if self.key == "since" else "<"
            changed = "(SELECT a.changed FROM memory_at AS a WHERE a.id = m.id)"
            return f"({changed} {compare} ?)", [value]
        compare = self.key.removeprefix("importance")
        if compare not in _COMPARE:
            raise ValueError(f"no such condition: {self.key}")
        return f"(COALESCE(m.importance, {DEFAULT_IMPORTANCE}) {compare} ?)", [value]


class Filter(NamedTuple):
    """Which memories a question may see, as SQL on a memory `m` (of `memory` or `memory_at`).

    `folders`: rels of files and folders that may be read, None for all; `denied`: of those that
    may not, without letter case (avm.base.access); `scope`: the folder asked in, "" for all;
    `now`: seconds since the epoch, what has ended by then is absent. `conditions` and `without`
    (words that the memory must not hold) are what a query asks for: they only ever narrow.
    """

    folders: tuple[str, ...] | None
    scope: str
    now: float
    conditions: tuple[Condition, ...] = ()
    without: Words = NO_WORDS
    denied: tuple[str, ...] = ()

    @property
    def lets_all_through(self) -> bool:
        """Whether only expired memories are left out."""
        narrowed = self.denied or self.scope or self.conditions or self.without
        return self.folders is None and not narrowed

    @property
    def who(self) -> tuple[object, ...]:
        """Equal for viewers who may see the same."""
        return self.folders, self.denied

    def access(self) -> Filter:
        """All that the viewer may see, whatever was asked for."""
        return self._replace(scope="", conditions=(), without=NO_WORDS)

    def asking(self, conditions: tuple[Condition, ...], without: Words) -> Filter:
        """The same, narrowed by a query."""
        return self._replace(conditions=self.conditions + conditions, without=without)

    def sql(self) -> tuple[str, list[object]]:
        """A condition and its parameters."""
        # Few memories end: only for those the view is asked, which looks into git's history.
        found = [
            "((m.expires IS NULL AND m.ttl IS NULL)"
            " OR (SELECT a.ends FROM memory_at AS a WHERE a.id = m.id) > ?)"
        ]
        values: list[object] = [self.now]
        if self.folders is not None:
            condition, bounds = _in_any(self.folders)
            found.append(condition)
            values += bounds
        if self.denied:
            condition, bounds = _in_any(self.denied, "compared(m.path)")
            found.append(f"NOT {condition}")
            values += bounds
        if self.scope:
            condition, bounds = _below((self.scope,))
            found.append(condition)
            values += bounds
        for group in self.groups():
            pairs_of_sql = [condition.sql() for condition in group]
            found.append("(" + " OR ".join(text for text, _ in pairs_of_sql) + ")")
            values += [value for _, parameters in pairs_of_sql for value in parameters]
        if self.without:
            found.append(
                "m.id NOT IN (SELECT w.memory_id FROM chunk_text JOIN chunk AS w"
                " ON w.id = chunk_text.rowid WHERE chunk_text MATCH ?)"
            )
            values.append(self.without.match_expression())
        return " AND ".join(found), values

    def groups(self) -> list[list[Condition]]:
        """Conditions of which one must hold: several paths are places to look in, so are agents."""
        groups: list[list[Condition]] = []
        for key in ("path", "agent"):
            wanted = [c for c in self.conditions if c.key == key and not c.negated]
            groups += [wanted] if wanted else []
        alone = [c for c in self.conditions if c.negated or c.key not in ("path", "agent")]
        return groups + [[condition] for condition in alone]

    def as_json(self) -> dict[str, Any]:
        """The filter as what JSON can hold."""
        return self._asdict() | {"without": self.without._asdict()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Filter:
        """The filter that `as_json` wrote."""
        folders = data["folders"]
        return cls(
            None if folders is None else tuple(map(str, folders)),
            str(data["scope"]),
            float(data["now"]),
            tuple(Condition(str(k), v, bool(n)) for k, v, n in data["conditions"]),
            Words(tuple(Term(str(text)) for (text,) in data["without"]["terms"])),
            tuple(map(str, data["denied"])),
        )


def _in_any(rels: tuple[str, ...], path: str = "m.path") -> tuple[str, list[object]]:
    """Whether a path is one of `rels` or below one."""
    condition = " OR ".join(f"({path} = ? OR ({path} >= ? AND {path} < ?))" for _ in rels) or "0"
    return f"({condition})", [bound for rel in rels for bound in (rel, f"{rel}/", f"{rel}0")]


def _below(folders: tuple[str, ...] | list[str]) -> tuple[str, list[object]]:
    condition = " OR ".join("(m.path >= ? AND m.path < ?)" for _ in folders) or "0"
    # '0' follows '/' in UTF-8 and in SQLite's binary collation.
    return f"({condition})", [bound for folder in folders for bound in (f"{folder}/", f"{folder}0")]


def _path_sql(value: str) -> tuple[str, list[object]]:
    if value.endswith("*"):
        start = value.rstrip("*")
        return "(substr(m.path, 1, ?) = ?)", [len(start), start]
    if not value:
        return "(1)", []
    below, bounds = _below([value])
    return f"(m.path = ? OR m.path = ? OR {below})", [value, f"{value}.md", *bounds]
