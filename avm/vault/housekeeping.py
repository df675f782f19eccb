"""Housekeeping: packing objects, and the commit-graph that makes the history of a path quick.

libgit2 never packs, so what AVM commits stays loose until somebody does it. Kept texts (rescue.py)
are named by a ref meanwhile, or git would prune them after two weeks.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from avm.base import atomic
from avm.base.errors import RepositoryError
from avm.vault import git, rescue
from avm.vault.location import Vault
from avm.vault.repository import busy_with

#: How long a kept text is held by a ref; afterwards git prunes it as any other object.
KEPT_DAYS = 90
#: From here on a history without path filters is slow to ask (0.3 s against 4 s at 100k).
MANY_COMMITS = 2_000
#: What git itself takes for 6,700 loose objects (gc.auto): so many in one of the 256 folders.
_LOOSE = 27
#: Some 350 commits in the reflog.
_LOG_BYTES = 64_000
_DAY_SECONDS = 86_400
#: The git that writes changed-path filters.
_FILTERS_SINCE = (2, 27)
_HEADER_BYTES = 8
_CHUNK_BYTES = 12


@dataclass(frozen=True)
class _Measure:
    """What tells whether there is something to do; a few stats. `at` in seconds since the epoch.

    `loose` counts `objects/17`, `log` and `kept` are bytes of the reflog and of `kept.jsonl`.
    """

    at: float = 0.0
    loose: int = 0
    packs: int = 0
    log: int = 0
    kept: int = 0


class Housekeeper:
    """Keeps one vault's repository small and quick. One at a time: call it with a lock held."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._note = vault.git_state / "tidy.json"

    def due(self) -> bool:
        """Whether `tidy` has something to do. Starts no program."""
        now, last = self._measure(), self._last()
        rested = not 0 <= now.at - last.at < _DAY_SECONDS
        return (
            # More than was left the last time: gc may have had its reasons.
            (now.loose >= _LOOSE and (rested or now.loose >= last.loose + _LOOSE))
            or now.packs > last.packs
            or abs(now.log - last.log) > _LOG_BYTES
            or (now.kept != last.kept and rested)
        )

    def tidy(self, stop: threading.Event | None = None) -> str | None:
        """Pack and write the commit-graph, at low priority; None when done, else why not.

        Ends at once, with what it started, when `stop` is set and when the person begins an
        operation. Raises nothing: what git says is the answer.
        """

        def hindrance() -> str | None:
            return "stopped" if stop is not None and stop.is_set() else self._hindrance()

        failed: str | None = None
        try:
            for step in (self._keep, self._pack, self._write_graph):
                if why := hindrance():
                    return why
                if not step(lambda: hindrance() is not None):
                    return hindrance() or "stopped"
        except RepositoryError as err:
            failed = str(err)
        self._note.parent.mkdir(parents=True, exist_ok=True)
        atomic.replace(self._note, json.dumps(asdict(self._measure())).encode())
        return failed

    def _hindrance(self) -> str | None:
        if busy := busy_with(self._vault):
            return busy
        if (self._vault.git_dir / "index.lock").exists():
            return "index.lock is held: another git command runs"
        return None

    def _keep(self, _: Callable[[], bool]) -> bool:
        """Make a tree of the kept texts that are young enough, and a ref that points at it.

        One ref a place of `kept.jsonl`: the worktrees of a repository share its objects.
        """
        if not rescue.kept_file(self._vault).exists():
            return True
        since = time.time() - KEPT_DAYS * _DAY_SECONDS
        # As bytes, in few pieces: they may be hundreds of thousands, and a process that once needed
        # memory for small ones mostly keeps it.
        young: set[bytes] = set()
        old: set[bytes] = set()
        for text in rescue.each_kept(self._vault):
            (young if text.at >= since else old).add(text.blob.encode())
        old -= young
        root = self._vault.root
        feed = b"".join(name + b"\n" for name in sorted(young | old))
        told = git.run(root, ("cat-file", "--batch-check"), stdin=feed).stdout
        rows = bytearray()
        left: set[str] = set()
        for line in io.BytesIO(told):
            name, facts = line.split(maxsplit=1)
            if not facts.startswith(b"blob "):
                continue
            if name in young:
                rows += b"100644 blob %s\t%s\0" % (name, name)
            else:
                left.add(name.decode())
        if len(left) < len(old):
            rescue.drop_lost(self._vault, left, since)
        ref = kept_ref(self._vault)
        if not rows:
            git.run(root, ("update-ref", "-d", ref), check=False)
            return True
        tree = git.run(root, ("mktree", "-z"), stdin=bytes(rows)).stdout.decode().strip()
        git.run(root, ("update-ref", ref, tree))
        return True

    def _pack(self, halt: Callable[[], bool]) -> bool:
        # The commit-graph is ours to write, with path filters.
        settings = ("-c", "gc.autoDetach=false", "-c", "gc.writeCommitGraph=false")
        return git.run_low(self._vault.root, (*settings, "gc", "--auto", "--quiet"), halt)

    def _write_graph(self, halt: Callable[[], bool]) -> bool:
        if _is_shallow(self._vault) or git.version() < _FILTERS_SINCE:
            return True
        # A layer without filters below ours would stay without.
        how = "--split" if has_path_filters(self._vault) else "--split=replace"
        args = ("commit-graph", "write", "--reachable", "--changed-paths", how, "--no-progress")
        return git.run_low(self._vault.root, args, halt)

    def _measure(self) -> _Measure:
        objects = self._vault.common_dir / "objects"
        return _Measure(
            at=time.time(),
            loose=_count(objects / "17"),
            packs=_count(objects / "pack", ".pack"),
            log=_size(self._vault.git_dir / "logs" / "HEAD"),
            kept=_size(rescue.kept_file(self._vault)),
        )

    def _last(self) -> _Measure:
        try:
            return _Measure(**json.loads(self._note.read_bytes()))
        except (OSError, ValueError, TypeError):
            return _Measure()


def kept_ref(vault: Vault) -> str:
    """The ref that holds this vault's kept texts."""
    return "refs/avm/kept/" + hashlib.sha256(os.fsencode(vault.own_state)).hexdigest()[:16]


def lacks_path_filters(vault: Vault) -> int:
    """How many commits HEAD has, if they are many and `tidy` would make their history quicker."""
    if has_path_filters(vault) or _is_shallow(vault) or git.version() < _FILTERS_SINCE:
        return 0
    limit = str(MANY_COMMITS + 1)
    few = git.run(vault.root, ("rev-list", "-n", limit, "--count", "HEAD"), check=False)
    if few.returncode != 0 or int(few.stdout) <= MANY_COMMITS:
        return 0
    return int(git.output(vault.root, "rev-list", "--count", "HEAD"))


def has_path_filters(vault: Vault) -> bool:
    """Whether there is a commit-graph, and every layer of it has changed-path Bloom filters."""
    layers = list(_layers(vault.common_dir / "objects" / "info"))
    return bool(layers) and all(b"BIDX" in _chunks(layer) for layer in layers)


def _layers(info: Path) -> Iterator[Path]:
    """The files of the commit-graph; git prefers the single one."""
    if (info / "commit-graph").exists():
        yield info / "commit-graph"
        return
    chain = info / "commit-graphs" / "commit-graph-chain"
    if chain.exists():
        for name in chain.read_text().split():
            yield chain.parent / f"graph-{name}.graph"


def _chunks(graph: Path) -> set[bytes]:
    """The names of a commit-graph's chunks (gitformat-commit-graph(5))."""
    try:
        with graph.open("rb") as file:
            header = file.read(_HEADER_BYTES)
            if header[:4] != b"CGPH" or len(header) < _HEADER_BYTES:
                return set()
            table = file.read(_CHUNK_BYTES * header[6])
    except OSError:
        return set()
    return {table[at : at + 4] for at in range(0, len(table), _CHUNK_BYTES)}


def _is_shallow(vault: Vault) -> bool:
    """Whether the history is cut off: git then writes no commit-graph."""
    return (vault.common_dir / "shallow").exists()


def _count(folder: Path, end: str = "") -> int:
    try:
        return sum(name.endswith(end) for name in os.listdir(folder))
    except OSError:
        return 0


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
