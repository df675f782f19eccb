"""Folders that are no place for SQLite and locks: on a network, or synced to a cloud."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

#: File systems whose locks and shared memory do not hold between machines.
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|afpfs|webdav|9p|ceph|glusterfs|lustre|afs|fuse\.(?:sshfs|rclone|s3fs\S*|"
    r"gcsfuse|davfs\S*|google-drive-ocamlfuse|onedriver|glusterfs)|davfs"
)
#: Folders that programs keep equal with a cloud, by a component of their path, and their name.
_CLOUDS = (
    (re.compile(r"Dropbox(?: \(.+\))?", re.IGNORECASE), "Dropbox"),
    (re.compile(r"Mobile Documents|iCloud ?Drive(?: \(.+\))?", re.IGNORECASE), "iCloud"),
    (re.compile(r"OneDrive(?: ?-.*)?", re.IGNORECASE), "OneDrive"),
    (re.compile(r"Google ?Drive|GoogleDrive-.+|My Drive", re.IGNORECASE), "Google Drive"),
    (re.compile(r"CloudStorage"), "a cloud"),
)
_OCTAL = re.compile(rb"\\([0-7]{3})")
_MOUNT_LINE = re.compile(r"^.+? on (.+) \((\w+)[,)]", re.MULTILINE)


def unsafe_because(folder: Path) -> str | None:
    """What is wrong with the place of `folder`; None if nothing is known to be."""
    real = os.path.realpath(folder)
    for name in real.split("/"):
        for pattern, cloud in _CLOUDS:
            if pattern.fullmatch(name):
                return f"it is in a folder that is synced to {cloud}"
    kind = _kind_at(real, _mounts())
    return f"it is on a network file system ({kind})" if _NETWORK.fullmatch(kind) else None


def _kind_at(place: str, mounts: list[tuple[str, str]]) -> str:
    """The file system of the innermost mount around `place`; of two at one point the later."""
    inside = place.rstrip("/") + "/"
    around = [(len(point), kind) for point, kind in mounts if _is_below(inside, point)]
    longest = max((length for length, _ in around), default=0)
    return [kind for length, kind in around if length == longest][-1] if around else ""


def _is_below(inside: str, point: str) -> bool:
    return inside.startswith(point.rstrip("/") + "/")


def _mounts() -> list[tuple[str, str]]:
    """(mount point, file system) of all mounts; [] if the system does not tell."""
    try:
        if sys.platform == "darwin":
            told = subprocess.run(["/sbin/mount"], capture_output=True, check=False).stdout
            return _parse_mount_output(os.fsdecode(told))
        else:
            return _parse_mountinfo(Path("/proc/self/mountinfo").read_bytes())
    except OSError:
        return []


def _parse_mountinfo(data: bytes) -> list[tuple[str, str]]:
    found = []
    for line in data.splitlines():
        left, _, right = line.partition(b" - ")
        point = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), left.split(b" ")[4])
        found.append((os.fsdecode(point), os.fsdecode(right.split(b" ")[0])))
    return found


def _parse_mount_output(text: str) -> list[tuple[str, str]]:
    return _MOUNT_LINE.findall(text)
