"""Every operation at every kind of place by every door: who is let in, what the others hear.

What comes of a cell is said by `expected` alone. Besides: nothing that is shown holds a word of
what the agent may not see; what is hidden looks, to the letter, like what does not exist; all doors
give one answer; and what is refused changes nothing on disk.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from access_doors import (
    ABSENT,
    ADDITIONS,
    ALLOWED,
    CHANGES,
    CROOKED,
    FILE_QUESTIONS,
    FOLDER_QUESTIONS,
    NOT_OFFERED,
    OPERATIONS,
    QUESTION,
    REFUSED,
    WIDE_QUESTIONS,
    CommandLine,
    Door,
    McpDoor,
    MountDoor,
    Outcome,
    PythonDoor,
    talking,
)
from access_world import RULES, check, lay_vault, secret, snapshot, write
from conftest import git, move_into, no_fuse_because, run_avm

from avm import AVM
from avm.fuse.platform import here

WRITE, READ, NONE = "write", "read", "none"
#: One name in Unicode's two forms, and another.
CAFE, CAFE_NFD = "caf\u00e9", "cafe\u0301"
NAIVE, NAIVE_NFD = "na\u00efve", "nai\u0308ve"
#: What the name of a conflict copy holds.
COPY = "conflict-1a2b3c4d"
#: Ways around a rule: a symbolic link, a folder that is one, one whose target begins with a slash,
#: `..`, a name that rules take for another. Such twins are on disk, too.
LINK, IN_LINK, OUT, DOTS, TWIN = "link", "in link", "out", "dots", "twin"


class Place(NamedTuple):
    """A memory, by the way that it is asked for, and what `agent` may do there by the rules.

    `beside`: its folder is there for the agent. `words` lead there, if anything does.
    """

    name: str
    path: str
    rights: str = NONE
    agent: str = "akashi"
    way: str = ""
    beside: bool = False
    words: str = ""

    @property
    def folder(self) -> str:
        """The folder that it is in."""
        return self.path.rpartition("/")[0]

    @property
    def asked(self) -> str:
        """Words to ask for it with: the title of what tells by its name whose it is."""
        marker = self.path.rpartition("/")[2].partition("_")[0].lower()
        return self.words or (QUESTION if self.rights != NONE else f"{marker} title")


PLACES = (
    Place("own", "/memory/private/akashi/mine.md", WRITE),
    Place("shared", "/memory/shared/open.md", WRITE),
    Place("given to read", "/given/plan.md", READ),
    Place("given to write", "/desk/desk_plan.md", WRITE),
    Place("own of a read-only agent", "/memory/private/chie/mine.md", READ, agent="chie"),
    Place("shared of a read-only agent", "/memory/shared/open.md", READ, agent="chie"),
    Place("hard link", "/memory/private/akashi/hard.md", WRITE),
    Place("other's", "/memory/private/hermes/walrus_note.md"),
    Place("outside memory", "/notes/badger_diary.md"),
    Place("in memory alone", "/memory/badger_loose.md", beside=True),
    Place("denied in shared", "/memory/shared/hr/wombat_note.md"),
    Place("denied in given", "/given/hr/wombat_plan.md"),
    Place("denied in given to write", "/desk/team/hr/wombat_pay.md"),
    Place("link", "/memory/shared/file_hermes.md", words="walrus title", way=LINK),
    Place("link outside memory", "/memory/shared/root.md", words="badger title", way=LINK),
    Place("in a link", "/memory/shared/to_hermes/walrus_note.md", way=IN_LINK),
    Place("in a link outside memory", "/memory/shared/root/notes/badger_diary.md"),
    Place("in a link of its own", "/memory/private/akashi/peer/walrus_note.md", way=IN_LINK),
    Place("in a link out of the vault", "/memory/shared/outside/badger_outside.md", way=OUT),
    Place("in an absolute link", "/memory/private/akashi/peek/walrus_note.md", way=OUT),
    Place("dots", "/memory/shared/../private/hermes/walrus_note.md", way=DOTS),
    Place("dots from own", "/memory/private/akashi/../hermes/walrus_note.md", way=DOTS),
    Place("dots out of memory", "/memory/shared/../../notes/badger_diary.md", way=DOTS),
    Place("case twin", "/memory/private/HERMES/walrus_twin.md", way=TWIN),
    Place("case twin of a denied folder", "/memory/shared/HR/wombat_twin.md", way=TWIN),
    Place("case twin of a denied file", "/memory/shared/WOMBAT_file.md", way=TWIN, beside=True),
    Place("invisible twin", "/memory/shared/h\u200br/wombat_unseen.md", way=TWIN),
    Place("conflict copy", f"/memory/shared/wombat_file.{COPY}.md", way=TWIN, beside=True),
    Place("composed", f"/memory/shared/{CAFE}/wombat_menu.md", way=TWIN),
    Place("decomposed twin", f"/memory/shared/{CAFE_NFD}/wombat_menu.md", way=TWIN),
    Place("composed twin", f"/memory/shared/{NAIVE}/wombat_tale.md", way=TWIN),
)
#: The owner's rules, with what the places need.
MORE_RULES = (
    RULES.replace(
        "deny = [",
        f'write = ["/desk/**"]\ndeny = ["/desk/team/hr", "/memory/shared/{CAFE}",'
        f' "/memory/shared/{NAIVE_NFD}", ',
    )
    + "\n[agents.chie]\nread_only = true\n"
)


def expected(operation: str, place: Place) -> set[str]:
    """What may come of an operation at a place."""
    if place.rights == NONE:
        if is_of_the_link(operation, place):
            return {ABSENT, ALLOWED}
        if operation in ADDITIONS:  # a mount knows no such folder, others name the rule
            return {ABSENT, REFUSED, CROOKED}
        return {ABSENT, CROOKED} if place.way == DOTS else {ABSENT}
    changing = operation in (*CHANGES, *ADDITIONS, "link to")
    return {REFUSED} if changing and place.rights == READ else {ALLOWED}


def is_of_the_link(operation: str, place: Place) -> bool:
    """Whether it is done to a symbolic link, which is itself in the agent's folder, and has a
    history there, not to what it points at."""
    if place.way == LINK:
        return operation in ("history", "at", "forget", "link to")
    return place.way in (IN_LINK, OUT) and operation == "history in"


#: What MCP has no tool for: an address of a resource asks it.
RESOURCES = ("tags", "links", "backlinks", "similar", "delta", "tags in", "delta in")


def asked_at(operation: str, place: Place, door: str) -> bool:
    """Whether a cell says anything."""
    if operation == "remember in" and not _has_namespace(place):
        return False
    if door == "mount" and place.way == OUT:
        return False  # the kernel follows such a link, by the rights of who asks: docs/access.md
    if door.startswith("mcp") and not place.path.startswith("/memory/"):
        return operation not in RESOURCES  # addresses begin in memory/
    if place.agent == "chie":
        return operation in (*CHANGES, *ADDITIONS, "read", "list")
    return not (_is_beside(place) and operation in (*FOLDER_QUESTIONS, *ADDITIONS))


def _has_namespace(place: Place) -> bool:
    """Whether `remember` can be asked to write in the folder."""
    if place.folder == f"/memory/private/{place.agent}":
        return True
    return place.folder.startswith("/memory/shared/") and place.way != DOTS


def _is_beside(place: Place) -> bool:
    return place.beside or place.way == LINK


KINDS: dict[str, type[Door]] = {
    "python": PythonDoor,
    "command line": CommandLine,
    "mount": MountDoor,
    "mcp on stdio": McpDoor,
    "mcp over HTTP": McpDoor,
}


def cells(door: str) -> pytest.MarkDecorator:
    """The cells of one door."""
    offered = [
        operation for operation in OPERATIONS if operation not in NOT_OFFERED[KINDS[door].name]
    ]
    found = [
        pytest.param(operation, place, id=f"{operation}-{place.name}")
        for operation in offered
        for place in PLACES
        if asked_at(operation, place, door)
    ]
    return pytest.mark.parametrize(("operation", "place"), found)


@pytest.mark.parametrize("kind", dict.fromkeys(KINDS.values()), ids=lambda kind: kind.name)
def test_a_door_offers_all_operations_but_those_named(kind: type[Door]) -> None:
    missing = {operation for operation in OPERATIONS if not kind.offers(operation)}
    assert missing == set(NOT_OFFERED[kind.name])


# The world, and the doors to it

AGENTS = ("akashi", "chie")
#: A door, for each agent.
Doors = Mapping[str, Door]


class World(NamedTuple):
    """The vault, what is in it, and what Python answers: the others must say the same."""

    root: Path
    before: dict[str, str]
    python: dict[str, PythonDoor]

    def changed(self) -> set[str]:
        """The vault paths at which something else is now."""
        names = {name for name, _ in self.before.items() ^ snapshot(self.root).items()}
        return {name.removeprefix(str(self.root)) for name in names}

    def restore(self, changed: set[str]) -> None:
        """Put everything back as it was, as the owner does."""
        for place in (Path(f"{self.root}{name}") for name in changed):
            place.unlink(missing_ok=True)
            text = self.before.get(str(place), "")
            if text.startswith("-> "):
                place.symlink_to(text[3:])
            elif text:
                place.write_text(text)
        if changed:
            _hard_link(self.root)
            assert not self.changed()


def _hard_link(root: Path) -> None:
    """What the owner linked into an agent's folder, from another's."""
    mine = root / "memory/private/akashi/hard.md"
    mine.unlink(missing_ok=True)
    os.link(root / "memory/private/hermes/walrus_hard.md", mine)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for what runs in this process."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home and the settings of the servers; nothing is committed while tests run."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        move_into(home, patch)
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        yield home


MINE = "---\ntags: [quokkatag]\n---\ncommon words of my own [[open]] [[diary]] #common\n"
SETTINGS = {"AVM_SEMANTIC": "off", "AVM_COMMIT_QUIET": "1h", "AVM_COMMIT_MAX_WAIT": "1h"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[World]:
    """The vault of access_world with more ways to what is hidden."""
    root = lay_vault(tmp_path_factory.mktemp("world"), MORE_RULES)
    write(root / "desk/desk_plan.md", "common words on the desk [[open]] #common\n")
    write(root / "memory/private/akashi/mine.md", MINE)
    write(root / "memory/private/chie/mine.md", "common words of chie\n")
    write(root / "memory/private/hermes/walrus_hard.md", "common words by a hard link [[open]]\n")
    _hard_link(root)
    (root / "memory/private/akashi/peer").symlink_to("../hermes")
    for place in PLACES:
        if place.way == TWIN:
            write(root / place.path[1:], secret(place.asked.removesuffix(" title")))
    write(root / "desk/team/hr/wombat_pay.md", secret("wombat"))
    write(root / "desk/team/plain.md", "common words of a team\n")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "More of walrus, wombat and badger")
    with AVM(root, semantic="off") as avm:
        python = {name: PythonDoor(name, avm.agent_memory(name)) for name in AGENTS}
        avm.store.commit_in_background()  # its thread is there before any test
        yield World(root, snapshot(root), python)


@pytest.fixture(scope="module")
def python(world: World, home: Path) -> Iterator[Doors]:
    yield dict(world.python)


@pytest.fixture(scope="module")
def command_line(world: World, home: Path) -> Iterator[Doors]:
    yield {agent: CommandLine(agent, world.root) for agent in AGENTS}


@pytest.fixture(scope="module")
def mount(world: World, home: Path) -> Iterator[Doors]:
    if reason := no_fuse_because():
        pytest.skip(reason)
    points = {agent: home / f"mount of {agent}" for agent in AGENTS}
    try:
        for agent, point in points.items():
            made = run_avm(
                "--vault", str(world.root), "mount", str(point), "--agent", agent, "--daemon"
            )
            assert made.returncode == 0, made.stderr
        yield {agent: MountDoor(agent, point) for agent, point in points.items()}
    finally:
        done = [run_avm("unmount", str(point)) for point in points.values() if point.is_mount()]
        for point in filter(Path.is_mount, points.values()):
            subprocess.run(here.unmount_command(str(point), force=True), check=False)
    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * len(AGENTS)


@pytest.fixture(scope="module")
def stdio(world: World, home: Path) -> Iterator[Doors]:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    from mcp import Client, StdioServerParameters

    def connect(agent: str) -> Client:
        args = ["-m", "avm", "--vault", str(world.root), "mcp", "--agent", agent]
        env = dict(os.environ)
        return Client(StdioServerParameters(command=sys.executable, args=args, env=env))

    with contextlib.ExitStack() as talks:
        yield {
            agent: McpDoor(agent, talks.enter_context(talking(partial(connect, agent))))
            for agent in AGENTS
        }


@pytest.fixture(scope="module")
def http(world: World, home: Path) -> Iterator[Doors]:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    vault = ["--vault", str(world.root)]
    process = subprocess.Popen(
        [sys.executable, "-m", "avm", *vault, "mcp", "--http", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
    )

    @contextlib.asynccontextmanager
    async def connect(url: str, token: str) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as web,
            Client(streamable_http_client(url, http_client=web)) as client,
        ):
            yield client

    try:
        assert process.stderr is not None
        url = process.stderr.readline().split()[-1]
        with contextlib.ExitStack() as talks:
            made: dict[str, Door] = {}
            for agent in AGENTS:
                token = run_avm(*vault, "token", "create", "--agent", agent).stdout.split()[0]
                talk = talks.enter_context(talking(partial(connect, url, token)))
                made[agent] = McpDoor(agent, talk)
            yield made
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


# The matrix


@cells("python")
def test_python(python: Doors, world: World, operation: str, place: Place) -> None:
    _try(python, world, operation, place)


@cells("command line")
def test_command_line(command_line: Doors, world: World, operation: str, place: Place) -> None:
    _try(command_line, world, operation, place)


@cells("mount")
def test_mount(mount: Doors, world: World, operation: str, place: Place) -> None:
    _try(mount, world, operation, place)


@cells("mcp on stdio")
def test_mcp_on_stdio(stdio: Doors, world: World, operation: str, place: Place) -> None:
    _try(stdio, world, operation, place)


@cells("mcp over HTTP")
def test_mcp_over_http(http: Doors, world: World, operation: str, place: Place) -> None:
    _try(http, world, operation, place)


def _try(doors: Doors, world: World, operation: str, place: Place) -> None:
    """One cell."""
    door = doors[place.agent]
    path = f"{place.folder}/new.md" if operation in ADDITIONS else place.path
    done = door.do(operation, path, place.asked)
    changed = world.changed()
    try:
        assert done.kind in expected(operation, place), done.told
        check(place.agent, done.told, *_names(operation, path), place.asked)
        assert changed == _may_change(done, door, operation, path, place)
    finally:
        world.restore(changed)
    if place.rights == NONE:
        _assert_looks_like_none(door, operation, place, path, done)
    elif operation in (*FILE_QUESTIONS, *FOLDER_QUESTIONS, *WIDE_QUESTIONS):
        assert done.value == world.python[place.agent].do(operation, path, place.asked).value
    if done.kind == ALLOWED and operation == "read":
        assert done.value == (world.root / path[1:]).read_text()
    if done.kind == ALLOWED and operation == "list":
        assert done.value == _memories_on_disk(world, place)


def _may_change(done: Outcome, door: Door, operation: str, path: str, place: Place) -> set[str]:
    """The files that an operation changed on disk, if it went well."""
    if done.kind != ALLOWED or operation not in (*CHANGES, *ADDITIONS, "link to"):
        return set()
    if operation == "link to":
        return {door.spare}
    if operation == "rename into":
        return {path, door.own}
    if operation == "write" and place.name == "hard link" and isinstance(door, MountDoor):
        return {path, "/memory/private/hermes/walrus_hard.md"}  # it is one file with two names
    return {path}


def _assert_looks_like_none(
    door: Door, operation: str, place: Place, path: str, done: Outcome
) -> None:
    """A name that is nowhere, there and beside it, gets the same answer to the letter."""
    if is_of_the_link(operation, place) or operation in WIDE_QUESTIONS:
        return
    others = [f"{place.folder}/none.md"] if operation not in FOLDER_QUESTIONS else []
    if operation not in (*CHANGES, *ADDITIONS) and not _is_beside(place):
        others.append(f"{place.folder}-none/none.md")
    for other in others:
        as_none = door.do(operation, other, place.asked)
        assert as_none.kind == done.kind
        told = [
            _without(one, *_names(operation, asked))
            for one, asked in ((as_none.told, other), (done.told, path))
        ]
        assert told[0] == told[1], other


def _without(told: str, *names: str) -> str:
    for name in names:
        told = told.replace(name, "X")
    return told


def _names(operation: str, path: str) -> tuple[str, str]:
    """What is asked for, and the same as the command line makes it straight."""
    name = path.rpartition("/")[0] if operation in FOLDER_QUESTIONS else path
    return name.lstrip("/"), os.path.normpath(name).lstrip("/")


def _memories_on_disk(world: World, place: Place) -> list[str]:
    """What a list of the folder must hold, from the disk and the table of places alone."""
    hidden = [f"{one.folder}/" for one in PLACES if one.rights == NONE and not _is_beside(one)]
    hidden.append("/memory/shared/wombat_file.")
    names = (name.removeprefix(str(world.root)) for name in world.before)
    return sorted(
        name
        for name in names
        if name.startswith(f"{place.folder}/")
        and name.endswith(".md")
        and not name.casefold().startswith(tuple(map(str.casefold, hidden)))
        and (world.root / name[1:]).resolve() == world.root / name[1:]
    )
