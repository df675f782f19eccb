"""`avm remember`: write a memory."""

from __future__ import annotations

import click

from avm.cli.door import Door, shared, text_argument, warn


@click.command("remember")
@click.argument("text", nargs=-1, required=True)
@click.option("--title", help="A title; it names the file too.")
@click.option("--importance", metavar="0.0-1.0", help="How much it matters; default 0.5.")
@click.option("--tag", "tags", multiple=True, help="A tag; may be given again.")
@click.option("--namespace", help="Share it: /memory/shared/NAMESPACE/.")
@click.option("--folder", help="A sub-folder there.")
@click.option("--ttl", metavar="DURATION", help="Forget it after 30d, 12h, ….")
@click.option(
    "--on-duplicate",
    metavar="WHAT",
    help="Where a memory says nearly the same: keep, skip or supersede; default keep.",
)
@click.option("--allow-secret", is_flag=True, help="Write it although it holds a secret.")
@shared
@click.pass_obj
def command(
    door: Door,
    text: tuple[str, ...],
    title: str | None,
    importance: str | None,
    tags: tuple[str, ...],
    namespace: str | None,
    folder: str | None,
    ttl: str | None,
    on_duplicate: str | None,
    allow_secret: bool,
) -> None:
    """Write TEXT (- reads stdin) as a new memory and print its path.

    An agent's goes to its private folder, the owner's to /memory/shared/.
    """
    view = door.view()
    done = view.remember(
        text_argument(text),
        title=title,
        importance=importance,  # type: ignore[arg-type]  # checked and named there
        tags=[name for tag in tags for name in tag.split(",")],
        namespace=namespace,
        folder=folder,
        ttl=ttl,
        on_duplicate=on_duplicate,
        allow_secret=allow_secret,
    )
    door.result(done, f"{done}\n")
    for hint in done.hints:
        warn(hint)
