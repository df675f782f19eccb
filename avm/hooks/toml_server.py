"""AVM's MCP server in Codex's TOML file: a block between marks; each change is read back."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from typing import Any

from avm.base.errors import ExistsError
from avm.hooks import block
from avm.hooks.part import ANOTHERS, SERVER, starts_server
from avm.hooks.text import BOM, TextError, is_blank, lines

_SERVERS = "mcp_servers"
_HEADER = re.compile(
    rf"""\[\s*(["']?){_SERVERS}\1\s*\.\s*(["']?){SERVER}\2\s*(?P<sub>\.[^\]]*)?\]"""
)
_BY_HAND = f"[{_SERVERS}.{SERVER}] cannot be changed with certainty: do it by hand"


class TomlServer:
    """The table `mcp_servers.avm`."""

    what = "MCP server"

    def __init__(self, words: Sequence[str]) -> None:
        self._server = {"command": words[0], "args": list(words[1:])}

    def put(self, text: str) -> str:
        data = _load(text)
        there = _server(data)
        if there is None:
            return self._checked(block.put(text, self._body(), block.TOML), data)
        if not _is_ours(there):
            raise ExistsError(f"{_SERVERS}.{SERVER} {ANOTHERS}")
        if {key: there.get(key) for key in self._server} == self._server:
            return text
        return self._checked(self._updated(text), data)

    def take(self, text: str, original: str | None) -> str:
        data = _load(text)
        if not _is_ours(_server(data)):
            return text
        del data[_SERVERS][SERVER]
        for taken in (_without_block(text), _without_table(text)):
            if _same(taken, data):
                return taken
        raise TextError(_BY_HAND, _line_of_table(text))

    def is_in(self, text: str) -> bool:
        return _is_ours(_server(_load(text)))

    def words(self, text: str) -> list[str]:
        there = _server(_load(text))
        return _words(there) if _is_ours(there) else []

    def is_all(self, text: str) -> bool:
        return is_blank(text)

    def _body(self) -> str:
        pairs = (f"{key} = {_shown(value)}\n" for key, value in self._server.items())
        return "".join((f"[{_SERVERS}.{SERVER}]\n", *pairs))

    def _updated(self, text: str) -> str:
        """The text with other values in the lines of the table that say how AVM is started."""
        inside = False
        changed = lines(text)
        for number, line in enumerate(changed):
            if line.lstrip().startswith("["):
                header = _HEADER.match(line.strip())
                inside = header is not None and header["sub"] is None
            key = line.partition("=")[0].strip()
            if inside and key in self._server:
                end = line[len(line.rstrip("\r\n")) :]
                changed[number] = f"{key} = {_shown(self._server[key])}{end}"
        return "".join(changed)

    def _checked(self, text: str, data: dict[str, Any]) -> str:
        """`text`, if it is the one of `data` with this server. Raises TextError."""
        servers = data.setdefault(_SERVERS, {})
        servers[SERVER] = {**servers.get(SERVER, {}), **self._server}
        if not _same(text, data):
            raise TextError(_BY_HAND, _line_of_table(text))
        return text


def _load(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text.removeprefix(BOM).replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as err:
        line = re.search(r"at line (\d+)", str(err))
        last = text.count("\n") + 1
        raise TextError(str(err), int(line[1]) if line else last) from None


def _same(text: str, data: dict[str, Any]) -> bool:
    """Whether a text says the same as `data`; no servers and an empty table of them are alike."""
    try:
        read = _load(text)
    except TextError:
        return False
    return {_SERVERS: {}, **read} == {_SERVERS: {}, **data}


def _server(data: dict[str, Any]) -> Any:
    servers = data.get(_SERVERS, {})
    if not isinstance(servers, dict):
        raise TextError(f"{_SERVERS} is not a table", 1)
    return servers.get(SERVER)


def _is_ours(server: object) -> bool:
    return starts_server(_words(server))


def _words(server: object) -> list[Any]:
    """The command line of a server; [] for what is none."""
    if not isinstance(server, dict):
        return []
    args = server.get("args", [])
    return [server.get("command"), *(args if isinstance(args, list) else ())]


def _without_block(text: str) -> str:
    try:
        return block.take(text, block.TOML)
    except TextError:
        return text


def _without_table(text: str) -> str:
    """Without the marks and the table's own lines: a host may have put others between the marks."""
    inside = False
    kept: list[str] = []
    for line in lines(text):
        bare = line.strip()
        if bare.startswith("["):
            inside = _HEADER.match(bare) is not None
        if bare == block.TOML.begin and kept and not kept[-1].strip():
            kept.pop()
        if bare in block.TOML or (inside and bare and not bare.startswith("#")):
            continue
        kept.append(line)
    return "".join(kept)


def _line_of_table(text: str) -> int:
    found = (number for number, line in enumerate(lines(text), 1) if _HEADER.match(line.strip()))
    return next(found, 1)


def _shown(value: object) -> str:
    # A JSON string is a TOML string, an array of them in one line an array.
    return json.dumps(value, ensure_ascii=False)
