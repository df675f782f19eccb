"""The one background program a vault has at a time: watches, indexes, embeds, commits, answers."""
