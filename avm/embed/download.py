"""Getting the model's files into a folder: from another folder, or from the Hugging Face hub.

This is the one place in AVM that reaches out to the network for itself, and only `avm model
download` comes here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from avm.base.errors import ModelError
from avm.embed.model_folder import MODEL_ID, OFFICIAL_SUMS, OPTIONAL_SUMS, check_sums, sum_of

if TYPE_CHECKING:
    from http.client import HTTPResponse

#: The revision whose files the sums are of.
REVISION = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
_REPOSITORY = f"sentence-transformers/{MODEL_ID}"
_SILENT_SECONDS = 30.0
_READ_BYTES = 1 << 18
_PART = ".part"
#: What HTTP says of a range: this is what follows, or nothing does.
_PARTIAL, _NO_SUCH_RANGE = 206, 416


def add(source: Path, target: Path) -> None:
    """Copy the model's files from the folder `source`. Raises ModelError if one is not right."""
    check_sums(source)
    if source.resolve() == target.resolve():
        return
    for name, expected in {**OFFICIAL_SUMS, **OPTIONAL_SUMS}.items():
        if (source / name).is_file():
            try:
                part = _part(target / name)
                shutil.copyfile(source / name, part)
            except OSError as err:
                raise _cannot_write(target / name, err) from None
            _place(part, target / name, expected)


def download(
    endpoint: str, target: Path, progress: Callable[[str, int, int | None], None] | None = None
) -> None:
    """Fetch the files that `target` lacks from the hub at `endpoint`, an http(s) address.

    Each is checked before it is put in its place; one that was interrupted goes on where it
    stopped. `progress(file, bytes so far, bytes in all if known)`. Raises ModelError.
    """
    report = progress or (lambda name, done, total: None)
    for name, expected in OFFICIAL_SUMS.items():
        if _sum_of(target / name) != expected:
            _fetch(f"{endpoint}/{_REPOSITORY}/resolve/{REVISION}/{name}", target, name, report)


def _sum_of(path: Path) -> str | None:
    """The sum of a file, None for one that is not there or cannot be read: it is fetched anew."""
    try:
        return sum_of(path)
    except OSError:
        return None


def _fetch(
    address: str, target: Path, name: str, report: Callable[[str, int, int | None], None]
) -> None:
    try:
        part = _part(target / name)
        with part.open("ab") as file:
            _receive(address, file, lambda done, total: report(name, done, total))
    except (HTTPException, OSError) as err:
        if isinstance(err, OSError) and err.filename and not hasattr(err, "url"):
            raise _cannot_write(target / name, err) from None
        raise ModelError(
            f"{address}: {_told(err)}; avm model add FOLDER takes files that were got elsewhere"
        ) from None
    _place(part, target / name, OFFICIAL_SUMS[name])


def _receive(address: str, file: BinaryIO, report: Callable[[int, int | None], None]) -> None:
    """Append what is missing of the file at `address`. Raises OSError, HTTPException."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    done = file.tell()
    if not address.startswith(("http://", "https://")):
        raise OSError("the address is neither http nor https")
    request = Request(address, headers={"User-Agent": "avm", "Accept-Encoding": "identity"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    answer: HTTPResponse
    try:
        answer = urlopen(request, timeout=_SILENT_SECONDS)
    except HTTPError as err:
        with err:
            if err.code != _NO_SUCH_RANGE:
                raise
        return  # it is all there
    with answer:
        if answer.status != _PARTIAL:
            done = 0
            file.truncate(0)
        length = answer.headers.get("Content-Length", "")
        total = done + int(length) if length.isdigit() else None
        while data := answer.read(_READ_BYTES):
            file.write(data)
            done += len(data)
            report(done, total)
        if total is not None and done < total:
            raise OSError(f"the connection ended after {done} of {total} bytes; try again")


def _part(place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    return place.with_name(place.name + _PART)


def _place(part: Path, place: Path, expected: str) -> None:
    """Move a file to its place if it is what it should be, else remove it and raise ModelError."""
    found = sum_of(part)
    if found != expected:
        part.unlink(missing_ok=True)
        raise ModelError(f"{place.name} is not the official file of {MODEL_ID}: sha256 {found}")
    os.replace(part, place)


def _told(err: Exception) -> str:
    """What went wrong on the way, without Python's names and numbers."""
    from urllib.error import HTTPError

    if isinstance(err, HTTPError):
        return f"HTTP {err.code} {err.reason}"
    reason = getattr(err, "reason", err)
    return str(getattr(reason, "strerror", None) or reason or type(err).__name__)


def _cannot_write(path: Path, err: OSError) -> ModelError:
    return ModelError(f"{path} cannot be written: {err.strerror}")
