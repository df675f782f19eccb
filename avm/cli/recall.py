"""`avm recall`: what answers a question, within a token budget."""

from __future__ import annotations

import sys

import click

from avm.cli.door import ASKING, Door, question_argument, shared


@click.command("recall", context_settings=ASKING)
@click.argument("question", nargs=-1)
@click.option("--max-tokens", metavar="N", help="The budget in o200k tokens; default 2000.")
@click.option("--strategy", default="balanced", help="balanced, relevance, recency or importance.")
@click.option("--format", default="markdown", help="markdown, or plain: the passages alone.")
@click.option("--folder", default="", help="Only what is in this folder.")
@click.option("--semantic", is_flag=True, help="Rank by meaning too: load the model, some 6 s.")
@click.option("--explain", is_flag=True, help="Say why each memory came or did not.")
@shared
@click.pass_obj
def command(
    door: Door,
    question: tuple[str, ...],
    max_tokens: str | None,
    strategy: str,
    format: str,
    folder: str,
    semantic: bool,
    explain: bool,
) -> None:
    """Print the passages that answer QUESTION (- reads stdin), never more than the budget.

    Without a question: what is important and recent. A question may hold filters: docs/search.md.
    """
    view = door.view(semantic="wait" if semantic else None)
    text = question_argument(question)
    where = door.rel(folder) if folder else ""
    budget: int = max_tokens  # type: ignore[assignment]  # checked and named there
    if explain:
        why = view.explained_recall(text, budget, strategy, folder=where, zone=None, format=format)
        door.result(why, why.as_text())
        found = bool(why.hits)
    else:
        answer = view.recalled(text, budget, strategy, folder=where, zone=None, format=format)
        door.result(answer, answer.text)
        found = bool(answer.passages)
    door.mention_semantic()
    if not found:
        sys.exit(1)
