"""`x.md:meta`: front matter and facts of one memory, as JSON; keys that are written are set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from avm.api import View
from avm.base.errors import UsageError
from avm.base.memory_file import load_mapping
from avm.overlay.names import Node, text_of

#: What `meta` tells of a file that is no key of its front matter.
_FACTS = ("path", "changed", "size", "problems")


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """The facts of the memory `rel`."""
    return json.dumps(view.meta(rel), ensure_ascii=False, indent=2) + "\n"


def write(view: View, rel: str, data: bytes, added: bool) -> None:
    """Set the keys that are not as they are already, so that what was read can be written back."""
    text = text_of(data)
    told = _from_json(text) if text.lstrip().startswith("{") else load_mapping(text)
    if not told:
        raise UsageError("nothing to set: write `importance: 0.9`, a key a line, or JSON")
    there = view.meta(rel)
    others = told.pop("other", None) or {}
    if not isinstance(others, dict):
        raise UsageError(f"other {others!r}: give keys and values")
    told |= others
    there |= there.pop("other")
    changed = {key: value for key, value in told.items() if there.get(key, there) != value}
    if facts := [key for key in _FACTS if key in changed]:
        raise UsageError(f"{facts[0]} is no key of the front matter: it cannot be set")
    view.set_meta(rel, {key: None if value == "" else value for key, value in changed.items()})


def _from_json(text: str) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"no JSON: {error}") from None
    return told


NODE = Node(
    name="meta",
    place="file",
    doc="front matter and facts of the memory as JSON",
    examples=("rsi_rule.md:meta",),
    render=render,
    parameters={},
    write=write,
    takes="keys to set, `importance: 0.9`, one a line, or as JSON; a key with no value goes",
)
