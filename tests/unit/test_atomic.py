"""Writing a file whole: who may read it meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avm.base import atomic


@pytest.mark.parametrize("given", [None, 0o600])
def test_a_private_file_is_private_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: int | None
) -> None:
    target = tmp_path / "settings.json"
    target.write_bytes(b"old")
    target.chmod(0o600 if given is None else 0o644)
    meanwhile: list[int] = []
    chmod = os.chmod

    def watched(path: Path, mode: int, **named: int | None) -> None:
        meanwhile.append(path.stat().st_mode & 0o777)
        chmod(path, mode, **named)

    monkeypatch.setattr(os, "chmod", watched)
    atomic.replace(target, b"a token", mode=given)
    assert meanwhile == [0o600] and target.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["settings.json"] and target.read_bytes() == b"a token"


def test_a_file_that_may_not_be_written_to_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    target.chmod(0o444)
    atomic.replace(target, b"new")
    assert target.read_bytes() == b"new" and target.stat().st_mode & 0o777 == 0o444
