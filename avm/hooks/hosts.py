"""The hosts: which of their files say what, by their makers' documentation.

Claude Code  .mcp.json, ~/.claude.json, `mcpServers`: https://code.claude.com/docs/en/mcp
             settings.json, `hooks`, their events, `timeout` in seconds (without one in the settings
             all hooks of SessionEnd together have 1.5): https://code.claude.com/docs/en/hooks
             CLAUDE_CONFIG_DIR moves both: https://code.claude.com/docs/en/env-vars
Codex        config.toml, `mcp_servers`, a project's only where it is trusted:
             https://developers.openai.com/codex/mcp, https://developers.openai.com/codex/config-basic
             AGENTS.md, CODEX_HOME: https://developers.openai.com/codex/guides/agents-md
OpenCode     opencode.json(c), `mcp.servers` of version 2: https://opencode.ai/v2/docs/mcp-servers
             `mcp` of version 1, which version 2 reads too: https://opencode.ai/docs/migrate-v1
             AGENTS.md: https://opencode.ai/v1/docs/rules, https://opencode.ai/docs/instructions
Cursor       mcp.json, `mcpServers`: https://cursor.com/docs/mcp
             AGENTS.md; a user's rules stand in its settings only: https://cursor.com/docs/rules

All read on 2026-11-28.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from avm.base.config import user_config_home
from avm.hooks.claude_code import EVENTS
from avm.hooks.instructions import Instructions
from avm.hooks.json_hooks import JsonHooks
from avm.hooks.json_server import Form, JsonServer
from avm.hooks.part import Part
from avm.hooks.toml_server import TomlServer

#: How long Claude Code waits for a hook.
_SECONDS = 10


class Launch(NamedTuple):
    """How a host starts AVM: the program's name or path, for which agent, in which vault.

    Without a vault it is the one that AVM finds by itself.
    """

    program: str
    agent: str
    vault: Path | None = None

    def words(self, *verb: str) -> list[str]:
        """The command line of a verb."""
        vault = ["--vault", str(self.vault)] if self.vault else []
        return [self.program, *verb, "--agent", self.agent, *vault]


class File(NamedTuple):
    """A file of a host by the names that it may have, and what AVM puts there."""

    places: tuple[Path, ...]
    part: Part


class Host(NamedTuple):
    """A coding agent. `files` says them for a project's folder, or for the user where it is None.

    `missing` is what the user's files leave out, "" if nothing.
    """

    files: Callable[[Launch, Path | None], list[File]]
    missing: str = ""


def hooks(launch: Launch) -> JsonHooks:
    """Claude Code's hooks."""
    commands = {event: shlex.join(launch.words("hook", "claude-code", event)) for event in EVENTS}
    return JsonHooks("claude-code", commands, _SECONDS)


def server(launch: Launch) -> JsonServer:
    """The MCP server as Claude Code and Cursor have it."""
    program, *args = launch.words("mcp")
    return JsonServer(Form(("mcpServers",), {"command": program, "args": args}))


def _claude_code(launch: Launch, project: Path | None) -> list[File]:
    if project:
        servers, settings = project / ".mcp.json", project / ".claude"
    else:
        moved = os.environ.get("CLAUDE_CONFIG_DIR")
        settings = Path(moved) if moved else Path.home() / ".claude"
        servers = (settings if moved else Path.home()) / ".claude.json"
    return [
        File((servers,), server(launch)),
        File((settings / "settings.json",), hooks(launch)),
    ]


def _codex(launch: Launch, project: Path | None) -> list[File]:
    home = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
    config = project / ".codex" if project else home
    return [
        File((config / "config.toml",), TomlServer(launch.words("mcp"))),
        File(((project or home) / "AGENTS.md",), Instructions()),
    ]


def _opencode(launch: Launch, project: Path | None) -> list[File]:
    folder = project or user_config_home() / "opencode"
    local = {"type": "local", "command": launch.words("mcp")}
    form, form_1 = Form(("mcp", "servers"), local), Form(("mcp",), {**local, "enabled": True})
    return [
        File((folder / "opencode.json", folder / "opencode.jsonc"), JsonServer(form, form_1)),
        File((folder / "AGENTS.md",), Instructions()),
    ]


def _cursor(launch: Launch, project: Path | None) -> list[File]:
    files = [File(((project or Path.home()) / ".cursor" / "mcp.json",), server(launch))]
    if project:
        files.append(File((project / "AGENTS.md",), Instructions()))
    return files


HOSTS = {
    "claude-code": Host(_claude_code),
    "codex": Host(_codex),
    "opencode": Host(_opencode),
    "cursor": Host(
        _cursor,
        "Cursor has no file of rules for a user: to tell it when to remember, write that into its"
        " settings (Rules), or install with --project",
    ),
}
