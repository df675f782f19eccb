"""How fast search and recall are, and how right: `python tests/bench/search.py --size 1000`.

Makes a vault of varied text (word frequencies as in real text: Zipf over 40,000 words, fixed seed)
and asks it in one process, without the catch-up scan. Prints, for each kind of question, the median
(of CPU time) and the 95th percentile (of all time) beside the bare FTS5 query of the same words in
the same run, and the share of the true BM25 top 10 (all passages ranked) that the bounded search
has in its own.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from avm import AVM
from avm.index.fulltext import FullText, ranked
from avm.index.text import Filter
from avm.recall.query import parse

VOCABULARY = 40_000
FOLDERS = 97
_ENDS = ("a", "e", "i", "o", "u", "an", "er", "is", "on", "at")
_SYLLABLES = [start + end for start in "bcdfghjklmnprstvwz" for end in _ENDS]


def vocabulary() -> list[str]:
    """Made-up words, the most frequent first."""
    source = random.Random(7)
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        words["".join(source.choices(_SYLLABLES, k=source.choice((2, 2, 3, 3, 4))))] = None
    return list(words)


def write(root: Path, size: int, words: Sequence[str]) -> None:
    """`size` memories below `root`; 30 % are an agent's own, the rest is shared."""
    source = random.Random(11)
    weights = list(itertools.accumulate(1 / (rank + 2.7) for rank in range(len(words))))

    def some(count: int) -> str:
        return " ".join(source.choices(words, cum_weights=weights, k=count))

    for number in range(size):
        place = "private/akashi" if source.random() < 0.3 else "shared"
        folder = root / "memory" / place / f"f{number % FOLDERS}"
        folder.mkdir(parents=True, exist_ok=True)
        paragraphs = [some(max(3, int(source.lognormvariate(3.6, 0.7)))) for _ in range(3)]
        lines = ["---", f"title: {some(4)}"]
        if source.random() < 0.5:
            lines.append(f"importance: {source.random():.2f}")
        lines += [f"tags: [{source.choice(words[100:400])}]", "---", "\n\n".join(paragraphs), ""]
        (folder / f"note_{number}.md").write_text("\n".join(lines))


def questions(words: Sequence[str], repeats: int) -> dict[str, list[str]]:
    """Questions by kind."""
    source = random.Random(13)
    weights = list(itertools.accumulate(1 / (rank + 2.7) for rank in range(len(words))))

    def of(ranks: range, count: int) -> list[str]:
        return source.sample(words[ranks.start : ranks.stop], count)

    rare, common = range(6_000, 12_000), range(20, 80)
    kinds: dict[str, Callable[[], list[str]]] = {
        "1 rare": lambda: of(rare, 1),
        "1 common": lambda: of(common, 1),
        "1 rare, 4 common": lambda: of(rare, 1) + of(common, 4),
        "5 common": lambda: of(common, 5),
        "the 5 commonest": lambda: of(range(5), 5),
        "5 as they come": lambda: source.choices(words, cum_weights=weights, k=5),
    }
    return {kind: [" ".join(make()) for _ in range(repeats)] for kind, make in kinds.items()}


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def cpu_seconds(call: Callable[[], object]) -> float:
    """What a call computes, the least of three: what ratios are of, since others may be at work."""
    taken = []
    for _ in range(3):
        start = time.thread_time()
        call()
        taken.append(time.thread_time() - start)
    return min(taken)


def measure(avm: AVM, asked: dict[str, list[str]], agent: str | None) -> None:
    """Print a line a kind of question."""
    store: Any = avm.store
    store.refresh = lambda: None
    view = avm.view(agent)
    connection = store.index._database.connection
    where = Filter(view.viewer.read_folders, "", store.now())
    expressions = {t: parse(t).words.match_expression() for ts in asked.values() for t in ts}

    def bare(text: str) -> object:
        return connection.execute(
            "SELECT rowid FROM chunk_text WHERE chunk_text MATCH ? ORDER BY rank LIMIT 10",
            (expressions[text],),
        ).fetchall()

    calls: dict[str, Callable[[str], object]] = {
        "bare": bare,
        "search": view.search,
        "recall": view.recalled,
    }
    print(f"{'ms (p95: wall)':18} {'bare':>7} {'search':>7} {'p95':>7} {'ratio':>6}", end="")
    print(f" {'recall':>7} {'p95':>7} {'ratio':>6} {'top 10':>7}")
    for kind, texts in asked.items():
        for text in texts[:3]:
            for call in calls.values():
                call(text)
        cpu: dict[str, list[float]] = {name: [] for name in calls}
        wall: dict[str, list[float]] = {name: [] for name in calls}
        for text in texts:
            for name, call in calls.items():
                once = functools.partial(call, text)
                wall[name].append(1e3 * seconds(once))
                cpu[name].append(1e3 * cpu_seconds(once))
        print(f"{kind:18} {statistics.median(cpu['bare']):7.2f}", end="")
        for name in ("search", "recall"):
            p95 = statistics.quantiles(wall[name], n=20)[-1]
            ratio = sum(cpu[name]) / sum(cpu["bare"])
            print(f" {statistics.median(cpu[name]):7.2f} {p95:7.2f} {ratio:6.2f}", end="")
        shares = [agreement(connection, text, where) for text in texts]
        print(f" {100 * statistics.mean(shares):6.1f}%", flush=True)
    print(f"recall of nothing  {1e3 * cpu_seconds(view.recalled):7.2f}")


def agreement(connection: Any, text: str, where: Filter) -> float:
    """The share of the true top 10 that the bounded search has; equal scores are as good."""
    words = parse(text).words
    true = ranked(connection, words.match_expression(), where, 10)
    found = FullText().search(connection, words, where, 200)[:10]
    if not true:
        return 1.0
    least = true[-1].score - 1e-4
    return sum(hit.score >= least for hit in found) / len(true)


def main() -> None:
    """Build or reuse the vault, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="keep the vault here; default: a new one")
    parser.add_argument("--agent", help="ask as this agent: akashi sees all but others' folders")
    given = parser.parse_args()
    root = given.folder or Path(tempfile.mkdtemp())
    words = vocabulary()
    try:
        fresh = not root.exists() or not any(root.iterdir())
        with AVM(root, semantic="off") as avm:
            if fresh:
                print(f"writing: {seconds(lambda: write(root, given.size, words)):.1f} s")
                print(f"indexing: {seconds(avm.index):.1f} s", flush=True)
            files = avm.store.vault.index_dir.iterdir()
            size = sum(file.stat().st_size for file in files)
            print(f"{given.size} memories, index {size / 1e6:.0f} MB")
            measure(avm, questions(words, given.repeats), given.agent)
    finally:
        if given.folder is None:
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
