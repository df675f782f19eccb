"""`avm mcp`: the Model Context Protocol."""

from __future__ import annotations

from importlib.util import find_spec

import click

from avm.api.waiting import Waiting
from avm.base.errors import UsageError
from avm.cli.door import Door, shared

_PORT = 8365


@click.command("mcp")
@click.option("--http", metavar="HOST:PORT", help="Serve on HTTP instead of stdin and stdout.")
@shared
@click.pass_obj
def command(door: Door, http: str | None) -> None:
    """Serve the vault to agents by the Model Context Protocol, on stdin and stdout.

    With --agent for that agent, else for the owner. Over HTTP, at /mcp, each request acts for the
    agent of its bearer token (avm token create). docs/mcp.md has the tools.
    """
    if find_spec("mcp") is None:
        raise UsageError("the MCP server needs: pip install 'avm-memory[mcp]'")
    avm = door.avm(Waiting.LIBRARY)
    from avm.mcp import server

    if http is None:
        server.serve_stdio(avm, avm.store.config["agent"])
        return
    host, _, port = http.rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"--http {http!r}: give HOST:PORT, such as 127.0.0.1:{_PORT}")
    if avm.store.config["agent"] is not None:
        raise UsageError("over HTTP a token says who the agent is: leave --agent out")
    server.serve_http(avm, host.strip("[]") or "127.0.0.1", int(port))
