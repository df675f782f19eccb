"""Brings the generated parts of docs/ up to date: `python tests/tools/make_docs.py`.

Generated is what stands between `<!-- begin NAME -->` and `<!-- end -->`: the options of each verb
in docs/cli.md, the table of nodes in docs/nodes.md, that of checks in docs/doctor.md. The answers
of the examples in docs/nodes.md are taken from the sample vault. tests/docs/test_docs.py holds all
of it to the code.
"""

from __future__ import annotations

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from avm.cli import VERBS, cli
from avm.cli.doctor import CHECKS
from avm.overlay.nodes import NODES

ROOT = Path(__file__).parents[2]
#: When the examples are asked, and what the sample vault is committed at.
NOW = "2026-11-20T09:00:00Z"
#: A commit's hash is made of these too, and some examples print one.
_SAME_HASHES = {
    "GIT_AUTHOR_NAME": "Pat Person",
    "GIT_AUTHOR_EMAIL": "pat@example.org",
    "GIT_AUTHOR_DATE": NOW,
    "GIT_COMMITTER_NAME": "Pat Person",
    "GIT_COMMITTER_EMAIL": "pat@example.org",
    "GIT_COMMITTER_DATE": NOW,
    "TZ": "UTC",
}
SHARED_OPTIONS = ("vault", "agent", "json")
_PART = re.compile(r"(<!-- begin ([\w -]+) -->\n).*?(<!-- end -->)", re.DOTALL)
#: A golden example: the marker, then a block of a command and what it prints.
_EXAMPLE = re.compile(
    r"(<!-- golden -->\n(`{3,})console\n)\$ ([^\n]+)\n(.*?)^\2$", re.DOTALL | re.MULTILINE
)


def with_parts(text: str) -> str:
    """A page with its generated parts as the code has them now."""

    def made(match: re.Match[str]) -> str:
        what, _, name = match[2].partition(" ")
        parts = {"verb": lambda: verb_part(name), "nodes": nodes_part, "checks": checks_part}
        body = parts[what]()
        return f"{match[1]}{body}{match[3]}"

    return _PART.sub(made, text)


def verb(name: str) -> click.Command:
    """The command behind a verb."""
    command = cli.get_command(click.Context(cli), name)  # type: ignore[attr-defined]
    assert isinstance(command, click.Command)
    return command


def verb_part(name: str) -> str:
    """What a verb is called with, what it does, its options less those that all verbs share."""
    command = verb(name)
    parts = (
        [f"\n{inspect.cleandoc(command.help or '')}\n"] if isinstance(command, click.Group) else []
    )
    return "".join(parts + [part(words, one) for words, one in within(name, command)])


def within(name: str, command: click.Command) -> list[tuple[str, click.Command]]:
    """A verb, or the verbs of a group, with the words that call them."""
    if not isinstance(command, click.Group):
        return [(name, command)]
    return [(f"{name} {word}", command.commands[word]) for word in sorted(command.commands)]


def part(name: str, command: click.Command) -> str:
    """The same of one command."""
    usage, options = [f"avm {name}"], []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            shown = parameter.metavar or (parameter.name or "").upper()
            shown += "..." if parameter.nargs == -1 else ""
            usage.append(shown if parameter.required else f"[{shown}]")
        elif isinstance(parameter, click.Option) and is_own(parameter):
            value = (parameter.metavar or parameter.opts[-1].lstrip("-")).upper()
            shown = ", ".join([*parameter.opts, *parameter.secondary_opts])
            shown += "" if parameter.is_flag else f" {value}"
            options.append(f"| `{shown}` | {parameter.help} |\n")
            usage[1:1] = ["[OPTIONS]"] if len(options) == 1 else []
    table = "\n| option | meaning |\n|---|---|\n" + "".join(options) if options else ""
    paragraphs = inspect.cleandoc(command.help or "")
    return f"\n    {' '.join(usage)}\n\n{paragraphs}\n{table}\n"


def is_own(option: click.Option) -> bool:
    """Whether an option is shown, and is not one that every verb has."""
    return not option.hidden and option.name not in SHARED_OPTIONS


def nodes_part() -> str:
    """The table of nodes with their parameters and what may be written to them."""
    lines = ["\n| node | answers | parameters | may be written |\n|---|---|---|---|\n"]
    for node in NODES:
        told = "; ".join(f"`{name}`: {what}" for name, what in node.parameters.items()) or "none"
        lines.append(f"| `{node.shown}` | {node.doc} | {told} | {node.takes or 'no'} |\n")
    return "".join(lines) + "\n"


def checks_part() -> str:
    """The table of what doctor looks for."""
    lines = ["\n| check | looks for | `--fix` | an agent's |\n|---|---|---|---|\n"]
    for check in CHECKS:
        agents = "yes" if check.for_agents else "no"
        lines.append(f"| `{check.name}` | {check.doc} | {check.mended or 'no'} | {agents} |\n")
    return "".join(lines) + "\n"


def examples(text: str) -> list[tuple[str, str]]:
    """The golden examples of a page: (command, exact output)."""
    return [(match[3], match[4]) for match in _EXAMPLE.finditer(text)]


def with_answers(text: str, vault: Path) -> str:
    """A page whose examples show what the sample vault answers now."""

    def made(match: re.Match[str]) -> str:
        return f"{match[1]}$ {match[3]}\n{ask(match[3], vault)}{match[2]}"

    return _EXAMPLE.sub(made, text)


def sample(folder: Path) -> Path:
    """A vault in `folder` with the sample memories, committed at `NOW`."""
    vault = folder / "vault"
    for command in (["init", str(vault)], ["commit", "--vault", str(vault), "-m", "Sample"]):
        if command[0] == "commit":
            shutil.copytree(ROOT / "sample-vault", vault, dirs_exist_ok=True)
        _avm(command, vault)
    return vault


def ask(command: str, vault: Path) -> str:
    """What an example prints."""
    words = shlex.split(command)
    assert words[:2] == ["avm", "cat"], command
    return _avm(words[1:], vault)


def _avm(args: list[str], vault: Path) -> str:
    env = {**os.environ, **_SAME_HASHES, "AVM_CLOCK": NOW, "AVM_SEMANTIC": "off"}
    if args[0] != "init":
        env["AVM_VAULT"] = str(vault)
    run = [sys.executable, "-m", "avm", *args]
    done = subprocess.run(run, cwd=vault.parent, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def main() -> None:
    """Rewrite docs/cli.md, docs/nodes.md and docs/doctor.md."""
    with tempfile.TemporaryDirectory() as folder:
        vault = sample(Path(folder))
        for name in ("cli.md", "nodes.md", "doctor.md"):
            page = ROOT / "docs" / name
            page.write_text(with_answers(with_parts(page.read_text("utf-8")), vault), "utf-8")
            print(page, len(VERBS), "verbs", len(NODES), "nodes")


if __name__ == "__main__":
    main()
