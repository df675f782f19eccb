"""The Model Context Protocol as a host speaks it: real servers, the SDK's own client."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import DEEP, ROOT, git, run_avm, wait_for
from vault_helpers import assert_well

from avm import AVM
from avm.overlay.nodes import NODES

pytest.importorskip("mcp", reason="the extra mcp is not installed")

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

TOOLS = [
    "avm_recall", "avm_remember", "avm_search", "avm_read",
    "avm_list", "avm_edit", "avm_forget", "avm_history",
]  # fmt: skip
MODES = ["auto", "legacy"]
#: Of the concurrency test: clients, and calls of each.
CLIENTS, CALLS = (50, 100) if DEEP else (20, 10)
#: Every kind of virtual node, as an address.
ADDRESSES = [
    "", "shared", "shared/:tags", "shared/:stats", "shared/:list",
    "shared/:list:sort=changed,limit=3", ":search:zebra", ":search:zebra+rule,limit=1",
    ":recall:zebra,max_tokens=200", ":recall", "shared/:help", "shared/:delta:peek=1",
    "shared/:conflicts", "shared/:status", "private/akashi/rule.md",
    *(f"private/akashi/rule.md:{node}" for node in
      ("meta", "tags", "ttl", "body", "links", "backlinks", "history", "similar", "diff", "delta",
       "at:now", "help")),
]  # fmt: skip


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A vault of two agents."""
    monkeypatch.setenv("AVM_SEMANTIC", "off")
    root = Path.home() / "avm"
    with AVM(root, semantic="off") as avm:
        rule = "---\ntitle: rule\nimportance: 0.9\ntags: [zoo]\n---\nzebra rule of akashi\n"
        avm.write("/memory/private/akashi/rule.md", rule)
        avm.write("/memory/private/bob/walrus.md", "zebra walrus of bob\n")
        avm.write("/memory/shared/open.md", "zebra for everybody [[rule]] #zoo\n")
        avm.commit()
    return root


# Servers and clients


def command(*more: str) -> list[str]:
    return [sys.executable, "-m", "avm", "--vault", str(Path.home() / "avm"), "mcp", *more]


def stdio(agent: str, mode: Any = "auto") -> Client:
    program, *args = command("--agent", agent)
    server = StdioServerParameters(command=program, args=args, env=dict(os.environ))
    return Client(server, mode=mode)


@contextlib.contextmanager
def started(*more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server's process, ended and read out afterwards."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command(*more), env=dict(os.environ), stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream and stream.close()


@contextlib.contextmanager
def http(*more: str, address: str = "127.0.0.1:0") -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server on a free port, and its URL."""
    with started("--http", address, *more) as process:
        assert process.stderr is not None
        said = process.stderr.readline().decode()
        found = re.fullmatch(r"avm: serving (http://\S+/mcp)\n", said)
        assert found, said + process.stderr.read().decode()
        yield found[1], process


@pytest.fixture
def url(vault: Path) -> Iterator[str]:
    """Where a server of the vault is; all that it may say is a line on who was refused."""
    with http() as (url, process):
        yield url
        process.terminate()
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, b"")
        assert all(line.startswith(b"avm: Invalid ") for line in err.splitlines()), err


@contextlib.asynccontextmanager
async def calling(url: str, token: str, mode: Any = "auto") -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as web,
        Client(streamable_http_client(url, http_client=web), mode=mode) as client,
    ):
        yield client


def token_for(agent: str) -> str:
    done = run_avm("token", "create", "--agent", agent, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return str(json.loads(done.stdout)["token"])


async def data(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """What a call that succeeds answers; its text says the same."""
    done = await client.call_tool(tool, arguments)
    assert not done.is_error, done.content[0].text
    assert done.structured_content is not None
    assert json.loads(done.content[0].text) == done.structured_content
    return dict(done.structured_content)


async def error(client: Client, tool: str, **arguments: Any) -> str:
    """The one line of a call that fails."""
    done = await client.call_tool(tool, arguments)
    assert done.is_error, done.structured_content
    (said,) = [block.text for block in done.content]
    assert "\n" not in said and "Traceback" not in said
    return said


@pytest.fixture(params=["stdio", "http"])
def door(request: pytest.FixtureRequest, vault: Path) -> str:
    """How the vault is reached."""
    return str(request.param)


@contextlib.asynccontextmanager
async def reached(door: str, mode: Any = "auto") -> AsyncIterator[Client]:
    """A client that is akashi, by either door."""
    if door == "stdio":
        async with stdio("akashi", mode) as client:
            yield client
        return
    with http() as (url, _):
        async with calling(url, token_for("akashi"), mode) as client:
            yield client


# What it does


@pytest.mark.parametrize("mode", MODES)
def test_all_tools_resources_and_prompts(door: str, mode: str, vault: Path) -> None:
    async def run() -> None:
        async with reached(door, mode) as client:
            await use_the_tools(client)
            await read_the_resources(client)
            await ask_the_prompts(client)

    asyncio.run(run())
    with AVM(vault, semantic="off") as avm:
        assert_well(avm)


async def use_the_tools(client: Client) -> None:
    listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed] == TOOLS
    for tool in listed:
        assert tool.input_schema["additionalProperties"] is False
        assert tool.annotations and tool.annotations.open_world_hint is False
        assert tool.output_schema and tool.description
    made = await data(
        client, "avm_remember", text='["not", "JSON"]', title="answer", tags=["zoo"],
        importance=0.8, ttl="30d",
    )  # fmt: skip
    path = made["path"]
    assert made == {"path": "/memory/private/akashi/answer.md", "hints": []}
    again = await data(client, "avm_remember", text='["not", "JSON"]', title="answer")
    assert again["hints"] == ["it was there already: nothing was written"]
    shared = await data(client, "avm_remember", text="zebra crossing", namespace="market")
    assert shared["path"] == "/memory/shared/market/zebra_crossing.md"
    found = await data(client, "avm_search", query="JSON")
    assert [hit["path"] for hit in found["hits"]] == [path] and not found["more"]
    few = await data(client, "avm_search", query="zebra", max_tokens=1)
    assert len(few["hits"]) == 1 and few["more"]
    recalled = await data(client, "avm_recall", query="zebra", max_tokens=300)
    assert "rule of akashi" in recalled["text"] and recalled["tokens"] <= 300
    assert "walrus" not in recalled["text"]
    assert (await data(client, "avm_recall"))["memories"] == 4
    await data(client, "avm_edit", path=path, old="not", new="really not")
    await data(client, "avm_edit", path=path, new="more")
    read = await data(client, "avm_read", path=path)
    assert read["text"].endswith('["really not", "JSON"]\nmore\n') and read["next_line"] == 0
    listing = await data(client, "avm_list", tag="zoo", sort="importance")
    assert [one["title"] for one in listing["memories"]] == ["rule", "answer", "open"]
    assert (listing["total"], listing["next_offset"]) == (3, 0)
    page = await data(client, "avm_list", limit=2)
    assert (len(page["memories"]), page["total"], page["next_offset"]) == (2, 4, 2)
    assert await data(client, "avm_forget", path=path) == {"path": path, "hints": []}
    assert "no memory at" in await error(client, "avm_read", path=path)
    rule = "/memory/private/akashi/rule.md"
    history = await data(client, "avm_history", path=rule)
    (commit,) = history["commits"]
    assert commit["paths"][rule] == "added" and not history["more"]
    then = await data(client, "avm_read", path=rule, at=commit["hash"])
    assert "zebra rule of akashi" in then["text"]


async def read_the_resources(client: Client) -> None:
    assert [str(one.uri) for one in (await client.list_resources()).resources] == ["avm://recent"]
    (template,) = (await client.list_resource_templates()).resource_templates
    assert template.uri_template == "avm://memory/{+path}"
    assert "zebra rule" in await resource(client, "avm://memory/private/akashi/rule.md")
    assert "zebra_crossing" in await resource(client, "avm://recent")
    for address in ADDRESSES:
        assert "walrus" not in await resource(client, f"avm://memory/{address}"), address
    asked = " ".join(ADDRESSES)
    assert all(f":{node.name}" in asked for node in NODES)
    for hidden in ("private/bob/walrus.md", "private/bob/walrus.md:meta", "none.md", "../x.md"):
        with pytest.raises(MCPError) as raised:
            await resource(client, f"avm://memory/{hidden}")
        assert raised.value.error.code == -32602, hidden


async def resource(client: Client, uri: str) -> str:
    (content,) = (await client.read_resource(uri)).contents
    assert content.mime_type == "text/markdown"
    return str(content.text)


async def ask_the_prompts(client: Client) -> None:
    prompts = (await client.list_prompts()).prompts
    assert [prompt.name for prompt in prompts] == ["recall", "reflect"]
    recall = await client.get_prompt("recall", {"topic": "zebra"})
    assert "rule of akashi" in recall.messages[0].content.text
    reflect = await client.get_prompt("reflect")
    assert "avm_remember" in reflect.messages[0].content.text
    with pytest.raises(MCPError):
        await client.get_prompt("recall")


WRONG = [
    ("avm_search", {"query": "x", "limt": 3},
     "no argument limt: avm_search takes query, limit, folder, max_tokens"),
    ("avm_search", {"query": "x", "limit": 0}, "limit: Input should be greater than or equal to 1"),
    ("avm_search", {"query": "x", "limit": "many"}, "limit: Input should be a valid integer"),
    ("avm_search", {}, "query: Field required"),
    ("avm_recall", {"strategy": "best"}, "strategy: Input should be 'balanced', 'relevance'"),
    ("avm_recall", {"max_tokens": 10**9}, "max_tokens: Input should be less than or equal to"),
    ("avm_remember", {"text": ""}, "text: String should have at least 1 character"),
    ("avm_remember", {"text": "x", "importance": 2}, "importance: Input should be less than"),
    ("avm_remember", {"text": "x", "ttl": "soon"}, "duration 'soon'"),
    ("avm_remember", {"text": "x", "namespace": "../private/bob"}, "namespace"),
    ("avm_remember", {"text": "x", "tags": [1]}, "tags.0: Input should be a valid string"),
    ("avm_read", {"path": "/memory/private/akashi/rule.md", "line": 99}, "line 99: "),
    ("avm_read", {"path": "/memory/shared/open.md", "at": "yesteryear"}, "yesteryear"),
    ("avm_edit", {"path": "/memory/shared/open.md", "old": "absent", "new": "x"},
     "old stands 0 times in /memory/shared/open.md"),
    ("avm_edit", {"path": "/memory/shared/open.md", "old": "e", "new": "x"}, "old stands 4 times"),
    ("avm_edit", {"path": "/memory/private/akashi/rule.md", "old": "[zoo]", "new": "[zoo"},
     "nothing was changed: it would be wrong then: front matter: "),
    ("avm_list", {"sort": "size"}, "sort: Input should be 'path', 'changed' or 'importance'"),
    ("avm_history", {"limit": 0, "paht": ""}, "no argument paht: avm_history takes path, limit"),
    ("avm_nothing", {}, "Unknown tool: avm_nothing"),
]  # fmt: skip


def test_a_wrong_call_is_told_in_one_line(vault: Path) -> None:
    async def run() -> None:
        async with stdio("akashi") as client:
            for tool, arguments, said in WRONG:
                assert said in await error(client, tool, **arguments), (tool, arguments)

    asyncio.run(run())


def test_another_agents_file_looks_like_none(door: str) -> None:
    async def run() -> None:
        async with reached(door) as client:
            told = []
            for name in ("walrus", "none"):
                path = f"/memory/private/bob/{name}.md"
                calls = [
                    await error(client, "avm_read", path=path),
                    await error(client, "avm_read", path=path, at="1d"),
                    await error(client, "avm_edit", path=path, new="x"),
                    await error(client, "avm_edit", path=path, old="zebra", new="x"),
                    await error(client, "avm_forget", path=path),
                    str((await client.call_tool("avm_history", {"path": path})).content),
                ]
                told.append([call.replace(name, "X") for call in calls])
            assert told[0] == told[1]
            assert "no memory at /memory/private/bob/X.md" in told[0][0]
            for tool in ("avm_list", "avm_history", "avm_recall"):
                assert "bob" not in json.dumps(await data(client, tool))
            assert "bob" not in json.dumps(await data(client, "avm_search", query="walrus"))

    asyncio.run(run())


def test_answers_keep_to_their_budget(vault: Path) -> None:
    from avm.recall.tokens import count_tokens

    long = "x" * 3_000_000 + "\nshort\x0cof one line\n" + "日本語" * 200_000 + "\nend\n"
    with AVM(vault, semantic="off") as avm:
        avm.write("/memory/private/akashi/long.md", long)
        for number in range(80):
            avm.write(f"/memory/shared/many/note{number}.md", f"zebra {number}\n")
        avm.commit()

    async def run() -> None:
        async with stdio("akashi") as client:
            line, texts = 1, []
            while line:
                read = await data(
                    client, "avm_read", path="/memory/private/akashi/long.md", line=line,
                    max_tokens=500,
                )  # fmt: skip
                assert count_tokens(read["text"]) <= 500
                texts.append((line, read["cut"], read["text"][:5]))
                line = read["next_line"]
            assert texts == [
                (1, True, "xxxxx"), (2, False, "short"),
                (3, True, "日本語日本"), (4, False, "end\n"),
            ]  # fmt: skip
            page = await data(client, "avm_list", limit=200, max_tokens=600)
            assert 1 < page["next_offset"] == len(page["memories"]) < page["total"] == 83
            history = await data(client, "avm_history")
            big = max(history["commits"], key=lambda commit: commit["files"])
            assert big["files"] >= 80 and len(big["paths"]) == 20

    asyncio.run(run())


# Tokens


def test_tokens_are_made_listed_and_revoked(vault: Path) -> None:
    token = token_for("akashi")
    assert token.startswith("avm_akashi_") and len(token) > 50
    (kept,) = vault.glob(".git/avm/**/tokens.jsonl")
    assert kept.stat().st_mode & 0o777 == 0o600
    total = hashlib.sha256(token.encode()).hexdigest()
    assert total in kept.read_text()
    for place in Path.home().rglob("*"):
        assert not place.is_file() or token.encode() not in place.read_bytes(), place
    other = token_for("bob")
    listed = json.loads(run_avm("token", "list", "--json").stdout)
    assert listed[0]["id"] == total[:8]
    assert [one["agent"] for one in listed] == ["akashi", "bob"]
    assert run_avm("token", "list", "--agent", "nobody").stdout == "no tokens\n"
    shown = run_avm("token", "list").stdout
    assert total[:8] in shown and token not in shown and other not in shown
    done = run_avm("token", "revoke", total[:8])
    assert (done.returncode, done.stdout) == (0, f"{total[:8]} of akashi holds no more\n")
    assert kept.stat().st_mode & 0o777 == 0o600
    again = run_avm("token", "revoke", total[:8])
    assert (again.returncode, again.stderr) == (
        6, f"avm: no token '{total[:8]}': avm token list\n"
    )  # fmt: skip
    assert run_avm("token", "revoke", "").returncode == 6
    assert run_avm("token", "create").returncode == 2
    assert "Akashi" in run_avm("token", "create", "--agent", "Akashi").stderr
    assert [one["agent"] for one in json.loads(run_avm("token", "list", "--json").stdout)] == [
        "bob"
    ]


HELLO = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def post(url: str, token: str | None, **more: Any) -> httpx2.Response:
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    headers |= more.pop("headers", {})
    more = more or {"content": json.dumps(HELLO)}
    with httpx2.Client(timeout=30) as web:
        return web.post(url, headers=headers, **more)


def test_who_has_no_token_comes_in_nowhere(url: str) -> None:
    token, other = token_for("akashi"), token_for("bob")
    assert post(url, token).status_code == 200
    for wrong in (None, "nonsense", token[:-1], f"{token}x", token.upper()):
        refused = post(url, wrong)
        assert refused.status_code == 401, wrong
        assert refused.json()["error"] == "invalid_token"
    run_avm("token", "revoke", hashlib.sha256(token.encode()).hexdigest()[:8])
    assert post(url, token).status_code == 401
    assert post(url, other).status_code == 200


def test_two_tokens_are_two_agents_at_one_server(url: str) -> None:
    async def run() -> None:
        async with (
            calling(url, token_for("akashi")) as akashi,
            calling(url, token_for("bob"), "legacy") as bob,
        ):
            for client, name, path in (
                (akashi, "akashi", "/memory/private/akashi/rule.md"),
                (bob, "bob", "/memory/private/bob/walrus.md"),
            ):
                listed = await data(client, "avm_list")
                own = [m["path"] for m in listed["memories"] if "/private/" in m["path"]]
                assert own == [path]
                made = await data(client, "avm_remember", text=f"from {name}")
                assert made["path"] == f"/memory/private/{name}/from_{name}.md"
            assert "no memory" in await error(
                bob, "avm_read", path="/memory/private/akashi/rule.md"
            )

    asyncio.run(run())


def test_malformed_requests_are_refused_with_reasons(url: str) -> None:
    token = token_for("akashi")
    for host in ("evil.example", "127.0.0.1.evil.example:80", "evil.example:8365"):
        assert post(url, token, headers={"Host": host}).status_code == 421, host
    assert post(url, token, headers={"Origin": "http://evil.example"}).status_code == 403
    assert post(url, token, headers={"Origin": "http://localhost:3000"}).status_code == 200
    assert post(url, token, headers={"Content-Type": "text/plain"}).status_code == 400
    big = post(url, token, content=b'{"x": "' + b"y" * 5_000_000 + b'"}')
    assert (big.status_code, "too large" in big.text) == (413, True)
    for content in (b"{", b"\xff\xfe", b"[]", b"null", b'{"jsonrpc": "1.0"}', b"[" * 100_000):
        refused = post(url, token, content=content)
        assert refused.status_code == 400 and "error" in refused.json(), content[:9]
    assert post(url.removesuffix("mcp"), token).status_code == 404
    assert post(url, token).status_code == 200


def test_a_server_knows_the_names_that_it_is_told(vault: Path) -> None:
    token = token_for("akashi")
    with http("--name", "memory.example", address="0.0.0.0:0") as (url, _):
        url = url.replace("0.0.0.0", "127.0.0.1")
        for host, code in (("memory.example", 200), ("memory.example:80", 200), ("x.example", 421)):
            assert post(url, token, headers={"Host": host}).status_code == code


def test_an_answer_waits_for_no_acknowledgement() -> None:
    from avm.mcp.server import _listen

    with (
        _listen("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_server_on_ipv6(vault: Path) -> None:
    token = token_for("akashi")
    try:
        with http(address="[::1]:0") as (url, _):
            assert url.startswith("http://[::1]:")
            assert post(url, token).status_code == 200
    except AssertionError as err:
        if "Cannot assign requested address" not in str(err) and "not supported" not in str(err):
            raise
        pytest.skip("no IPv6 here")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("8365", "--http '8365': give HOST:PORT, such as 127.0.0.1:8365"),
        (":8365", "--http ':8365': give HOST:PORT"),
        ("127.0.0.1:", "--http '127.0.0.1:': give HOST:PORT"),
        ("127.0.0.1:99999", "--http '127.0.0.1:99999': give HOST:PORT"),
        ("192.0.2.1:8365", "cannot listen on 192.0.2.1:8365: "),
        ("no host:8365", "cannot listen on no host:8365: "),
        ("a..b:8365", "cannot listen on a..b:8365: "),
    ],
)
def test_an_address_that_is_none(vault: Path, address: str, said: str) -> None:
    done = run_avm("mcp", "--http", address)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_what_cannot_be_served(vault: Path, tmp_path: Path) -> None:
    done = run_avm("mcp", "--http", "127.0.0.1:0", "--agent", "akashi")
    assert done.returncode == 2 and "leave --agent out" in done.stderr
    done = run_avm("mcp", "--agent", "A B")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    done = run_avm("--vault", str(tmp_path), "mcp")
    assert done.returncode == 5 and done.stderr.count("\n") == 1


def test_without_the_package_a_line_says_what_to_install(vault: Path, tmp_path: Path) -> None:
    (tmp_path / "mcp.py").write_text("raise ModuleNotFoundError(\"No module named 'mcp'\")\n")
    done = run_avm("mcp", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (done.returncode, done.stdout) == (2, "")
    needs = "avm: the MCP server needs: pip install 'avm-memory[mcp]' (No module named 'mcp')\n"
    assert done.stderr == needs


# The process


def ask(process: subprocess.Popen[bytes], id: int, method: str, **params: Any) -> Any:
    """One request, by hand, and its answer's result."""
    assert process.stdin and process.stdout
    request = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    assert answer["id"] == id, answer
    return answer["result"]


def initialize(process: subprocess.Popen[bytes]) -> Any:
    client = {"name": "test", "version": "1"}
    version = "2025-06-18"
    said = ask(
        process, 0, "initialize", protocolVersion=version, capabilities={}, clientInfo=client
    )
    assert process.stdin
    process.stdin.write(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
    return said


REMEMBER = {"name": "avm_remember", "arguments": {"text": "zebra to keep", "title": "kept"}}


@pytest.mark.parametrize("ending", ["EOF", "TERM", "INT", "HUP"])
def test_stdio_ends_and_what_was_written_is_committed(vault: Path, ending: str) -> None:
    with started("--agent", "akashi") as process:
        assert initialize(process)["serverInfo"]["name"] == "avm"
        assert not ask(process, 1, "tools/call", **REMEMBER).get("isError")
        if ending == "EOF":
            assert process.stdin
            process.stdin.close()
        else:
            process.send_signal(signal.Signals[f"SIG{ending}"])
        code = process.wait(timeout=30)
        assert process.stdout and process.stderr
        assert (code, process.stdout.read(), process.stderr.read()) == (0, b"", b"")
    assert git(vault, "log", "-1", "--format=%an %s") == "akashi remember: kept"
    assert git(vault, "status", "--porcelain") == ""


@pytest.mark.parametrize("ending", ["TERM", "INT", "HUP"])
def test_http_ends_and_what_was_written_is_committed(vault: Path, ending: str) -> None:
    token = token_for("akashi")
    with http() as (url, process):
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": REMEMBER}
        assert post(url, token, content=json.dumps(call)).status_code == 200
        process.send_signal(signal.Signals[f"SIG{ending}"])
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, b"", b"")
    assert git(vault, "log", "-1", "--format=%an %s") == "akashi remember: kept"


def test_a_client_that_listens_does_not_keep_the_server(vault: Path) -> None:
    token = token_for("akashi")
    with http() as (url, process):
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        with (
            httpx2.Client(timeout=2) as web,
            contextlib.suppress(httpx2.ReadTimeout, httpx2.RemoteProtocolError),
            web.stream("GET", url, headers=headers),
        ):
            process.terminate()
            process.wait(timeout=30)
        process.terminate()
        assert process.wait(timeout=30) == 0
        assert process.stderr and b"Traceback" not in process.stderr.read()


def test_stdout_carries_the_protocol_only(vault: Path) -> None:
    """Lines that are none of it are passed over, and everything that comes back is JSON."""
    with started("--agent", "akashi") as process:
        initialize(process)
        assert process.stdin
        process.stdin.write(b"rubbish\n\n{}\n\xff\xfe\n")
        ask_id = 7
        process.stdin.write(
            json.dumps({"jsonrpc": "2.0", "id": ask_id, "method": "tools/call",
                        "params": {"name": "avm_read", "arguments": {"path": "none.md"}}}).encode()
            + b"\n"
        )  # fmt: skip
        process.stdin.flush()
        assert process.stdout
        answers = iter(process.stdout.readline, b"")
        assert any(json.loads(line).get("id") == ask_id for line in answers)
        process.stdin.close()
        assert process.wait(timeout=30) == 0
        assert process.stdout.read() == b""


def test_start_to_the_first_answer(
    vault: Path, record_property: pytest.RecordProperty, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = time.monotonic()
    with started("--agent", "akashi") as process:
        initialize(process)
        ask(process, 1, "tools/list")
        seconds = time.monotonic() - begin
    record_property("seconds", seconds)
    with capsys.disabled():
        print(f" [start to first answer: {seconds:.2f} s]", end="")


# Together


def test_many_clients_lose_nothing(vault: Path) -> None:
    """Every call succeeds, and everything that was acknowledged is there and committed."""
    agents = ["akashi", "bob", "chie"]
    tokens = {agent: token_for(agent) for agent in agents}
    written: dict[str, str] = {}
    appended: list[str] = []

    async def one(url: str, number: int) -> None:
        agent = agents[number % len(agents)]
        async with calling(url, tokens[agent], MODES[number % 2]) as client:
            for call in range(CALLS):
                name = f"c{number}n{call}"
                if call % 5 == 0:
                    made = await data(client, "avm_remember", text=f"text {name}", title="same")
                    written[made["path"]] = f"text {name}"
                elif call % 5 == 1:
                    await data(client, "avm_edit", path="/memory/shared/open.md", new=name)
                    appended.append(name)
                elif call % 5 == 2:
                    found = await data(client, "avm_search", query=f"c{number}n{call - 2}")
                    assert len(found["hits"]) >= 1, name
                elif call % 5 == 3:
                    await data(client, "avm_recall", query="zebra", max_tokens=200)
                else:
                    await data(client, "avm_read", path="/memory/shared/open.md", max_tokens=100)

    async def run(url: str) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(one(url, number))

    with http() as (url, process):
        asyncio.run(run(url))
        process.terminate()
        assert process.communicate(timeout=120) == (b"", b"")
        assert process.returncode == 0
    writes = CLIENTS * len(range(0, CALLS, 5))
    assert len(written) == writes
    for path, text in written.items():
        assert (vault / path[1:]).read_text().endswith(f"---\n{text}\n"), path
    lines = (vault / "memory/shared/open.md").read_text().splitlines()
    assert sorted(lines[1:]) == sorted(appended)
    assert git(vault, "status", "--porcelain") == ""
    with AVM(vault, semantic="off") as avm:
        assert_well(avm)


def test_many_calls_of_one_client_run_side_by_side(vault: Path) -> None:
    async def run() -> None:
        async with stdio("akashi") as client:
            async with asyncio.TaskGroup() as group:
                for number in range(60):
                    note = f"line {number}"
                    edit = {"path": "/memory/shared/open.md", "new": note}
                    group.create_task(data(client, "avm_edit", **edit))
                    group.create_task(data(client, "avm_remember", text=note, title="same"))
                    group.create_task(data(client, "avm_recall", query="zebra"))
            listed = await data(client, "avm_list", folder="/memory/private/akashi")
            assert listed["total"] == 61

    asyncio.run(run())
    wait_for(lambda: git(vault, "status", "--porcelain") == "", "everything committed")
    lines = (vault / "memory/shared/open.md").read_text().splitlines()
    assert sorted(lines[1:]) == sorted(f"line {number}" for number in range(60))
