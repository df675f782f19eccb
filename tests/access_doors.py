"""The doors of AVM as an agent comes through them, each with the same operations.

A door answers an operation on a path with an `Outcome`, in a form that is the same for all doors.
What a door does not offer is no method of its class, and stands in `NOT_OFFERED` with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import json
import os
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from avm.api import View
from avm.base.errors import AccessError, AVMError, NotFoundError, UsageError

ALLOWED, ABSENT, REFUSED, CROOKED = "allowed", "absent", "refused", "crooked"
#: What is asked in a folder, what is appended to a file, and what a new one holds.
QUESTION, LINE, NEW = "common words", "one more line\n", "a new note\n"
MOST = 100

FILE_QUESTIONS = ("read", "tags", "links", "backlinks", "similar", "history", "at", "delta")
FOLDER_QUESTIONS = ("list", "search", "recall", "tags in", "delta in", "history in")
WIDE_QUESTIONS = ("search all", "recall all")
CHANGES = ("write", "forget")
ADDITIONS = ("create", "remember in", "rename into")
LINKS = ("link to", "symlink to")
OPERATIONS = (
    *FILE_QUESTIONS, *FOLDER_QUESTIONS, *WIDE_QUESTIONS, *CHANGES, *ADDITIONS, *LINKS,
)  # fmt: skip

_NO_MOVE = "renames and links are a file system's"
#: Why a door has no such operation.
NOT_OFFERED = {
    "mount": {
        "history in": "a folder has no :history",
        "remember in": "what is written by its path needs no other way",
    },
    "python": dict.fromkeys(("rename into", *LINKS), _NO_MOVE),
    "command line": dict.fromkeys(("rename into", *LINKS), _NO_MOVE)
    | dict.fromkeys(("write", "create"), "remember names its own file, in a folder of the agent's"),
    "mcp": dict.fromkeys(("rename into", *LINKS), _NO_MOVE)
    | {"create": "avm_remember names its own file, in a folder of the agent's"},
}


class Outcome(NamedTuple):
    """How it went, all that was shown, and the answer in a form that all doors share."""

    kind: str
    told: str
    value: Any = None


class Door:
    """What an agent may try by every door: the method of an operation is `_` and its name."""

    name = ""

    def __init__(self, agent: str) -> None:
        self.agent = agent
        #: A memory in the agent's own folder, and a name there that is free.
        self.own = f"/memory/private/{agent}/mine.md"
        self.spare = f"/memory/private/{agent}/spare.md"

    @classmethod
    def offers(cls, operation: str) -> bool:
        """Whether the door has the operation at all."""
        return hasattr(cls, _method(operation))

    def do(self, operation: str, path: str, words: str = QUESTION) -> Outcome:
        """Try an operation on the memory `path`, or on the folder that it is in."""
        answer: Outcome = getattr(self, _method(operation))(path, words)
        return answer


def _method(operation: str) -> str:
    return "_" + operation.replace(" ", "_")


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _namespace(path: str) -> str | None:
    """What `remember` takes for the folder of a path; None for the agent's own folder."""
    below = _folder(path).removeprefix("/memory/shared/")
    return None if below == _folder(path) else below


def _title(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".md")


def _found(told: str, value: Any) -> Outcome:
    """An answer; an empty one says that there is nothing."""
    return Outcome(ALLOWED if value else ABSENT, told, value)


def _holds(path: str, told: str, value: Any) -> Outcome:
    """An answer from everywhere: is the memory in it?"""
    return Outcome(ALLOWED if path.rpartition("/")[2] in told else ABSENT, told, value)


# Texts that nodes and commands print, as values


def _hits(text: str) -> list[str]:
    return re.findall(r"^\d\.\d\d (/\S+?)  ", text, re.MULTILINE)


def _listed(text: str) -> list[str]:
    return sorted(re.findall(r"^\S+ +\S+ (/.+?)  ", text, re.MULTILINE))


def _counts(text: str) -> dict[str, int]:
    return {tag: int(n) for n, tag in re.findall(r"^(\d+) (\S+)$", text, re.MULTILINE)}


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("/")]


def _news(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r"[-+~>] /", line)]


def _commits(text: str) -> list[str]:
    return [f"{one[:7]} {s}" for one, s in re.findall(r"^(\w{7})  \S+  \S.*?  (.+)$", text, re.M)]


def _logged(told: str) -> list[str]:
    return [f"{one['hash'][:7]} {one['subject']}" for one in json.loads(told or "[]")]


class PythonDoor(Door):
    """`AVM.agent_memory`, in this process."""

    name = "python"

    def __init__(self, agent: str, view: View) -> None:
        super().__init__(agent)
        self.view = view

    def _asked(self, ask: Callable[[], Any], shape: Callable[[Any], Any]) -> Outcome:
        try:
            answer = ask()
        except NotFoundError as err:
            return Outcome(ABSENT, str(err))
        except AccessError as err:
            return Outcome(REFUSED, str(err))
        except UsageError as err:
            return Outcome(CROOKED, str(err))
        return Outcome(ALLOWED, str(answer), shape(answer))

    def _in(self, ask: Callable[[], Any], shape: Callable[[Any], Any]) -> Outcome:
        done = self._asked(ask, shape)
        return _found(done.told, done.value) if done.kind == ALLOWED else done

    def _read(self, path: str, _: str) -> Outcome:
        return self._asked(lambda: self.view.read(path), str)

    def _tags(self, path: str, _: str) -> Outcome:
        return self._asked(lambda: self.view.meta(path)["tags"], sorted)

    def _links(self, path: str, _: str) -> Outcome:
        return self._asked(lambda: self.view.links(path), sorted)

    def _backlinks(self, path: str, _: str) -> Outcome:
        return self._asked(lambda: self.view.backlinks(path), sorted)

    def _similar(self, path: str, _: str) -> Outcome:
        return self._asked(
            lambda: self.view.similar(path).memories,
            lambda found: [f"{one.path}#L{one.line}" for one in found],
        )

    def _history(self, path: str, _: str) -> Outcome:
        return self._asked(
            lambda: self.view.history(path),
            lambda found: [f"{one.hash[:7]} {one.subject}" for one in found],
        )

    def _at(self, path: str, _: str) -> Outcome:
        return self._asked(lambda: self.view.show(path, "HEAD"), bytes.decode)

    def _delta(self, path: str, _: str) -> Outcome:
        return self._asked(lambda: self.view.delta(path, peek=True), str)

    def _list(self, path: str, _: str) -> Outcome:
        return self._in(
            lambda: self.view.memories(_folder(path)),
            lambda found: sorted(one.path for one in found),
        )

    def _search(self, path: str, words: str) -> Outcome:
        return self._in(
            lambda: self.view.search(words, MOST, folder=_folder(path)),
            lambda found: [f"{one.path}#L{one.line}" for one in found],
        )

    def _recall(self, path: str, words: str) -> Outcome:
        done = self._asked(lambda: self.view.recalled(words, folder=_folder(path)), lambda r: r)
        return _found(done.told, done.value and done.value.memories and done.value.text)

    def _tags_in(self, path: str, _: str) -> Outcome:
        return self._in(lambda: self.view.tags(_folder(path)), dict)

    def _delta_in(self, path: str, _: str) -> Outcome:
        return self._in(lambda: self.view.delta(_folder(path), peek=True), _news)

    def _history_in(self, path: str, _: str) -> Outcome:
        return self._asked(
            lambda: self.view.log(_folder(path)),
            lambda found: [f"{one.hash[:7]} {one.subject}" for one in found],
        )

    def _search_all(self, path: str, words: str) -> Outcome:
        done = self._asked(
            lambda: self.view.search(words, MOST),
            lambda found: [f"{one.path}#L{one.line}" for one in found],
        )
        return _holds(path, done.told, done.value)

    def _recall_all(self, path: str, words: str) -> Outcome:
        done = self._asked(lambda: self.view.recall(words), str)
        return _holds(path, done.told, done.value)

    def _write(self, path: str, _: str) -> Outcome:
        return self._asked(lambda: self.view.append(path, LINE), lambda done: None)

    def _create(self, path: str, _: str) -> Outcome:
        return self._asked(lambda: self.view.write(path, NEW), lambda done: None)

    def _remember_in(self, path: str, _: str) -> Outcome:
        return self._asked(
            lambda: self.view.remember(NEW, title=_title(path), namespace=_namespace(path)),
            lambda done: None,
        )

    def _forget(self, path: str, _: str) -> Outcome:
        return self._asked(lambda: self.view.forget(path), lambda done: None)


class CommandLine(Door):
    """`avm --agent`, in this process: a start of its own costs too much for so many."""

    name = "command line"

    def __init__(self, agent: str, vault: Path) -> None:
        super().__init__(agent)
        self.vault = vault

    def typed(self, *args: str) -> tuple[int, str, str]:
        """The exit code, and what `avm --agent AGENT ARGS` prints."""
        from avm.cli import cli

        out = io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape")
        code, said = 0, ""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            whole = ["--vault", str(self.vault), "--agent", self.agent, *args]
            try:
                cli.main(whole, standalone_mode=False)
            except SystemExit as end:
                code = int(end.code or 0)
            except AVMError as err:
                code, said = err.exit_code, str(err)
        out.flush()
        return code, out.buffer.getvalue().decode("utf-8", "surrogateescape"), said  # type: ignore[attr-defined]

    def _typed(self, shape: Callable[[str], Any], *args: str) -> Outcome:
        code, out, err = self.typed(*args)
        kinds = {0: ALLOWED, 1: ABSENT, 6: ABSENT, 7: REFUSED, 2: CROOKED}
        kind = kinds[code]
        return Outcome(kind, out + err, shape(out) if kind == ALLOWED else None)

    def _read(self, path: str, _: str) -> Outcome:
        return self._typed(str, "cat", path)

    def _tags(self, path: str, _: str) -> Outcome:
        return self._typed(lambda text: sorted(text.split()), "cat", f"{path}:tags")

    def _links(self, path: str, _: str) -> Outcome:
        return self._typed(_rows, "cat", f"{path}:links")

    def _backlinks(self, path: str, _: str) -> Outcome:
        return self._typed(_rows, "cat", f"{path}:backlinks")

    def _similar(self, path: str, _: str) -> Outcome:
        code, out, err = self.typed("similar", path)
        return Outcome(ALLOWED if code <= 1 else ABSENT, out + err, _hits(out))

    def _history(self, path: str, _: str) -> Outcome:
        return self._typed(_logged, "log", "--json", path)

    def _at(self, path: str, _: str) -> Outcome:
        return self._typed(str, "show", path, "--at", "HEAD")

    def _delta(self, path: str, _: str) -> Outcome:
        return self._typed(str, "cat", f"{path}:delta?peek=1")

    def _list(self, path: str, _: str) -> Outcome:
        return self._typed(_listed, "cat", f"{_folder(path)}/:list")

    def _search(self, path: str, words: str) -> Outcome:
        limit = str(MOST)
        return self._typed(_hits, "search", "--limit", limit, "--folder", _folder(path), words)

    def _recall(self, path: str, words: str) -> Outcome:
        return self._typed(str, "recall", "--folder", _folder(path), words)

    def _tags_in(self, path: str, _: str) -> Outcome:
        return self._typed(_counts, "cat", f"{_folder(path)}/:tags")

    def _delta_in(self, path: str, _: str) -> Outcome:
        return self._typed(_news, "cat", f"{_folder(path)}/:delta?peek=1")

    def _history_in(self, path: str, _: str) -> Outcome:
        return self._typed(_logged, "log", "--json", _folder(path))

    def _search_all(self, path: str, words: str) -> Outcome:
        done = self._typed(_hits, "search", "--limit", str(MOST), words)
        return _holds(path, done.told, done.value or [])

    def _recall_all(self, path: str, words: str) -> Outcome:
        done = self._typed(str, "recall", words)
        return _holds(path, done.told, done.told)

    def _remember_in(self, path: str, _: str) -> Outcome:
        where = ("--namespace", name) if (name := _namespace(path)) else ()
        return self._typed(lambda _: None, "remember", "--title", _title(path), *where, NEW)

    def _forget(self, path: str, _: str) -> Outcome:
        return self._typed(lambda text: None, "forget", path)


class MountDoor(Door):
    """A real mount with `--agent`."""

    name = "mount"

    def __init__(self, agent: str, point: Path) -> None:
        super().__init__(agent)
        self.point = point

    def _tried(self, act: Callable[[], Any]) -> Outcome:
        try:
            answer = act()
        except OSError as err:
            # ESTALE: a node that turns out to have no answer, after its name was looked up.
            kinds = {errno.ENOENT: ABSENT, errno.ESTALE: ABSENT, errno.EACCES: REFUSED}
            number = err.errno or 0
            assert number in kinds, errno.errorcode[number]
            return Outcome(kinds[number], os.strerror(number))
        return Outcome(ALLOWED, str(answer), answer)

    def place(self, path: str) -> str:
        """Where a vault path is in the mount; nothing in it is made straight."""
        return f"{self.point}/{path.lstrip('/')}"

    def _cat(self, path: str, shape: Callable[[str], Any]) -> Outcome:
        done = self._tried(lambda: Path(self.place(path)).read_bytes().decode())
        return done._replace(value=shape(done.value)) if done.kind == ALLOWED else done

    def _read(self, path: str, _: str) -> Outcome:
        return self._cat(path, str)

    def _tags(self, path: str, _: str) -> Outcome:
        return self._cat(f"{path}:tags", lambda text: sorted(text.split()))

    def _links(self, path: str, _: str) -> Outcome:
        return self._cat(f"{path}:links", _rows)

    def _backlinks(self, path: str, _: str) -> Outcome:
        return self._cat(f"{path}:backlinks", _rows)

    def _similar(self, path: str, _: str) -> Outcome:
        return self._cat(f"{path}:similar", _hits)

    def _history(self, path: str, _: str) -> Outcome:
        return self._cat(f"{path}:history", _commits)

    def _at(self, path: str, _: str) -> Outcome:
        done = self._cat(f"{path}:at:HEAD", str)
        whole = self._cat(f"/:at:HEAD{path}", str)
        assert (done.kind, done.value) == (whole.kind, whole.value)
        return done

    def _delta(self, path: str, _: str) -> Outcome:
        return self._cat(f"{path}:delta?peek=1", str)

    def _list(self, path: str, _: str) -> Outcome:
        folder = self.place(_folder(path))
        done = self._cat(f"{_folder(path)}/:list", _listed)
        names = self._tried(lambda: sorted(os.listdir(folder)))
        assert done.kind == names.kind
        if names.kind == ALLOWED:
            there = [one.removeprefix(f"{_folder(path)}/") for one in done.value]
            assert {one.partition("/")[0] for one in there} <= set(names.value)
        return done._replace(told=f"{done.told} {names.told}")

    def _search(self, path: str, words: str) -> Outcome:
        return self._cat(f"{_folder(path)}/:search:{quote(words)},limit={MOST}", _hits)

    def _recall(self, path: str, words: str) -> Outcome:
        return self._cat(f"{_folder(path)}/:recall:{quote(words)}", str)

    def _tags_in(self, path: str, _: str) -> Outcome:
        return self._cat(f"{_folder(path)}/:tags", _counts)

    def _delta_in(self, path: str, _: str) -> Outcome:
        return self._cat(f"{_folder(path)}/:delta?peek=1", _news)

    def _search_all(self, path: str, words: str) -> Outcome:
        done = self._cat(f"/:search:{quote(words)},limit={MOST}", _hits)
        return _holds(path, done.told, done.value)

    def _recall_all(self, path: str, words: str) -> Outcome:
        done = self._cat(f"/:recall:{quote(words)}", str)
        return _holds(path, done.told, done.value)

    def _write(self, path: str, _: str) -> Outcome:
        def append() -> None:
            # Without O_CREAT: what is hidden is not there, and would be a file to make.
            fd = os.open(self.place(path), os.O_WRONLY | os.O_APPEND)
            try:
                os.write(fd, LINE.encode())
            finally:
                os.close(fd)

        return self._tried(append)

    def _forget(self, path: str, _: str) -> Outcome:
        return self._tried(lambda: os.unlink(self.place(path)))

    def _create(self, path: str, _: str) -> Outcome:
        return self._tried(lambda: Path(self.place(path)).write_text(NEW) and None)

    def _rename_into(self, path: str, _: str) -> Outcome:
        own = Path(self.place(self.own))
        return self._tried(lambda: own.rename(self.place(path)) and None)

    def _link_to(self, path: str, _: str) -> Outcome:
        spare = self.place(self.spare)
        return self._tried(lambda: os.link(self.place(path), spare, follow_symlinks=False))

    def _symlink_to(self, path: str, _: str) -> Outcome:
        spare = Path(self.place(self.spare))
        spare.symlink_to(f"../../..{path}")  # from the agent's own folder to the root
        try:
            return self._tried(spare.read_text)
        finally:
            spare.unlink()


class McpDoor(Door):
    """A server's tools, and its resources where no tool asks that; by the SDK's own client."""

    name = "mcp"

    def __init__(self, agent: str, talk: Talk) -> None:
        super().__init__(agent)
        self.talk = talk

    def _called(self, tool: str, shape: Callable[[Any], Any], **arguments: Any) -> Outcome:
        done = self.talk(lambda client: client.call_tool(tool, arguments))
        told = "\n".join(block.text for block in done.content)
        if not done.is_error:
            return Outcome(ALLOWED, told, shape(done.structured_content))
        return Outcome(_kind(told), told)

    def _resource(self, path: str, shape: Callable[[str], Any]) -> Outcome:
        from mcp import MCPError

        uri = f"avm://memory/{quote(path.removeprefix('/memory/'), safe='/:=,')}"
        try:
            (content,) = self.talk(lambda client: client.read_resource(uri)).contents
        except MCPError as err:
            return Outcome(_kind(err.error.message), err.error.message)
        return Outcome(ALLOWED, content.text, shape(content.text))

    def _read(self, path: str, _: str) -> Outcome:
        return self._called("avm_read", lambda said: said["text"], path=path)

    def _tags(self, path: str, _: str) -> Outcome:
        return self._resource(f"{path}:tags", lambda text: sorted(text.split()))

    def _links(self, path: str, _: str) -> Outcome:
        return self._resource(f"{path}:links", _rows)

    def _backlinks(self, path: str, _: str) -> Outcome:
        return self._resource(f"{path}:backlinks", _rows)

    def _similar(self, path: str, _: str) -> Outcome:
        return self._resource(f"{path}:similar", _hits)

    def _history(self, path: str, _: str) -> Outcome:
        return self._called("avm_history", _changes, path=path, limit=MOST)

    def _at(self, path: str, _: str) -> Outcome:
        return self._called("avm_read", lambda said: said["text"], path=path, at="HEAD")

    def _delta(self, path: str, _: str) -> Outcome:
        return self._resource(f"{path}:delta:peek=1", str)

    def _list(self, path: str, _: str) -> Outcome:
        done = self._called(
            "avm_list",
            lambda said: sorted(one["path"] for one in said["memories"]),
            folder=_folder(path),
            limit=MOST,
        )
        return _found(done.told, done.value) if done.kind == ALLOWED else done

    def _search(self, path: str, words: str) -> Outcome:
        done = self._called("avm_search", _hits_of, query=words, limit=MOST, folder=_folder(path))
        return _found(done.told, done.value) if done.kind == ALLOWED else done

    def _recall(self, path: str, words: str) -> Outcome:
        done = self._called("avm_recall", lambda said: said, query=words, folder=_folder(path))
        return _found(done.told, done.value and done.value["memories"] and done.value["text"])

    def _tags_in(self, path: str, _: str) -> Outcome:
        return self._resource(f"{_folder(path)}/:tags", _counts)

    def _delta_in(self, path: str, _: str) -> Outcome:
        return self._resource(f"{_folder(path)}/:delta:peek=1", _news)

    def _history_in(self, path: str, _: str) -> Outcome:
        return self._called("avm_history", _changes, path=_folder(path), limit=MOST)

    def _search_all(self, path: str, words: str) -> Outcome:
        done = self._called("avm_search", _hits_of, query=words, limit=MOST)
        return _holds(path, done.told, done.value)

    def _recall_all(self, path: str, words: str) -> Outcome:
        done = self._called("avm_recall", lambda said: said["text"], query=words)
        return _holds(path, done.told, done.value)

    def _write(self, path: str, _: str) -> Outcome:
        return self._called("avm_edit", lambda said: None, path=path, new=LINE)

    def _remember_in(self, path: str, _: str) -> Outcome:
        where = _namespace(path) or ""
        return self._called(
            "avm_remember", lambda _: None, text=NEW, title=_title(path), namespace=where
        )

    def _forget(self, path: str, _: str) -> Outcome:
        return self._called("avm_forget", lambda said: None, path=path)


#: What is said, by what came of it. The SDK itself lets no resource lead out of the root.
_SAID = {
    "no memory at": ABSENT,
    "no folder at": ABSENT,
    "Unknown resource": ABSENT,
    "was not there": ABSENT,
    "may not": REFUSED,
    "is no folder": REFUSED,
    "plain folder names": CROOKED,
    "component": CROOKED,
}


def _kind(said: str) -> str:
    (kind,) = {kind for text, kind in _SAID.items() if text in said}
    return kind


def _changes(said: Any) -> list[str]:
    return [f"{one['hash'][:7]} {one['subject']}" for one in said["commits"]]


def _hits_of(said: Any) -> list[str]:
    return [f"{one['path']}#L{one['line']}" for one in said["hits"]]


Talk = Callable[[Callable[[Any], Awaitable[Any]]], Any]


@contextlib.contextmanager
def talking(connect: Callable[[], Any]) -> Iterator[Talk]:
    """A client that stays connected in a thread of its own, and how to ask it something."""
    ready, box = threading.Event(), dict[str, Any]()

    async def live() -> None:
        box["loop"], box["end"] = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with connect() as client:
                await client.list_tools()  # whatever it starts for a call is there before a test
                box["client"] = client
                ready.set()
                await box["end"].wait()
        finally:
            ready.set()

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    ready.wait(60)

    def talk(call: Callable[[Any], Awaitable[Any]]) -> Any:
        async def one() -> Any:
            return await call(box["client"])

        return asyncio.run_coroutine_threadsafe(one(), box["loop"]).result(60)

    try:
        assert "client" in box, "no connection"
        yield talk
    finally:
        box["loop"].call_soon_threadsafe(box["end"].set)
        thread.join(60)
