"""What the owner's configuration gives and denies agents: `[agents.NAME]` and `[groups.NAME]`.

Read from the owner's own files alone, never from the vault. Groups add up; `deny` and `read_only`
of any of them hold; of several bounds the least, but an agent's own comes first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from avm.base import paths
from avm.base.access import Rules
from avm.base.errors import UsageError

_LISTS = ("read", "write", "deny")
_BOUNDS = ("max_files", "max_bytes")
_AGENT_KEYS = (*_LISTS, "read_only", *_BOUNDS)
_GROUP_KEYS = ("members", *_AGENT_KEYS)
#: A member of a group: every agent.
EVERYBODY = "*"
_SIZE = re.compile(r"(\d+)\s*([kMG]?)B?")
_UNITS = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3}


class AccessRules:
    """The rules of one configuration."""

    def __init__(self) -> None:
        self._agents: dict[str, dict[str, Any]] = {}
        self._groups: dict[str, dict[str, Any]] = {}

    def add(self, kind: str, name: str, table: object) -> None:
        """Take in a table of a file that comes before what was added earlier: its keys win.

        Raises UsageError that names the key.
        """
        known = _AGENT_KEYS if kind == "agents" else _GROUP_KEYS
        if kind == "agents":
            paths.check_agent(name)
        if not isinstance(table, Mapping):
            raise UsageError(f"{kind}.{name}: give a table of {', '.join(known)}")
        read = {key: _read(f"{kind}.{name}.{key}", key, table[key], known) for key in table}
        tables = self._agents if kind == "agents" else self._groups
        tables[name] = tables.get(name, {}) | read

    def of(self, agent: str) -> Rules:
        """What holds for an agent."""
        own = self._agents.get(agent, {})
        groups = [
            group
            for group in self._groups.values()
            if group.get("members", frozenset()) & {agent, EVERYBODY}
        ]
        if not own and not groups:
            return Rules()
        every = (own, *groups)

        def joined(key: str) -> tuple[str, ...]:
            return tuple(dict.fromkeys(rel for one in every for rel in one.get(key, ())))

        def bound(key: str) -> int | None:
            return own.get(key, _least(group.get(key) for group in groups))

        return Rules(
            joined("read"),
            joined("write"),
            joined("deny"),
            read_only=any(one.get("read_only", False) for one in every),
            max_files=bound("max_files"),
            max_bytes=bound("max_bytes"),
        )


def _least(numbers: Any) -> int | None:
    return min((number for number in numbers if number is not None), default=None)


def _read(where: str, key: str, value: Any, known: tuple[str, ...]) -> Any:
    if key not in known:
        raise UsageError(f"unknown key {where!r}; there are {', '.join(known)}")
    if key in _LISTS:
        return tuple(_rel(where, item) for item in _items(where, value))
    if key == "members":
        names = _items(where, value)
        return frozenset(name if name == EVERYBODY else paths.check_agent(name) for name in names)
    if key == "read_only":
        if not isinstance(value, bool):
            raise UsageError(f"{where} is {value!r}: use true or false")
        return value
    return _size(where, value)


def _items(where: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{where} is {value!r}: give a list of text")
    return value


def _rel(where: str, pattern: str) -> str:
    """A folder with all in it, or one file: `/projects/**`, `/projects/plan.md`."""
    path = pattern.removesuffix("/**").rstrip("/")
    if any(char in path for char in "*?[") or not path.startswith("/"):
        raise UsageError(
            f"{where} holds {pattern!r}: give a folder such as /projects/** or a file such as"
            " /projects/plan.md"
        )
    rel = paths.clean_rel(path)
    if not rel or paths.in_dot_git(rel):
        raise UsageError(f"{where} holds {pattern!r}: name a folder or file of the vault")
    return rel


def _size(where: str, value: Any) -> int:
    match = _SIZE.fullmatch(str(value)) if not isinstance(value, bool) else None
    if match is None:
        raise UsageError(f"{where} is {value!r}: give a whole number, or a size such as 10MB")
    return int(match[1]) * _UNITS[match[2]]
