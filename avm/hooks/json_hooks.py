"""AVM's hooks in Claude Code's settings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from avm.hooks import json_text
from avm.hooks.json_text import Keys
from avm.hooks.part import starts_hook

_HOOKS = "hooks"


class JsonHooks:
    """A command for each event, in a group of its own at the end of the event's list."""

    what = "hooks"

    def __init__(self, host: str, commands: Mapping[str, str], seconds: int) -> None:
        self._host = host
        self._commands = commands
        self._seconds = seconds

    def put(self, text: str) -> str:
        text = json_text.or_empty(text)
        for event, command in self._commands.items():
            ours = self._ours(text, event)
            if not ours:
                text = json_text.append(text, (_HOOKS, event), self._group(command))
            for keys in ours:
                text = _with_command(text, (*keys, "command"), command)
        return text

    def take(self, text: str, original: str | None) -> str:
        # From the end: what is left keeps its place.
        for *group, within, index in reversed(self._ours(text)):
            node = json_text.find(json_text.parse(text), (*group, within))
            alone = node is not None and len(node.value) == 1
            keys = tuple(group) if alone else (*group, within, index)
            text = json_text.remove(text, keys, original)
        return text

    def is_in(self, text: str) -> bool:
        return bool(self._ours(json_text.or_empty(text)))

    def words(self, text: str) -> list[str]:
        return []

    def is_all(self, text: str) -> bool:
        return json_text.is_empty(text)

    def _group(self, command: str) -> dict[str, Any]:
        return {_HOOKS: [{"type": "command", "command": command, "timeout": self._seconds}]}

    def _ours(self, text: str, event: str | None = None) -> list[Keys]:
        """The keys of each hook that calls AVM, of one event or of all."""
        whole = json_text.parse(text).value
        events = whole.get(_HOOKS) if isinstance(whole, dict) else None
        return [
            (_HOOKS, name, number, _HOOKS, index)
            for name, groups in (events.items() if isinstance(events, dict) else ())
            if event in (None, name)
            for number, group in enumerate(groups if isinstance(groups, list) else ())
            for index, hook in enumerate(_hooks_of(group))
            if self._is_ours(hook)
        ]

    def _is_ours(self, hook: object) -> bool:
        command = hook.get("command") if isinstance(hook, dict) else None
        if not isinstance(command, str):
            return False
        try:
            words = shlex.split(command)
        except ValueError:
            return False
        return starts_hook(words, self._host)


def _hooks_of(group: object) -> list[object]:
    hooks = group.get(_HOOKS) if isinstance(group, dict) else None
    return hooks if isinstance(hooks, list) else []


def _with_command(text: str, keys: Keys, command: str) -> str:
    node = json_text.find(json_text.parse(text), keys)
    if node is not None and node.value == command:
        return text
    return json_text.replace(text, keys, command)
