"""A pass-through as tutorials of fusepy write it: what a mount costs without any care taken.

`python -m avm.bench.plain FOLDER MOUNT` serves it until it is unmounted. Paths are joined, each
attribute is a key of a dict, libfuse's options are its own.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from avm.fuse import binding

_ATTRIBUTES = ("st_atime", "st_ctime", "st_gid", "st_mode", "st_mtime", "st_nlink", "st_size",
               "st_uid")  # fmt: skip


def operations(folder: str) -> Any:
    """The operations over `folder`, for `serve`. Raises MountError without fusepy."""
    base: Any = binding.load("fusepy").module.Operations

    class Plain(base):  # type: ignore[misc]
        use_ns = True

        def _path(self, path: str) -> str:
            return os.path.join(folder, path.lstrip("/"))

        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            found = os.lstat(self._path(path))
            nanoseconds = {name: getattr(found, f"{name}_ns") for name in ("st_atime", "st_mtime")}
            return {name: getattr(found, name) for name in _ATTRIBUTES} | nanoseconds

        def readdir(self, path: str, fh: int) -> list[str]:
            return [".", "..", *os.listdir(self._path(path))]

        def mkdir(self, path: str, mode: int) -> None:
            os.mkdir(self._path(path), mode)

        def rmdir(self, path: str) -> None:
            os.rmdir(self._path(path))

        def unlink(self, path: str) -> None:
            os.unlink(self._path(path))

        def rename(self, old: str, new: str) -> None:
            os.rename(self._path(old), self._path(new))

        def open(self, path: str, flags: int) -> int:
            return os.open(self._path(path), flags)

        def create(self, path: str, mode: int, fi: None = None) -> int:
            return os.open(self._path(path), os.O_WRONLY | os.O_CREAT, mode)

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            os.lseek(fh, offset, os.SEEK_SET)
            return os.read(fh, size)

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            os.lseek(fh, offset, os.SEEK_SET)
            return os.write(fh, data)

        def truncate(self, path: str, length: int, fh: int | None = None) -> None:
            with open(self._path(path), "r+b") as file:
                file.truncate(length)

        def release(self, path: str, fh: int) -> None:
            os.close(fh)

    return Plain()


def serve(folder: str, mountpoint: str) -> None:
    """Show `folder` at `mountpoint`, until it is unmounted. Raises MountError, RuntimeError."""
    binding.load("fusepy").module.FUSE(operations(folder), mountpoint, foreground=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
