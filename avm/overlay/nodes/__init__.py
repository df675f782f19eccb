"""The one table of virtual nodes: it drives parsing, `:help` and docs/nodes.md."""

from __future__ import annotations

from avm.overlay.names import Node
from avm.overlay.nodes import (
    at,
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
)
from avm.overlay.nodes import help as help_node
from avm.overlay.nodes import list as list_node

NODES: tuple[Node, ...] = (
    search.NODE,
    recall.NODE,
    list_node.NODE,
    tags.NODE,
    stats.NODE,
    status.NODE,
    help_node.NODE,
    meta.NODE,
    links.LINKS,
    links.BACKLINKS,
    similar.NODE,
    history.NODE,
    diff.NODE,
    at.NODE,
    at.FOLDER,
)
BY_NAME = {(node.place, node.name): node for node in NODES}
help_node.TABLE.extend(NODES)
