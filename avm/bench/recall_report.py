"""What recall brought back as one table, as markdown, or ready for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avm.bench.figures import median, percentile
from avm.bench.locomo import CATEGORIES
from avm.bench.measures import mean
from avm.bench.recall import RANKS, Asked, Measured, Run
from avm.bench.report import head
from avm.bench.tables import number, table

_LEFT = (0, 2)
_ALL = "all"


def as_json(place: dict[str, Any], measured: Measured) -> dict[str, Any]:
    """All figures, by run and category; `all` is all questions. Times in ms."""
    return {
        "machine": place,
        "conversations": measured.conversations,
        "budgets": list(measured.budgets),
        "tokens_are": measured.counted,
        "runs": [
            {
                "name": _name(run),
                "layout": run.layout,
                "semantic": run.semantic,
                "memories": run.memories,
                "passages": run.passages,
                "categories": {
                    category: {"questions": len(asked), **figures(asked)}
                    for category, asked in _by_category(run).items()
                },
            }
            for run in measured.runs
        ],
        "embedding": _times(measured.embedding),
        "notes": list(measured.notes),
    }


def as_text(place: dict[str, Any], measured: Measured, *, markdown: bool) -> str:
    """A table of the measures by category, a column a run, and the notes."""
    runs = measured.runs
    groups = [_by_category(run) for run in runs]
    lines = [("questions", "n", "measure", *map(_name, runs))]
    for category in groups[0] if groups else ():
        told = [figures(group[category]) for group in groups]
        first = category, str(len(groups[0][category]))
        for measure in told[0]:
            if category == _ALL or not _is_cost(measure):
                lines.append((*first, measure, *(_shown(measure, one[measure]) for one in told)))
                first = "", ""
    mark = "- " if markdown else "  "
    notes = [f"{mark}{note}\n" for note in (*_sizes(measured), *measured.notes)]
    return "".join(
        [head(place), "\n", table(lines, left=_LEFT, markdown=markdown), "\n" * markdown, *notes]
    )


def figures(asked: Sequence[Asked]) -> dict[str, float]:
    """The measures of some questions by their names, in the order of the table: means of shares and
    of tokens, times as p50 and p95."""
    told: dict[str, float] = {}
    by_budget = list(zip(*(one.answers for one in asked), strict=True))
    for answers in by_budget:
        told[f"B@{answers[0].budget}"] = mean([answer.covered for answer in answers])
    for place, k in enumerate(RANKS):
        told[f"R@{k}"] = mean([one.recall_at[place] for one in asked])
    told["MRR"] = mean([one.reciprocal_rank for one in asked])
    told["nDCG@10"] = mean([one.ndcg for one in asked])
    for answers in by_budget:
        told[f"tokens@{answers[0].budget}"] = mean([answer.tokens for answer in answers])
    for answers in by_budget:
        for name, value in _times([answer.ms for answer in answers]).items():
            told[f"{name}@{answers[0].budget}"] = value
    return told


def _times(taken: Sequence[float]) -> dict[str, float]:
    return {"p50": median(taken), "p95": percentile(taken, 0.95)} if taken else {}


def _by_category(run: Run) -> dict[str, list[Asked]]:
    """All, then those of each category that has any."""
    groups = {_ALL: list(run.asked)}
    for key, name in CATEGORIES.items():
        if found := [one for one in run.asked if one.category == key]:
            groups[f"{key} {name}"] = found
    return groups


def _name(run: Run) -> str:
    return f"{run.layout}, {'vectors' if run.semantic else 'text'}"


def _shown(measure: str, value: float) -> str:
    return number(value) if _is_cost(measure) else f"{value:.3f}"


def _is_cost(measure: str) -> bool:
    """Whether it is tokens or a time, which are much the same in every category."""
    return measure.startswith(("tokens", "p"))


def _sizes(measured: Measured) -> list[str]:
    """How much was asked of what, and what stands beside the table."""
    by_layout = {run.layout: run for run in measured.runs}
    told = [
        f"{layout}: {run.memories:,} memories, {run.passages:,} passages,"
        f" {measured.conversations} vaults"
        for layout, run in by_layout.items()
    ]
    told.append(f"tokens: {measured.counted}, mean")
    if measured.embedding:
        times = _times(measured.embedding)
        told.append(
            f"a question's vector: p50 {number(times['p50'])}, p95 {number(times['p95'])} ms more"
        )
    return told
