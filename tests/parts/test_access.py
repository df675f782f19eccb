"""What an agent may not see is nowhere: every way to ask, in Python and on the command line."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from access_world import (
    AGENTS,
    CROOKED,
    MARKERS,
    NEAR,
    OTHER,
    SHARED,
    absent,
    as_text,
    check,
    lay_vault,
    secret,
    snapshot,
    write,
)
from conftest import run_avm

from avm import AVM, AgentMemory, AVMError
from avm.base import atomic
from avm.overlay import virtual
from avm.overlay.tree import Tree
from avm.vault import files


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vault of access_world."""
    return lay_vault(tmp_path_factory.mktemp("access"))


@pytest.fixture(scope="module")
def avm(vault: Path) -> Iterator[AVM]:
    """The vault, opened once; its committing thread is there before any test."""
    with AVM(vault, semantic="off") as opened:
        opened.store.commit_in_background()
        yield opened


def forbidden_paths(agent: str) -> list[str]:
    """Ways to name what `agent` may not see, straight and crooked."""
    other = OTHER[agent]
    word = MARKERS[other]
    return [
        f"/memory/private/{other}/{word}_note.md",
        f"memory/private/{other}/same.md",
        f"/memory/private/{other}/{word}_deep/{word}_plan.md",
        f"/memory/private/{other}/{word}_data.csv",
        f"/memory/private/{other}",
        f"/memory/private/{NEAR}/ocelot_note.md",
        "/memory/shared/hr/wombat_note.md",
        "/memory/shared/hr/same.md",
        "/memory/shared/HR/wombat_note.md",
        "/memory/shared/wombat_file.md",
        "/memory/shared/hr",
        "/given/hr/wombat_plan.md",
        "/badger_root.md",
        "/notes/badger_diary.md",
        "/memory/badger_loose.md",
        "/memory/private/badger_between.md",
        "/memory/sharedbadger/badger_near.md",
        f"/memory/shared/to_{other}/{word}_note.md",
        f"/memory/shared/file_{other}.md",
        "/memory/shared/root/badger_root.md",
        f"/memory/shared/root/memory/private/{other}/same.md",
        "/memory/shared/root.md",
        "/memory/shared/outside/badger_outside.md",
        "/memory/shared/outside.md",
        f"/memory/private/{agent}/peek/same.md",
        f"/memory/private/{agent}/peek.md",
        f"/memory/shared/../private/{other}/same.md",
        f"/memory/private/{agent}/../{other}/same.md",
        f"/memory/shared/../../memory/private/{other}/same.md",
        "/memory/shared/../../../etc/passwd",
        "/.git/config",
        "/.avm/format",
        f"/memory/private/{other.upper()}/same.md",
        f"/memory/private/{agent}2/ocelot_note.md",
    ]


def forbidden_folders(agent: str) -> list[str]:
    """Folders that do not exist for `agent`, and crooked ways to them."""
    other = OTHER[agent]
    return [
        f"/memory/private/{other}",
        f"/memory/private/{NEAR}",
        f"/memory/private/{other}/{MARKERS[other]}_deep",
        "/notes",
        "/memory/shared/hr",
        "/given/hr",
        "/memory/sharedbadger",
        f"/memory/shared/to_{other}",
        "/memory/shared/root",
        "/memory/shared/outside",
        f"/memory/private/{agent}/peek",
        f"/memory/shared/../private/{other}",
        "/.git",
    ]


def cases(make: Any) -> list[Any]:
    """(agent, path) for every agent and path of `make`."""
    return [pytest.param(a, p, id=f"{a}:{p}") for a in AGENTS for p in make(a)]


QUESTIONS = [
    "common words",
    "common",
    "",
    "title heading",
    *MARKERS.values(),
    *(f"{word} alias" for word in MARKERS.values()),
    "quokkatag walrustag badgertag",
    "qu* walr* badg*",
]


def test_the_trap_is_laid(avm: AVM) -> None:
    """The owner finds every marker by the questions that must tell agents nothing."""
    for word in MARKERS.values():
        assert word in as_text(avm.search("common words", 50))
        assert f"{word}tag" in avm.tags()
    assert "badger" in as_text(avm.memories()) and "walrus" in avm.recall("", 5_000)
    assert avm.meta("memory/shared/open.md")["links"][0]["path"] == "/notes/diary.md"


# Asking, in Python


@pytest.mark.parametrize("query", QUESTIONS)
@pytest.mark.parametrize("agent", AGENTS)
def test_search_and_recall(avm: AVM, agent: str, query: str) -> None:
    view = avm.agent_memory(agent)
    check(agent, as_text(view.search(query, 100)), query)
    for strategy in ("balanced", "recency", "importance"):
        check(agent, as_text(view.recalled(query, 5_000, strategy)), query)
    own = MARKERS[agent]
    assert own in as_text(view.search("common words", 100))


@pytest.mark.parametrize("agent", AGENTS)
def test_lists_and_counts(avm: AVM, agent: str) -> None:
    view = avm.agent_memory(agent)
    answers = (view.memories(), view.tags(), view.stats(), view.status(), view.conflicts())
    for answer in (*answers, view.delta(peek=True)):
        check(agent, as_text(answer))
    assert len(view.memories()) == view.stats().memories == 6
    assert view.tags()["common"] == 5
    folders = {f"/memory/private/{agent}", "/memory/shared", "/given"}
    assert set(view.stats().folders) == folders


@pytest.mark.parametrize("agent", AGENTS)
def test_links_lead_only_to_what_is_seen(avm: AVM, agent: str) -> None:
    view = avm.agent_memory(agent)
    found = {link["target"]: link["path"] for link in view.meta("memory/shared/links.md")["links"]}
    home = f"/memory/private/{agent}"
    same = f"{home}/same.md"
    mine = {f"memory/private/{agent}/same": same, "same": same}
    if agent == "hermes":
        mine["private/hermes/same.md"] = same
    assert found.pop("shadow").startswith(home)
    assert {target: path for target, path in found.items() if path} == mine
    links = {link["target"]: link["path"] for link in view.meta(SHARED)["links"]}
    assert links == {"same": same, "diary": None}


@pytest.mark.parametrize(("agent", "folder"), cases(forbidden_folders))
def test_folders_of_others_are_empty_or_refused(avm: AVM, agent: str, folder: str) -> None:
    view = avm.agent_memory(agent)
    calls = (
        lambda: view.search("common words", 100, folder=folder),
        lambda: view.recall("common words", folder=folder),
        lambda: view.recall(folder=folder),
        lambda: view.memories(folder),
        lambda: view.tags(folder),
        lambda: view.stats(folder),
        lambda: view.delta(folder, peek=True),
        lambda: view.conflicts(folder),
    )
    empty = (
        "",
        "{}",
        "Nothing new yet.\n",
        "Nothing found for 'common words'.\n",
        "Nothing is remembered yet.\n",
    )
    for call in calls:
        try:
            said = as_text(call())
        except AVMError as err:
            check(agent, str(err), folder)
        else:
            assert said in empty or "'memories': 0, 'bytes': 0, 'tags': 0" in said


@pytest.mark.parametrize(("agent", "path"), cases(forbidden_paths))
def test_files_of_others_look_like_none(avm: AVM, agent: str, path: str) -> None:
    """The answer is that of a file that never was, to the letter."""
    view = avm.agent_memory(agent)
    readers = ("read", "read_bytes", "meta", "exists", "body", "ends", "news")
    for name in (*readers, "links", "backlinks", "forget"):
        said = _said(view, name, path)
        assert said in (absent(path), "False", f"path {path!r}: {CROOKED}"), (name, path)
        check(agent, said, path)


def _said(view: AgentMemory, name: str, path: str) -> str:
    try:
        return as_text(getattr(view, name)(path))
    except AVMError as err:
        return str(err)


# The tools of the Model Context Protocol, without a server


def tools_of(avm: AVM, agent: str) -> Any:
    """The tools as `agent` is served them."""
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    from avm.mcp.tools import Tools

    view = avm.agent_memory(agent)
    return Tools(lambda: view)


def _called(tools: Any, name: str, *args: Any, **named: Any) -> str:
    try:
        return str(getattr(tools, name)(*args, **named).model_dump_json())
    except AVMError as err:
        return str(err)


@pytest.mark.parametrize("agent", AGENTS)
def test_tools_show_no_more(avm: AVM, agent: str) -> None:
    tools = tools_of(avm, agent)
    for query in QUESTIONS:
        check(agent, _called(tools, "avm_search", query, 100, max_tokens=20_000), query)
        check(agent, _called(tools, "avm_recall", query, 5_000), query)
    for sort in ("path", "changed", "importance"):
        check(agent, _called(tools, "avm_list", sort=sort, limit=200, max_tokens=20_000))
    check(agent, _called(tools, "avm_history", limit=100, max_tokens=20_000))
    assert tools.avm_list().total == 6
    assert MARKERS[agent] in _called(tools, "avm_search", "common words")
    for word in MARKERS.values():
        check(agent, _called(tools, "avm_list", tag=f"{word}tag"))
        assert tools.avm_list(tag=f"{word}tag").total == (3 if word == MARKERS[agent] else 0)


@pytest.mark.parametrize("agent", AGENTS)
def test_tools_in_folders_of_others(avm: AVM, agent: str) -> None:
    tools = tools_of(avm, agent)
    for folder in forbidden_folders(agent):
        for name in ("avm_search", "avm_recall"):
            check(agent, _called(tools, name, "common words", folder=folder), folder)
        for name in ("avm_recall", "avm_list"):
            check(agent, _called(tools, name, folder=folder), folder)
        check(agent, _called(tools, "avm_history", folder), folder)


@pytest.mark.parametrize(("agent", "path"), cases(forbidden_paths))
def test_tools_on_others_files_find_none(avm: AVM, vault: Path, agent: str, path: str) -> None:
    """As `test_files_of_others_look_like_none`; nothing is changed either."""
    tools, before = tools_of(avm, agent), snapshot(vault)
    none = (absent(path), f"path {path!r}: {CROOKED}")
    assert _called(tools, "avm_read", path) in none
    for name, *args in (("avm_edit", "x"), ("avm_edit", "x", "common"), ("avm_forget",)):
        assert _called(tools, name, path, *args) in none
    for then in ("HEAD", "1d"):
        check(agent, _called(tools, "avm_read", path, at=then), path)
    check(agent, _called(tools, "avm_history", path, 100), path)
    assert snapshot(vault) == before


# Writing, in Python


@pytest.mark.parametrize(("agent", "path"), cases(forbidden_paths))
def test_nothing_of_others_can_be_written_or_removed(
    avm: AVM, vault: Path, agent: str, path: str
) -> None:
    view, before = avm.agent_memory(agent), snapshot(vault)
    calls = (
        lambda: view.write(path, "changed"),
        lambda: view.forget(path),
        lambda: view.set_meta(path, {"importance": 0.1}),
        lambda: view.set_tags(path, ["new"], add=True),
        lambda: view.set_ttl(path, "30d"),
        lambda: view.add_links(path, ["new"]),
        lambda: view.set_body(path, "changed"),
    )
    for call in calls:
        with pytest.raises(AVMError) as raised:
            call()
        check(agent, str(raised.value), path)
    assert snapshot(vault) == before


@pytest.mark.parametrize("title", ["same", "nothing"])
@pytest.mark.parametrize("namespace", ["hr", "HR", "hr/deep", "team/hr", "h\u200br", "none/.gitx"])
def test_nothing_is_remembered_where_it_is_denied(
    avm: AVM, vault: Path, namespace: str, title: str
) -> None:
    """Whether there is a memory of that title, or of that text, is not told either."""
    view, before = avm.agent_memory("akashi"), snapshot(vault)
    with pytest.raises(AVMError) as raised:
        view.remember("common words", title=title, namespace=namespace)
    if ".git" not in namespace:
        shown = f"/memory/shared/{namespace}"
        assert str(raised.value) == f"{shown}: agent akashi may not write there"
    assert snapshot(vault) == before


@pytest.mark.parametrize("there", [True, False])
def test_a_name_that_is_denied_is_passed_over(avm: AVM, vault: Path, there: bool) -> None:
    """Be there a memory of that name or none."""
    view, before = avm.agent_memory("akashi"), snapshot(vault)
    team = vault / "memory/shared/team"
    if there:
        write(team / "wombat_pay.md", "text")
    try:
        made = view.remember("text", title="wombat_pay", namespace="team")
        assert (made.path, made.hints) == ("/memory/shared/team/wombat_pay-2.md", ())
    finally:
        shutil.rmtree(team)
    assert snapshot(vault) == before


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("word", ["namespace", "folder", "title"])
@pytest.mark.parametrize(
    "tricky",
    [
        "../private/{other}", "../../{other}", "..", "../{other}", "/memory/private/{other}",
        "a/../../private/{other}", "./../{other}", "{other}/../../../x", ".git", ".git/hooks",
        "..\\private", "\0", "to_{other}", "root/memory/private/{other}", "outside", "peek",
        "a/.", ".", "~/x", "%2e%2e/private/{other}",
    ],
)  # fmt: skip
def test_remember_stays_at_home(avm: AVM, vault: Path, agent: str, word: str, tricky: str) -> None:
    value, before = tricky.format(other=OTHER[agent]), snapshot(vault)
    view = avm.agent_memory(agent)
    try:
        done = view.remember("a new note", **{"title": f"new {word}", word: value})
    except AVMError as err:
        check(agent, str(err), value)
        assert snapshot(vault) == before
        return
    place = vault / done.path[1:]
    try:
        assert done.path.startswith((f"/memory/private/{agent}/", "/memory/shared/"))
        assert str(place.resolve()) == str(place), "written through a link"
        assert {p for p, text in snapshot(vault).items() if before.get(p) != text} == {str(place)}
    finally:
        view.forget(done.path)
    assert snapshot(vault) == before


@pytest.mark.parametrize(
    "name", [".gitignore", ".gitattributes", ".GITIGNORE", ".avmignore", ".gitmodules", ".git/x"]
)
@pytest.mark.parametrize("folder", ["/memory/shared", "/memory/private/akashi", "/memory/shared/n"])
def test_agents_configure_nothing(avm: AVM, vault: Path, folder: str, name: str) -> None:
    before = snapshot(vault)
    with pytest.raises(AVMError, match="agent akashi may not write there"):
        avm.agent_memory("akashi").write(f"{folder}/{name}", "*.md\n")
    assert snapshot(vault) == before


# The command line


@pytest.mark.parametrize(("agent", "path"), cases(forbidden_paths))
def test_cat_of_others_files(vault: Path, agent: str, path: str) -> None:
    done = run_avm("cat", path, "--agent", agent, "--vault", str(vault), cwd=vault.parent)
    assert done.returncode in (2, 6), done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    check(agent, done.stderr, path, os.path.normpath(path))


@pytest.mark.parametrize(("agent", "path"), cases(forbidden_paths))
def test_meta_of_others_files(avm: AVM, agent: str, path: str) -> None:
    """What `avm cat` answers, without its start."""
    for node in (":meta", ":tags", ":ttl", ":body", ":delta?peek=1"):
        with pytest.raises(AVMError) as raised:
            virtual.read(avm.agent_memory(agent), f"{path}{node}")
        check(agent, str(raised.value), path)


@pytest.mark.parametrize(("agent", "path"), cases(forbidden_paths))
def test_nodes_of_others_files_cannot_be_written(
    avm: AVM, vault: Path, agent: str, path: str
) -> None:
    """What a mount does, without its start."""
    before, tree = snapshot(vault), Tree(avm.agent_memory(agent))
    for node in (":meta", ":tags", ":ttl", ":body", ":links"):
        name = f"/{path.strip('/')}{node}"
        for call in (
            lambda name=name: tree.open(name, os.O_WRONLY | os.O_TRUNC),
            lambda name=name: tree.truncate(name, 0),
            lambda name=name: tree.attributes(name),
        ):
            with pytest.raises((AVMError, OSError)) as raised:
                call()
            assert raised.value.errno in (errno.EACCES, errno.ENOENT, errno.EINVAL)
            check(agent, str(raised.value), name, path)
    tree.close()
    assert snapshot(vault) == before


def test_a_folder_goes_nowhere_with_what_is_denied_in_it(avm: AVM, vault: Path) -> None:
    """A rule is on a place: elsewhere what it hides would come into sight."""
    team, tree = vault / "memory/shared/team", Tree(avm.agent_memory("akashi"))
    write(team / "hr/wombat_pay.md", secret("wombat"))
    write(team / "plain.md", "common\n")
    before = snapshot(vault)
    acts = (
        lambda: tree.rename("/memory/shared/team", "/memory/shared/other"),
        lambda: tree.rename("/memory/shared/team", "/memory/private/akashi/team"),
        lambda: tree.rename("/memory/shared/team/hr", "/memory/shared/other"),
    )
    try:
        for act, number in zip(acts, (errno.EACCES, errno.EACCES, errno.ENOENT), strict=True):
            with pytest.raises((AVMError, OSError)) as raised:
                act()
            assert raised.value.errno == number
            check("akashi", str(raised.value))
            assert snapshot(vault) == before
        tree.rename("/memory/shared/team/plain.md", "/memory/shared/plain.md")
        tree.unlink("/memory/shared/plain.md")
    finally:
        tree.close()
        shutil.rmtree(team)


def test_the_status_of_a_folder_counts_nothing_hidden(avm: AVM, vault: Path) -> None:
    """A folder has a link for each folder in it, and on some disks a size for each name."""
    tree, owners = Tree(avm.agent_memory("akashi")), Tree(avm)
    folders = ("/", "/memory", "/memory/private", "/memory/shared", "/given")
    counted = {path: (owners.attributes(path).st_nlink, tree.attributes(path)) for path in folders}
    own = tree.attributes("/memory/private/akashi").st_nlink
    tree.close()
    owners.close()
    assert {shown.st_nlink for _, shown in counted.values()} == {1}
    assert {shown.st_size for _, shown in counted.values()} == {4096}
    for path, (links, _) in counted.items():
        assert links == (vault / path[1:]).stat().st_nlink
    assert own == (vault / "memory/private/akashi").stat().st_nlink


def test_what_is_denied_and_expired_is_not_moved_aside(avm: AVM, vault: Path) -> None:
    team, tree = vault / "memory/shared/team", Tree(avm.agent_memory("akashi"))
    for name in ("wombat_pay.md", "plain.md"):
        write(team / name, "---\nexpires: 2020-01-01\n---\n")
    before = snapshot(vault)
    try:
        with pytest.raises(OSError) as raised:
            tree.rmdir("/memory/shared/team")
        assert raised.value.errno == errno.ENOTEMPTY
        assert snapshot(vault) == before
    finally:
        tree.close()
        shutil.rmtree(team)


@pytest.mark.parametrize(
    ("module", "moment", "act", "there"),
    [
        (files, "open_quietly", lambda view: view.read("/memory/shared/mid/same.md"), None),
        (atomic, "replace", lambda view: view.write("/memory/shared/mid/same.md", "x"), "x"),
        (atomic, "write_new", lambda view: view.remember("x", "new", namespace="mid"), "own"),
    ],
    ids=["read", "write", "remember"],
)
def test_a_link_that_comes_at_the_last_moment_leads_nowhere(
    avm: AVM, vault: Path, monkeypatch: pytest.MonkeyPatch,
    module: Any, moment: str, act: Callable[[AgentMemory], object], there: str | None,
) -> None:  # fmt: skip
    """An agent with a mount can put a link where its folder was, while another door is at work."""
    shared, view, known = vault / "memory/shared", avm.agent_memory("akashi"), snapshot(vault)
    write(shared / "mid/same.md", "own")
    avm.search("own")  # what is indexed is not read once more in between
    really = getattr(module, moment)

    def late(*args: Any, **named: Any) -> Any:
        if not (shared / "moved").exists():
            (shared / "mid").rename(shared / "moved")
            (shared / "mid").symlink_to("../private/hermes")
        return really(*args, **named)

    monkeypatch.setattr(module, moment, late)
    try:
        if there is None:
            with pytest.raises(AVMError) as raised:
                act(view)
            check("akashi", str(raised.value))
        else:
            act(view)
            assert (shared / "moved/same.md").read_text() == there
    finally:
        (shared / "mid").unlink()
        shutil.rmtree(shared / "moved")
    assert snapshot(vault) == known


def _ask(vault: Path, agent: str, *args: str) -> str:
    done = run_avm(*args, "--agent", agent, "--vault", str(vault), cwd=vault.parent)
    assert done.returncode in (0, 1, 2, 6), done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("search", "common words", "--limit", "100"),
        ("search", "common words", "--json"),
        ("recall", "common words", "--max-tokens", "5000"),
        ("recall", "--json"),
        ("cat", ":search:common+words,limit=100"),
        ("cat", ":recall:common+words,max_tokens=5000", ":recall", ":tags", ":stats", ":help"),
        ("cat", "memory/:tags", "memory/private/:stats", "memory/private/:search?common"),
        ("cat", "memory/shared/:search?common", "memory/shared/links.md:meta"),
        ("cat", "--json", ":tags"),
    ],
)
@pytest.mark.parametrize("agent", AGENTS)
def test_the_command_line_shows_no_more(vault: Path, agent: str, args: tuple[str, ...]) -> None:
    said = _ask(vault, agent, *args)
    if "links.md" in str(args):
        meta = json.loads(said[said.index("{") :])
        home = f"/memory/private/{agent}/"
        assert all(link["path"] is None or home in link["path"] for link in meta["links"])
        said = said[: said.index("{")]
    check(agent, said)
    assert MARKERS[agent] in said or "shared" in str(args)


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize(
    "node",
    [":search?common", ":recall:common", ":tags", ":stats", ":help", ":delta:peek=1", ":conflicts",
     ":status"],
)  # fmt: skip
def test_nodes_in_folders_of_others(avm: AVM, agent: str, node: str) -> None:
    """What `avm cat` answers, without its start."""
    view = avm.agent_memory(agent)
    for folder in forbidden_folders(agent):
        name = f"{folder}/{node}"
        with pytest.raises(AVMError) as raised:
            virtual.read(view, name)
        check(agent, str(raised.value), folder)


@pytest.mark.parametrize("agent", AGENTS)
def test_a_link_in_shared_makes_no_memory(avm: AVM, agent: str) -> None:
    listed = {info.path for info in avm.agent_memory(agent).memories("/memory/shared")}
    assert listed == {SHARED, "/memory/shared/links.md"}


def test_remember_on_the_command_line_stays_at_home(vault: Path) -> None:
    before = snapshot(vault)
    for option in ("--namespace", "--folder"):
        done = run_avm(
            "remember", "--vault", str(vault), "--agent", "akashi", option, "../hermes", "x"
        )
        assert done.returncode == 2
        assert done.stderr == (
            f"avm: {option[2:]} '../hermes': use plain folder names joined by '/',"
            " such as market or tech/db\n"
        )
    assert snapshot(vault) == before
