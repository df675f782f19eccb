"""`avm recall`: what answers a question, within a token budget."""

from __future__ import annotations

import sys

import click

from avm.cli.door import ASKING, Door, question_argument, shared


@click.command("recall", context_settings=ASKING)
@click.argument("question", nargs=-1)
@click.option("--max-tokens", metavar="N", help="The budget in o200k tokens; default 2000.")
@click.option("--strategy", default="balanced", help="balanced, recency or importance.")
@click.option("--folder", default="", help="Only what is in this folder.")
@click.option("--semantic", is_flag=True, help="Rank by meaning too: load the model, some 6 s.")
@click.option("--explain", is_flag=True, help="Say why each was found, instead of what it says.")
@shared
@click.pass_obj
def command(
    door: Door,
    question: tuple[str, ...],
    max_tokens: str | None,
    strategy: str,
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
    if explain:
        why = view.explained(text, strategy=strategy, folder=where, zone=None)
        door.result(why, why.as_text())
        found = bool(why.hits)
    else:
        answer = view.recalled(
            text,
            max_tokens,  # type: ignore[arg-type]  # checked and named there
            strategy,
            folder=where,
            zone=None,
        )
        door.result(answer, answer.text)
        found = bool(answer.passages)
    door.mention_semantic()
    if not found:
        sys.exit(1)
