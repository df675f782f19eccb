"""A vault's mount where only libfuse 3 is: files, expiry and answers once more, by mfusepy."""

from __future__ import annotations

import os

import pytest
from conftest import needs_fuse

from mount.conftest import Mount
from mount.test_avm_mount_expiry import *  # noqa: F403
from mount.test_avm_mount_files import *  # noqa: F403
from mount.test_avm_mount_nodes import *  # noqa: F403
from mount.test_fuse_site import library

pytestmark = needs_fuse


@pytest.fixture(autouse=True)
def only_libfuse_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """fusepy then finds a library that it cannot speak to."""
    monkeypatch.setenv("FUSE_LIBRARY_PATH", library("3"))


def test_it_is_libfuse_3(mount: Mount) -> None:
    with open(f"/proc/{mount.pid}/maps", "rb") as file:
        maps = file.read()
    assert b"libfuse3.so" in maps and b"libfuse.so" not in maps
    assert os.listdir(mount.shared) == [".gitkeep"]
