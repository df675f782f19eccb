"""`avm mount` with a `:recall` that takes a second: `slow_mount.py sleep|burn SECONDS mount …`.

It sleeps, or keeps a processor and the interpreter busy.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from avm.api import View
from avm.cli import main
from avm.overlay.nodes import BY_NAME

KIND, SECONDS = sys.argv[1], float(sys.argv[2])


def render(view: View, rel: str, arguments: Mapping[str, str]) -> str:
    """An answer after a while."""
    end = time.monotonic() + SECONDS
    if KIND == "sleep":
        time.sleep(SECONDS)
    else:
        number = 0
        while time.monotonic() < end:
            number = sum(range(200)) + number % 7
    return f"slowly: {arguments.get('query', '')}\n"


BY_NAME["folder", "recall"] = BY_NAME["folder", "recall"]._replace(render=render)
sys.argv[1:3] = []
main()
