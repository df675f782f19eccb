"""`avm similar`: what is like a memory, or which memories are alike."""

from __future__ import annotations

import sys

import click

from avm.cli.door import Door, shared, warn
from avm.overlay.hits import pair_lines, similar_lines


@click.command("similar")
@click.argument("path", required=False)
@click.option(
    "--min",
    "least",
    metavar="SCORE",
    help="From which score on; default 0.6, by text 0.1, for pairs 0.9.",
)
@click.option("--limit", default="10", metavar="N", help="The most of them; default 10.")
@shared
@click.pass_obj
def command(door: Door, path: str | None, least: str | None, limit: str) -> None:
    """Print the memories that are like the one at PATH, likest first; without PATH all pairs of
    memories that mean nearly the same.

    A score is a cosine of embeddings that are there, or a share of common words.
    """
    view = door.view()
    if path is None:
        pairs = view.similar_pairs(limit, least)  # type: ignore[arg-type]
        door.result(pairs, pair_lines(pairs))
        found = bool(pairs.pairs)
        if pairs.note:
            warn(pairs.note)
    else:
        like = view.similar(door.rel(path), limit, least)  # type: ignore[arg-type]
        door.result(like, similar_lines(like))
        found = bool(like.memories)
    if not found:
        sys.exit(1)
