"""Getting the model's files, from a hub on this machine and from a folder."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from avm.base.errors import ModelError
from avm.embed import download, model_folder

FILES = {"1_Pooling/config.json": b"{}", "model.safetensors": b"weights " * 5_000}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of two files, to have its sums."""
    sums = {name: sha256(data) for name, data in FILES.items()}
    for module in (download, model_folder):
        monkeypatch.setattr(module, "OFFICIAL_SUMS", sums)
        monkeypatch.setattr(module, "OPTIONAL_SUMS", {"vocab.txt": sha256(b"words")})


class Hub(ThreadingHTTPServer):
    """Answers as the hub does: with a redirect to where the bytes are, and ranges there."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(FILES)
        self.asked: list[tuple[str, str | None]] = []
        #: Bytes after which the connection ends.
        self.breaks_after: int | None = None
        self.ranges = True

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        base = f"/sentence-transformers/all-MiniLM-L6-v2/resolve/{download.REVISION}/"
        if self.path.startswith(base):
            self.send_response(302)
            self.send_header("Location", f"/store/{self.path.removeprefix(base)}")
            self.end_headers()
            return
        name = self.path.removeprefix("/store/")
        span = self.headers.get("Range")
        self.server.asked.append((name, span))
        data = self.server.files.get(name)
        if data is None:
            self.send_error(404)
            return
        first = int(span.removeprefix("bytes=").rstrip("-")) if span and self.server.ranges else 0
        if first >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        self.wfile.write(data[first:][: self.server.breaks_after])

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_is_missing_is_fetched_and_nothing_twice(hub: Hub, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    download.download(hub.endpoint, tmp_path, lambda *told: seen.append(told))
    assert contents(tmp_path) == FILES
    assert seen[-1] == ("model.safetensors", 40_000, 40_000)
    (tmp_path / "1_Pooling" / "config.json").write_bytes(b"changed")
    hub.asked.clear()
    download.download(hub.endpoint, tmp_path)
    assert contents(tmp_path) == FILES
    assert hub.asked == [("1_Pooling/config.json", None)]


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_file_goes_on(hub: Hub, tmp_path: Path, ranges: bool) -> None:
    hub.breaks_after = 30_000
    with pytest.raises(ModelError, match=r"after 30000 of 40000 bytes|IncompleteRead") as caught:
        download.download(hub.endpoint, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.safetensors").exists()
    hub.breaks_after, hub.ranges = None, ranges
    download.download(hub.endpoint, tmp_path)
    assert contents(tmp_path) == FILES
    assert hub.asked[-1] == ("model.safetensors", "bytes=30000-")


def test_a_whole_part_is_put_in_its_place(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.part").write_bytes(FILES["model.safetensors"])
    download.download(hub.endpoint, tmp_path)
    assert contents(tmp_path) == FILES


def test_a_wrong_file_never_gets_into_place(hub: Hub, tmp_path: Path) -> None:
    hub.files["model.safetensors"] = b"others' weights"
    with pytest.raises(ModelError, match="not the official file") as caught:
        download.download(hub.endpoint, tmp_path)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == {"1_Pooling/config.json": b"{}"}
    hub.files |= FILES
    download.download(hub.endpoint, tmp_path)
    assert contents(tmp_path) == FILES


def test_what_goes_wrong_is_one_line(hub: Hub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(ModelError, match=r"model\.safetensors: HTTP 404 Not Found; avm model add"):
        download.download(hub.endpoint, tmp_path)
    with pytest.raises(ModelError, match="neither http nor https"):
        download.download("file:///etc", tmp_path)
    with pytest.raises(ModelError, match="Connection refused; avm model add"):
        download.download("http://127.0.0.1:9", tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelError, match="cannot be written: Not a directory"):
        download.download(hub.endpoint, tmp_path / "file")


def test_a_folder_is_checked_and_copied(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for name, data in {**FILES, "vocab.txt": b"words", "notes.txt": b"mine"}.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    download.add(source, target)
    assert contents(target) == {**FILES, "vocab.txt": b"words"}
    download.add(target, target)
    assert contents(target) == {**FILES, "vocab.txt": b"words"}
    (source / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match="not the official file"):
        download.add(source, tmp_path / "third")
    assert not (tmp_path / "third").exists()
    with pytest.raises(ModelError, match="is missing"):
        download.add(tmp_path / "nowhere", target)
