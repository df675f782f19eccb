"""A vault and a mount point for the tests of avm.fuse, and how they are cleaned up. No tests."""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from avm.fuse import background, mounts, registry
from avm.fuse.platform import here

SERVER = Path(__file__).with_name("test_fuse_server.py")
ROOT = SERVER.parent.parent.parent
START_SECONDS = 20.0

#: binding, libfuse. The first is the one that AVM prefers; "auto" must see that fusepy cannot.
BINDINGS = [("fusepy", "2"), ("mfusepy", "2"), ("auto", "3")]
#: With the first, and every call by its own way.
KINDS = [*BINDINGS, ("generic fusepy", "2")]
PREFERRED = KINDS[0]


@dataclass
class Site:
    """A vault, a mount point, and how to serve one at the other."""

    folder: Path
    kind: tuple[str, str]

    @property
    def vault(self) -> Path:
        return self.folder / "vault"

    @property
    def mount(self) -> Path:
        return self.folder / "mnt"

    @property
    def registry(self) -> Path:
        return self.folder / "registry"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def closings(self) -> int:
        file = self.folder / "vault.closed"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def command(self, *more: str) -> list[str]:
        return [
            sys.executable, str(SERVER), str(self.vault), str(self.mount),
            "--binding", self.kind[0], "--registry", str(self.registry), *more,
        ]  # fmt: skip

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(ROOT))
            patch.setenv("FUSE_LIBRARY_PATH", library(self.kind[1]))
            yield

    def start(self, *more: str, timeout: float = START_SECONDS) -> int:
        with self.environment():
            return background.start(self.command(*more), self.mount, self.log, timeout)

    def foreground(self) -> subprocess.Popen[bytes]:
        with self.environment(), self.log.open("ab") as log:
            process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        wait_for(lambda: registry.read_all(self.registry), "the registration")
        return process

    def unmount(self) -> str:
        return mounts.unmount(self.mount, registry_dir=self.registry)

    def mounted(self) -> bool:
        return str(self.mount) in here.mountpoints()


def library(libfuse: str) -> str:
    path = ctypes.util.find_library({"2": "fuse", "3": "fuse3"}[libfuse])
    if path is None:
        pytest.skip(f"no libfuse {libfuse}")
    return path


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    assert mounts.wait_until(lambda: bool(condition()), seconds), f"not in {seconds} s: {what}"


def helpers(mountpoint: Path) -> list[int]:
    """The fusermount that waits to unmount when the server of `mountpoint` dies."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
            if b"fusermount" in words[0] and os.fsencode(mountpoint) in words:
                found.append(int(pid))
    return found


def clean_up(site: Site) -> None:
    """Whatever the test left: no mount and no process of this site stays."""
    for _ in range(3):
        if not site.mounted():
            break
        subprocess.run(here.unmount_command(str(site.mount), force=True), check=False)
    for process in background._started:
        if str(site.folder) in " ".join(map(str, process.args)):  # type: ignore[arg-type]
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
    wait_for(lambda: not helpers(site.mount), "the helper's end")
    assert not site.mounted()


def new_site(folder: Path, kind: tuple[str, str]) -> Site:
    site = Site(folder.resolve(), kind)
    site.vault.mkdir()
    (site.vault / "source.txt").write_text("hello\n")
    return site
