"""A vault in which everybody has notes that tell whose they are, and what an agent must not see.

Each text, title, tag, alias and file name holds a marker word of whose it is. No answer and no
error may hold one, unless the question did.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import git

from avm import AVM

AGENTS = ("akashi", "hermes")
OTHER = {"akashi": "hermes", "hermes": "akashi"}
#: An agent whose name only begins like that of another.
NEAR = "akashi2"
#: Whose notes each marker tells of.
MARKERS = {
    "akashi": "quokka",
    "hermes": "walrus",
    NEAR: "ocelot",
    "the owner": "badger",
    "denied": "wombat",
}
#: The owner's own configuration: what is shared beyond the rest, and what of that is not.
RULES = """
[groups.everybody]
members = ["*"]
read = ["/given/**"]
deny = [
  "/memory/shared/hr", "/given/hr/**", "/memory/shared/wombat_file.md",
  "/memory/shared/team/hr", "/memory/shared/team/wombat_pay.md",
]
"""
SHARED = "/memory/shared/open.md"


def hidden_from(agent: str) -> tuple[str, ...]:
    """The words that `agent` must never be shown."""
    return tuple(word for name, word in MARKERS.items() if name != agent)


def secret(marker: str) -> str:
    """A memory whose every part tells whose it is; its tag, links and words match others' too."""
    return (
        f"---\ntitle: {marker} title\ntags: [{marker}tag, common]\nimportance: 1.0\n"
        f"aliases: [{marker} alias, shadow]\npinned: true\n---\n"
        f"# {marker} heading\n\ncommon words of the {marker} [[{marker}link]] [[open]] #{marker}2\n"
    )


def lay_vault(folder: Path, rules: str = RULES) -> Path:
    """Make the vault in `folder`, with links laid out to lead astray."""
    (folder / "outside").mkdir()
    (folder / "outside/badger_outside.md").write_text(secret("badger"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{name}_NAME", "Pat Person")
            patch.setenv(f"GIT_{name}_EMAIL", "pat@example.org")
        AVM(folder / "vault").close()
        root = folder / "vault"
        for name in (*AGENTS, NEAR):
            word = MARKERS[name]
            for place in (f"{word}_note.md", f"{word}_deep/{word}_plan.md", f"{word}_data.csv"):
                write(root / "memory/private" / name / place, secret(word))
            write(root / "memory/private" / name / "same.md", secret(word))
        for place in ("badger_root.md", "notes/badger_diary.md", "memory/badger_loose.md"):
            write(root / place, secret("badger"))
        write(root / "notes/diary.md", secret("badger"))
        write(root / "memory/private/badger_between.md", secret("badger"))
        write(root / "memory/sharedbadger/badger_near.md", secret("badger"))
        for place in ("hr/wombat_note.md", "hr/same.md", "hr/wombat_data.csv", "wombat_file.md"):
            write(root / "memory/shared" / place, secret("wombat"))
        write(root / "given/hr/wombat_plan.md", secret("wombat"))
        write(root / "given/plan.md", "common plan for everybody #common\n")
        write(root / ".git/avm/config.toml", rules)
        write(root / SHARED[1:], "common words for everybody [[same]] [[diary]] #common\n")
        targets = [f"memory/private/{n}/same" for n in (*AGENTS, NEAR)] + ["private/hermes/same.md"]
        targets += ["same", "shadow", "diary", "notes/diary", "/notes/diary.md", "to_hermes/same"]
        write(root / "memory/shared/links.md", " ".join(f"[[{target}]]" for target in targets))
        _lay_links(root, folder)
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "-m", "All of it")
    return root


def write(place: Path, text: str) -> None:
    """Write a file, in folders that are made if they are missing."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def _lay_links(root: Path, folder: Path) -> None:
    shared = root / "memory/shared"
    for name in AGENTS:
        word = MARKERS[name]
        (shared / f"to_{name}").symlink_to(f"../private/{name}")
        (shared / f"file_{name}.md").symlink_to(f"../private/{name}/{word}_note.md")
        mine, other = root / "memory/private" / name, root / "memory/private" / OTHER[name]
        (mine / "peek").symlink_to(other)
        (mine / "peek.md").symlink_to(other / "same.md")
    (shared / "root").symlink_to("../..")
    (shared / "root.md").symlink_to("../../badger_root.md")
    (shared / "outside").symlink_to(folder / "outside")
    (shared / "outside.md").symlink_to(folder / "outside/badger_outside.md")


def check(agent: str, shown: str, *asked: str) -> None:
    """No hidden word in `shown`, but where the question itself brought it in."""
    told = shown
    for text in filter(None, asked):
        told = told.replace(repr(text.strip()), "").replace(text.strip("/"), "")
    leaked = [word for word in hidden_from(agent) if word in told.casefold()]
    assert not leaked, f"{agent} was shown {leaked} in {shown!r}"


def as_text(value: Any) -> str:
    """Everything that an answer holds."""
    if isinstance(value, list):
        return "\n".join(map(as_text, value))
    return str(dataclasses.asdict(value)) if dataclasses.is_dataclass(value) else str(value)  # type: ignore[arg-type]


def snapshot(root: Path) -> dict[str, str]:
    """Every file in the work tree and around it, with its text or target."""
    found = {}
    for folder, folders, names in os.walk(root.parent):
        for name in [*names, *folders]:
            place = Path(folder, name)
            if ".git" in place.parts:
                continue
            if place.is_symlink():
                found[str(place)] = f"-> {os.readlink(place)}"
            elif place.is_file():
                found[str(place)] = place.read_text()
    return found


CROOKED = "a vault path has no empty, '.' or '..' component"


def absent(path: str) -> str:
    """What is said of a file that is not there."""
    return f"no memory at /{path.strip('/')}"
