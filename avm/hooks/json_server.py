"""AVM's MCP server in a host's JSON file."""

from __future__ import annotations

from typing import Any, NamedTuple

from avm.base.errors import ExistsError
from avm.hooks import json_text
from avm.hooks.json_text import Keys, Node
from avm.hooks.part import ANOTHERS, SERVER, starts_server

#: What says how a server is started; the rest is the person's once it is there.
_COMMAND = ("command", "args")


class Form(NamedTuple):
    """The object in which a host looks for servers, and what one is there."""

    keys: Keys
    server: dict[str, Any]


class JsonServer:
    """A member `avm` of an object of servers.

    Of several forms the last is put in, unless the file has servers of an earlier one.
    """

    what = "MCP server"

    def __init__(self, *forms: Form) -> None:
        self._forms = forms

    def put(self, text: str) -> str:
        text = json_text.or_empty(text)
        root = json_text.parse(text)
        for form in self._forms:
            if node := _server(root, form):
                return _updated(text, node, form)
        form = next((form for form in self._forms if _has_servers(root, form)), self._forms[-1])
        return json_text.insert(text, (*form.keys, SERVER), form.server)

    def take(self, text: str, original: str | None) -> str:
        for form in self._forms:
            node = _server(json_text.parse(text), form)
            if node and _is_ours(node.value):
                text = json_text.remove(text, (*form.keys, SERVER), original)
        return text

    def is_in(self, text: str) -> bool:
        root = json_text.parse(json_text.or_empty(text))
        nodes = [_server(root, form) for form in self._forms]
        return any(node and _is_ours(node.value) for node in nodes)

    def words(self, text: str) -> list[str]:
        root = json_text.parse(json_text.or_empty(text))
        nodes = (_server(root, form) for form in self._forms)
        ours = (_words(node.value) for node in nodes if node and _is_ours(node.value))
        return next(ours, [])

    def is_all(self, text: str) -> bool:
        return json_text.is_empty(text)


def _server(root: Node, form: Form) -> Node | None:
    return json_text.find(root, (*form.keys, SERVER))


def _has_servers(root: Node, form: Form) -> bool:
    node = json_text.find(root, form.keys)
    return node is not None and node.is_object


def _updated(text: str, node: Node, form: Form) -> str:
    there = node.value
    keys = (*form.keys, SERVER)
    if not _is_ours(there):
        raise ExistsError(f"{json_text.dotted(keys)} {ANOTHERS}")
    for key in _COMMAND:
        wanted = form.server.get(key)
        if wanted is None or there.get(key) == wanted:
            continue
        change = json_text.replace if key in there else json_text.insert
        text = change(text, (*keys, key), wanted)
    return text


def _is_ours(server: object) -> bool:
    return starts_server(_words(server))


def _words(server: object) -> list[Any]:
    """The command line of a server; [] for what is none."""
    words: list[Any] = []
    if not isinstance(server, dict):
        return words
    for key in _COMMAND:
        value = server.get(key, [])
        words += value if isinstance(value, list) else [value]
    return words
