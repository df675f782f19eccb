"""`avm install-agent` on real files: what it puts in, and that all is as before afterwards."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest
from conftest import ROOT, run_avm

from avm.base import config
from avm.cli import cli
from avm.hooks import installing, json_text
from avm.hooks.hosts import EVENTS, HOSTS, Launch
from avm.hooks.instructions import TEXT
from avm.hooks.records import Records
from avm.vault import init

sys.path.insert(0, str(ROOT / "tests" / "tools"))

SCOPES = ("--user", "--project")
#: A host's files by the place below the home or the project, and of what kind each is.
FILES = {
    ("claude-code", "--user"): {".claude.json": "servers", ".claude/settings.json": "hooks"},
    ("claude-code", "--project"): {".mcp.json": "servers", ".claude/settings.json": "hooks"},
    ("codex", "--user"): {".codex/config.toml": "toml", ".codex/AGENTS.md": "text"},
    ("codex", "--project"): {".codex/config.toml": "toml", "AGENTS.md": "text"},
    ("opencode", "--user"): {
        ".config/opencode/opencode.json": "opencode", ".config/opencode/AGENTS.md": "text",
    },
    ("opencode", "--project"): {"opencode.json": "opencode", "AGENTS.md": "text"},
    ("cursor", "--user"): {".cursor/mcp.json": "servers"},
    ("cursor", "--project"): {".cursor/mcp.json": "servers", "AGENTS.md": "text"},
}  # fmt: skip
OTHERS = {"command": "npx", "args": ["-y", "other"]}
TYPICAL = {
    "servers": """\
{
  "zuerst": 1.10,
  "mcpServers": {
    "other": {"command": "npx", "args": ["-y", "other"]}
  },
  "ends": [1,2,  3]
}
""",
    "hooks": """\
{
  "permissions": {"allow": ["Bash(ls:*)"]},
  "hooks": {
    "Stop": [
      {"matcher": "", "hooks": [{"type": "command", "command": "say done"}]}
    ]
  }
}
""",
    "opencode": """\
{
  "$schema": "https://opencode.ai/config.json",
  "mcp": {
    "other": {
      "type": "local",
      "command": ["npx", "-y", "other"]
    }
  }
}
""",
    "toml": """\
model = "x"   # mine

[mcp_servers.other]
command = "npx"

[projects."/p"]
trust_level = "trusted"
""",
    "text": "# Rules\n\n- Be kind.\n",
}
COMMENTED = {
    "servers": '// mine\n{\n  "mcpServers": {\n    "other": {}, // other\n  }, /* end */\n}\n',
    "hooks": '{\n  // mine\n  "hooks": {"Stop": [/* none */],},\n}\n',
    "opencode": '{\n  "mcp": {\n    // one\n    "other": {} // two\n  }\n  // three\n}\n',
    "toml": "# mine\n[mcp_servers] # servers\n# end\n",
    "text": "<!-- mine -->\n\ntext   \n\n\n",
}
CONTAINERS = {
    "servers": '{"mcpServers": { }}',
    "hooks": '{\n  "hooks": {\n    "Stop": [\n    ],\n    "SessionEnd": []\n  }\n}',
    "opencode": '{\n  "mcp": {}\n}\n',
    "toml": "[mcp_servers]\n",
    "text": "\n",
}
STATES: dict[str, Callable[[str], bytes | None]] = {
    "absent": lambda kind: None,
    "empty": lambda kind: b"",
    "typical": lambda kind: TYPICAL[kind].encode(),
    "crlf": lambda kind: TYPICAL[kind].replace("\n", "\r\n").encode(),
    "no-end": lambda kind: TYPICAL[kind].rstrip().encode(),
    "bom": lambda kind: b"\xef\xbb\xbf" + TYPICAL[kind].encode(),
    "tabs": lambda kind: TYPICAL[kind].replace("  ", "\t").encode(),
    "one-line": lambda kind: (
        TYPICAL[kind] if kind in ("toml", "text") else json.dumps(json.loads(TYPICAL[kind]))
    ).encode(),
    "comments": lambda kind: COMMENTED[kind].encode(),
    "containers": lambda kind: CONTAINERS[kind].encode(),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    folder = tmp_path / "a project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def install(*args: str) -> list[dict[str, str]]:
    """`avm install-agent ARGS`, which must succeed; what it says of each file."""
    done = click.testing.CliRunner().invoke(cli, ["install-agent", *args, "--json"])
    assert done.exit_code == 0, done.exception
    files: list[dict[str, str]] = json.loads(done.stdout)["files"]
    return files


def dones(told: list[dict[str, str]]) -> set[str]:
    return {file["done"] for file in told}


def refused(*args: str, code: int) -> str:
    """`avm install-agent ARGS`, which must fail with one line; that line."""
    done = run_avm("install-agent", *args)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    (line,) = done.stderr.splitlines()
    return line


def snapshot(*folders: Path) -> dict[str, tuple[int, bytes | str | None]]:
    """Mode and content of all that is there, but for AVM's own records."""
    state = config.install_records().parent
    return {
        str(path): (
            path.lstat().st_mode,
            os.readlink(path)
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else None,
        )
        for folder in folders
        for path in folder.rglob("*")
        if path not in (*state.parents, state) and not path.is_relative_to(state)
    }


def places(host: str, scope: str, project: Path) -> dict[Path, str]:
    """Where a host's files are, and the kind of each."""
    top = Path.home() if scope == "--user" else project
    return {top / name: kind for name, kind in FILES[host, scope].items()}


def write(files: dict[Path, str], state: str) -> dict[Path, bytes | None]:
    """Put the files into a state."""
    written = {path: STATES[state](kind) for path, kind in files.items()}
    for path, data in written.items():
        if data is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o640)
    return written


def load(path: Path) -> Any:
    """What a JSON or TOML file says."""
    text = path.read_bytes().decode("utf-8-sig")
    return tomllib.loads(text) if path.suffix == ".toml" else json_text.parse(text).value


def words_in(path: Path, kind: str) -> list[list[str]]:
    """The command lines of AVM's that a file holds."""
    data = load(path) if kind != "text" else {}
    if kind == "hooks":
        found = {
            event: [shlex.split(hook["command"]) for group in groups for hook in group["hooks"]]
            for event, groups in data["hooks"].items()
        }
        ours = {event: words for event, (*_, words) in found.items()}
        assert set(ours) == set(EVENTS)
        assert all(event in words for event, words in ours.items())
        return list(ours.values())
    if kind == "opencode":
        assert data["mcp"]["avm"]["type"] == "local"
        return [data["mcp"]["avm"]["command"]]
    if kind == "text":
        assert TEXT in path.read_bytes().decode().replace("\r\n", "\n")
        return []
    server = data["mcp_servers" if kind == "toml" else "mcpServers"]["avm"]
    return [[server["command"], *server["args"]]]


def assert_installed(files: dict[Path, str], program: str, *rest: str) -> None:
    for path, kind in files.items():
        for words in words_in(path, kind):
            assert words[0] == program
            assert tuple(words[-len(rest) :]) == rest


# Every host, scope and state


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("host", "scope"), FILES)
def test_all_is_as_before_afterwards(host: str, scope: str, state: str, project: Path) -> None:
    files = places(host, scope, project)
    write(files, state)
    before = snapshot(Path.home(), project)
    assert dones(install(host, scope)) == {"installed"}
    program = "avm" if scope == "--project" else str(Path(sys.executable).parent / "avm")
    assert_installed(files, program, "--agent", host)
    for path in files:
        if state != "absent":
            assert path.stat().st_mode & 0o777 == 0o640
    after = snapshot(Path.home(), project)
    assert dones(install(host, scope)) == {"already installed"}
    assert snapshot(Path.home(), project) == after
    assert dones(install(host, scope, "--uninstall")) == {"removed"}
    assert snapshot(Path.home(), project) == before
    assert not config.install_records().exists()
    assert dones(install(host, scope, "--uninstall")) == {"not installed"}
    assert snapshot(Path.home(), project) == before


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("host", "scope"), FILES)
def test_an_edit_since_stays(host: str, scope: str, state: str, project: Path) -> None:
    files = places(host, scope, project)
    before = write(files, state)
    install(host, scope)
    for path in files:
        path.write_bytes(path.read_bytes() + b"\n")
    assert dones(install(host, scope, "--uninstall")) == {"removed"}
    for path, data in before.items():
        if data is None or not data.strip():
            assert (path.read_bytes() if path.exists() else None) == data
        else:
            assert path.read_bytes() == data + b"\n"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("host", "scope"), FILES)
def test_other_arguments_change_what_is_there(
    host: str, scope: str, state: str, project: Path, tmp_path: Path
) -> None:
    vault = str(init.make(tmp_path / "vault").root)
    files = places(host, scope, project)
    write(files, state)
    before = snapshot(Path.home(), project)
    install(host, scope)
    install(host, scope, "--agent", "bob", "--vault", vault)
    for path, kind in files.items():
        for words in words_in(path, kind):
            assert words[-4:] == ["--agent", "bob", "--vault", vault]
    install(host, scope, "--agent", "eve")
    assert dones(install(host, scope)) == {"already installed"}
    for path, kind in files.items():
        for words in words_in(path, kind):
            assert words[-4:] == ["--agent", "eve", "--vault", vault]
    install(host, scope, "--uninstall")
    assert snapshot(Path.home(), project) == before


@pytest.mark.parametrize("state", ["absent", "typical", "crlf", "no-end", "bom", "comments"])
@pytest.mark.parametrize(("host", "scope"), FILES)
def test_without_a_record_our_own_is_known_by_its_form(
    host: str, scope: str, state: str, project: Path
) -> None:
    files = places(host, scope, project)
    before = write(files, state)
    install(host, scope)
    shutil.rmtree(config.install_records())
    assert dones(install(host, scope, "--uninstall")) == {"removed"}
    for path, data in before.items():
        if (state, files[path]) != ("comments", "hooks"):
            assert (path.read_bytes() if path.exists() else None) == data


@pytest.mark.parametrize(("host", "scope"), FILES)
def test_a_dry_run_shows_and_changes_nothing(host: str, scope: str, project: Path) -> None:
    write(places(host, scope, project), "typical")
    before = snapshot(Path.home(), project)
    told = install(host, scope, "--dry-run")
    assert dones(told) == {"installed"}
    assert snapshot(Path.home(), project) == before
    assert not config.install_records().exists()
    shown = run_avm("install-agent", host, scope, "--dry-run").stdout
    assert shown.count("\n+++ ") == len(FILES[host, scope])
    for line in shown.splitlines():
        assert not line.startswith("-") or line.startswith("--- ") or line.endswith(("}", "]"))
    install(host, scope)
    after = snapshot(Path.home(), project)
    assert dones(install(host, scope, "--uninstall", "--dry-run")) == {"removed"}
    assert snapshot(Path.home(), project) == after


# What else is there


def test_others_stay_where_they_are(project: Path) -> None:
    for host, scope in FILES:
        write(places(host, scope, project), "typical")
        install(host, scope)
    assert load(Path.home() / ".claude.json")["mcpServers"]["other"] == OTHERS
    settings = load(Path.home() / ".claude/settings.json")
    first, ours = settings["hooks"]["Stop"]
    assert first["hooks"] == [{"type": "command", "command": "say done"}]
    assert set(ours) == {"hooks"} and set(ours["hooks"][0]) == {"type", "command", "timeout"}
    assert load(project / ".codex/config.toml")["projects"] == {"/p": {"trust_level": "trusted"}}
    assert (project / "AGENTS.md").read_text().startswith("# Rules\n\n- Be kind.\n\n<!-- avm:begin")


@pytest.mark.parametrize(("host", "scope"), FILES)
def test_another_server_of_that_name_is_refused(host: str, scope: str, project: Path) -> None:
    files = places(host, scope, project)
    (path, kind), *_ = files.items()
    path.parent.mkdir(parents=True, exist_ok=True)
    server: dict[str, object] = {"command": "npx", "args": ["avm", "mcp"]}
    if kind == "opencode":
        server = {"type": "local", "command": ["npx", "avm"]}
    key = "mcp" if kind == "opencode" else "mcpServers"
    text = json.dumps({key: {"avm": server}})
    path.write_text(text if kind != "toml" else '[mcp_servers.avm]\nurl = "http://x"\n')
    before = snapshot(Path.home(), project)
    line = refused(host, scope, code=8)
    assert str(path) in line and ".avm is another server" in line
    assert dones(install(host, scope, "--uninstall")) == {"not installed"}
    assert snapshot(Path.home(), project) == before


BROKEN = {
    ".claude.json": [
        (b'{\n"mcpServers": []}', "line 2: mcpServers is not an object"),
        (b'{\n"a": 1,,}', "line 2: "),
        (b'{"a":\n"\xff"}', "line 2: it is not UTF-8"),
        (b"[]", "line 1: the whole is not an object"),
        (b'{"mcpServers":\n {"avm": 7}}', "mcpServers.avm is another server"),
    ],
    ".claude/settings.json": [
        (b'{\n"hooks": []}', "line 2: hooks is not an object"),
        (b'{"hooks":\n{"Stop": {}}}', "line 2: hooks.Stop is not an array"),
        (b"{", "line 1: "),
    ],
}


@pytest.mark.parametrize(
    ("name", "data", "why"), [(name, *case) for name, cases in BROKEN.items() for case in cases]
)
def test_a_broken_file_is_refused_before_anything_is_written(
    name: str, data: bytes, why: str, project: Path
) -> None:
    path = Path.home() / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    before = snapshot(Path.home())
    line = refused("claude-code", code=8 if "another" in why else 4)
    assert line.startswith(f"avm: {path}") and why in line
    assert snapshot(Path.home()) == before


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"a = 1\nb =\n", "line 2"),
        (b"a = 1\n\xff", "line 2: it is not UTF-8"),
        (b"mcp_servers = 3\n", "mcp_servers is not a table"),
        (b"mcp_servers = {other = {}}\n", "do it by hand"),
        (b"# avm:begin\na = 1\n", "line 1: # avm:begin and # avm:end do not stand there once"),
        (b"# avm:begin\n[mine]\n# avm:end\n", "do it by hand"),
    ],
)
def test_a_broken_toml_file_is_refused(data: bytes, why: str, project: Path) -> None:
    path = project / ".codex/config.toml"
    path.parent.mkdir()
    path.write_bytes(data)
    line = refused("codex", "--project", code=4)
    assert line.startswith(f"avm: {path}, line ") and why in line
    assert [path.name for path in project.iterdir()] == [".codex"]
    assert path.read_bytes() == data


def test_a_file_where_a_folder_should_be_is_refused(project: Path) -> None:
    (project / ".claude").write_text("")
    assert "Not a directory" in refused("claude-code", "--project", code=4)
    assert [path.name for path in project.iterdir()] == [".claude"]


def test_half_a_block_is_refused(project: Path) -> None:
    (project / "AGENTS.md").write_text("a\n<!-- avm:begin -->\nb\n")
    assert "AGENTS.md, line 2: " in refused("cursor", "--project", code=4)
    assert not (project / ".cursor").exists()


# Edits in between


def test_members_and_comments_that_came_since_stay(project: Path) -> None:
    install("opencode", "--project")
    path = project / "opencode.json"
    text = path.read_text().replace('"mcp": {', '// servers\n  "mcp": {\n    "mine": {},')
    path.write_text(text)
    install("opencode", "--project", "--uninstall")
    assert path.read_text() == '{\n  // servers\n  "mcp": {\n    "mine": {}\n  }\n}\n'


def test_what_codex_wrote_between_the_marks_stays(project: Path) -> None:
    path = project / ".codex/config.toml"
    path.parent.mkdir()
    path.write_text('model = "x"\n')
    install("codex", "--project")
    text = path.read_text()
    more = '\n[projects."/p"]\ntrust_level = "trusted"\n'
    path.write_text(text.replace("# avm:end", f"enabled = true\n{more}# avm:end"))
    install("codex", "--project", "--agent", "bob")
    server = load(path)["mcp_servers"]["avm"]
    assert server == {"command": "avm", "args": ["mcp", "--agent", "bob"], "enabled": True}
    install("codex", "--project", "--uninstall")
    assert path.read_text() == f'model = "x"\n{more}'


def test_a_server_that_codex_added_itself_is_ours_too(project: Path) -> None:
    path = project / ".codex/config.toml"
    path.parent.mkdir()
    text = '[mcp_servers.avm]\ncommand = "avm"\nargs = ["mcp"]\n\n[tui]\nx = 1\n'
    path.write_text(text)
    install("codex", "--project")
    assert path.read_text() == text.replace('["mcp"]', '["mcp", "--agent", "codex"]')
    install("codex", "--project", "--uninstall")
    assert load(path) == {"tui": {"x": 1}}


def test_tables_of_our_server_s_own_go_with_it(project: Path) -> None:
    path = project / ".codex/config.toml"
    install("codex", "--project")
    env = '\n[mcp_servers.avm.env]\ncommand = "mine"\n# mine\n'
    path.write_text(path.read_text() + env)
    install("codex", "--project", "--agent", "bob")
    server = load(path)["mcp_servers"]["avm"]
    assert server["args"][-1] == "bob" and server["env"] == {"command": "mine"}
    install("codex", "--project", "--uninstall")
    assert path.read_text().strip() == "# mine"


def test_what_a_person_set_on_our_own_is_kept(project: Path) -> None:
    install("claude-code", "--project")
    servers, settings = project / ".mcp.json", project / ".claude/settings.json"
    servers.write_text(servers.read_text().replace('"command"', '"env": {"A": "1"},\n"command"'))
    settings.write_text(settings.read_text().replace('"timeout": 10', '"timeout": 30'))
    install("claude-code", "--project", "--agent", "bob")
    assert load(servers)["mcpServers"]["avm"]["env"] == {"A": "1"}
    (group,) = load(settings)["hooks"]["Stop"]
    assert group["hooks"][0]["timeout"] == 30 and "--agent bob" in group["hooks"][0]["command"]
    install("claude-code", "--project", "--uninstall")
    assert list(project.iterdir()) == []


def test_our_hook_in_another_s_group_leaves_it_alone(project: Path) -> None:
    path = project / ".claude/settings.json"
    path.parent.mkdir()
    theirs = {"type": "command", "command": "say 'avm hook claude-code' it's broken"}
    ours = {"type": "command", "command": "'/a b/avm' --vault /v hook claude-code Stop"}
    path.write_text(json.dumps({"hooks": {"Stop": [{"hooks": [theirs, ours, theirs]}]}}))
    install("claude-code", "--project", "--uninstall")
    assert load(path) == {"hooks": {"Stop": [{"hooks": [theirs, theirs]}]}}


def test_a_longer_command_is_a_person_s_own(project: Path) -> None:
    """Also where it calls our hook among others, and where it is all that the file has."""
    place = Path.home() / ".claude/settings.json"
    place.parent.mkdir()
    command = "cd ~/notes && git pull -q; avm hook claude-code Stop --agent me; notify-send done"
    place.write_text(json.dumps({"hooks": {"Stop": [{"hooks": [{"command": command}]}]}}))
    before = place.read_bytes()
    install("claude-code", "--user")
    assert command in place.read_text()
    install("claude-code", "--user", "--uninstall")
    assert place.read_bytes() == before


def test_the_home_folder_is_no_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path.home())
    done = run_avm("install-agent", "claude-code", "--project")
    assert (done.returncode, done.stderr) == (
        2, "avm: this is your home folder, and no project: leave --project out\n"
    )  # fmt: skip


def test_an_entry_that_was_taken_out_by_hand_comes_back(project: Path) -> None:
    install("cursor", "--project")
    path = project / ".cursor/mcp.json"
    path.write_text('{"mcpServers": {"mine": {}}}')
    install("cursor", "--project")
    assert set(load(path)["mcpServers"]) == {"mine", "avm"}
    install("cursor", "--project", "--uninstall")
    assert path.read_text() == '{"mcpServers": {"mine": {}}}'


def test_a_file_that_is_gone_leaves_nothing_behind(project: Path) -> None:
    install("cursor", "--project")
    (project / ".cursor/mcp.json").unlink()
    told = install("cursor", "--project", "--uninstall")
    assert [file["done"] for file in told] == ["not installed", "removed"]
    assert list(project.iterdir()) == []


def test_a_change_between_plan_and_write_is_refused(project: Path) -> None:
    (project / "AGENTS.md").write_text("a\n")
    files = HOSTS["cursor"].files(Launch("avm", "cursor"), project)
    records = Records(config.install_records())
    changes = installing.plan_install(files, records)
    (project / "AGENTS.md").write_text("b\n")
    with pytest.raises(config.ConfigError, match="has changed meanwhile"):
        installing.apply(changes, records)
    assert [path.name for path in project.iterdir()] == ["AGENTS.md"]
    assert (project / "AGENTS.md").read_text() == "b\n"


# Which files


def test_a_link_is_followed(project: Path, tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    (dotfiles / "claude").mkdir(parents=True)
    (dotfiles / "claude.json").write_text("{}\n")
    (Path.home() / ".claude.json").symlink_to(dotfiles / "claude.json")
    (Path.home() / ".claude").symlink_to(dotfiles / "claude")
    before = snapshot(Path.home(), dotfiles)
    install("claude-code")
    assert (Path.home() / ".claude.json").is_symlink() and (Path.home() / ".claude").is_symlink()
    assert "avm" in load(dotfiles / "claude.json")["mcpServers"]
    assert (dotfiles / "claude/settings.json").exists()
    assert dones(install("claude-code")) == {"already installed"}
    install("claude-code", "--uninstall")
    assert snapshot(Path.home(), dotfiles) == before


def test_a_link_to_nowhere_is_too(project: Path, tmp_path: Path) -> None:
    (project / ".mcp.json").symlink_to(tmp_path / "dotfiles/mcp.json")
    install("claude-code", "--project")
    assert load(tmp_path / "dotfiles/mcp.json")["mcpServers"]["avm"]["command"] == "avm"
    install("claude-code", "--project", "--uninstall")
    assert (project / ".mcp.json").is_symlink() and not (tmp_path / "dotfiles").exists()


def test_the_hosts_own_variables_move_their_folders(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    before = snapshot(Path.home())
    for host in ("claude-code", "codex", "opencode"):
        install(host)
    made = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert made == {
        "CLAUDE_CONFIG_DIR/.claude.json", "CLAUDE_CONFIG_DIR/settings.json",
        "CODEX_HOME/config.toml", "CODEX_HOME/AGENTS.md",
        "XDG_CONFIG_HOME/opencode/opencode.json", "XDG_CONFIG_HOME/opencode/AGENTS.md",
    }  # fmt: skip
    assert snapshot(Path.home()) == before


def test_opencode_s_other_name_and_other_form_are_kept_to(project: Path) -> None:
    path = project / "opencode.jsonc"
    text = '{\n  // mine\n  "mcp": {\n    "servers": {},\n  },\n}\n'
    path.write_text(text)
    install("opencode", "--project")
    assert not (project / "opencode.json").exists()
    command = ["avm", "mcp", "--agent", "opencode"]
    ours = {"type": "local", "command": command}
    assert load(path) == {"mcp": {"servers": {"avm": ours}}}
    (project / "opencode.json").write_text("{}")
    assert dones(install("opencode", "--project")) == {"already installed"}
    install("opencode", "--project", "--uninstall")
    assert path.read_text() == text and (project / "opencode.json").read_text() == "{}"


@pytest.mark.parametrize("last", ["codex", "opencode", "cursor"])
def test_shared_instructions_go_with_the_last_that_reads_them(last: str, project: Path) -> None:
    together = ("codex", "opencode", "cursor")
    for host in together:
        install(host, "--project")
    for host in together:
        if host != last:
            told = install(host, "--project", "--uninstall")
            assert dones(told) == {"removed", "kept: another agent reads them"}
    assert (project / "AGENTS.md").exists()
    assert dones(install(last, "--project", "--uninstall")) == {"removed"}
    assert list(project.iterdir()) == []


# What it says


@pytest.fixture
def with_vault(project: Path) -> Path:
    """A user who has a vault."""
    assert run_avm("init", str(Path.home() / "avm")).returncode == 0
    return project


def test_what_a_person_should_know_is_said(project: Path) -> None:
    vault = str(init.make(Path.home() / "other").root)
    done = run_avm("install-agent", "codex")
    assert done.stderr == f"avm: there is no vault yet: avm init {Path.home()}/avm\n"
    done = run_avm("install-agent", "codex", "--project", "--vault", vault)
    assert done.stderr == (
        f"avm: {vault} is a path of this machine, in files that git shares\n"
        "avm: it is installed for you as well: the host may start and tell everything twice\n"
    )
    assert "for this project as well" in run_avm("install-agent", "codex").stderr


def test_it_says_a_line_a_file(with_vault: Path) -> None:
    project = with_vault
    done = run_avm("install-agent", "claude-code", "--project")
    lines = f"{project}/.mcp.json: MCP server", f"{project}/.claude/settings.json: hooks"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "".join(f"{line} installed\n" for line in lines)
    done = run_avm("install-agent", "claude-code", "--project", "--dry-run")
    assert done.stdout == "".join(f"{line} already installed\n" for line in lines)
    done = run_avm("install-agent", "claude-code", "--project", "--uninstall")
    assert done.stdout == "".join(f"{line} removed\n" for line in lines)


def test_cursor_has_no_rules_for_a_user(with_vault: Path) -> None:
    assert run_avm("install-agent", "cursor", "--project").stderr == ""
    assert "no file of rules for a user" in run_avm("install-agent", "cursor").stderr


def test_a_missing_package_is_mentioned(with_vault: Path, tmp_path: Path) -> None:
    project = with_vault
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['mcp'] = None\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run_avm("install-agent", "codex", "--project", PYTHONPATH=path)
    assert done.stderr == "avm: the MCP server needs: pip install 'avm-memory[mcp]'\n"
    assert (project / ".codex/config.toml").exists()


def test_what_cannot_be_written_down_is_refused(project: Path) -> None:
    assert "no vault at" in refused("codex", "--vault", "nowhere", code=5)
    assert "agent 'No Name'" in refused("codex", "--agent", "No Name", code=2)
    assert "'emacs'" in refused("emacs", code=2)
    odd = os.fsdecode(b"va\xffult")
    assert run_avm("init", odd).returncode == 0
    assert "not UTF-8" in refused("codex", "--vault", odd, code=2)
    assert not (Path.home() / ".codex").exists()


def test_records_are_for_their_user_alone(project: Path) -> None:
    install("claude-code")
    folder = config.install_records()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_broken_record_is_none(project: Path) -> None:
    install("claude-code", "--project")
    for path in config.install_records().iterdir():
        path.write_text("{")
    assert dones(install("claude-code", "--project", "--uninstall")) == {"removed"}
    assert not (project / ".mcp.json").exists()


def test_the_page_names_every_file() -> None:
    page = (ROOT / "docs/coding-agents.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (.*) \| (.*) \|$", page, re.MULTILINE)
    assert [host for host, _, _ in rows] == list(HOSTS)
    for host, *cells in rows:
        for scope, cell in zip(SCOPES, cells, strict=True):
            top = "~/" if scope == "--user" else ""
            assert re.findall(r"`([^`]*[./][^`]*)`", cell) == [top + n for n in FILES[host, scope]]
