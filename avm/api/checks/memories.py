"""The memories themselves: what could not be read, folders that are too full."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from avm.api.checks.finding import Check, Finding
from avm.api.view import View
from avm.base import paths
from avm.index.text import Filter
from avm.vault.ignore import untracked_and_ignored
from avm.vault.layout import MOST_FILES

#: How the problems of a memory's times begin (base/memory_file.py).
_TIMES = ("created ", "expires ", "ttl ")


def _front_matter(view: View) -> Iterator[Finding]:
    for rel, problem in _problems(view):
        if not problem.startswith(_TIMES):
            yield Finding(paths.display(rel), problem, "edit it; until then it counts as absent")


def _times(view: View) -> Iterator[Finding]:
    for rel, problem in _problems(view):
        if problem.startswith(_TIMES):
            yield Finding(paths.display(rel), problem, "edit it; until then it counts as absent")


def _problems(view: View) -> list[tuple[str, str]]:
    view.store.refresh()
    index = view.store.index
    return [(rel, problem) for rel, problem in index.problems() if view.viewer.can_read(rel)]


def _names(view: View) -> Iterator[Finding]:
    view.store.refresh()
    for rel in view.store.index.undecodable:
        if view.viewer.can_read(rel):
            yield Finding(paths.display(rel), "its name is not UTF-8: it is no memory", "rename it")


def _crowded(view: View) -> Iterator[Finding]:
    view.store.refresh()
    index, root = view.store.index, view.store.vault.root
    viewer = view.viewer
    everything = Filter(viewer.read_folders, "", float("-inf"), denied=viewer.denied)
    for folder in sorted({paths.parent(row.path) for row in index.list_memories(everything)}):
        if not viewer.reads_all_in(folder):
            continue  # how many there are is not this agent's to know
        try:
            count = sum(1 for _ in os.scandir(root / folder))
        except OSError:
            continue
        if count > MOST_FILES:
            yield Finding(
                paths.display(folder),
                f"{count:,} files in one folder: each commit in it is slow",
                "left alone, new memories go to folders of the month; move some into sub-folders",
            )


def _ignored(view: View) -> Iterator[Finding]:
    ignored = [rel for rel in untracked_and_ignored(view.store.vault) if paths.is_memory(rel)]
    for folder, count in sorted(Counter(map(paths.parent, ignored)).items()):
        yield Finding(
            paths.display(folder),
            f"git ignores {count:,} files here that look like memories: AVM neither finds nor"
            " commits them",
            "git check-ignore -v FILE names the rule, which may have come with a pull",
            note=True,
        )


CHECKS = (
    Check("front-matter", "Front matter that cannot be read.", _front_matter, for_agents=True),
    Check("times", "Times and durations that cannot be read.", _times, for_agents=True),
    Check("names", "Names of memories that are not UTF-8.", _names, for_agents=True),
    Check(
        "ignored",
        "Files below `memory/` that git ignores and that look like memories (only told).",
        _ignored,
    ),
    Check(
        "crowded-folder",
        f"Folders of memories with more than {MOST_FILES:,} files.",
        _crowded,
        for_agents=True,
    ),
)
