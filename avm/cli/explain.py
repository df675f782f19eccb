"""`avm explain`: why one memory is in an answer, or not."""

from __future__ import annotations

import click

from avm.cli.door import ASKING, Door, question_argument, shared


@click.command("explain", context_settings=ASKING)
@click.argument("query", nargs=-1)
@click.argument("path")
@click.option("--max-tokens", metavar="N", help="The budget in o200k tokens; default 2000.")
@click.option("--strategy", default="balanced", help="balanced, relevance, recency or importance.")
@click.option("--format", default="markdown", help="markdown, or plain: the passages alone.")
@click.option("--folder", default="", help="Only what is in this folder.")
@click.option("--semantic", is_flag=True, help="Rank by meaning too: load the model, some 6 s.")
@click.option("--reader", metavar="AGENT", help="As this agent would recall; for the owner alone.")
@shared
@click.pass_obj
def command(
    door: Door,
    query: tuple[str, ...],
    path: str,
    max_tokens: str | None,
    strategy: str,
    format: str,
    folder: str,
    semantic: bool,
    reader: str | None,
) -> None:
    """Say why the memory at PATH is in the answer of avm recall QUERY, or what keeps it out.

    The options are those of avm recall: the reason may depend on them.
    """
    view = door.view(semantic="wait" if semantic else None)
    text = question_argument(query)
    budget: int = max_tokens  # type: ignore[assignment]  # checked and named there
    why = view.explain(
        text,
        door.rel(path),
        budget,
        strategy,
        folder=door.rel(folder) if folder else "",
        zone=None,
        format=format,
        reader=reader,
    )
    door.result(why, why.as_text())
