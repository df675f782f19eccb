"""A tree without the files that macOS strews by itself: nobody's memories, never to be committed.

The option `noappledouble` refuses some of them; fuse-t does not know it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any, Final, cast

from avm.fuse.tree import Tree
from avm.overlay.attributes import Entry

_NAMES: Final = frozenset(
    {".DS_Store", ".Spotlight-V100", ".Trashes", ".fseventsd", ".metadata_never_index"}
)
#: Which argument of a method is the name of something new.
_MADE: Final = {"create": 0, "mkdir": 0, "mknod": 0, "symlink": 1, "link": 1, "rename": 1}
#: Those whose first argument is the name of what is there.
_FOUND: Final = frozenset(
    {"attributes", "chmod", "chown", "link", "list", "open", "readlink", "rename", "rmdir",
     "truncate", "unlink", "utimens"}
)  # fmt: skip


def without_noise(tree: Tree, platform: str) -> Tree:
    """`tree` as it is to be shown on a `sys.platform`: on macOS such names are not there and cannot
    be made."""
    return cast(Tree, _Quiet(tree)) if platform == "darwin" else tree


def is_noise(path: str) -> bool:
    """Whether a name on the way is one of them."""
    return any(name in _NAMES or name.startswith("._") for name in path.split("/"))


class _Quiet:
    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def list(self, path: str) -> list[Entry]:
        _refuse(path, errno.ENOENT)
        return [entry for entry in self._tree.list(path) if not is_noise(entry.name)]

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Any] = getattr(self._tree, name)
        made, found = _MADE.get(name), name in _FOUND
        if made is None and not found:
            return method

        def refusing(*args: Any) -> Any:
            if found:
                _refuse(args[0], errno.ENOENT)
            if made is not None:
                _refuse(args[made], errno.EACCES)
            return method(*args)

        return refusing


def _refuse(path: str, number: int) -> None:
    if is_noise(path):
        raise OSError(number, os.strerror(number), path)
