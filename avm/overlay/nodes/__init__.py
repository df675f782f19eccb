"""The one table of virtual nodes: it drives parsing, `:help` and docs/nodes.md."""

from __future__ import annotations

from avm.overlay.names import Node
from avm.overlay.nodes import (
    at,
    body,
    conflicts,
    delta,
    diff,
    history,
    links,
    meta,
    recall,
    search,
    similar,
    stats,
    status,
    tags,
    ttl,
)
from avm.overlay.nodes import help as help_node
from avm.overlay.nodes import list as list_node

NODES: tuple[Node, ...] = (
    search.NODE,
    recall.NODE,
    list_node.NODE,
    delta.NODE,
    tags.NODE,
    stats.NODE,
    conflicts.NODE,
    status.NODE,
    help_node.NODE,
    meta.NODE,
    tags.OF_FILE,
    ttl.NODE,
    body.NODE,
    links.LINKS,
    links.BACKLINKS,
    similar.NODE,
    delta.OF_FILE,
    history.NODE,
    diff.NODE,
    at.NODE,
    at.FOLDER,
    help_node.OF_FILE,
)
BY_NAME = {(node.place, node.name): node for node in NODES}
help_node.TABLE.extend(NODES)
