"""One line on stderr, as every door says what is wrong."""

from __future__ import annotations

import contextlib
import sys


def tell(text: str) -> None:
    """Say it in one line, at once: a server goes on after it. Where nobody can hear it, never
    mind."""
    line = " ".join(text.split("\n"))
    with contextlib.suppress(OSError, AttributeError):
        sys.stderr.buffer.write(f"avm: {line}\n".encode("utf-8", "backslashreplace"))
        sys.stderr.buffer.flush()
