"""Leaving one long file: its sections become memories."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

from avm.api.changing import Changing
from avm.api.explaining import Explaining
from avm.base import paths
from avm.base.errors import AVMError, QuotaError, UsageError

if TYPE_CHECKING:
    from avm.base.sections import Section

#: So many questions tell what a recall costs.
_QUESTIONS = 5
_LONGEST_TITLE = 120


@dataclass
class Imported:
    """What became of a file's sections. Vault paths; `left` maps a section's title to why it is not
    a memory, `gone` are memories whose sections are not in the file any more. `tokens`: of the
    whole file."""

    file: str
    tokens: int
    new: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    left: dict[str, AVMError] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)


class Importing(Changing, Explaining):
    """What a viewer may bring along."""

    def import_text(
        self,
        text: str,
        name: str,
        *,
        update: bool = False,
        dry_run: bool = False,
        allow_secret: bool = False,
    ) -> Imported:
        """Make a memory of each section of a markdown file, whose name is `name`: `CLAUDE.md`, or
        with folders, `~/garden/CLAUDE.md`.

        They go to a folder named after the file and the one that it is in, in the viewer's own.
        Done again it makes nothing twice: a section is known by the file and headings in its
        `source`. One that says something else than its memory is left, or with `update` put into
        it. `dry_run` writes nothing.
        """
        from avm.base import memory_file
        from avm.base.sections import sections
        from avm.recall.tokens import count_tokens

        raw = text.encode("utf-8", "surrogateescape")
        body = raw[memory_file.split(raw).body_start :].decode("utf-8", "replace")
        folder = _folder(PurePath(name))
        done = Imported(name, count_tokens(text))
        known = self._imported(f"{self.viewer.home}/{folder}", name)
        seen: dict[str, int] = {}
        full: QuotaError | None = None
        for section in sections(body):
            source = _source(name, section, seen)
            title = _title(section, paths.name_of(folder))
            done.titles.append(title)
            rel = known.pop(source, None)
            try:
                if rel is not None:
                    self._compare(section, rel, done, update, dry_run)
                elif full:
                    raise full
                elif dry_run:
                    done.new.append(f"/{self.viewer.home}/{folder}")
                else:
                    done.new.append(self._import(section, source, title, folder, allow_secret))
            except QuotaError as err:
                full = done.left[title] = err
            except AVMError as err:
                done.left[title] = err
        done.gone = sorted(map(paths.display, known.values()))
        return done

    def costs(self, questions: list[str]) -> list[int]:
        """What recalls of a few of the questions cost, in tokens."""
        step = max(1, len(questions) // _QUESTIONS)
        return [self.recalled(one).tokens for one in questions[::step][:_QUESTIONS]]

    def _import(
        self, section: Section, source: str, title: str, folder: str, allow_secret: bool
    ) -> str:
        """Make a memory of a section; its vault path."""
        made = self.remember(
            section.text, title=title, tags=[paths.name_of(folder)], folder=folder, source=source,
            on_duplicate="keep", allow_secret=allow_secret,
        )  # fmt: skip
        return made.path

    def _compare(
        self, section: Section, rel: str, done: Imported, update: bool, dry_run: bool
    ) -> None:
        """What becomes of a section whose memory is there."""
        if self.body(rel).strip() == section.text.encode("utf-8", "surrogateescape").strip():
            done.there.append(paths.display(rel))
        elif update:
            if not dry_run:
                self.set_body(rel, section.text)
            done.updated.append(paths.display(rel))
        else:
            done.differing.append(paths.display(rel))

    def _imported(self, folder: str, name: str) -> dict[str, str]:
        """The memories in a folder that were imported from the file `name`, by their source."""
        from avm.base import memory_file
        from avm.vault import files

        self.store.refresh()
        found: dict[str, str] = {}
        for row in self.store.index.list_memories(self._filter(folder)):
            front = memory_file.parse(files.read(self.store.vault, row.path), max_body=0).front
            source = front.source or ""
            if source == name or source.startswith((f"{name} > ", f"{name} (")):
                found.setdefault(source, row.path)
        return found


def _folder(file: PurePath) -> str:
    """Where the sections of a file go: `garden/claude` for `~/garden/CLAUDE.md`."""
    names = [name for name in (file.parent.name, file.stem) if name not in ("", "~")]
    return "/".join(paths.stem_from_title(name.lstrip(".") or name).lower() for name in names)


def _source(name: str, section: Section, seen: dict[str, int]) -> str:
    """Where a section is from: the file and its headings, counted where they are not the only
    ones."""
    source = " > ".join((name, *section.trail))
    seen[source] = seen.get(source, 0) + 1
    return source if seen[source] == 1 else f"{source} ({seen[source]})"


def _title(section: Section, stem: str) -> str:
    title = " > ".join(section.trail) or stem
    return title if len(title) <= _LONGEST_TITLE else title[-_LONGEST_TITLE:].lstrip()


def check_name(name: str) -> str:
    """The name of an imported file: one line. Raises UsageError."""
    if len(name.splitlines()) != 1 or not paths.is_utf8(name):
        raise UsageError(f"{name!r}: a file can be imported whose name is UTF-8 and one line")
    return name
