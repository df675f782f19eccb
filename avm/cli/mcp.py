"""`avm mcp`: the Model Context Protocol."""

from __future__ import annotations

import click

from avm.api.waiting import Waiting
from avm.base.errors import UsageError
from avm.cli.door import Door, shared, warn

_PORT = 8365


@click.command("mcp")
@click.option(
    "--http", metavar="HOST:PORT", help="Serve on HTTP instead of stdin and stdout; port 0: any."
)
@click.option(
    "--name", "names", metavar="HOST", multiple=True,
    help="What clients call the HTTP server, where not HOST or localhost; may be repeated.",
)  # fmt: skip
@shared
@click.pass_obj
def command(door: Door, http: str | None, names: tuple[str, ...]) -> None:
    """Serve the vault to agents by the Model Context Protocol, on stdin and stdout.

    With --agent for that agent, else for the owner. Over HTTP, at /mcp, each request acts for the
    agent of its bearer token (avm token create). docs/mcp.md has the tools.
    """
    address = None if http is None else _address(http)
    avm = door.avm(Waiting.LIBRARY, known=True)
    avm.store.supervision.door = "mcp"
    agent = avm.store.config["agent"]
    try:
        from avm.mcp import server
    except ImportError as err:
        needs = "the MCP server needs: pip install 'avm-memory[mcp]'"
        raise UsageError(f"{needs} ({err})") from None
    if address is None:
        server.serve_stdio(avm, agent)
    elif agent is not None:
        raise UsageError("over HTTP a token says who the agent is: leave --agent out")
    else:
        server.serve_http(avm, *address, names, warn)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise UsageError(f"--http {text!r}: give HOST:PORT, such as 127.0.0.1:{_PORT}")
    return host, int(port)
