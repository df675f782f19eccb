"""Folders on a network or synced to a cloud are known by their path and the mount table."""

from __future__ import annotations

from pathlib import Path

import pytest

from avm.vault import network

LINUX = rb"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:41 / /mnt/team rw - nfs4 server:/team rw,vers=4.2
31 30 8:2 / /mnt/team/local rw - xfs /dev/sdb1 rw
32 22 0:42 / /home/pat/my\040host rw master:2 - fuse.sshfs pat@host:/ rw
33 22 0:43 / /home/pat/memory rw - fuse.avm avm rw
34 22 0:44 / /over rw - cifs //server/share rw
35 22 8:3 / /over rw - ext4 /dev/sdc1 rw
"""
MACOS = """/dev/disk3s1s1 on / (apfs, sealed, local, read-only)
//pat@server/share on /Volumes/share (smbfs, nodev, nosuid, mounted by pat)
server:/team on /Volumes/a team (nfs)
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/home/pat/avm", "ext4"),
        ("/mnt/team", "nfs4"),
        ("/mnt/team/avm", "nfs4"),
        ("/mnt/teams/avm", "ext4"),
        ("/mnt/team/local/avm", "xfs"),
        ("/home/pat/my host/avm", "fuse.sshfs"),
        ("/home/pat/memory", "fuse.avm"),
        ("/over/avm", "ext4"),
    ],
)
def test_the_innermost_mount_says_what_a_place_is(place: str, kind: str) -> None:
    assert network._kind_at(place, network._parse_mountinfo(LINUX)) == kind


def test_macos_says_it_in_what_mount_prints() -> None:
    mounts = network._parse_mount_output(MACOS)
    assert network._kind_at("/Volumes/share/avm", mounts) == "smbfs"
    assert network._kind_at("/Volumes/a team", mounts) == "nfs"
    assert network._kind_at("/Users/pat", mounts) == "apfs"


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "smbfs", "9p", "ext4", "fuse.avm"])
def test_which_file_systems_are_a_network_s(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_mounts", lambda: [("/", kind)])
    why = network.unsafe_because(tmp_path)
    assert why is None if kind in ("ext4", "fuse.avm") else f"({kind})" in (why or "")


@pytest.mark.parametrize(
    ("path", "cloud"),
    [
        ("Dropbox/avm", "Dropbox"),
        ("Dropbox (Work)/avm", "Dropbox"),
        ("Library/Mobile Documents/com~apple~CloudDocs/avm", "iCloud"),
        ("Library/CloudStorage/OneDrive-Work/avm", "a cloud"),
        ("OneDrive - Work/avm", "OneDrive"),
        ("Google Drive/My Drive/avm", "Google Drive"),
        ("Dropbox notes/avm", None),
        ("my dropboxes/avm", None),
    ],
)
def test_which_folders_are_a_cloud_s(tmp_path: Path, path: str, cloud: str | None) -> None:
    why = network.unsafe_because(tmp_path / path)
    assert why is None if cloud is None else (why or "").endswith(f"synced to {cloud}")
