"""`avm bench scale`: each operation at each size of vault, beside its floor."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from avm.api.avm import AVM, open_avm
from avm.api.waiting import Waiting
from avm.base.errors import ModelError
from avm.bench import floors, mounted
from avm.bench.figures import Floor, Row, again, each, median, row
from avm.bench.keeping import Keeper, command, keeper, without_scans
from avm.bench.questions import Questions
from avm.bench.vault_maker import Author, make_vault, memories
from avm.vault.location import open_vault

#: Larger vaults are not embedded for a measurement: the model reads some 30 passages a second.
_MOST_EMBEDDED = 1_000
#: Nothing is committed while it is measured, whatever the person has configured.
_CONFIG = '[commit]\nwho = "off"\n'
_NAMESPACE = "bench"
_ASKED = 50
_REMEMBERED = 200
_MOUNTED = 100
_MANY = 20_000


class Measured(NamedTuple):
    """What came of one size. `notes` are lines on what could not be measured, or how it was."""

    memories: int
    keeper: bool
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def measure(size: int, folder: Path, tell: Callable[[str], None]) -> Measured:
    """Measure a vault of `size` memories in `folder`, made if it is not there yet.

    `tell` is handed a line on what is done now. What is written for the measurement is removed.
    """
    root = folder / "vault"
    if not (folder / "made").exists():
        shutil.rmtree(root, ignore_errors=True)
        tell(f"{size:,}: making the vault")
        vault = make_vault(root, size)
        (vault.git_state / "config.toml").parent.mkdir(exist_ok=True)
        (vault.git_state / "config.toml").write_text(_CONFIG)
        (folder / "made").write_text(f"{size}\n")
    vault = open_vault(root)
    shutil.rmtree(vault.index_dir, ignore_errors=True)
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        return _Size(size, root, scratch, tell).measure()
    finally:
        for name in (_NAMESPACE, Path(mounted.FOLDER).name):
            shutil.rmtree(root / "memory/shared" / name, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)


class _Size:
    """The measurements of one size, in their order."""

    def __init__(self, size: int, root: Path, scratch: Path, tell: Callable[[str], None]) -> None:
        self._size, self._root, self._scratch = size, root, scratch
        self._tell = tell
        self._table = floors.BareTable(scratch / "bare.sqlite")
        self._questions = Questions(size)
        self._times = 3 if size >= _MANY else 10
        self._keeper: Keeper | None = None
        self._notes: list[str] = []

    def measure(self) -> Measured:
        """All of it."""
        rows: list[Row] = []
        try:
            with self._opened("off") as avm:
                rows += self._indexing(avm)
            self._keeper = keeper(self._root, semantic=self._size <= _MOST_EMBEDDED)
            if self._keeper is None:
                self._notes.append(
                    "no keeper: search and recall are without the scan that each then begins with"
                )
            with self._opened("off") as avm:
                rows += self._remembering(avm)
                rows += self._searching(avm)
                rows += self._recalling(
                    avm, "recall, text", self._questions.mixed(_ASKED), "0.11–0.28"
                )
            rows += self._meaning()
            rows += self._processes()
            rows += self._mounting()
            rows += self._weights()
        finally:
            self._table.close()
            if self._keeper:
                self._keeper.stop()
        return Measured(self._size, self._keeper is not None, tuple(rows), tuple(self._notes))

    def _say(self, what: str) -> None:
        self._tell(f"{self._size:,}: {what}")

    def _opened(self, semantic: str) -> AVM:
        # The keeper is the one that is measured: no other is to take its place.
        settings = {"semantic": semantic, "keeper.autostart": False}
        return open_avm(self._root, settings, Waiting.LIBRARY)

    def _indexing(self, avm: AVM) -> Iterator[Row]:
        self._say("indexing")
        cold = again(avm.index, 1)
        yield row("index, cold", cold, Floor("read + insert", self._table.fill(self._root)))
        _settle()
        avm.store.index.refresh()  # reads once more what was new a moment ago
        scan = again(avm.store.index.refresh, self._times)
        yield row("catch-up scan", scan, floors.walk(self._root, self._times))

    def _remembering(self, avm: AVM) -> Iterator[Row]:
        self._say("remembering")
        author = Author(seed=1)
        texts = [author.body() for _ in range(2 * _REMEMBERED)]
        named = [(" ".join(author.title()), text) for text in texts[:_REMEMBERED]]
        avm.remember("warm", "warm", namespace=_NAMESPACE)
        taken = each(lambda one: avm.remember(one[1], one[0], namespace=_NAMESPACE), named)
        floor = floors.write_and_upsert(self._scratch / "bare", self._table, texts[_REMEMBERED:])
        yield row("remember", taken, floor, "~0.6")
        shutil.rmtree(self._root / "memory/shared" / _NAMESPACE)  # the others are of the size asked
        avm.store.refresh()
        _settle()
        avm.store.refresh()
        if self._keeper:
            yield row("barrier", again(avm.store.refresh, _ASKED))

    def _searching(self, avm: AVM) -> Iterator[Row]:
        self._say("searching")
        first = {116: "0.14", 1_000: "0.16"}.get(self._size, "")
        kinds = {
            "search, 1 rare word": self._questions.rare(_ASKED),
            "search, 1 common word": self._questions.common(_ASKED),
            "search, 5 common words": self._questions.common(_ASKED, words=5),
        }
        for name, asked in kinds.items():
            taken = self._asked(avm, avm.search, asked)
            yield row(name, taken, self._table.query_floor(asked), first)
        rg = floors.ripgrep(self._root, kinds["search, 1 rare word"][: self._times])
        if rg is None:
            self._notes.append("no rg: it is not installed")
        else:
            rare = median(self._asked(avm, avm.search, kinds["search, 1 rare word"]))
            yield row("rg, 1 rare word", rg, Floor("avm search, in process", rare))

    def _recalling(self, avm: AVM, name: str, asked: Sequence[str], first: str) -> Iterator[Row]:
        self._say("recalling")
        yield row(name, self._asked(avm, avm.recall, asked), self._table.query_floor(asked), first)

    def _asked(self, avm: AVM, ask: Callable[[str], object], asked: Sequence[str]) -> list[float]:
        """The times of the questions, after one to warm up."""
        with contextlib.nullcontext() if self._keeper else without_scans(avm.store):
            ask(asked[0])
            return each(ask, asked)

    def _meaning(self) -> Iterator[Row]:
        """Recall with vectors: the model's where it is there and the vault small, else random."""
        asked = self._questions.mixed(_ASKED)
        with self._opened("auto") as avm:
            if self._size <= _MOST_EMBEDDED and self._embedded(avm):
                avm.recall("warm")  # starts the model
                avm.store.semantic.near("warm", patient=True)
                yield from self._recalling(avm, "recall, vectors", asked, "~5.6")
                yield from self._recalling(avm, "recall, vectors, asked before", asked, "~5.6")
                return
            try:
                from avm.bench.meaning import use_random

                self._say("filling in random vectors")
                count = use_random(avm.store, self._size)
            except ImportError:
                self._notes.append("no recall with vectors: numpy is not installed")
                return
            self._notes.append(
                f"vectors: {count:,} random ones; the question's own is not counted (it is random)"
            )
            yield from self._recalling(avm, "recall, random vectors", asked, "")

    def _embedded(self, avm: AVM) -> bool:
        self._say("embedding")
        try:
            start = time.perf_counter()
            embedded, _ = avm.index(wait=True)
        except ModelError as err:
            self._notes.append(f"vectors are random: {err}")
            return False
        taken = time.perf_counter() - start
        self._notes.append(f"vectors: the model's, {embedded:,} in {taken:.0f} s with its start")
        return True

    def _processes(self) -> Iterator[Row]:
        self._say("whole processes")
        floor = floors.process([sys.executable, "-c", "import click"], self._times)
        word = self._questions.common(1)[0]
        for verb in ("search", "recall"):
            whole = command(self._root, verb, word)
            floors.process(whole, 1)
            taken = [floors.process(whole, 1).p50 for _ in range(self._times)]
            yield row(f"avm {verb}, whole process", taken, floor)

    def _mounting(self) -> list[Row]:
        self._say("mounting")
        rels = [one.rel for _, one in zip(range(_MOUNTED), memories(self._size), strict=False)]
        found = mounted.mounted_rows(
            self._root, self._scratch / "mount", rels, Author(seed=2).body()
        )
        if isinstance(found, str):
            self._notes.append(found)
            return []
        return found

    def _weights(self) -> Iterator[Row]:
        folder = open_vault(self._root).index_dir
        # The index's file has a second name, a link.
        files = sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())
        text = sum(file.stat().st_size for file in (self._root / "memory").rglob("*.md"))
        yield Row("index on disk", 1, files / 1e6, files / 1e6, "MB", Floor("text", text / 1e6))
        resident = self._keeper.resident_mb() if self._keeper else None
        if resident is not None:
            yield Row("keeper's memory", 1, resident, resident, "MB")


def _settle() -> None:
    """Wait until what was written is older than git's racy rule looks at again."""
    time.sleep(2.1)
