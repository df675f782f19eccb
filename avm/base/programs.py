"""Starting AVM's own programs: never by fork alone, and never with code from the current folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def python_command(module: str) -> list[str]:
    """The command that runs `module` with this very Python; [] if none is known.

    -P: a plain -m would look for modules in the current folder, which may be a vault.
    """
    return [sys.executable, "-P", "-W", "ignore", "-m", module] if sys.executable else []


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for a program of ours that runs elsewhere: it imports this very `avm`."""
    result = dict(environ)
    # An empty entry means the current folder: leave it out.
    entries = result.pop("PYTHONPATH", "").split(os.pathsep)
    python_path = [os.path.abspath(entry) for entry in entries if entry]
    root = Path(__file__).absolute().parents[2]
    if root.name not in ("site-packages", "dist-packages"):
        # A checkout that is not installed. An installed avm is found anyway, and its folder must
        # not come before the standard library.
        python_path.insert(0, str(root))
    if python_path:
        result["PYTHONPATH"] = os.pathsep.join(python_path)
    return result


def processors() -> int:
    """How many processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    else:
        return os.cpu_count() or 1
