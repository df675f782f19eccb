"""The documentation is true: complete against the code, its examples run as printed."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import click
import pytest
from conftest import ROOT, needs_fuse, run_avm

from avm import AVM
from avm.base import config
from avm.base.errors import AVMError
from avm.cli import VERBS, cli
from avm.cli.doctor import CHECKS
from avm.overlay.nodes import NODES
from avm.recall.query import KEYS

sys.path.insert(0, str(ROOT / "tests" / "tools"))
import make_docs

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def read(name: str) -> str:
    """A page of docs/."""
    return (DOCS / name).read_text("utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of all tables in a page, headers and rules aside."""
    cells = [
        re.split(r" ?(?<!\\)\| ?", line)[1:-1] for line in text.splitlines() if line[:1] == "|"
    ]
    return [row for n, row in enumerate(cells) if not _is_header(cells, n)]


def _is_header(cells: list[list[str]], n: int) -> bool:
    rules = [set("".join(row)) <= {"-", ":"} for row in cells[n : n + 2]]
    return any(rules)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


# Command line


@pytest.mark.parametrize("page", ["cli.md", "nodes.md", "doctor.md"])
def test_generated_parts_are_what_the_code_says(page: str) -> None:
    text = read(page)
    assert make_docs.with_parts(text) == text, "run python tests/tools/make_docs.py"


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_and_option_is_documented(name: str) -> None:
    text = read("cli.md")
    section = text.split(f"\n## avm {name}\n")[1].split("\n## ")[0]
    for _, command in make_docs.within(name, make_docs.verb(name)):
        own = [p for p in command.params if isinstance(p, click.Option) and make_docs.is_own(p)]
        for option in own:
            assert option.help, option.name
            for flag in option.opts:
                assert re.search(rf"^\| `[^`]*{re.escape(flag)}\b", section, re.MULTILINE), flag
        flags = {flag for parameter in command.params for flag in parameter.opts}
        for flag in make_docs.SHARED_OPTIONS:
            assert f"--{flag}" in flags
            assert f"| `--{flag}" in text.split("\n## ")[0]


def test_every_example_on_the_command_line_is_one() -> None:
    """Each parses as its verb's arguments, and each verb has one."""
    found = [line for block in blocks(read("cli.md"), "sh") for line in block.splitlines()]
    for line in found:
        words = shlex.split(line)
        assert words[0] == "avm"
        with make_docs.verb(words[1]).make_context(words[1], words[2:], parent=_parent()):
            pass
    assert {shlex.split(line)[1] for line in found} == set(VERBS)


def _parent() -> click.Context:
    from avm.cli.door import Door

    return click.Context(cli, obj=Door(None, None))


# Configuration


def test_every_key_is_documented_with_variable_and_default() -> None:
    found = {row[0].strip("`"): row for row in rows(read("configuration.md"))}
    assert list(found) == [key.name for key in config.KEYS]
    for key in config.KEYS:
        _, variable, default, meaning = found[key.name]
        assert variable == f"`{key.variable}`"
        assert meaning
        shown = key.default
        if isinstance(shown, timedelta):
            assert key.read(default.strip("`")) == shown
        elif isinstance(shown, bool):
            assert default == f"`{str(shown).lower()}`"
        elif shown is not None:
            assert default == f"`{shown}`"
    for mode in config.SEMANTIC_MODES:
        assert f"`{mode}`" in found["semantic"][3]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_variable_in_the_pages_exists(page: Path) -> None:
    known = {key.variable for key in config.KEYS} | {config.CLOCK_VARIABLE}
    assert set(re.findall(r"\bAVM_[A-Z_]+", page.read_text("utf-8"))) <= known


def test_the_clock_is_documented() -> None:
    assert config.CLOCK_VARIABLE in read("configuration.md")


def test_the_configuration_s_example_is_accepted(tmp_path: Path) -> None:
    (example,) = blocks(read("configuration.md"), "toml")
    file = tmp_path / "config.toml"
    file.write_text(example)
    loaded = config.load({}, {}, user_file=file)
    assert loaded["commit.quiet"] == timedelta(seconds=5)
    assert loaded["recall.max_tokens"] == 1000 and loaded.fsync


# Errors


def error_classes() -> list[type[AVMError]]:
    """Every class of the tree that has an exit code of its own, wherever it is."""
    found = [AVMError]
    for file in sorted((ROOT / "avm").rglob("*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and _sets_a_code(node):
                found.append(getattr(importlib.import_module(module), node.name))
    return sorted(set(found), key=lambda error: error.exit_code)


def _sets_a_code(node: ast.ClassDef) -> bool:
    names = [
        target for line in node.body if isinstance(line, ast.Assign) for target in line.targets
    ]
    return any(isinstance(name, ast.Name) and name.id == "exit_code" for name in names)


def test_the_table_of_exit_codes_is_the_error_tree() -> None:
    expected = [
        [str(error.exit_code), f"`{error.__name__}`", (error.__doc__ or "").splitlines()[0]]
        for error in error_classes()
    ]
    assert rows(read("errors.md")) == expected


def test_no_two_errors_share_a_code() -> None:
    codes = [error.exit_code for error in error_classes()]
    assert len(codes) == len(set(codes)) >= 13
    assert not {0, 1, 130} & set(codes)


# Doctor


def test_every_check_is_documented() -> None:
    assert [row[0].strip("`") for row in rows(read("doctor.md"))] == [c.name for c in CHECKS]
    assert all(check.doc.endswith(".") for check in CHECKS)


# The Model Context Protocol


def test_every_tool_and_argument_is_documented() -> None:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    from avm.mcp.tools import Tools

    tools = Tools(lambda: pytest.fail("nobody asks")).all()
    found = {row[0].strip("`"): row for row in rows(read("mcp.md"))}
    assert [name for name in found if name.startswith("avm_")] == [tool.name for tool in tools]
    for tool in tools:
        assert re.findall(r"`(\w+)`", found[tool.name][1]) == list(tool.parameters["properties"])


def test_every_prompt_and_address_is_documented() -> None:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    import asyncio

    from mcp.server import MCPServer

    from avm.mcp import resources

    server = MCPServer("avm")
    resources.add(server, lambda: pytest.fail("nobody asks"))
    found = [row[0].strip("`") for row in rows(read("mcp.md"))]
    assert {"avm://recent", "avm://memory/PATH"} <= set(found)
    assert [one.uri for one in asyncio.run(server.list_resources())] == ["avm://recent"]
    for prompt in asyncio.run(server.list_prompts()):
        assert prompt.name in found


# Virtual nodes


def test_every_node_and_parameter_is_documented() -> None:
    found = {row[0].strip("`"): row for row in rows(read("nodes.md"))}
    shown = [node.shown for node in NODES]
    assert list(found) == shown
    for node, name in zip(NODES, shown, strict=True):
        for parameter in node.parameters:
            assert f"`{parameter}`" in found[name][2]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The sample vault as the examples see it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AVM_")]:
            patch.delenv(name)
        yield make_docs.sample(tmp_path_factory.mktemp("sample"))


GOLDEN = make_docs.examples(read("nodes.md"))


@pytest.mark.parametrize(("command", "answer"), GOLDEN, ids=[command for command, _ in GOLDEN])
def test_a_golden_example_is_true(sample: Path, command: str, answer: str) -> None:
    assert make_docs.ask(command, sample) == answer


def test_every_node_has_a_golden_example() -> None:
    asked = " ".join(command for command, _ in GOLDEN)
    for node in NODES:
        assert re.search(rf":{node.name}\b", asked), node.name


# Queries


@pytest.mark.parametrize(
    ("example", "found"), [row[2:] for row in rows(read("search.md"))], ids=lambda cell: cell
)
def test_an_example_of_a_query_finds_what_it_says(
    sample: Path, monkeypatch: pytest.MonkeyPatch, example: str, found: str
) -> None:
    monkeypatch.setenv("AVM_CLOCK", make_docs.NOW)
    with AVM(sample, semantic="off") as avm:
        assert avm.search(example.strip("`"))[0].path == found.strip("`")


def test_every_filter_is_documented() -> None:
    forms = " ".join(row[0] for row in rows(read("search.md")))
    assert all(key in forms for key in KEYS)


# README and links


def test_the_readme_s_first_thing_runs_as_printed(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    script = blocks(text.split("<!-- readme-first -->\n")[1], "sh")[0]
    (tmp_path / "CLAUDE.md").write_text("# Project\n\n## Deploying\n\nmake deploy, after noon.\n")
    env = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-e", "-u", "-o", "pipefail"],
        input=script, cwd=tmp_path, capture_output=True, text=True, check=False, env=env,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "before: " in done.stdout and "make deploy, after noon." in done.stdout
    assert "memory/private/claude-code/claude/" in done.stdout  # git log


@needs_fuse
def test_the_readme_s_five_things_run_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a home that has nothing: no vault, no configuration, not even git's."""
    text = (ROOT / "README.md").read_text("utf-8")
    script = blocks(text.split("<!-- readme-test -->\n")[1], "sh")[0]
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    try:
        done = subprocess.run(
            ["bash", "-e", "-u", "-o", "pipefail"],
            input=script,
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    finally:
        run_avm("unmount", str(home / "memory"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "/memory/private/akashi/nvda_rsi_rule.md\n" in done.stdout
    assert "average -12% in 5 days" in done.stdout
    assert f"unmounted {home}/memory\n" in done.stdout
    authors = [line for line in done.stdout.splitlines() if line.startswith("akashi: ")]
    assert sorted(authors) == ["akashi: remember: nvda_rsi_rule", "akashi: remember: rule"]
    assert (home / "avm/memory/private/akashi/rule.md").read_text() == "Never average down\n"
    assert sorted(path.name for path in home.iterdir()) == ["avm", "memory"]


PYTHON = [
    pytest.param(block, id=f"{page.name}-{n}")
    for page in PAGES
    for n, block in enumerate(blocks(page.read_text("utf-8"), "python"))
]


@pytest.mark.parametrize("block", PYTHON)
def test_python_runs_as_printed(block: str, tmp_path: Path) -> None:
    checks = "\nassert text.strip() and 'Nothing' not in text, text\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block + checks],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_pages_have_python_to_run() -> None:
    assert {param.id.rpartition("-")[0] for param in PYTHON if param.id} >= {
        "README.md",
        "python.md",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^(`{3,}).*?^\1$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_pages_that_are_named_exist_and_the_readme_leads_to_all() -> None:
    files = [*PAGES, ROOT / "pyproject.toml", *(ROOT / "avm").rglob("*.py")]
    for file in files:
        for name in re.findall(r"\bdocs/[\w-]+\.md", file.read_text("utf-8")):
            assert (ROOT / name).exists(), f"{file}: {name}"
    linked = set(re.findall(r"\(docs/([\w-]+\.md)\)", (ROOT / "README.md").read_text("utf-8")))
    assert linked == {page.name for page in DOCS.glob("*.md")}


def test_source_files_named_in_the_pages_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`(avm/[\w/.]+)`", page.read_text("utf-8")):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


# Architecture


def test_the_layers_are_those_of_the_import_contract() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    expected = [name.strip() for layer in layers for name in layer.split("|")]
    assert [row[0].strip("`") for row in rows(read("architecture.md"))] == expected
    packages = {f"avm.{path.parent.name}" for path in (ROOT / "avm").glob("*/__init__.py")}
    assert packages == set(expected)


def test_sections_that_the_code_names_exist() -> None:
    assert '(docs/architecture.md, "Imports")' in (ROOT / "pyproject.toml").read_text()
    assert "\n## Imports\n" in read("architecture.md")
