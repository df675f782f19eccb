"""What the owner's configuration gives and denies agents: `[agents.NAME]` and `[groups.NAME]`.

Read from the owner's own files alone, never from the vault. Groups add up with an agent's own
table; `deny` and `read_only` of any of them hold, and the least quota.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from avm.base import paths
from avm.base.access import Quota, Rules
from avm.base.errors import UsageError

_LISTS = ("read", "write", "deny")
_AGENT_KEYS = (*_LISTS, "read_only", "quota")
_GROUP_KEYS = ("members", *_AGENT_KEYS)
_BYTES = re.compile(r"(\d+)\s*(k|M|G|Ki|Mi|Gi)?B", re.ASCII)
_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
#: A member of a group: every agent.
EVERYBODY = "*"


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
        every = (own, *groups)

        def joined(key: str) -> tuple[str, ...]:
            return tuple(dict.fromkeys(rel for one in every for rel in one.get(key, ())))

        return Rules(
            joined("read"),
            joined("write"),
            joined("deny"),
            read_only=any(one.get("read_only", False) for one in every),
            quota=_least([one["quota"] for one in every if "quota" in one]),
        )


def _read(where: str, key: str, value: Any, known: tuple[str, ...]) -> Any:
    if key not in known:
        raise UsageError(f"unknown key {where!r}; there are {', '.join(known)}")
    if key in _LISTS:
        return tuple(_rel(where, item) for item in _items(where, value))
    if key == "members":
        names = _items(where, value)
        return frozenset(name if name == EVERYBODY else paths.check_agent(name) for name in names)
    if key == "quota":
        return _quota(where, value)
    if not isinstance(value, bool):
        raise UsageError(f"{where} is {value!r}: use true or false")
    return value


def _quota(where: str, value: Any) -> Quota:
    if not isinstance(value, Mapping):
        raise UsageError(
            f'{where} is {value!r}: give a table such as {{ files = 500, bytes = "20 MB" }}'
        )
    for key in value:
        if key not in Quota._fields:
            raise UsageError(
                f"unknown key {f'{where}.{key}'!r}; there are {', '.join(Quota._fields)}"
            )
    return Quota(**{key: _amount(f"{where}.{key}", key, value[key]) for key in value})


def _amount(where: str, key: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    read = _BYTES.fullmatch(value) if key == "bytes" and isinstance(value, str) else None
    if read is None:
        example = ', or with a unit, such as "20 MB"' if key == "bytes" else ""
        raise UsageError(f"{where} is {value!r}: give a whole number{example}")
    return int(read[1]) * _UNITS.get(read[2], 1)


def _least(quotas: list[Quota]) -> Quota:
    """The least of each amount that one of them limits."""
    amounts = zip(*quotas, strict=True) if quotas else ()
    limited = [[one for one in amount if one is not None] for amount in amounts]
    return Quota(*(min(some) if some else None for some in limited))


def _items(where: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{where} is {value!r}: give a list of text")
    return value


def _rel(where: str, pattern: str) -> str:
    """A folder with all in it, or one file: `/projects/**`, `/projects/plan.md`."""
    path = pattern.removesuffix("/**").rstrip("/")
    if not path and pattern:
        raise UsageError(f"{where} holds {pattern!r}: name folders and files of the vault, not all")
    if any(char in path for char in "*?[") or not path.startswith("/"):
        raise UsageError(
            f"{where} holds {pattern!r}: give a folder such as /projects/** or a file such as"
            " /projects/plan.md"
        )
    try:
        rel = paths.clean_rel(path)
    except UsageError as err:
        raise UsageError(f"{where}: {err}") from None
    if not rel or paths.in_dot_git(rel):
        raise UsageError(f"{where} holds {pattern!r}: name a folder or file of the vault")
    return rel
