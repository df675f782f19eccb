"""The plugin for Claude Code is what `avm install-agent` does, and names what there is."""

from __future__ import annotations

import json
import re
import shlex
import sys

import click
import pytest
from conftest import ROOT

from avm.cli import cli
from avm.cli.door import Door
from avm.hooks import hosts
from avm.hooks.hosts import Launch
from avm.hooks.instructions import TEXT

sys.path.insert(0, str(ROOT / "tests" / "tools"))
import make_docs

PLUGIN = ROOT / "hooks" / "claude-code"
LAUNCH = Launch("avm", "claude-code")


def test_the_plugin_says_what_an_installation_does() -> None:
    assert (PLUGIN / "hooks/hooks.json").read_text() == hosts.hooks(LAUNCH).put("")
    assert (PLUGIN / ".mcp.json").read_text() == hosts.server(LAUNCH).put("")


def test_the_plugin_s_commands_are_ones_that_avm_knows() -> None:
    groups = json.loads((PLUGIN / "hooks/hooks.json").read_text())["hooks"]
    hooks = [hook for event in groups.values() for group in event for hook in group["hooks"]]
    server = json.loads((PLUGIN / ".mcp.json").read_text())["mcpServers"]["avm"]
    lines = [shlex.split(hook["command"]) for hook in hooks]
    for program, verb, *rest in [*lines, [server["command"], *server["args"]]]:
        assert program == "avm"
        parent = click.Context(cli, obj=Door(None, None))
        with make_docs.verb(verb).make_context(verb, rest, parent=parent):
            pass


def test_the_plugin_s_manifests_name_it_alike() -> None:
    plugin = json.loads((PLUGIN / ".claude-plugin/plugin.json").read_text())
    market = json.loads((PLUGIN / ".claude-plugin/marketplace.json").read_text())
    assert [entry["name"] for entry in market["plugins"]] == [plugin["name"]] == ["avm"]
    skill = (PLUGIN / "skills/avm-memory/SKILL.md").read_text()
    assert skill.startswith("---\nname: avm-memory\ndescription: ")
    assert len(skill.splitlines()) <= 80


@pytest.mark.parametrize("name", ["skills/avm-memory/SKILL.md", "TEXT"])
def test_only_tools_that_there_are_are_named(name: str) -> None:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    from avm.mcp.tools import Tools

    tools = {tool.name for tool in Tools(lambda: pytest.fail("nobody asks")).all()}
    text = TEXT if name == "TEXT" else (PLUGIN / name).read_text()
    assert set(re.findall(r"\bavm_\w+", text)) == tools
